//! Postal addresses: one comparison, since street, city and postcode say the same thing and must count once.

use super::Agreement;
use super::strings::{jaro_winkler, within_one_edit};
use crate::normalise::AddressView;

/// Levels of an address, strongest first.
pub const ADDRESS_LEVELS: &[&str] = &[
    "dwelling",
    "street_line",
    "street",
    "postcode",
    "postcode_similar",
    "city",
    "region",
    "different",
];

/// The level of addresses of one postcode in different or unknown streets.
pub const POSTCODE: u8 = 3;
/// The level of addresses that have the region in common.
pub const REGION: u8 = 6;
/// The level of addresses that have nothing in common.
pub const DIFFERENT: u8 = 7;

/// Compares two addresses; `None` where they have no part in common to compare.
pub fn addresses(left: AddressView<'_>, right: AddressView<'_>) -> Option<Agreement<'static>> {
    let postcode =
        both(left.postcode, right.postcode).map(|(one, other)| Closeness::of(one, other));
    let city = both(left.city, right.city).map(|(one, other)| Closeness::of(one, other));
    let street = both(left.street, right.street).map(|(one, other)| street_closeness(one, other));
    let number = both(left.number, right.number).map(|(one, other)| Closeness::of(one, other));
    let region = both(left.region, right.region).map(|(one, other)| one == other);
    let same_postcode = postcode == Some(Closeness::Exact);
    let near = |closeness: Option<Closeness>| {
        matches!(closeness, Some(Closeness::Exact | Closeness::Similar))
    };
    let place_agrees = near(postcode) || near(city);
    let place_unknown = postcode.is_none() && city.is_none();

    if near(street)
        && near(number)
        && !(street == Some(Closeness::Similar)
            && number == Some(Closeness::Similar)
            && !place_agrees)
    {
        let unit_differs = both(left.unit, right.unit)
            .is_some_and(|(one, other)| Closeness::of(one, other) == Closeness::Different);
        if (place_agrees || place_unknown) && !unit_differs && number == Some(Closeness::Exact) {
            return Some(Agreement::at(0));
        }
        return Some(Agreement::at(1));
    }
    if near(street) && place_agrees {
        return Some(Agreement::at(2));
    }
    if same_postcode {
        return Some(Agreement::at(POSTCODE));
    }
    if near(postcode) {
        return Some(Agreement::at(4));
    }
    if near(city) {
        return Some(Agreement::at(5));
    }
    if near(street) {
        return Some(Agreement::at(2));
    }
    match (
        postcode.is_some() || city.is_some() || street.is_some(),
        region,
    ) {
        (_, Some(true)) => Some(Agreement::at(REGION)),
        (true, _) => Some(Agreement::at(DIFFERENT)),
        (false, _) => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Closeness {
    Exact,
    Similar,
    Different,
}

impl Closeness {
    fn of(one: &str, other: &str) -> Self {
        if one == other {
            Self::Exact
        } else if one.len().min(other.len()) >= 3
            && (within_one_edit(one.as_bytes(), other.as_bytes())
                || jaro_winkler(one, other) >= 0.95)
        {
            Self::Similar
        } else {
            Self::Different
        }
    }
}

/// Streets are the same when their words are, whether or not type and direction are written.
fn street_closeness(one: &str, other: &str) -> Closeness {
    if one == other {
        return Closeness::Exact;
    }
    let (shorter, longer) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let contained = shorter
        .split(' ')
        .all(|word| longer.split(' ').any(|candidate| candidate == word));
    if contained && shorter.split(' ').any(|word| word.len() >= 4) {
        return Closeness::Exact;
    }
    if jaro_winkler(one, other) >= 0.9 || within_one_edit(one.as_bytes(), other.as_bytes()) {
        return Closeness::Similar;
    }
    Closeness::Different
}

fn both<'a>(one: &'a str, other: &'a str) -> Option<(&'a str, &'a str)> {
    (!one.is_empty() && !other.is_empty()).then_some((one, other))
}
