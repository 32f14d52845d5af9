//! Text folding.

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;
use veridem_matchers::normalise::fold;

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn folded_text_is_words_of_lower_case_letters_and_digits(text in any_text()) {
        let folded = fold(&text);
        prop_assert!(
            folded
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b' ')
        );
        prop_assert!(!folded.starts_with(' ') && !folded.ends_with(' ') && !folded.contains("  "));
    }

    #[test]
    fn folding_twice_is_folding_once(text in any_text()) {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded);
    }

    #[test]
    fn canonically_equal_texts_fold_equally(text in any_text()) {
        let composed: String = text.nfc().collect();
        let decomposed: String = text.nfd().collect();
        prop_assert_eq!(fold(&composed), fold(&decomposed));
    }

    #[test]
    fn case_does_not_matter_in_european_scripts(text in "[a-zA-ZÀ-ÖØ-öø-ʯΑ-Ωα-ωА-Яа-я' .-]{0,30}") {
        prop_assert_eq!(fold(&text.to_lowercase()), fold(&text));
    }
}

#[test]
fn known_texts() {
    let table = [
        ("", ""),
        ("   ", ""),
        ("--", ""),
        ("Ann", "ann"),
        ("  Ann   Lee ", "ann lee"),
        ("O'Neil", "oneil"),
        ("O’Neil", "oneil"),
        ("O`Neil", "oneil"),
        ("J.R.R.", "jrr"),
        ("Jean-Luc", "jean luc"),
        ("Jean\u{2010}Luc", "jean luc"),
        ("Ann\tLee\nMay", "ann lee may"),
        ("Ann\u{a0}Lee", "ann lee"),
        ("José", "jose"),
        ("Jose\u{301}", "jose"),
        ("Müller", "muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Łukasz", "lukasz"),
        ("Øystein Ærø", "oystein aero"),
        ("Þór", "thor"),
        ("Đặng", "dang"),
        ("Иван", "ivan"),
        ("ИВАНОВ", "ivanov"),
        ("Ελένη", "eleni"),
        ("王", "wang"),
        ("ﬁnn", "finn"),
        ("ＡＢＣ１２３", "abc123"),
        ("Ⅷ", "viii"),
        ("a\0b", "a b"),
    ];
    assert_rows(table.map(|(written, expected)| (written, fold(written), expected.to_owned())));
}
