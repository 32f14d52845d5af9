//! Comparisons: how one attribute of a pair is compared and the level that it falls in. Every comparison is symmetric,
//! gives `None` where a side is missing (it then weighs 0), and takes the strongest agreement among several values.

pub(crate) mod address;
pub(crate) mod contact;
pub(crate) mod date;
pub(crate) mod name;
mod pattern;
mod strings;

pub use pattern::Pattern;
pub use strings::{jaro_winkler, within_one_edit};

use serde::{Deserialize, Serialize};

use crate::normalise::NormalisedRecord;

/// A comparison of one attribute kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Comparison {
    /// First given name.
    GivenName,
    /// Family name.
    FamilyName,
    /// Middle names.
    MiddleName,
    /// Generation: Jr, Sr, III.
    Generation,
    /// Birth date.
    BirthDate,
    /// E-mail address.
    Email,
    /// Phone number.
    Phone,
    /// Postal address.
    Address,
    /// Gender.
    Gender,
    /// Identifier of the named scheme.
    Identifier(String),
    /// Custom attribute of the given name.
    Custom(String),
}

impl Comparison {
    /// The comparisons that have no name of their own, in the order in which a model has them.
    pub(crate) const UNNAMED: [Self; 9] = [
        Self::GivenName,
        Self::FamilyName,
        Self::MiddleName,
        Self::Generation,
        Self::BirthDate,
        Self::Email,
        Self::Phone,
        Self::Address,
        Self::Gender,
    ];

    /// Rank by what a comparison costs for what it tells: in this order comparisons are made and their weights summed.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::BirthDate | Self::Phone | Self::Gender => 0,
            Self::GivenName => 1,
            Self::FamilyName | Self::MiddleName | Self::Generation => 2,
            Self::Identifier(_) => 3,
            Self::Email => 4,
            Self::Address | Self::Custom(_) => 5,
        }
    }

    /// The names of its levels, strongest first.
    pub fn levels(&self) -> &'static [&'static str] {
        match self {
            Self::GivenName => name::GIVEN_NAME_LEVELS,
            Self::FamilyName => name::FAMILY_NAME_LEVELS,
            Self::MiddleName => name::MIDDLE_NAME_LEVELS,
            Self::Generation | Self::Gender => &["exact", "different"],
            Self::BirthDate => date::BIRTH_DATE_LEVELS,
            Self::Email => contact::EMAIL_LEVELS,
            Self::Phone => contact::PHONE_LEVELS,
            Self::Address => address::ADDRESS_LEVELS,
            Self::Identifier(_) => contact::IDENTIFIER_LEVELS,
            Self::Custom(_) => contact::CUSTOM_LEVELS,
        }
    }

    /// Whether the text that it was read from names a comparison.
    pub(crate) fn is_spelled_out(&self) -> bool {
        !matches!(self, Self::Custom(name) if name.starts_with("\0?"))
    }

    /// Whether the record has a value that this comparison looks at.
    pub fn is_present(&self, record: &NormalisedRecord) -> bool {
        match self {
            Self::GivenName => record.names.iter().any(|name| !name.given.is_empty()),
            Self::FamilyName => record.names.iter().any(|name| !name.family.is_empty()),
            Self::MiddleName => record.names.iter().any(|name| !name.middle.is_empty()),
            Self::Generation => record.names.iter().any(|name| !name.generation.is_empty()),
            Self::BirthDate => !record.birth_dates.is_empty(),
            Self::Email => !record.emails.is_empty(),
            Self::Phone => !record.phones.is_empty(),
            Self::Address => !record.addresses.is_empty(),
            Self::Gender => record.gender.is_some(),
            Self::Identifier(scheme) => record
                .identifiers
                .iter()
                .any(|identifier| identifier.scheme == *scheme),
            Self::Custom(name) => record.customs.iter().any(|custom| custom.name == *name),
        }
    }

    /// Whether two persons of one household may share the value: a surname, an address, a phone. What is a person's own tells
    /// them apart.
    pub fn is_shared_in_household(&self) -> bool {
        !matches!(
            self,
            Self::GivenName
                | Self::MiddleName
                | Self::Generation
                | Self::BirthDate
                | Self::Gender
                | Self::Identifier(_)
        )
    }

    /// How often two persons of one household are alike in what is a person's own: fathers and sons of one name, twins (one in
    /// some thirty births, Pison, Monden and Smits 2015; few pairs of a household are siblings).
    pub(crate) fn alike_in_household(&self) -> f64 {
        match self {
            Self::GivenName | Self::BirthDate => 0.01,
            Self::Identifier(_) => 0.05,
            _ => 0.0,
        }
    }

    /// A look at the values that costs next to nothing.
    pub(crate) fn can_agree(&self, left: &NormalisedRecord, right: &NormalisedRecord) -> CanAgree {
        fn among<T>(left: &[T], right: &[T], equal: impl Fn(&T, &T) -> bool) -> CanAgree {
            if left.is_empty() || right.is_empty() {
                CanAgree::No
            } else if left
                .iter()
                .any(|one| right.iter().any(|other| equal(one, other)))
            {
                CanAgree::Fully
            } else {
                CanAgree::Partly
            }
        }
        match self {
            Self::BirthDate => among(&left.birth_dates, &right.birth_dates, PartialEq::eq),
            Self::Phone => among(&left.phones, &right.phones, PartialEq::eq),
            Self::Email => among(&left.emails, &right.emails, |one, other| {
                one.address == other.address
            }),
            Self::Identifier(_) => {
                if self.is_present(left) && self.is_present(right) {
                    among(&left.identifiers, &right.identifiers, PartialEq::eq)
                } else {
                    CanAgree::No
                }
            }
            // A given name may stand where the other has its family name.
            Self::GivenName | Self::FamilyName
                if left.names.is_empty() || right.names.is_empty() =>
            {
                CanAgree::No
            }
            Self::GivenName | Self::FamilyName => CanAgree::Fully,
            _ if self.is_present(left) && self.is_present(right) => CanAgree::Fully,
            _ => CanAgree::No,
        }
    }

    /// Compares a pair; `None` where a side is missing.
    pub fn compare<'a>(
        &self,
        left: &'a NormalisedRecord,
        right: &'a NormalisedRecord,
    ) -> Option<Agreement<'a>> {
        match self {
            Self::GivenName => strongest(&left.names, &right.names, |one, other| {
                name::given_names(one.view(), other.view())
            }),
            Self::FamilyName => strongest(&left.names, &right.names, |one, other| {
                name::family_names(one.view(), other.view())
            }),
            Self::MiddleName => strongest(&left.names, &right.names, |one, other| {
                name::middle_names(one.view(), other.view())
            }),
            Self::Generation => strongest(&left.names, &right.names, |one, other| {
                name::generations(one.view(), other.view())
            }),
            Self::BirthDate => strongest(&left.birth_dates, &right.birth_dates, |one, other| {
                Some(Agreement::at(date::birth_dates(*one, *other)))
            }),
            Self::Email => strongest(&left.emails, &right.emails, |one, other| {
                Some(Agreement::at(contact::emails(one.view(), other.view())))
            }),
            Self::Phone => strongest(&left.phones, &right.phones, |one, other| {
                Some(Agreement::at(contact::phones(one, other)))
            }),
            Self::Address => strongest(&left.addresses, &right.addresses, |one, other| {
                address::addresses(one.view(), other.view())
            }),
            Self::Gender => left
                .gender
                .zip(right.gender)
                .map(|(one, other)| Agreement::at(u8::from(one != other))),
            Self::Identifier(scheme) => {
                strongest(&left.identifiers, &right.identifiers, |one, other| {
                    let comparable = one.scheme == *scheme && other.scheme == *scheme;
                    comparable
                        .then(|| Agreement::at(contact::identifiers(&one.value, &other.value)))
                })
            }
            Self::Custom(name) => strongest(&left.customs, &right.customs, |one, other| {
                let comparable = one.name == *name && other.name == *name;
                comparable.then(|| {
                    let level = contact::customs(&one.value, &other.value);
                    if level + 1 < contact::CUSTOM_LEVELS.len() as u8 {
                        Agreement::on(level, &one.value, &other.value)
                    } else {
                        Agreement::at(level)
                    }
                })
            }),
        }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GivenName => formatter.write_str("given_name"),
            Self::FamilyName => formatter.write_str("family_name"),
            Self::MiddleName => formatter.write_str("middle_name"),
            Self::Generation => formatter.write_str("generation"),
            Self::BirthDate => formatter.write_str("birth_date"),
            Self::Email => formatter.write_str("email"),
            Self::Phone => formatter.write_str("phone"),
            Self::Address => formatter.write_str("address"),
            Self::Gender => formatter.write_str("gender"),
            Self::Identifier(scheme) => write!(formatter, "identifier.{scheme}"),
            Self::Custom(name) => match name.strip_prefix("\0?") {
                Some(unknown) => formatter.write_str(unknown),
                None => write!(formatter, "custom.{name}"),
            },
        }
    }
}

impl From<Comparison> for String {
    fn from(comparison: Comparison) -> Self {
        comparison.to_string()
    }
}

impl From<String> for Comparison {
    /// Every text names a comparison: what is none of the fixed ones is a custom attribute. Where people write comparisons,
    /// check `is_spelled_out`.
    fn from(text: String) -> Self {
        match text.as_str() {
            "given_name" => Self::GivenName,
            "family_name" => Self::FamilyName,
            "middle_name" => Self::MiddleName,
            "generation" => Self::Generation,
            "birth_date" => Self::BirthDate,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "address" => Self::Address,
            "gender" => Self::Gender,
            other => match other.split_once('.') {
                Some(("identifier", scheme)) => Self::Identifier(scheme.to_owned()),
                Some(("custom", name)) => Self::Custom(name.to_owned()),
                _ => Self::Custom(format!("\0?{other}")),
            },
        }
    }
}

/// How far two records can agree in a comparison, before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CanAgree {
    /// A side is missing.
    No,
    /// No two values are equal: below the strongest level.
    Partly,
    /// At any level.
    Fully,
}

/// The level in which a pair falls, and the values compared where their rarity matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement<'a> {
    /// Index into [`Comparison::levels`]; 0 is the strongest.
    pub level: u8,
    /// The two values, the smaller first, whose term frequencies adjust the weight.
    pub terms: Option<(&'a str, &'a str)>,
}

impl<'a> Agreement<'a> {
    fn at(level: u8) -> Self {
        Self { level, terms: None }
    }

    fn on(level: u8, one: &'a str, other: &'a str) -> Self {
        Self {
            level,
            terms: Some((one.min(other), one.max(other))),
        }
    }
}

/// The strongest agreement among all values of both sides; on equal level the smaller terms, so that order does not matter.
fn strongest<'a, T>(
    left: &'a [T],
    right: &'a [T],
    compare: impl Fn(&'a T, &'a T) -> Option<Agreement<'a>>,
) -> Option<Agreement<'a>> {
    left.iter()
        .flat_map(|one| right.iter().map(move |other| (one, other)))
        .filter_map(|(one, other)| compare(one, other))
        .min_by_key(|agreement| (agreement.level, agreement.terms))
}
