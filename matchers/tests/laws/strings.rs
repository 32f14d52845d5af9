//! String measures and soundex against outside oracles.

use proptest::prelude::*;
use rphonetic::{Encoder, Soundex};
use veridem_matchers::block::soundex;
use veridem_matchers::compare::{jaro_winkler, within_one_edit};

use crate::arbitrary::{any_text, cases};

/// Two texts of which the second is often a small change of the first.
fn near_pair(letters: &'static str) -> impl Strategy<Value = (String, String)> {
    let edited = (letters, any::<prop::sample::Index>(), 0..5_u8, "[a-z]").prop_map(
        |(text, at, edit, letter)| {
            let mut changed: Vec<char> = text.chars().collect();
            let at = at.index(changed.len() + 1);
            match edit {
                0 => changed.insert(at, letter.chars().next().expect("one letter")),
                1 if at < changed.len() => drop(changed.remove(at)),
                2 if at < changed.len() => changed[at] = letter.chars().next().expect("one letter"),
                3 if at + 1 < changed.len() => changed.swap(at, at + 1),
                _ => changed.reverse(),
            }
            (text, changed.into_iter().collect())
        },
    );
    prop_oneof![edited, (letters, letters)]
}

proptest! {
    #![proptest_config(cases(2_500))]

    #[test]
    fn jaro_winkler_equals_strsim_on_ascii(
        (left, right) in prop_oneof![near_pair("[a-f]{0,12}"), near_pair("[ -~]{0,80}")],
    ) {
        let expected = strsim::jaro_winkler(&left, &right);
        prop_assert!(
            (jaro_winkler(&left, &right) - expected).abs() < 1e-9,
            "{:?} {:?}: {} {}",
            left,
            right,
            jaro_winkler(&left, &right),
            expected
        );
    }

    #[test]
    fn jaro_winkler_is_bounded_and_one_for_equals((left, right) in near_pair("[a-f ]{0,20}")) {
        prop_assert!((0.0..=1.0).contains(&jaro_winkler(&left, &right)));
        prop_assert_eq!(jaro_winkler(&left, &left), 1.0);
    }

    #[test]
    fn within_one_edit_equals_strsim(
        (left, right) in prop_oneof![near_pair("[a-c]{0,7}"), near_pair("[ -~]{0,30}")],
    ) {
        let expected = strsim::osa_distance(&left, &right) <= 1;
        prop_assert_eq!(
            within_one_edit(left.as_bytes(), right.as_bytes()),
            expected,
            "{:?} {:?}",
            left,
            right
        );
        prop_assert_eq!(
            within_one_edit(right.as_bytes(), left.as_bytes()),
            expected,
            "{:?} {:?}",
            right,
            left
        );
    }

    #[test]
    fn soundex_equals_rphonetic(
        word in prop_oneof!["[a-z]{1,14}", "[abhwsckz]{1,8}", "[a-z]{1,7} [a-z]{1,7}"],
    ) {
        let expected = Soundex::default().encode(&word);
        prop_assert_eq!(format!("{:0<4}", soundex(&word)), expected, "{}", word);
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn jaro_winkler_equals_strsim_on_unicode(left in any_text(), right in any_text()) {
        let shorten = |text: &str| text.chars().take(200).collect::<String>();
        let (left, right) = (shorten(&left), shorten(&right));
        prop_assert!(
            (jaro_winkler(&left, &right) - strsim::jaro_winkler(&left, &right)).abs() < 1e-9
        );
    }

    #[test]
    fn within_one_edit_of_bytes_equals_strsim(
        left in prop::collection::vec(any::<u8>(), 0..6),
        right in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let text = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
        };
        prop_assert_eq!(
            within_one_edit(&left, &right),
            strsim::osa_distance(&text(&left), &text(&right)) <= 1
        );
    }

    #[test]
    fn soundex_is_total(text in any_text()) {
        let code = soundex(&text);
        prop_assert!(code.len() <= 4 && code.is_ascii());
    }
}

/// All words of up to five of three letters, each against each: nothing left to chance.
#[test]
fn jaro_winkler_and_edits_of_all_short_words() {
    let words: Vec<String> = (0..=5_u32)
        .flat_map(|length| (0..3_u32.pow(length)).map(move |code| word(code, length)))
        .collect();
    for left in &words {
        for right in &words {
            assert!(
                (jaro_winkler(left, right) - strsim::jaro_winkler(left, right)).abs() < 1e-9,
                "{left} {right}"
            );
            assert!(
                (jaro_winkler(left, right) - jaro_winkler(right, left)).abs() < 1e-9,
                "{left} {right} is not symmetric"
            );
            let near = within_one_edit(left.as_bytes(), right.as_bytes());
            assert_eq!(
                near,
                strsim::osa_distance(left, right) <= 1,
                "{left} {right}"
            );
        }
    }
}

fn word(mut code: u32, length: u32) -> String {
    (0..length)
        .map(|_| {
            let letter = b'a' + (code % 3) as u8;
            code /= 3;
            char::from(letter)
        })
        .collect()
}

#[test]
fn known_measures() {
    assert!((jaro_winkler("martha", "marhta") - 0.961_111).abs() < 1e-5);
    assert!((jaro_winkler("dixon", "dicksonx") - 0.813_333).abs() < 1e-5);
    assert_eq!(jaro_winkler("", ""), 1.0);
    assert_eq!(jaro_winkler("a", ""), 0.0);
    let longest = "a".repeat(64);
    assert_eq!(jaro_winkler(&longest, &longest), 1.0);
    assert_eq!(
        jaro_winkler(&longest, &format!("{longest}a")),
        strsim::jaro_winkler(&longest, &format!("{longest}a"))
    );
    let codes = [
        ("robert", "R163"),
        ("rupert", "R163"),
        ("ashcraft", "A261"),
        ("tymczak", "T522"),
        ("pfister", "P236"),
        ("honeyman", "H555"),
        ("lee", "L"),
        ("", ""),
    ];
    for (name, code) in codes {
        assert_eq!(soundex(name), code, "{name}");
    }
}
