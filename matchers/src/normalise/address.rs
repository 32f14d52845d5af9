//! Postal addresses: number, street, unit, postcode apart, with the usual abbreviations written one way.

use super::Text;
use serde::{Deserialize, Serialize};

use super::text::{compact, fold, is_placeholder};
use crate::record::PostalAddress;

/// Street words with the one form in which they are compared (USPS publication 28, appendix C, and British, Australian,
/// German and French usage).
const STREET_WORDS: &[(&str, &str)] = &[
    ("alley", "aly"),
    ("ave", "av"),
    ("avenue", "av"),
    ("avn", "av"),
    ("boul", "blvd"),
    ("boulevard", "blvd"),
    ("bvd", "blvd"),
    ("circle", "cir"),
    ("circuit", "cct"),
    ("close", "cl"),
    ("court", "ct"),
    ("cres", "cr"),
    ("crescent", "cr"),
    ("crt", "ct"),
    ("drive", "dr"),
    ("drv", "dr"),
    ("east", "e"),
    ("esplanade", "esp"),
    ("expressway", "expy"),
    ("freeway", "fwy"),
    ("gardens", "gdns"),
    ("grove", "gr"),
    ("heights", "hts"),
    ("highway", "hwy"),
    ("lane", "ln"),
    ("mount", "mt"),
    ("mountain", "mtn"),
    ("north", "n"),
    ("northeast", "ne"),
    ("northwest", "nw"),
    ("parade", "pde"),
    ("park", "pk"),
    ("parkway", "pkwy"),
    ("place", "pl"),
    ("plaza", "plz"),
    ("road", "rd"),
    ("route", "rte"),
    ("saint", "st"),
    ("south", "s"),
    ("southeast", "se"),
    ("southwest", "sw"),
    ("square", "sq"),
    ("str", "st"),
    ("strasse", "st"),
    ("street", "st"),
    ("terr", "ter"),
    ("terrace", "ter"),
    ("trail", "trl"),
    ("turnpike", "tpke"),
    ("west", "w"),
];
const UNIT_WORDS: &[&str] = &[
    "apartment",
    "apt",
    "building",
    "bldg",
    "department",
    "dept",
    "flat",
    "floor",
    "lot",
    "no",
    "ph",
    "penthouse",
    "rm",
    "room",
    "shop",
    "space",
    "spc",
    "ste",
    "suite",
    "trlr",
    "unit",
    "wohnung",
];

/// An address taken apart; every part folded, empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NormalisedAddress {
    /// House number, with its letter.
    pub number: Text,
    /// Street name with type and direction in their short forms.
    pub street: Text,
    /// Apartment, suite, floor.
    pub unit: Text,
    /// City or suburb.
    pub city: Text,
    /// State or region.
    pub region: Text,
    /// Postcode, letters and digits only; a US ZIP+4 is cut to its five digits.
    pub postcode: Text,
}

impl NormalisedAddress {
    /// Whether nothing that places a person is known.
    pub fn is_empty(&self) -> bool {
        self.street.is_empty() && self.city.is_empty() && self.postcode.is_empty()
    }

    /// The parts, wherever they are kept.
    pub fn view(&self) -> AddressView<'_> {
        AddressView {
            number: &self.number,
            street: &self.street,
            unit: &self.unit,
            city: &self.city,
            region: &self.region,
            postcode: &self.postcode,
        }
    }
}

/// The parts of a [`NormalisedAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressView<'a> {
    /// House number.
    pub number: &'a str,
    /// Street.
    pub street: &'a str,
    /// Unit.
    pub unit: &'a str,
    /// City.
    pub city: &'a str,
    /// Region.
    pub region: &'a str,
    /// Postcode.
    pub postcode: &'a str,
}

impl AddressView<'_> {
    /// Whether number and street are known.
    pub fn has_street_line(&self) -> bool {
        !self.number.is_empty() && !self.street.is_empty()
    }
}

/// Takes an address apart.
///
/// ```
/// use veridem_matchers::{PostalAddress, normalise::normalise_address};
/// let written = PostalAddress { street: "2700 East Trotter Avenue #241".into(), postcode: "24808-1234".into(), ..Default::default() };
/// let normal = normalise_address(&written);
/// assert_eq!((normal.number.as_str(), normal.street.as_str(), normal.unit.as_str()), ("2700", "e trotter av", "241"));
/// assert_eq!(normal.postcode, "24808");
/// ```
pub fn normalise_address(written: &PostalAddress) -> NormalisedAddress {
    let line = if written.street.contains('#') {
        fold(&written.street.replace('#', " unit "))
    } else {
        fold(&written.street)
    };
    let line = if is_placeholder(&line) {
        String::new()
    } else {
        line
    };
    let mut number = known(&written.number);
    let mut unit: Vec<String> = Vec::new();
    let mut street: Vec<&str> = Vec::new();
    let mut words = line.split(' ').filter(|word| !word.is_empty()).peekable();
    // `12/34 High Street` is unit 12, number 34.
    if written.street.split_once('/').is_some_and(|(before, _)| {
        before.trim().bytes().all(|byte| byte.is_ascii_digit()) && !before.trim().is_empty()
    }) {
        unit.extend(words.next().map(str::to_owned));
    }
    while let Some(word) = words.next() {
        if UNIT_WORDS.contains(&word) && words.peek() == Some(&"unit") {
            continue;
        }
        if word == "no"
            && number.is_empty()
            && words
                .peek()
                .is_some_and(|next| next.starts_with(|letter: char| letter.is_ascii_digit()))
        {
            continue;
        }
        if UNIT_WORDS.contains(&word)
            && (!street.is_empty() || number.is_empty())
            && words.peek().is_some()
        {
            unit.extend(words.next().map(str::to_owned));
        } else if number.is_empty()
            && word.starts_with(|letter: char| letter.is_ascii_digit())
            && !is_ordinal(word)
        {
            number = word.to_owned();
        } else {
            street.push(street_word(word));
        }
    }
    unit.extend(unit_words(&written.unit));
    NormalisedAddress {
        number: number.into(),
        street: street.join(" ").into(),
        unit: unit.join(" ").into(),
        city: known(&written.city).into(),
        region: known(&written.region).into(),
        postcode: normalise_postcode(&written.postcode).into(),
    }
}

fn street_word(word: &str) -> &str {
    STREET_WORDS
        .binary_search_by(|(long, _)| (*long).cmp(word))
        .map_or(word, |index| STREET_WORDS[index].1)
}

fn is_ordinal(word: &str) -> bool {
    ["st", "nd", "rd", "th"].iter().any(|ending| {
        word.strip_suffix(ending)
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn unit_words(written: &str) -> Vec<String> {
    known(written)
        .split(' ')
        .filter(|word| !word.is_empty() && !UNIT_WORDS.contains(word))
        .map(str::to_owned)
        .collect()
}

fn known(written: &str) -> String {
    let folded = fold(written);
    if is_placeholder(&folded) {
        String::new()
    } else {
        folded
    }
}

fn normalise_postcode(written: &str) -> String {
    let mut postcode = compact(written);
    let all_digits = postcode.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits
        && postcode
            .bytes()
            .all(|byte| Some(&byte) == postcode.as_bytes().first())
        || is_placeholder(&postcode.to_ascii_lowercase())
    {
        return String::new();
    }
    if all_digits && postcode.len() == 9 {
        postcode.truncate(5);
    }
    postcode
}

#[cfg(test)]
mod tests {
    use super::STREET_WORDS;

    #[test]
    fn street_words_are_sorted_for_the_binary_search() {
        assert!(STREET_WORDS.is_sorted_by(|left, right| left.0 < right.0));
    }
}
