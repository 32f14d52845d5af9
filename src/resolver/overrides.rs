//! Stewards' overrides in force, as deciding asks for them.

use std::collections::BTreeSet;
use std::ops::Bound;

use rustc_hash::{FxHashMap, FxHashSet};
use veridem_matchers::block::PersonalValue;
use veridem_matchers::cluster::Link;
use veridem_matchers::golden::{Criterion, SurvivingValue};
use veridem_matchers::{Attribute, Comparable, CustomAttribute, RecordKey, StatedValue};

use crate::store::{Approval, OverrideKind, RecordNumber, StoredOverride, ValueMark};

/// The custom attribute that tells in a golden record who lives together.
const HOUSEHOLD_ID: &str = "household_id";

/// The overrides of a tenant that are in force.
#[derive(Clone, Default)]
pub(super) struct Overrides {
    groups: FxHashMap<u64, Vec<Vec<RecordNumber>>>,
    /// The places of each record in overrides on persons, the latest last.
    places: FxHashMap<RecordNumber, Vec<(u64, usize)>>,
    /// What is pinned of each record: the slots, the latest override last.
    pins: FxHashMap<RecordNumber, Vec<(u64, String)>>,
    /// The households of each record: when each was made, the latest override last.
    households: FxHashMap<RecordNumber, Vec<(u64, i64)>>,
    /// What is said of values, the latest override last.
    marks: FxHashMap<PersonalValue, Vec<(u64, ValueMark)>>,
    /// The values that are junk.
    junk: FxHashSet<Comparable>,
    /// Those on which somebody else has to agree first.
    awaited: BTreeSet<u64>,
    /// What they say of persons, by record.
    awaited_of: FxHashMap<RecordNumber, Vec<(u64, ())>>,
}

impl Overrides {
    /// Takes an override as it is now; whether that changes what is in force.
    pub(super) fn set(&mut self, value: &StoredOverride) -> bool {
        let is_awaited = value.undone.is_none() && value.approval == Approval::Awaited;
        let was_awaited = match is_awaited {
            true => !self.awaited.insert(value.number),
            false => self.awaited.remove(&value.number),
        };
        if is_awaited != was_awaited && value.kind == OverrideKind::Persons {
            for (_, record) in value.records() {
                put(
                    &mut self.awaited_of,
                    *record,
                    value.number,
                    is_awaited.then_some(()),
                );
            }
        }
        let (was, is) = (self.groups.contains_key(&value.number), value.is_in_force());
        if was != is {
            self.put(value, is);
        }
        was != is
    }

    /// Puts an override in force, or out of force.
    fn put(&mut self, value: &StoredOverride, is_in_force: bool) {
        let number = value.number;
        let groups = value.groups.iter();
        let groups: Vec<Vec<RecordNumber>> = groups
            .map(|group| group.iter().map(|(_, number)| *number).collect())
            .collect();
        let places = groups.iter().enumerate();
        let places =
            places.flat_map(|(group, records)| records.iter().map(move |record| (*record, group)));
        for (record, group) in places {
            match &value.kind {
                OverrideKind::Persons => {
                    let place = is_in_force.then_some(group);
                    put(&mut self.places, record, number, place);
                }
                OverrideKind::Pin { slot } => {
                    let slot = is_in_force.then(|| slot.clone());
                    put(&mut self.pins, record, number, slot);
                }
                OverrideKind::Household => {
                    let made_at_ms = is_in_force.then_some(value.decided_at_ms);
                    put(&mut self.households, record, number, made_at_ms);
                }
                OverrideKind::Value {
                    value,
                    comparable,
                    mark,
                    ..
                } => {
                    put(
                        &mut self.marks,
                        *value,
                        number,
                        is_in_force.then_some(*mark),
                    );
                    match self.mark_of(*value) {
                        Some((_, ValueMark::Junk)) => self.junk.insert(*comparable),
                        _ => self.junk.remove(comparable),
                    };
                }
            }
        }
        match is_in_force {
            true => self.groups.insert(number, groups),
            false => self.groups.remove(&number),
        };
    }

    /// What is said of a value, and the override that says it: the latest.
    pub(super) fn mark_of(&self, value: PersonalValue) -> Option<(u64, ValueMark)> {
        self.marks.get(&value)?.last().copied()
    }

    /// The values of which anything is said, sorted.
    pub(super) fn marked_values(&self) -> BTreeSet<PersonalValue> {
        self.marks.keys().copied().collect()
    }

    /// Whether a value is junk.
    pub(super) fn is_junk(&self, comparable: Comparable) -> bool {
        self.junk.contains(&comparable)
    }

    /// Puts into a value that a record states what is said of it: junk never survives, what is pinned does.
    pub(super) fn judge(&self, record: RecordNumber, value: &mut StatedValue<'_>) {
        value.comparable = (value.comparable).filter(|comparable| !self.is_junk(*comparable));
        value.pin = self.pin_of(record, || value.attribute.slot());
    }

    /// The latest household that one of the records is of; 0 where there is none.
    pub(super) fn household_of(&self, records: &[RecordNumber]) -> u64 {
        let latest = |record| self.households.get(record)?.last();
        let numbers = records.iter().filter_map(latest);
        numbers.map(|(number, _)| *number).max().unwrap_or_default()
    }

    /// What a golden record says of the household of its members.
    pub(super) fn household_value<'a>(
        &self,
        members: impl Iterator<Item = (RecordNumber, &'a RecordKey)>,
    ) -> Option<SurvivingValue> {
        if self.households.is_empty() {
            return None;
        }
        let latest = |record| self.households.get(&record)?.last().copied();
        let of_members = members.filter_map(|(record, key)| Some((latest(record)?, key)));
        // Of those that it names, the first member stands for it.
        let best = of_members.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|((number, made_at_ms), record)| {
            let attribute = Attribute::Custom(CustomAttribute {
                name: HOUSEHOLD_ID.to_owned(),
                value: number.to_string(),
            });
            SurvivingValue {
                slot: attribute.slot(),
                attribute,
                record: record.clone(),
                stated_at_ms: made_at_ms,
                criterion: Criterion::Pinned,
            }
        })
    }

    /// The records of an override in force.
    pub(super) fn records_of(&self, number: u64) -> impl Iterator<Item = RecordNumber> {
        let groups = self.groups.get(&number);
        groups.into_iter().flatten().flatten().copied()
    }

    /// The override that pins what a record states in a slot; 0 where none does.
    pub(super) fn pin_of(&self, record: RecordNumber, slot: impl Fn() -> String) -> u64 {
        let Some(pins) = self.pins.get(&record) else {
            return 0;
        };
        let slot = slot();
        let mut latest = pins.iter().rev();
        let found = latest.find(|(_, pinned)| *pinned == slot);
        found.map_or(0, |(number, _)| *number)
    }

    /// Whether somebody has to agree to what was said of two records.
    pub(super) fn is_awaited(&self, one: RecordNumber, other: RecordNumber) -> bool {
        let of = |record| self.awaited_of.get(&record).into_iter().flatten();
        of(one).any(|(number, ())| of(other).any(|(others, ())| others == number))
    }

    /// The numbers of those on which somebody has to agree, after one.
    pub(super) fn awaited(&self, after: u64) -> impl Iterator<Item = u64> {
        let following = (Bound::Excluded(after), Bound::Unbounded);
        self.awaited.range(following).copied()
    }

    /// Whether an override names a record.
    pub(super) fn name(&self, record: RecordNumber) -> bool {
        self.places.contains_key(&record)
    }

    /// The word on two records and the override that says it: the latest that names both.
    pub(super) fn word_of(&self, one: RecordNumber, other: RecordNumber) -> Option<(u64, Link)> {
        let (one, other) = (self.places.get(&one)?, self.places.get(&other)?);
        one.iter().rev().find_map(|(number, group)| {
            let at = other.binary_search_by_key(number, |(number, _)| *number);
            let link = match other[at.ok()?].1 == *group {
                true => Link::Must,
                false => Link::Cannot,
            };
            Some((*number, link))
        })
    }

    /// The word on two records.
    pub(super) fn word(&self, one: RecordNumber, other: RecordNumber) -> Option<Link> {
        self.word_of(one, other).map(|(_, link)| link)
    }

    /// The records on which there is a word beside a record.
    pub(super) fn others(&self, record: RecordNumber) -> BTreeSet<RecordNumber> {
        let places = self.places.get(&record).into_iter().flatten();
        let named = places.flat_map(|(number, _)| self.records_of(*number));
        named.filter(|other| *other != record).collect()
    }

    /// The records that are one person with a record.
    pub(super) fn linked(&self, record: RecordNumber) -> impl Iterator<Item = RecordNumber> {
        let others = self.others(record).into_iter();
        others.filter(move |other| self.word(record, *other) == Some(Link::Must))
    }

    /// The words on pairs of some records, by their positions, each with the override that says it.
    pub(super) fn links(&self, records: &[RecordNumber]) -> Vec<(usize, usize, Link, u64)> {
        let named: Vec<usize> = (0..records.len())
            .filter(|position| self.name(records[*position]))
            .collect();
        let position: FxHashMap<RecordNumber, usize> = named
            .iter()
            .map(|position| (records[*position], *position))
            .collect();
        let mut links = Vec::new();
        for left in named {
            for other in self.others(records[left]) {
                if let Some(right) = position.get(&other).filter(|right| **right > left)
                    && let Some((number, link)) = self.word_of(records[left], other)
                {
                    links.push((left, *right, link, number));
                }
            }
        }
        links.sort_unstable_by_key(|(left, right, ..)| (*left, *right));
        links
    }
}

/// Puts what an override says among what others say of the same thing, or takes it out.
fn put<K: Eq + std::hash::Hash, V>(
    of: &mut FxHashMap<K, Vec<(u64, V)>>,
    key: K,
    number: u64,
    said: Option<V>,
) {
    let Some(said) = said else {
        if let Some(known) = of.get_mut(&key) {
            known.retain(|(known, _)| *known != number);
            if known.is_empty() {
                of.remove(&key);
            }
        }
        return;
    };
    let known = of.entry(key).or_default();
    let at = known.partition_point(|(known, _)| *known < number);
    known.insert(at, (number, said));
}
