//! Golden records: which value of each attribute survives, and where it came from. Always computed from all members anew.

mod comparable;

pub use comparable::Comparable;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

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
            Attribute::Custom(custom) if custom.is_activity() => return &[Criterion::MostRecent],
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
    comparable: Comparable,
    trust: u32,
    frequency: usize,
}

impl Stated<'_> {
    fn compare(&self, other: &Self, criterion: Criterion) -> Ordering {
        match criterion {
            Criterion::MostTrusted => self.trust.cmp(&other.trust),
            Criterion::MostRecent => self.stated.stated_at_ms.cmp(&other.stated.stated_at_ms),
            Criterion::MostFrequent => self.frequency.cmp(&other.frequency),
            Criterion::MostComplete => self
                .comparable
                .completeness()
                .cmp(&other.comparable.completeness()),
            Criterion::RecordOrder | Criterion::OnlyValue => {
                (other.record, &other.stated).cmp(&(self.record, &self.stated))
            }
        }
    }
}

/// The golden record of the members of an identity, in any order. Placeholder values never survive.
pub fn golden_record<'a>(members: impl Iterator<Item = &'a Record>, pack: &Pack) -> GoldenRecord {
    let region = pack.region();
    let with_comparables: Vec<(&Record, Vec<Option<Comparable>>)> = members
        .map(|record| {
            let attributes = record.attributes.iter();
            let comparables = attributes.map(|stated| Comparable::new(&stated.attribute, region));
            (record, comparables.collect())
        })
        .collect();
    let members = with_comparables.iter();
    golden_record_of(
        members.map(|(record, comparables)| (*record, comparables.as_slice())),
        pack,
    )
}

/// The same for members that come with the [`Comparable`] of each of their attributes.
pub fn golden_record_of<'a>(
    members: impl Iterator<Item = (&'a Record, &'a [Option<Comparable>])>,
    pack: &Pack,
) -> GoldenRecord {
    let mut values: Vec<Stated<'a>> = Vec::new();
    for (record, comparables) in members {
        let trust = pack.trust(&record.key.source);
        let stated = record.attributes.iter().zip(comparables);
        values.extend(stated.filter_map(|(stated, comparable)| {
            Some(Stated {
                record: &record.key,
                stated,
                comparable: (*comparable)?,
                trust,
                frequency: 0,
            })
        }));
    }
    let slot = |value: &Stated<'a>| value.stated.attribute.slot_parts();
    values.sort_by_key(slot);
    let slots = values.chunk_by_mut(|left, right| slot(left) == slot(right));
    GoldenRecord {
        values: slots.filter_map(|values| survivor(values, pack)).collect(),
    }
}

fn survivor(values: &mut [Stated<'_>], pack: &Pack) -> Option<SurvivingValue> {
    let criteria = pack
        .survivorship
        .criteria(&values.first()?.stated.attribute);
    let is_unanimous = values
        .iter()
        .all(|value| value.comparable == values[0].comparable);
    if !is_unanimous && criteria.contains(&Criterion::MostFrequent) {
        for index in 0..values.len() {
            let comparable = values[index].comparable;
            let mut records: Vec<&RecordKey> = values
                .iter()
                .filter(|other| other.comparable == comparable)
                .map(|other| other.record)
                .collect();
            // The values of a record stand together.
            records.dedup();
            values[index].frequency = records.len();
        }
    }
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
        slot: best.stated.attribute.slot(),
        attribute: best.stated.attribute.clone(),
        record: best.record.clone(),
        stated_at_ms: best.stated.stated_at_ms,
        criterion,
    })
}
