//! What a blocking key is made of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::phonetic::soundex;
use crate::compare::Comparison;
use crate::normalise::nickname::formal_names;
use crate::normalise::{NormalisedName, NormalisedRecord};

/// One part of a blocking key. A record may yield several values for it, for example one for each of its phone numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// First given name, two letters or more.
    GivenName,
    /// Given name and every formal name that it may be short for.
    GivenNameRoot,
    /// First letter of the given name.
    GivenNameInitial,
    /// Soundex of the given name.
    GivenNameSoundex,
    /// Family name.
    FamilyName,
    /// Soundex of the family name and of each long part of a compound one.
    FamilyNameSoundex,
    /// Soundex of each given and family name, so that swapped names and records with only one of them meet.
    NamePartSoundex,
    /// Each given and family name.
    NamePart,
    /// Given and family name in alphabetical order, so that swapped names meet.
    SortedName,
    /// First four letters of the given and the family name in alphabetical order.
    SortedNamePrefix,
    /// Birth date as far as it is known.
    BirthDate,
    /// Year of birth.
    BirthYear,
    /// Day and month of birth, the smaller first, so that swapped ones meet.
    BirthDayMonth,
    /// E-mail address.
    Email,
    /// What stands before the `@`, five letters or more.
    EmailLocal,
    /// Phone number.
    Phone,
    /// Last seven digits of the phone number.
    PhoneTail,
    /// Identifier with its scheme.
    Identifier,
    /// Postcode.
    Postcode,
    /// First three characters of the postcode.
    PostcodePrefix,
    /// City.
    City,
    /// Postcode, or the city where there is none.
    Place,
    /// House number and the longest word of the street.
    StreetLine,
    /// Custom attribute with its name.
    Custom,
}

impl Element {
    /// The values that a record yields.
    pub fn values<'a>(self, record: &'a NormalisedRecord) -> Vec<Cow<'a, str>> {
        match self {
            Self::GivenName => names(record, |name| whole(&name.given)),
            Self::GivenNameRoot => record
                .names
                .iter()
                .flat_map(|name| roots(&name.given))
                .collect(),
            Self::GivenNameInitial => names(record, |name| name.given.get(..1).map(Cow::Borrowed)),
            Self::GivenNameSoundex => names(record, |name| {
                (name.given.len() > 1).then(|| Cow::Owned(soundex(&name.given)))
            }),
            Self::FamilyName => names(record, |name| whole(&name.family)),
            Self::FamilyNameSoundex => record
                .names
                .iter()
                .flat_map(|name| family_soundexes(&name.family))
                .collect(),
            Self::NamePartSoundex => name_parts(record)
                .map(|part| Cow::Owned(soundex(part)))
                .collect(),
            Self::NamePart => name_parts(record).map(Cow::Borrowed).collect(),
            Self::SortedName => names(record, |name| {
                sorted_pair(whole(&name.given)?, whole(&name.family)?)
            }),
            Self::SortedNamePrefix => names(record, |name| {
                sorted_pair(prefix(&name.given, 4)?, prefix(&name.family, 4)?)
            }),
            Self::BirthDate => record
                .birth_dates
                .iter()
                .map(|date| Cow::Owned(date.to_string()))
                .collect(),
            Self::BirthYear => record
                .birth_dates
                .iter()
                .map(|date| Cow::Owned(date.year.to_string()))
                .collect(),
            Self::BirthDayMonth => {
                let complete = record.birth_dates.iter().filter(|date| date.is_complete());
                complete
                    .map(|date| {
                        Cow::Owned(format!(
                            "{}-{}",
                            date.month.min(date.day),
                            date.month.max(date.day)
                        ))
                    })
                    .collect()
            }
            Self::Email => record
                .emails
                .iter()
                .map(|email| Cow::Borrowed(email.address.as_str()))
                .collect(),
            Self::EmailLocal => record
                .emails
                .iter()
                .map(|email| email.local())
                .filter(|local| local.len() >= 5)
                .map(Cow::Borrowed)
                .collect(),
            Self::Phone => record
                .phones
                .iter()
                .map(|phone| Cow::Borrowed(phone.as_str()))
                .collect(),
            Self::PhoneTail => record
                .phones
                .iter()
                .filter_map(|phone| phone.get(phone.len().checked_sub(7)?..))
                .map(Cow::Borrowed)
                .collect(),
            Self::Identifier => record
                .identifiers
                .iter()
                .map(|identifier| Cow::Owned(Self::identifier_value(identifier)))
                .collect(),
            Self::Postcode => record
                .addresses
                .iter()
                .filter_map(|address| whole(&address.postcode))
                .collect(),
            Self::PostcodePrefix => record
                .addresses
                .iter()
                .filter_map(|address| prefix(&address.postcode, 3))
                .collect(),
            Self::City => record
                .addresses
                .iter()
                .filter_map(|address| whole(&address.city))
                .collect(),
            Self::Place => record
                .addresses
                .iter()
                .filter_map(|address| whole(&address.postcode).or_else(|| whole(&address.city)))
                .collect(),
            Self::StreetLine => record
                .addresses
                .iter()
                .filter(|address| address.has_street_line())
                .map(|address| street_line(&address.number, &address.street))
                .collect(),
            Self::Custom => record
                .customs
                .iter()
                .map(|custom| Cow::Owned(format!("{}\u{1f}{}", custom.name, custom.value)))
                .collect(),
        }
    }

    pub(super) fn fixes(self, comparison: &Comparison) -> bool {
        match self {
            Self::GivenName
            | Self::GivenNameRoot
            | Self::GivenNameSoundex
            | Self::GivenNameInitial => *comparison == Comparison::GivenName,
            Self::FamilyName | Self::FamilyNameSoundex => *comparison == Comparison::FamilyName,
            Self::SortedName | Self::SortedNamePrefix | Self::NamePart | Self::NamePartSoundex => {
                matches!(comparison, Comparison::GivenName | Comparison::FamilyName)
            }
            Self::BirthDate | Self::BirthYear | Self::BirthDayMonth => {
                *comparison == Comparison::BirthDate
            }
            Self::Email | Self::EmailLocal => *comparison == Comparison::Email,
            Self::Phone | Self::PhoneTail => *comparison == Comparison::Phone,
            Self::Identifier => matches!(comparison, Comparison::Identifier(_)),
            Self::Postcode | Self::PostcodePrefix | Self::City | Self::Place | Self::StreetLine => {
                *comparison == Comparison::Address
            }
            Self::Custom => matches!(comparison, Comparison::Custom(_)),
        }
    }
}

fn names<'a>(
    record: &'a NormalisedRecord,
    value: impl Fn(&'a NormalisedName) -> Option<Cow<'a, str>>,
) -> Vec<Cow<'a, str>> {
    record.names.iter().filter_map(value).collect()
}

/// Given names, and family names whole and by the long parts of a compound one.
fn name_parts(record: &NormalisedRecord) -> impl Iterator<Item = &str> {
    record
        .names
        .iter()
        .flat_map(|name| [name.given.as_str(), name.family.as_str()])
        .filter(|part| part.len() > 1)
        .flat_map(|part| {
            let compound = part.contains(' ');
            let long = part
                .split(' ')
                .filter(move |word| compound && word.len() >= 4);
            std::iter::once(part).chain(long)
        })
}

fn whole(value: &str) -> Option<Cow<'_, str>> {
    (value.len() > 1).then_some(Cow::Borrowed(value))
}

fn prefix(value: &str, length: usize) -> Option<Cow<'_, str>> {
    (value.len() > 1).then(|| Cow::Borrowed(&value[..value.len().min(length)]))
}

fn roots(given: &str) -> Vec<Cow<'_, str>> {
    let mut roots: Vec<Cow<'_, str>> = formal_names(given)
        .iter()
        .take(8)
        .map(|formal| Cow::Borrowed(*formal))
        .collect();
    roots.extend(whole(given));
    roots
}

fn family_soundexes(family: &str) -> Vec<Cow<'_, str>> {
    if family.len() < 2 {
        return Vec::new();
    }
    let mut codes = vec![Cow::Owned(soundex(family))];
    if family.contains(' ') {
        codes.extend(
            family
                .split(' ')
                .filter(|part| part.len() >= 4)
                .map(|part| Cow::Owned(soundex(part))),
        );
    }
    codes
}

fn sorted_pair<'a>(one: Cow<'a, str>, other: Cow<'a, str>) -> Option<Cow<'a, str>> {
    let (first, second) = if one <= other {
        (one, other)
    } else {
        (other, one)
    };
    Some(Cow::Owned(format!("{first} {second}")))
}

fn street_line<'a>(number: &str, street: &str) -> Cow<'a, str> {
    let word = street
        .split(' ')
        .max_by_key(|word| (word.len(), *word))
        .unwrap_or(street);
    Cow::Owned(format!("{number} {}", soundex(word)))
}
