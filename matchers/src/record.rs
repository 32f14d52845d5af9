//! What a source says about a customer, before anything is interpreted.

use serde::{Deserialize, Serialize};

/// Names one customer of one source; unique within a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The registered sending system, for example `pos`.
    pub source: String,
    /// The key that the source itself uses for the customer.
    pub record_id: String,
}

impl RecordKey {
    /// A key from its two parts.
    pub fn new(source: impl Into<String>, record_id: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            record_id: record_id.into(),
        }
    }
}

impl std::fmt::Display for RecordKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.source, self.record_id)
    }
}

/// A person's name as written. Give the parts where the source has them; `full` alone is taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonName {
    /// Given (first) name or names.
    pub given: String,
    /// Middle names.
    pub middle: String,
    /// Family name or names (surname).
    pub family: String,
    /// Generational or professional suffix: `Jr`, `III`, `PhD`.
    pub suffix: String,
    /// The whole name in one text, used for the parts that are missing.
    pub full: String,
}

/// A postal address as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostalAddress {
    /// Street line: number, street and unit in one text, as far as they are not given apart.
    pub street: String,
    /// House number, where the source keeps it apart.
    pub number: String,
    /// Unit, apartment or building; a second address line.
    pub unit: String,
    /// City or suburb.
    pub city: String,
    /// State, province or region.
    pub region: String,
    /// Postcode.
    pub postcode: String,
    /// Country, as a name or an ISO 3166 code.
    pub country: String,
}

/// A value that a system issued: loyalty number, order number, payment token.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// What kind of identifier this is: `loyalty`, `order`, `payment_token` …; compared only within its scheme.
    pub scheme: String,
    /// The value as issued.
    pub value: String,
}

/// An attribute that the model knows nothing of beforehand: compared as text, weighed as trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomAttribute {
    /// The attribute's name, in lower case with underscores.
    pub name: String,
    /// Its value as written.
    pub value: String,
}

/// Custom attributes of which the name begins so tell what a person did, not who they are: they are no evidence, the latest survives,
/// and a source that states everything anew does not take them back.
pub const ACTIVITY_PREFIX: &str = "activity_";

impl CustomAttribute {
    /// Whether it tells what a person did.
    pub fn is_activity(&self) -> bool {
        self.name.starts_with(ACTIVITY_PREFIX)
    }
}

/// One typed value that a source states about a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// A person's name.
    Name(PersonName),
    /// An e-mail address.
    Email(String),
    /// A phone number in any usual notation.
    Phone(String),
    /// A postal address.
    Address(PostalAddress),
    /// A birth date in any usual layout, year first where it is ambiguous, else month first.
    BirthDate(String),
    /// Gender in the source's words.
    Gender(String),
    /// An identifier that a system issued.
    Identifier(Identifier),
    /// Anything else.
    Custom(CustomAttribute),
}

/// What a source record currently says, as the matching functions take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose record this is.
    pub key: RecordKey,
    /// Everything that the source states, with when it was stated.
    pub attributes: Vec<StatedAttribute>,
}

/// An attribute with the moment at which the source stated it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatedAttribute {
    /// The value.
    pub attribute: Attribute,
    /// Event time, milliseconds since the Unix epoch; 0 where the source does not say.
    pub stated_at_ms: i64,
}

impl Attribute {
    /// The place that the value takes: one value of each slot survives in a golden record, and a later signal replaces what
    /// an earlier one put there. `name`, `email`, … `identifier.<scheme>`, `custom.<name>`.
    pub fn slot(&self) -> String {
        match self.slot_parts() {
            (kind, Some(name)) => format!("{kind}.{name}"),
            (kind, None) => kind.to_owned(),
        }
    }

    /// The parts of [`Self::slot`], which order values as it does.
    pub(crate) fn slot_parts(&self) -> (&'static str, Option<&str>) {
        let name = match self {
            Self::Identifier(identifier) => Some(identifier.scheme.as_str()),
            Self::Custom(custom) => Some(custom.name.as_str()),
            _ => None,
        };
        (self.kind(), name)
    }

    /// The attribute kind, one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
            Self::Address(_) => "address",
            Self::BirthDate(_) => "birth_date",
            Self::Gender(_) => "gender",
            Self::Identifier(_) => "identifier",
            Self::Custom(_) => "custom",
        }
    }
}
