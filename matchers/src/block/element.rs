//! What a blocking key is made of.

use serde::{Deserialize, Serialize};

use super::phonetic::soundex;
use crate::compare::Comparison;
use crate::normalise::nickname::formal_names;
use crate::normalise::{AddressView, EmailView, NameView, NormalisedRecord, PartialDate};

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

/// One value of a record, as blocking looks at it.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A name.
    Name(NameView<'a>),
    /// A birth date.
    BirthDate(PartialDate),
    /// An e-mail address.
    Email(EmailView<'a>),
    /// A phone number.
    Phone(&'a str),
    /// An address.
    Address(AddressView<'a>),
    /// An identifier: scheme and value.
    Identifier(&'a str, &'a str),
    /// A custom attribute: name and value.
    Custom(&'a str, &'a str),
}

/// Which values an element looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    BirthDate,
    Email,
    Phone,
    Address,
    Identifier,
    Custom,
}

impl NormalisedRecord {
    /// Every value that blocking looks at.
    pub fn block_values(&self) -> impl Iterator<Item = Value<'_>> {
        let names = self.names.iter().map(|name| Value::Name(name.view()));
        let dates = self.birth_dates.iter().map(|date| Value::BirthDate(*date));
        let emails = self.emails.iter().map(|email| Value::Email(email.view()));
        let phones = self.phones.iter().map(|phone| Value::Phone(phone));
        let addresses = self
            .addresses
            .iter()
            .map(|address| Value::Address(address.view()));
        let identifiers = self
            .identifiers
            .iter()
            .map(|identifier| Value::Identifier(&identifier.scheme, &identifier.value));
        let customs = self
            .customs
            .iter()
            .map(|custom| Value::Custom(&custom.name, &custom.value));
        names
            .chain(dates)
            .chain(emails)
            .chain(phones)
            .chain(addresses)
            .chain(identifiers)
            .chain(customs)
    }
}

impl Element {
    /// The values that a record yields.
    pub fn values(self, record: &NormalisedRecord) -> Vec<String> {
        let mut values = Vec::new();
        for value in record.block_values() {
            self.push_values(value, &mut |text| values.push(text.to_owned()));
        }
        values
    }

    /// Tells what one value of a record yields.
    pub fn push_values(self, value: Value<'_>, push: &mut dyn FnMut(&str)) {
        match value {
            Value::Name(name) => self.push_of_name(name, push),
            Value::BirthDate(date) => self.push_of_date(date, push),
            Value::Email(email) => match self {
                Self::Email => push(email.address),
                Self::EmailLocal if email.local.len() >= 5 => push(email.local),
                _ => {}
            },
            Value::Phone(phone) => match self {
                Self::Phone => push(phone),
                Self::PhoneTail => {
                    if let Some(tail) = phone
                        .len()
                        .checked_sub(7)
                        .and_then(|start| phone.get(start..))
                    {
                        push(tail);
                    }
                }
                _ => {}
            },
            Value::Address(address) => self.push_of_address(address, push),
            Value::Identifier(scheme, value) => {
                if self == Self::Identifier {
                    push(&Self::named_value(scheme, value));
                }
            }
            Value::Custom(name, value) => {
                if self == Self::Custom {
                    push(&Self::named_value(name, value));
                }
            }
        }
    }

    fn push_of_name(self, name: NameView<'_>, push: &mut dyn FnMut(&str)) {
        let given = || whole(name.given);
        match self {
            Self::GivenName => given().into_iter().for_each(push),
            Self::GivenNameRoot => {
                formal_names(name.given)
                    .iter()
                    .take(8)
                    .for_each(|formal| push(formal));
                given().into_iter().for_each(push);
            }
            Self::GivenNameInitial => name.given.get(..1).into_iter().for_each(push),
            Self::GivenNameSoundex => given().into_iter().for_each(|given| push(&soundex(given))),
            Self::FamilyName => whole(name.family).into_iter().for_each(push),
            Self::FamilyNameSoundex => {
                for part in with_long_words(name.family) {
                    push(&soundex(part));
                }
            }
            Self::NamePart => name_parts(name).for_each(push),
            Self::NamePartSoundex => name_parts(name).for_each(|part| push(&soundex(part))),
            Self::SortedName => push_sorted(given(), whole(name.family), push),
            Self::SortedNamePrefix => {
                push_sorted(prefix(name.given, 4), prefix(name.family, 4), push);
            }
            _ => {}
        }
    }

    fn push_of_date(self, date: PartialDate, push: &mut dyn FnMut(&str)) {
        match self {
            Self::BirthDate => push(&date.to_string()),
            Self::BirthYear => push(&date.year.to_string()),
            Self::BirthDayMonth if date.is_complete() => push(&format!(
                "{}-{}",
                date.month.min(date.day),
                date.month.max(date.day)
            )),
            _ => {}
        }
    }

    fn push_of_address(self, address: AddressView<'_>, push: &mut dyn FnMut(&str)) {
        match self {
            Self::Postcode => whole(address.postcode).into_iter().for_each(push),
            Self::PostcodePrefix => prefix(address.postcode, 3).into_iter().for_each(push),
            Self::City => whole(address.city).into_iter().for_each(push),
            Self::Place => whole(address.postcode)
                .or_else(|| whole(address.city))
                .into_iter()
                .for_each(push),
            Self::StreetLine if address.has_street_line() => {
                push(&street_line(address.number, address.street));
            }
            _ => {}
        }
    }

    /// A value under the scheme or name that it belongs to.
    pub(crate) fn named_value(name: &str, value: &str) -> String {
        format!("{name}\u{1f}{value}")
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::GivenName
            | Self::GivenNameRoot
            | Self::GivenNameInitial
            | Self::GivenNameSoundex
            | Self::FamilyName
            | Self::FamilyNameSoundex
            | Self::NamePartSoundex
            | Self::NamePart
            | Self::SortedName
            | Self::SortedNamePrefix => Kind::Name,
            Self::BirthDate | Self::BirthYear | Self::BirthDayMonth => Kind::BirthDate,
            Self::Email | Self::EmailLocal => Kind::Email,
            Self::Phone | Self::PhoneTail => Kind::Phone,
            Self::Postcode | Self::PostcodePrefix | Self::City | Self::Place | Self::StreetLine => {
                Kind::Address
            }
            Self::Identifier => Kind::Identifier,
            Self::Custom => Kind::Custom,
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

fn whole(value: &str) -> Option<&str> {
    (value.len() > 1).then_some(value)
}

fn prefix(value: &str, length: usize) -> Option<&str> {
    (value.len() > 1).then(|| &value[..value.len().min(length)])
}

/// Given and family name, whole and by the long words of a compound one.
fn name_parts(name: NameView<'_>) -> impl Iterator<Item = &str> {
    [name.given, name.family]
        .into_iter()
        .flat_map(with_long_words)
}

fn with_long_words(part: &str) -> impl Iterator<Item = &str> {
    let compound = part.contains(' ');
    let long = part
        .split(' ')
        .filter(move |word| compound && word.len() >= 4);
    whole(part).into_iter().chain(long)
}

fn push_sorted(one: Option<&str>, other: Option<&str>, push: &mut dyn FnMut(&str)) {
    if let (Some(one), Some(other)) = (one, other) {
        push(&format!("{} {}", one.min(other), one.max(other)));
    }
}

fn street_line(number: &str, street: &str) -> String {
    let word = street
        .split(' ')
        .max_by_key(|word| (word.len(), *word))
        .unwrap_or(street);
    format!("{number} {}", soundex(word))
}
