//! Stewards' overrides in force, as deciding asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rustc_hash::FxHashMap;
use veridem_matchers::cluster::Link;

use crate::store::{Approval, RecordNumber, StoredOverride};

/// Where a record stands in an override.
#[derive(Clone, Copy)]
struct Place {
    number: u64,
    group: usize,
}

/// The overrides of a tenant that are in force.
#[derive(Clone, Default)]
pub(super) struct Overrides {
    groups: FxHashMap<u64, Vec<Vec<RecordNumber>>>,
    /// The places of each record, the latest override last.
    places: FxHashMap<RecordNumber, Vec<Place>>,
    /// What is pinned of each record: the slots with the numbers of the overrides, rising.
    pins: FxHashMap<RecordNumber, Vec<(u64, String)>>,
    /// The records of those on which somebody else has to agree first.
    awaited: BTreeMap<u64, Vec<RecordNumber>>,
}

impl Overrides {
    /// Takes an override as it is now; whether that changes what is in force.
    pub(super) fn set(&mut self, value: &StoredOverride) -> bool {
        self.awaited.remove(&value.number);
        if value.undone.is_none() && value.approval == Approval::Awaited {
            let records = value.records().map(|(_, number)| *number);
            self.awaited.insert(value.number, records.collect());
        }
        let (was, is) = (self.groups.contains_key(&value.number), value.is_in_force());
        match (was, is) {
            (false, true) => {
                self.add(value);
                self.pin(value);
            }
            (true, false) => {
                self.unpin(value);
                self.remove(value.number);
            }
            _ => {}
        }
        was != is
    }

    fn pin(&mut self, value: &StoredOverride) {
        if value.pinned_slot.is_empty() {
            return;
        }
        for (_, record) in value.records() {
            let pins = self.pins.entry(*record).or_default();
            let at = pins.partition_point(|(known, _)| *known < value.number);
            pins.insert(at, (value.number, value.pinned_slot.clone()));
        }
    }

    fn unpin(&mut self, value: &StoredOverride) {
        for (_, record) in value.records() {
            if let Some(pins) = self.pins.get_mut(record) {
                pins.retain(|(number, _)| *number != value.number);
                if pins.is_empty() {
                    self.pins.remove(record);
                }
            }
        }
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
        let mut awaited = self.awaited.values();
        awaited.any(|records| records.contains(&one) && records.contains(&other))
    }

    /// The numbers of those on which somebody has to agree, after one.
    pub(super) fn awaited(&self, after: u64) -> impl Iterator<Item = u64> {
        let following = (Bound::Excluded(after), Bound::Unbounded);
        self.awaited.range(following).map(|(number, _)| *number)
    }

    fn add(&mut self, value: &StoredOverride) {
        let groups: Vec<Vec<RecordNumber>> = value
            .groups
            .iter()
            .map(|group| group.iter().map(|(_, number)| *number).collect())
            .collect();
        for (group, records) in groups.iter().enumerate() {
            for record in records {
                let place = Place {
                    number: value.number,
                    group,
                };
                let places = self.places.entry(*record).or_default();
                let at = places.partition_point(|known| known.number < place.number);
                places.insert(at, place);
            }
        }
        self.groups.insert(value.number, groups);
    }

    fn remove(&mut self, number: u64) {
        for record in self.groups.remove(&number).into_iter().flatten().flatten() {
            if let Some(places) = self.places.get_mut(&record) {
                places.retain(|place| place.number != number);
                if places.is_empty() {
                    self.places.remove(&record);
                }
            }
        }
    }

    /// Whether an override names a record.
    pub(super) fn name(&self, record: RecordNumber) -> bool {
        self.places.contains_key(&record)
    }

    /// The word on two records and the override that says it: the latest that names both.
    pub(super) fn word_of(&self, one: RecordNumber, other: RecordNumber) -> Option<(u64, Link)> {
        let (one, other) = (self.places.get(&one)?, self.places.get(&other)?);
        let in_other = |place: &&Place| {
            let at = other.binary_search_by_key(&place.number, |other| other.number);
            at.is_ok()
        };
        let place = one.iter().rev().find(in_other)?;
        let at = other
            .binary_search_by_key(&place.number, |other| other.number)
            .ok()?;
        let link = if other[at].group == place.group {
            Link::Must
        } else {
            Link::Cannot
        };
        Some((place.number, link))
    }

    /// The word on two records.
    pub(super) fn word(&self, one: RecordNumber, other: RecordNumber) -> Option<Link> {
        self.word_of(one, other).map(|(_, link)| link)
    }

    /// The records on which there is a word beside a record.
    pub(super) fn others(&self, record: RecordNumber) -> BTreeSet<RecordNumber> {
        let places = self.places.get(&record).into_iter().flatten();
        let groups = places.filter_map(|place| self.groups.get(&place.number));
        let named = groups.flatten().flatten().copied();
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
