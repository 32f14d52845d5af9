//! Golden records: which value of each attribute survives, and where it came from. Always computed from all members anew.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::normalise::{NormalisedRecord, Region};
use crate::record::{Attribute, Record, RecordKey, StatedAttribute};
use crate::rules::Pack;

/// By what one value is preferred to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The value of the source with the highest trust rank.
    MostTrusted,
    /// The value stated last, by event time.
    MostRecent,
    /// The value that most member records state.
    MostFrequent,
    /// The value with the most letters and digits.
    MostComplete,
    /// No criterion told the values apart: the smallest record key.
    RecordOrder,
    /// There was one value only.
    OnlyValue,
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::MostTrusted => "most_trusted",
            Self::MostRecent => "most_recent",
            Self::MostFrequent => "most_frequent",
            Self::MostComplete => "most_complete",
            Self::RecordOrder => "record_order",
            Self::OnlyValue => "only_value",
        })
    }
}

/// Criteria in order, by attribute kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SurvivorshipRules {
    /// For a kind that is not named below.
    pub default: Vec<Criterion>,
    /// For names.
    pub name: Option<Vec<Criterion>>,
    /// For e-mail addresses.
    pub email: Option<Vec<Criterion>>,
    /// For phone numbers.
    pub phone: Option<Vec<Criterion>>,
    /// For addresses.
    pub address: Option<Vec<Criterion>>,
    /// For birth dates.
    pub birth_date: Option<Vec<Criterion>>,
    /// For genders.
    pub gender: Option<Vec<Criterion>>,
    /// For identifiers.
    pub identifier: Option<Vec<Criterion>>,
    /// For custom attributes.
    pub custom: Option<Vec<Criterion>>,
}

impl Default for SurvivorshipRules {
    fn default() -> Self {
        Self {
            default: vec![
                Criterion::MostTrusted,
                Criterion::MostRecent,
                Criterion::MostFrequent,
            ],
            name: None,
            email: None,
            phone: None,
            address: None,
            birth_date: None,
            gender: None,
            identifier: None,
            custom: None,
        }
    }
}

impl SurvivorshipRules {
    fn criteria(&self, attribute: &Attribute) -> &[Criterion] {
        let of_kind = match attribute {
            Attribute::Name(_) => &self.name,
            Attribute::Email(_) => &self.email,
            Attribute::Phone(_) => &self.phone,
            Attribute::Address(_) => &self.address,
            Attribute::BirthDate(_) => &self.birth_date,
            Attribute::Gender(_) => &self.gender,
            Attribute::Identifier(_) => &self.identifier,
            Attribute::Custom(_) => &self.custom,
        };
        of_kind.as_ref().unwrap_or(&self.default)
    }
}

/// A value that survived, with its provenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurvivingValue {
    /// Its slot, see [`Attribute::slot`].
    pub slot: String,
    /// The value as the source wrote it.
    pub attribute: Attribute,
    /// The record that states it.
    pub record: RecordKey,
    /// When it was stated, milliseconds since the Unix epoch.
    pub stated_at_ms: i64,
    /// What decided for it.
    pub criterion: Criterion,
}

/// The surviving value of each slot, sorted by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenRecord {
    /// One value a slot.
    pub values: Vec<SurvivingValue>,
}

struct Stated<'a> {
    record: &'a RecordKey,
    stated: &'a StatedAttribute,
    comparable: NormalisedRecord,
    trust: u32,
    frequency: usize,
}

impl Stated<'_> {
    fn compare(&self, other: &Self, criterion: Criterion) -> Ordering {
        match criterion {
            Criterion::MostTrusted => self.trust.cmp(&other.trust),
            Criterion::MostRecent => self.stated.stated_at_ms.cmp(&other.stated.stated_at_ms),
            Criterion::MostFrequent => self.frequency.cmp(&other.frequency),
            Criterion::MostComplete => {
                completeness(&self.comparable).cmp(&completeness(&other.comparable))
            }
            Criterion::RecordOrder | Criterion::OnlyValue => {
                (other.record, &other.stated).cmp(&(self.record, &self.stated))
            }
        }
    }
}

/// The golden record of the members of an identity, in any order. Placeholder values never survive.
pub fn golden_record<'a>(members: impl Iterator<Item = &'a Record>, pack: &Pack) -> GoldenRecord {
    let region = pack.region();
    let mut slots: BTreeMap<String, Vec<Stated<'a>>> = BTreeMap::new();
    for record in members {
        for stated in &record.attributes {
            if let Some(comparable) = comparable(stated, region) {
                let trust = pack.trust(&record.key.source);
                slots
                    .entry(stated.attribute.slot())
                    .or_default()
                    .push(Stated {
                        record: &record.key,
                        stated,
                        comparable,
                        trust,
                        frequency: 0,
                    });
            }
        }
    }
    let values = slots
        .into_iter()
        .filter_map(|(slot, values)| survivor(slot, values, pack))
        .collect();
    GoldenRecord { values }
}

fn comparable(stated: &StatedAttribute, region: Region) -> Option<NormalisedRecord> {
    let comparable = NormalisedRecord::new(std::slice::from_ref(stated), region);
    (comparable != NormalisedRecord::default()).then_some(comparable)
}

fn survivor(slot: String, mut values: Vec<Stated<'_>>, pack: &Pack) -> Option<SurvivingValue> {
    for index in 0..values.len() {
        values[index].frequency = values
            .iter()
            .filter(|other| other.comparable == values[index].comparable)
            .map(|other| other.record)
            .collect::<std::collections::BTreeSet<_>>()
            .len();
    }
    let criteria = pack
        .survivorship
        .criteria(&values.first()?.stated.attribute)
        .to_vec();
    let order = |left: &Stated<'_>, right: &Stated<'_>| {
        let by_criteria = criteria
            .iter()
            .map(|criterion| left.compare(right, *criterion))
            .find(|ordering| ordering.is_ne());
        by_criteria.unwrap_or_else(|| left.compare(right, Criterion::RecordOrder))
    };
    let best = values.iter().max_by(|left, right| order(left, right))?;
    let runner_up = values
        .iter()
        .filter(|other| other.comparable != best.comparable)
        .max_by(|left, right| order(left, right));
    let criterion = runner_up.map_or(Criterion::OnlyValue, |runner_up| {
        criteria
            .iter()
            .copied()
            .find(|criterion| best.compare(runner_up, *criterion).is_ne())
            .unwrap_or(Criterion::RecordOrder)
    });
    Some(SurvivingValue {
        slot,
        attribute: best.stated.attribute.clone(),
        record: best.record.clone(),
        stated_at_ms: best.stated.stated_at_ms,
        criterion,
    })
}

fn completeness(comparable: &NormalisedRecord) -> usize {
    let name = comparable.names.iter().map(|name| {
        name.given.len() + name.middle.len() + name.family.len() + name.generation.len()
    });
    let address = comparable.addresses.iter().map(|address| {
        address.number.len()
            + address.street.len()
            + address.unit.len()
            + address.city.len()
            + address.region.len()
            + address.postcode.len()
    });
    let date = comparable.birth_dates.iter().map(|date| {
        if date.is_complete() {
            8
        } else if date.month > 1 {
            6
        } else {
            4
        }
    });
    let texts = comparable
        .phones
        .iter()
        .map(String::len)
        .chain(comparable.emails.iter().map(|email| email.address.len()));
    let others = comparable
        .identifiers
        .iter()
        .map(|identifier| identifier.value.len())
        .chain(comparable.customs.iter().map(|custom| custom.value.len()));
    name.chain(address)
        .chain(date)
        .chain(texts)
        .chain(others)
        .sum()
}
