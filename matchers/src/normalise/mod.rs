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
pub use date::{PartialDate, normalise_date};
pub use email::{EmailView, NormalisedEmail, normalise_email};
pub use identifier::{NormalisedIdentifier, normalise_identifier};
pub use name::{NameView, NormalisedName, normalise_name};
pub use phone::normalise_phone;
pub use rlibphonenumber::Region;
pub use text::fold;

use serde::{Deserialize, Serialize};

use crate::record::{Attribute, StatedAttribute};

/// A custom attribute in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NormalisedCustom {
    /// The attribute's name.
    pub name: String,
    /// Its folded value.
    pub value: String,
}

/// A source record in the form in which it is compared. A source may state several values of a kind; placeholders and
/// malformed values are gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NormalisedRecord {
    /// Names.
    pub names: Vec<NormalisedName>,
    /// Birth dates.
    pub birth_dates: Vec<PartialDate>,
    /// E-mail addresses.
    pub emails: Vec<NormalisedEmail>,
    /// Phone numbers, E.164.
    pub phones: Vec<String>,
    /// Addresses.
    pub addresses: Vec<NormalisedAddress>,
    /// Identifiers.
    pub identifiers: Vec<NormalisedIdentifier>,
    /// First letter of the gender, `f`, `m` or another.
    pub gender: Option<char>,
    /// Everything else.
    pub customs: Vec<NormalisedCustom>,
}

impl NormalisedRecord {
    /// Normalises what a source states. `region` is where numbers without a country code are dialled.
    pub fn new(attributes: &[StatedAttribute], region: Region) -> Self {
        let mut record = Self::default();
        for stated in attributes {
            record.add(&stated.attribute, region);
        }
        for email in &mut record.emails {
            let names = record.names.iter();
            email.compare_to_names(
                names.flat_map(|name| [name.given.as_str(), name.family.as_str()]),
            );
        }
        record
    }

    fn add(&mut self, attribute: &Attribute, region: Region) {
        match attribute {
            Attribute::Name(name) => push_new(
                &mut self.names,
                Some(normalise_name(name)).filter(|name| !name.is_empty()),
            ),
            Attribute::Email(email) => push_new(&mut self.emails, normalise_email(email)),
            Attribute::Phone(phone) => push_new(&mut self.phones, normalise_phone(phone, region)),
            Attribute::Address(address) => {
                push_new(
                    &mut self.addresses,
                    Some(normalise_address(address)).filter(|address| !address.is_empty()),
                );
            }
            Attribute::BirthDate(date) => push_new(&mut self.birth_dates, normalise_date(date)),
            Attribute::Gender(gender) => self.gender = normalise_gender(gender).or(self.gender),
            Attribute::Identifier(identifier) => {
                push_new(&mut self.identifiers, normalise_identifier(identifier))
            }
            Attribute::Custom(custom) => {
                let value = fold(&custom.value);
                let known = !text::is_placeholder(&value);
                push_new(
                    &mut self.customs,
                    known.then(|| NormalisedCustom {
                        name: custom.name.clone(),
                        value,
                    }),
                );
            }
        }
    }
}

fn push_new<T: PartialEq>(values: &mut Vec<T>, value: Option<T>) {
    if let Some(value) = value
        && !values.contains(&value)
    {
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
