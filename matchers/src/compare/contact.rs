//! E-mail addresses, phone numbers, identifiers and custom attributes.

use super::strings::{jaro_winkler, within_one_edit};
use crate::normalise::EmailView;

/// Levels of an e-mail address, strongest first.
pub const EMAIL_LEVELS: &[&str] = &[
    "exact",
    "similar",
    "same_local",
    "same_name",
    "somewhat",
    "different",
];
/// The level of e-mail addresses that are different.
pub const EMAIL_DIFFERENT: u8 = EMAIL_LEVELS.len() as u8 - 1;
/// Levels of a phone number, strongest first.
pub const PHONE_LEVELS: &[&str] = &["exact", "similar", "different"];
/// The level of phone numbers that are a slip apart.
pub const PHONE_SIMILAR: u8 = 1;
/// The level of phone numbers that are different.
pub const PHONE_DIFFERENT: u8 = 2;
/// Levels of an identifier, strongest first.
pub const IDENTIFIER_LEVELS: &[&str] = &["exact", "similar", "different"];
/// Levels of a custom attribute, strongest first.
pub const CUSTOM_LEVELS: &[&str] = &["exact", "similar", "somewhat", "different"];

/// The level of two e-mail addresses.
pub fn emails(left: EmailView<'_>, right: EmailView<'_>) -> u8 {
    if left.address == right.address {
        return 0;
    }
    let (one, other) = (left.local, right.local);
    let of_name = left.of_name || right.of_name;
    if one.len() >= 5 && one == other {
        return if of_name { 3 } else { 2 };
    }
    if within_one_edit(left.address.as_bytes(), right.address.as_bytes()) {
        return 1;
    }
    let similarity = jaro_winkler(one, other);
    if similarity >= 0.94 && one.len().min(other.len()) >= 5 {
        return if of_name { 3 } else { 1 };
    }
    if similarity >= 0.85 { 4 } else { 5 }
}

/// The level of two phone numbers in E.164 or bare digits.
pub fn phones(left: &str, right: &str) -> u8 {
    if left == right {
        return 0;
    }
    let tail = |digits: &str| {
        digits
            .len()
            .checked_sub(7)
            .map(|start| digits.as_bytes()[start..].to_vec())
    };
    // A number without its area code agrees in the last seven digits; two numbers with one each must agree there as well.
    let no_area_code = left.len().min(right.len()) <= 8;
    let similar = within_one_edit(left.as_bytes(), right.as_bytes())
        || (no_area_code && tail(left).is_some() && tail(left) == tail(right));
    if similar {
        PHONE_SIMILAR
    } else {
        PHONE_DIFFERENT
    }
}

/// The level of two identifiers of one scheme.
pub fn identifiers(left: &str, right: &str) -> u8 {
    if left == right {
        0
    } else if left.len().min(right.len()) >= 5 && within_one_edit(left.as_bytes(), right.as_bytes())
    {
        1
    } else {
        2
    }
}

/// The level of two custom values of one name.
pub fn customs(left: &str, right: &str) -> u8 {
    if left == right {
        return 0;
    }
    match jaro_winkler(left, right) {
        similarity if similarity >= 0.92 => 1,
        similarity if similarity >= 0.8 => 2,
        _ => 3,
    }
}
