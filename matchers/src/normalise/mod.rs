//! From what was written to what can be compared. One file per attribute kind; every function is pure and total: bad
//! input becomes an absent value, never an error and never a guess.

mod address;
mod date;
mod email;
mod identifier;
mod name;
pub(crate) mod nickname;
pub(crate) mod text;

mod phone;

pub use address::{AddressView, NormalisedAddress, normalise_address};
pub use date::{PartialDate, certain_date, normalise_date};
pub use email::{EmailView, NormalisedEmail, normalise_email};
pub use identifier::{NormalisedIdentifier, normalise_identifier};
pub use name::{NameView, NormalisedName, normalise_name};
pub use phone::{normalise_phone, phone_region};
pub use rlibphonenumber::Region;
pub use text::{compact, fold};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::record::{ACTIVITY_PREFIX, Attribute, StatedAttribute};

/// A short text, which lies in place: records are compared without following a pointer for every value.
pub type Text = CompactString;

/// A custom attribute in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NormalisedCustom {
    /// The attribute's name.
    pub name: Text,
    /// Its folded value.
    pub value: Text,
}

/// A source record in the form in which it is compared. A source may state several values of a kind; placeholders and
/// malformed values are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NormalisedRecord {
    /// Names.
    pub names: Vec<NormalisedName>,
    /// Birth dates.
    pub birth_dates: Vec<PartialDate>,
    /// E-mail addresses.
    pub emails: Vec<NormalisedEmail>,
    /// Phone numbers, E.164.
    pub phones: Vec<Text>,
    /// Addresses.
    pub addresses: Vec<NormalisedAddress>,
    /// Identifiers.
    pub identifiers: Vec<NormalisedIdentifier>,
    /// First letter of the gender, `f`, `m` or another.
    pub gender: Option<char>,
    /// Everything else.
    pub customs: Vec<NormalisedCustom>,
}

/// One value in the form in which it is compared.
#[derive(Hash)]
pub(crate) enum NormalisedValue {
    Name(NormalisedName),
    BirthDate(PartialDate),
    Email(NormalisedEmail),
    Phone(Text),
    Address(NormalisedAddress),
    Identifier(NormalisedIdentifier),
    Gender(char),
    Custom(NormalisedCustom),
}

impl NormalisedValue {
    /// `None` for placeholders and malformed values.
    pub fn new(attribute: &Attribute, region: Region) -> Option<Self> {
        match attribute {
            Attribute::Name(name) => Some(normalise_name(name))
                .filter(|name| !name.is_empty())
                .map(Self::Name),
            Attribute::Email(email) => normalise_email(email).map(Self::Email),
            Attribute::Phone(phone) => {
                normalise_phone(phone, region).map(|phone| Self::Phone(phone.into()))
            }
            Attribute::Address(address) => Some(normalise_address(address))
                .filter(|address| !address.is_empty())
                .map(Self::Address),
            Attribute::BirthDate(date) => normalise_date(date).map(Self::BirthDate),
            Attribute::Gender(gender) => normalise_gender(gender).map(Self::Gender),
            Attribute::Identifier(identifier) => {
                normalise_identifier(identifier).map(Self::Identifier)
            }
            Attribute::Custom(custom) => Some(fold(&custom.value))
                .filter(|value| !text::is_placeholder(value))
                .map(|value| {
                    Self::Custom(NormalisedCustom {
                        name: custom.name.as_str().into(),
                        value: value.into(),
                    })
                }),
        }
    }
}

impl std::fmt::Display for NormalisedValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined = |formatter: &mut std::fmt::Formatter<'_>, parts: &[&Text]| {
            let parts = parts.iter().map(|part| part.as_str());
            let given: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            formatter.write_str(&given.join(" "))
        };
        match self {
            Self::Name(name) => joined(
                formatter,
                &[&name.given, &name.middle, &name.family, &name.generation],
            ),
            Self::Address(address) => joined(
                formatter,
                &[
                    &address.street,
                    &address.number,
                    &address.unit,
                    &address.postcode,
                    &address.city,
                    &address.region,
                ],
            ),
            Self::BirthDate(date) => date.fmt(formatter),
            Self::Email(email) => email.address.fmt(formatter),
            Self::Phone(phone) => phone.fmt(formatter),
            Self::Identifier(identifier) => identifier.value.fmt(formatter),
            Self::Gender(gender) => gender.fmt(formatter),
            Self::Custom(custom) => custom.value.fmt(formatter),
        }
    }
}

/// The form in which a value is compared, in one line, for people; `None` for placeholders and malformed values, which are not compared.
pub fn normalised_text(attribute: &Attribute, region: Region) -> Option<String> {
    Some(NormalisedValue::new(attribute, region)?.to_string())
}

impl NormalisedRecord {
    /// Normalises what a source states. `region` is where numbers without a country code are dialled.
    pub fn new(attributes: &[StatedAttribute], region: Region) -> Self {
        let values = attributes.iter();
        Self::of_values(values.filter_map(|stated| NormalisedValue::new(&stated.attribute, region)))
    }

    /// The record of some values, equal ones taken once.
    pub(crate) fn of_values(values: impl Iterator<Item = NormalisedValue>) -> Self {
        let mut record = Self::default();
        for value in values {
            record.add(value);
        }
        for email in &mut record.emails {
            let names = record.names.iter();
            email.compare_to_names(
                names.flat_map(|name| [name.given.as_str(), name.family.as_str()]),
            );
        }
        record
    }

    fn add(&mut self, value: NormalisedValue) {
        match value {
            NormalisedValue::Name(name) => push_new(&mut self.names, name),
            NormalisedValue::BirthDate(date) => push_new(&mut self.birth_dates, date),
            NormalisedValue::Email(email) => push_new(&mut self.emails, email),
            NormalisedValue::Phone(phone) => push_new(&mut self.phones, phone),
            NormalisedValue::Address(address) => push_new(&mut self.addresses, address),
            NormalisedValue::Identifier(identifier) => {
                push_new(&mut self.identifiers, identifier);
            }
            NormalisedValue::Gender(gender) => self.gender = Some(gender),
            NormalisedValue::Custom(custom) if custom.name.starts_with(ACTIVITY_PREFIX) => {}
            NormalisedValue::Custom(custom) => push_new(&mut self.customs, custom),
        }
    }
}

fn push_new<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if !values.contains(&value) {
        values.push(value);
    }
}

fn normalise_gender(written: &str) -> Option<char> {
    let folded = fold(written);
    match folded.as_str() {
        "w" | "woman" | "weiblich" | "frau" => Some('f'),
        "man" | "herr" => Some('m'),
        _ if text::is_placeholder(&folded) || folded.starts_with("not") || folded == "u" => None,
        _ => folded.chars().next(),
    }
}
