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
    /// Somebody has said that the record's value survives; rules cannot ask for it.
    Pinned,
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
            Self::Pinned => "pinned",
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

impl GoldenRecord {
    /// Puts a value in the place of what survived in its slot.
    pub fn put(&mut self, value: SurvivingValue) {
        let place = |known: &SurvivingValue| {
            let parts = known.attribute.slot_parts();
            parts.cmp(&value.attribute.slot_parts())
        };
        match self.values.binary_search_by(place) {
            Ok(at) => self.values[at] = value,
            Err(at) => self.values.insert(at, value),
        }
    }
}

/// A value that a record states.
#[derive(Clone, Copy, Debug)]
pub struct StatedValue<'a> {
    /// The record that states it.
    pub record: &'a RecordKey,
    /// The value.
    pub attribute: &'a Attribute,
    /// When it was stated, milliseconds since the Unix epoch.
    pub stated_at_ms: i64,
    /// What survivorship compares of it: `None` of a placeholder, which never survives.
    pub comparable: Option<Comparable>,
    /// Above 0 where somebody has said that it survives: the highest of a slot does, whatever the rules say.
    pub pin: u64,
}

impl Record {
    /// What it states, with what survivorship compares of each of its attributes.
    pub fn stated_values<'a>(
        &'a self,
        comparables: impl Iterator<Item = Option<Comparable>> + 'a,
    ) -> impl Iterator<Item = StatedValue<'a>> {
        let values = self.attributes.iter().zip(comparables);
        values.map(|(stated, comparable)| StatedValue {
            record: &self.key,
            attribute: &stated.attribute,
            stated_at_ms: stated.stated_at_ms,
            comparable,
            pin: 0,
        })
    }
}

struct Stated<'a> {
    value: StatedValue<'a>,
    comparable: Comparable,
    trust: u32,
    frequency: usize,
}

impl<'a> Stated<'a> {
    fn compare(&self, other: &Self, criterion: Criterion) -> Ordering {
        match criterion {
            Criterion::MostTrusted => self.trust.cmp(&other.trust),
            Criterion::MostRecent => self.value.stated_at_ms.cmp(&other.value.stated_at_ms),
            Criterion::MostFrequent => self.frequency.cmp(&other.frequency),
            Criterion::MostComplete => self
                .comparable
                .completeness()
                .cmp(&other.comparable.completeness()),
            Criterion::Pinned => self.value.pin.cmp(&other.value.pin),
            Criterion::RecordOrder | Criterion::OnlyValue => other.place().cmp(&self.place()),
        }
    }

    fn place(&self) -> (&'a RecordKey, &'a Attribute, i64) {
        let value = self.value;
        (value.record, value.attribute, value.stated_at_ms)
    }
}

/// The golden record of the members of an identity, in any order. Placeholder values never survive.
pub fn golden_record<'a>(members: impl Iterator<Item = &'a Record>, pack: &Pack) -> GoldenRecord {
    let region = pack.region();
    let comparable = move |stated: &StatedAttribute| Comparable::new(&stated.attribute, region);
    let values = members.flat_map(|record| {
        let comparables = record.attributes.iter().map(comparable);
        record.stated_values(comparables)
    });
    golden_record_of(values, pack)
}

/// The same of the values that the members state, those of one member behind each other.
pub fn golden_record_of<'a>(
    stated: impl Iterator<Item = StatedValue<'a>>,
    pack: &Pack,
) -> GoldenRecord {
    let mut values: Vec<Stated<'a>> = Vec::new();
    for value in stated {
        let Some(comparable) = value.comparable else {
            continue;
        };
        let of_same_record = values
            .last()
            .filter(|last| last.value.record == value.record);
        let trust = of_same_record.map(|last| last.trust);
        values.push(Stated {
            value,
            comparable,
            trust: trust.unwrap_or_else(|| pack.trust(&value.record.source)),
            frequency: 0,
        });
    }
    let slot = |stated: &Stated<'a>| stated.value.attribute.slot_parts();
    values.sort_by_key(slot);
    let slots = values.chunk_by_mut(|left, right| slot(left) == slot(right));
    GoldenRecord {
        values: slots.filter_map(|values| survivor(values, pack)).collect(),
    }
}

fn survivor(values: &mut [Stated<'_>], pack: &Pack) -> Option<SurvivingValue> {
    let criteria = pack.survivorship.criteria(values.first()?.value.attribute);
    let is_unanimous = values
        .iter()
        .all(|value| value.comparable == values[0].comparable);
    if !is_unanimous && criteria.contains(&Criterion::MostFrequent) {
        for index in 0..values.len() {
            let comparable = values[index].comparable;
            let mut records: Vec<&RecordKey> = values
                .iter()
                .filter(|other| other.comparable == comparable)
                .map(|other| other.value.record)
                .collect();
            // The values of a record stand together.
            records.dedup();
            values[index].frequency = records.len();
        }
    }
    let criteria = || std::iter::once(Criterion::Pinned).chain(criteria.iter().copied());
    let order = |left: &Stated<'_>, right: &Stated<'_>| {
        let by_criteria = criteria()
            .map(|criterion| left.compare(right, criterion))
            .find(|ordering| ordering.is_ne());
        by_criteria.unwrap_or_else(|| left.compare(right, Criterion::RecordOrder))
    };
    let best = values.iter().max_by(|left, right| order(left, right))?;
    let runner_up = values
        .iter()
        .filter(|other| other.comparable != best.comparable)
        .max_by(|left, right| order(left, right));
    let criterion = runner_up.map_or(Criterion::OnlyValue, |runner_up| {
        criteria()
            .find(|criterion| best.compare(runner_up, *criterion).is_ne())
            .unwrap_or(Criterion::RecordOrder)
    });
    Some(SurvivingValue {
        slot: best.value.attribute.slot(),
        attribute: best.value.attribute.clone(),
        record: best.value.record.clone(),
        stated_at_ms: best.value.stated_at_ms,
        criterion,
    })
}
