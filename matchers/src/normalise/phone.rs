//! Phone numbers to E.164.

use std::borrow::Cow;

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber, Region};
use unicode_normalization::UnicodeNormalization;

use super::text::is_placeholder_digits;

/// The country of an ISO 3166 code of two letters; `None` where no phone numbers are known of it.
///
/// ```
/// use veridem_matchers::normalise::{Region, phone_region};
/// assert_eq!(phone_region("US"), Some(Region::US));
/// assert_eq!(phone_region("Oz"), None);
/// ```
pub fn phone_region(code: &str) -> Option<Region> {
    // `from_code` takes any two letters.
    let region = Region::from_code(code).ok().filter(|_| code.len() == 2)?;
    let country_code = PHONE_NUMBER_UTIL.get_country_code_for_region(region);
    country_code.map(|_| region)
}

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
    if let Some(number) = north_american(&written, &digits, region) {
        return Some(number).filter(|number| !is_placeholder_digits(&number[2..]));
    }
    by_numbering_plan(&written, digits, region)
}

/// Ten digits written in a usual way in North America, which need no numbering plan: what [`by_numbering_plan`] answers, in a tenth
/// of its time.
fn north_american(written: &str, digits: &str, region: Region) -> Option<String> {
    let is_usual = |byte: u8| byte.is_ascii_digit() || b" ()-.".contains(&byte);
    let in_national_form =
        digits.len() == 10 && digits.as_bytes()[0] >= b'2' && written.bytes().all(is_usual);
    (region == Region::US && in_national_form).then(|| format!("+1{digits}"))
}

fn by_numbering_plan(written: &str, digits: String, region: Region) -> Option<String> {
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
    let Some(number) = possible(written).or_else(|| possible(&format!("{plus}{digits}"))) else {
        return Some(digits);
    };
    (!is_placeholder_digits(&number.get_national_significant_number())).then(|| number.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_short_way_answers_as_the_numbering_plan_does(
            parts in ("[ (.-]{0,2}[2-9][0-9]{2}", "[ ).-]{0,2}[0-9]{3}", "[ .-]{0,2}[0-9]{4}[ )]{0,1}"),
        ) {
            let written = [parts.0, parts.1, parts.2].concat();
            let digits: String = written.chars().filter(char::is_ascii_digit).collect();
            if is_placeholder_digits(&digits) {
                return Ok(());
            }
            let short = north_american(&written, &digits, Region::US);
            prop_assert!(short.is_some());
            prop_assert_eq!(short, by_numbering_plan(&written, digits, Region::US));
        }
    }
}
