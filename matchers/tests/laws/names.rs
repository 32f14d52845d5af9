//! Names taken apart.

use proptest::prelude::*;
use veridem_matchers::PersonName;
use veridem_matchers::normalise::{NormalisedName, fold, normalise_name};

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

fn full(written: &str) -> NormalisedName {
    normalise_name(&PersonName {
        full: written.to_owned(),
        ..PersonName::default()
    })
}

fn parts(name: &NormalisedName) -> [String; 4] {
    [&name.given, &name.middle, &name.family, &name.generation].map(ToString::to_string)
}

proptest! {
    #![proptest_config(cases(700))]

    #[test]
    fn total_and_folded(
        given in any_text(),
        middle in any_text(),
        family in any_text(),
        suffix in any_text(),
        full in any_text(),
    ) {
        let name = normalise_name(&PersonName {
            given,
            middle,
            family,
            suffix,
            full,
        });
        for part in parts(&name) {
            prop_assert_eq!(fold(&part), part);
        }
        prop_assert!(
            !name.given.contains(' '),
            "given is the first given name alone: {:?}",
            name
        );
        prop_assert!(["", "jr", "sr", "ii", "iii", "iv"].contains(&name.generation.as_str()));
    }

    #[test]
    fn case_and_accents_do_not_matter(given in "[A-Z][a-z]{1,8}", family in "[A-Z][a-z]{1,8}") {
        let plain = PersonName {
            given: given.clone(),
            family: family.clone(),
            ..PersonName::default()
        };
        let loud = PersonName {
            given: given.to_uppercase(),
            family: family.to_lowercase(),
            ..PersonName::default()
        };
        let accented = PersonName {
            given: given.replace('e', "é").replace('o', "ö"),
            family: family.replace('a', "a\u{300}"),
            ..PersonName::default()
        };
        prop_assert_eq!(normalise_name(&plain), normalise_name(&loud));
        prop_assert_eq!(normalise_name(&plain), normalise_name(&accented));
    }

    #[test]
    fn what_parts_say_wins_over_the_full_name(
        given in "[b-d]{3,6}",
        family in "[f-h]{3,6}",
        full in any_text(),
    ) {
        let name = normalise_name(&PersonName {
            given: given.clone(),
            family: family.clone(),
            full,
            ..PersonName::default()
        });
        prop_assert_eq!((name.given.as_str(), name.family.as_str()), (given.as_str(), family.as_str()));
    }
}

#[test]
fn known_full_names() {
    let table = [
        ("Ann Lee", ["ann", "", "lee", ""]),
        ("Lee, Ann", ["ann", "", "lee", ""]),
        ("Lee, Ann May", ["ann", "may", "lee", ""]),
        ("Ann May Rose Lee", ["ann", "may rose", "lee", ""]),
        ("Madonna", ["madonna", "", "", ""]),
        ("J. R. R. Tolkien", ["j", "r r", "tolkien", ""]),
        (
            "Dr. José van der Berg, Jr.",
            ["jose", "", "van der berg", "jr"],
        ),
        ("Mr John Smith Jr", ["john", "", "smith", "jr"]),
        ("Smith Jr., John", ["john", "", "smith", "jr"]),
        ("John Smith, III", ["john", "", "smith", "iii"]),
        ("John Smith 3rd", ["john", "", "smith", "iii"]),
        ("Prof. Marie Curie PhD", ["marie", "", "curie", ""]),
        ("Mrs. Ann O'Neil", ["ann", "", "oneil", ""]),
        ("Ludwig van Beethoven", ["ludwig", "", "van beethoven", ""]),
        ("Maria de la Cruz", ["maria", "", "de la cruz", ""]),
        ("van Gogh", ["van", "", "gogh", ""]),
        ("Jean-Luc Picard", ["jean", "luc", "picard", ""]),
        ("R0bert 5mith", ["robert", "", "smith", ""]),
        ("John 12345 Smith", ["john", "", "smith", ""]),
        ("ИВАН Иванов", ["ivan", "", "ivanov", ""]),
        ("Łukasz Wałęsa", ["lukasz", "", "walesa", ""]),
        ("Zoë Müller", ["zoe", "", "muller", ""]),
    ];
    assert_rows(
        table.map(|(written, expected)| {
            (written, parts(&full(written)), expected.map(str::to_owned))
        }),
    );
}

#[test]
fn known_names_in_parts() {
    let table = [
        (["Ann", "", "Lee", "", ""], ["ann", "", "lee", ""]),
        (["Mary Ann", "", "Lee", "", ""], ["mary", "ann", "lee", ""]),
        (["Ann", "M", "Lee", "Jr.", ""], ["ann", "m", "lee", "jr"]),
        (["Ann", "", "Lee", "Senior", ""], ["ann", "", "lee", "sr"]),
        (["Ann", "", "Lee", "MD", ""], ["ann", "", "lee", ""]),
        (["Mr. Sam", "", "Lee II", "", ""], ["sam", "", "lee", "ii"]),
        (
            ["", "", "Smith", "", "John Smith"],
            ["john", "", "smith", ""],
        ),
        (
            ["John", "", "", "", "John Smith"],
            ["john", "", "smith", ""],
        ),
        (
            ["", "", "van der Berg", "", "José van der Berg"],
            ["jose", "", "van der berg", ""],
        ),
        (["", "", "", "", "Smith, John"], ["john", "", "smith", ""]),
        (["N/A", "", "Smith", "", ""], ["", "", "smith", ""]),
        (["Ann", "none", "Unknown", "", ""], ["ann", "", "", ""]),
        (["X", "", "Smith", "", ""], ["x", "", "smith", ""]),
        (["小明", "", "王", "", ""], ["xiaoming", "", "wang", ""]),
    ];
    for ([given, middle, family, suffix, full], expected) in table {
        let [given, middle, family, suffix, full] =
            [given, middle, family, suffix, full].map(str::to_owned);
        let written = PersonName {
            given,
            middle,
            family,
            suffix,
            full,
        };
        assert_eq!(parts(&normalise_name(&written)), expected, "{written:?}");
    }
}

#[test]
fn placeholders_are_no_names() {
    let written = [
        "",
        " ",
        "-",
        "N/A",
        "n.a.",
        "none",
        "NULL",
        "Unknown",
        "unk",
        "xxx",
        "Test",
        "Guest",
        "CUSTOMER",
        "Cash Customer",
        "Walk-in",
        "walk in",
        "Valued Customer",
        "John Doe",
        "Doe, Jane",
        "anonymous",
        "asdf",
        "no name",
        "DO NOT USE",
        "Mr.",
        "12345",
    ];
    assert_rows(
        written.map(|placeholder| (placeholder, full(placeholder), NormalisedName::default())),
    );
}

#[test]
fn two_words_of_a_placeholder_are_recognised_in_parts() {
    for (given, family) in [
        ("Cash", "Customer"),
        ("Jane", "Doe"),
        ("Valued", "Customer"),
        ("Walk", "In"),
        ("Unknown", "Unknown"),
    ] {
        let written = PersonName {
            given: given.into(),
            family: family.into(),
            ..PersonName::default()
        };
        assert_eq!(
            normalise_name(&written),
            NormalisedName::default(),
            "{given} {family}"
        );
    }
}

#[test]
fn a_surname_that_is_also_a_till_word_survives_beside_a_given_name() {
    let table = [("Johnny Cash", "cash"), ("Christopher Guest", "guest")];
    assert_rows(
        table.map(|(written, family)| {
            (written, full(written).family.to_string(), family.to_owned())
        }),
    );
}
