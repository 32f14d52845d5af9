//! Text folded for comparison: other scripts, case, accents and punctuation taken away.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Texts that stand for "nothing known", after [`fold`].
const PLACEHOLDER_TEXTS: &[&str] = &[
    "",
    "n a",
    "na",
    "nan",
    "nil",
    "no name",
    "none",
    "not available",
    "not given",
    "not known",
    "not provided",
    "null",
    "refused",
    "test",
    "tbd",
    "undefined",
    "unk",
    "unknown",
    "x",
    "xx",
    "xxx",
    "xxxx",
];

/// Folds to lower-case ASCII words separated by one space: NFKC, transliteration, case folding; apostrophes and
/// full stops vanish (`O'Neil` and `ONeil` are the same), every other mark separates words.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    if text.is_ascii() {
        push_folded(&mut folded, text);
    } else {
        let normal: String = text.nfkc().collect();
        push_folded(&mut folded, &any_ascii::any_ascii(&normal));
    }
    if folded.ends_with(' ') {
        folded.pop();
    }
    folded
}

fn push_folded(folded: &mut String, ascii: &str) {
    for byte in ascii.bytes() {
        match byte {
            b'\'' | b'`' | b'.' => {}
            _ if byte.is_ascii_alphanumeric() => folded.push(byte.to_ascii_lowercase() as char),
            _ if folded.is_empty() || folded.ends_with(' ') => {}
            _ => folded.push(' '),
        }
    }
}

/// Letters and digits only, upper case: the form in which identifiers and postcodes are equal.
pub fn compact(text: &str) -> String {
    let text = text.trim();
    let ascii = if text.is_ascii() {
        Cow::from(text)
    } else {
        any_ascii::any_ascii(text).into()
    };
    ascii
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_uppercase() as char)
        .collect()
}

/// Whether a folded text says only that nothing is known.
pub fn is_placeholder(folded: &str) -> bool {
    PLACEHOLDER_TEXTS.contains(&folded)
}

/// Whether digits are what people type to get past a required field: one digit repeated, or counting up or down.
pub fn is_placeholder_digits(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    if bytes.len() < 2 {
        return true;
    }
    let steps =
        |expected: fn(u8, u8) -> bool| bytes.windows(2).all(|pair| expected(pair[0], pair[1]));
    steps(|left, right| left == right)
        || steps(|left, right| (left - b'0' + 1) % 10 == right - b'0')
        || steps(|left, right| (right - b'0' + 1) % 10 == left - b'0')
}
