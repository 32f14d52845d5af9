//! Phone numbers to E.164.

use std::borrow::Cow;

use rlibphonenumber::{NumberLengthType, PhoneNumber, Region};
use unicode_normalization::UnicodeNormalization;

use super::text::is_placeholder_digits;

/// E.164 (`+15167087412`), or the bare digits where the number fits no numbering plan but is long enough to tell people
/// apart. `None` for what is no number, and for placeholder values such as `0000000000`.
///
/// `region` is the ISO 3166 code of the country in which numbers without a country code are dialled.
///
/// ```
/// use veridem_matchers::normalise::{Region, normalise_phone};
/// assert_eq!(normalise_phone("(212) 736-5000", Region::US).as_deref(), Some("+12127365000"));
/// assert_eq!(normalise_phone("555-555-5555", Region::US), None);
/// ```
pub fn normalise_phone(written: &str, region: Region) -> Option<String> {
    // Digits of other scripts are read as ours.
    let written: Cow<'_, str> = if written.is_ascii() {
        written.into()
    } else {
        written.nfkc().collect()
    };
    let digits: String = written
        .chars()
        .filter_map(|letter| letter.to_digit(10))
        .filter_map(|digit| char::from_digit(digit, 10))
        .collect();
    if !(7..=17).contains(&digits.len()) || is_placeholder_digits(&digits) {
        return None;
    }
    let possible = |text: &str| {
        PhoneNumber::parse(text, Some(region))
            .ok()
            .filter(|number| {
                matches!(
                    number.is_possible_with_reason(),
                    Ok(NumberLengthType::IsPossible)
                )
            })
    };
    let plus = if written.trim_start().starts_with('+') {
        "+"
    } else {
        ""
    };
    let Some(number) = possible(&written).or_else(|| possible(&format!("{plus}{digits}"))) else {
        return Some(digits);
    };
    (!is_placeholder_digits(&number.get_national_significant_number())).then(|| number.to_string())
}
