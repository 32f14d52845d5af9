//! Phone numbers.

use proptest::prelude::*;
use veridem_matchers::normalise::{Region, normalise_phone};

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

proptest! {
    #![proptest_config(cases(700))]

    #[test]
    fn a_phone_is_total_and_digits(
        written in prop_oneof![any_text(), "[+(]{0,2}[0-9 ()./-]{5,22}( ?(x|ext\\.?) ?[0-9]{1,4})?"],
    ) {
        for region in [Region::US, Region::GB, Region::DE] {
            if let Some(once) = normalise_phone(&written, region) {
                let digits = once.strip_prefix('+').unwrap_or(&once);
                prop_assert!(!digits.is_empty());
                prop_assert!(
                    digits.bytes().all(|byte| byte.is_ascii_digit()),
                    "{written:?} became {once:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn one_number_in_every_notation(area in "[2-9]0[2-9]", exchange in "[2-9][02-9]{2}", line in "[0-9]{4}") {
        let expected = Some(format!("+1{area}{exchange}{line}"));
        let notations = [
            format!("{area}{exchange}{line}"),
            format!("({area}) {exchange}-{line}"),
            format!("{area}.{exchange}.{line}"),
            format!("1-{area}-{exchange}-{line}"),
            format!("+1 {area} {exchange} {line}"),
            format!("+1{area}{exchange}{line}"),
        ];
        for written in notations {
            let found = normalise_phone(&written, Region::US);
            prop_assert_eq!(found, expected.clone(), "{:?}", written);
        }
        let abroad = format!("+1 {area} {exchange} {line}");
        prop_assert_eq!(normalise_phone(&abroad, Region::DE), expected);
    }
}

#[test]
fn one_phone_number_is_one_value() {
    let table: &[(Region, &str, &[&str])] = &[
        (
            Region::US,
            "+12127365000",
            &[
                "2127365000",
                "(212) 736-5000",
                "212-736-5000",
                "212.736.5000",
                "1 212 736 5000",
                "+1 (212) 736 5000",
                "tel:+1-212-736-5000",
                "011 1 212 736 5000",
                " 212 736 5000 ",
            ],
        ),
        (
            Region::US,
            "+442079460958",
            &[
                "+44 20 7946 0958",
                "+44 (0)20 7946 0958",
                "011 44 20 7946 0958",
                "+442079460958",
            ],
        ),
        (
            Region::GB,
            "+442079460958",
            &[
                "020 7946 0958",
                "(020) 7946 0958",
                "0044 20 7946 0958",
                "+44 20 7946 0958",
                "+44 (0) 20 7946-0958",
            ],
        ),
        (
            Region::DE,
            "+4930901820",
            &["030 901820", "+49 30 901820", "0049 (0)30 / 90 18 20"],
        ),
    ];
    for (region, expected, notations) in table {
        assert_rows(notations.iter().map(|written| {
            (
                written,
                normalise_phone(written, *region),
                Some((*expected).to_owned()),
            )
        }));
    }
}

#[test]
fn marks_and_words_around_the_digits_do_not_make_another_number() {
    let notations = [
        "212\t736\t5000",
        "212_736_5000",
        "212,736,5000",
        "(212) 736-5000 (home)",
        "(212) 736-5000 mobile",
        "２１２ ７３６ ５０００",
    ];
    assert_rows(notations.map(|written| {
        (
            written,
            normalise_phone(written, Region::US),
            Some("+12127365000".to_owned()),
        )
    }));
}

#[test]
fn an_extension_does_not_make_another_number() {
    for written in [
        "(212) 736-5000 x12",
        "212-736-5000 ext. 12",
        "+1 212 736 5000;ext=12",
    ] {
        assert_eq!(
            normalise_phone(written, Region::US).as_deref(),
            Some("+12127365000"),
            "{written:?}"
        );
    }
}

#[test]
fn junk_phones_are_absent() {
    let written = [
        "",
        "-",
        "n/a",
        "123",
        "911",
        "0",
        "000-000-0000",
        "0000000",
        "1111111111",
        "555-555-5555",
        "(999) 999-9999",
        "1234567",
        "1234567890",
        "0123456789",
        "9876543210",
        "+1 000 000 0000",
        "+1 555 555 5555",
        "call me",
        "123456789012345678901234567890",
    ];
    assert_rows(written.map(|junk| (junk, normalise_phone(junk, Region::US), None)));
}

#[test]
fn a_number_without_its_area_code_stays_as_it_is() {
    // `+17365000` would name another number, and `compare` could no longer see that an area code is missing.
    assert_eq!(
        normalise_phone("736-5000", Region::US).as_deref(),
        Some("7365000")
    );
}
