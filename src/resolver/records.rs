//! The records of a bulk job, packed: one after the other in one piece of memory, decoded when they are looked at.

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use veridem_matchers::{Record, RecordKey, StatedAttribute};

/// Records sorted by key, keys unique. A record takes about as much room as its texts.
#[derive(Debug, Default)]
pub struct Records {
    sources: Vec<String>,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a record lies, and the number of its source.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    source: u32,
}

/// A record without its source, as it is packed. The id comes first, so that it can be read alone.
#[derive(Serialize)]
struct Packed<'a> {
    record_id: &'a str,
    attributes: &'a [StatedAttribute],
}

/// The same, unpacked.
#[derive(Deserialize)]
struct Unpacked<'a> {
    record_id: &'a str,
    attributes: Vec<StatedAttribute>,
}

/// Collects records in any order.
#[derive(Debug, Default)]
pub struct RecordsBuilder {
    records: Records,
    numbers: FxHashMap<String, u32>,
}

impl RecordsBuilder {
    /// Adds a record.
    pub fn push(&mut self, record: &Record) {
        let source = self.source_number(&record.key.source);
        let records = &mut self.records;
        let place = Place {
            start: records.bytes.len() as u64,
            source,
        };
        let packed = Packed {
            record_id: &record.key.record_id,
            attributes: &record.attributes,
        };
        postcard::to_io(&packed, &mut records.bytes).expect("memory takes what is written to it");
        records.places.push(place);
    }

    /// Adds what another builder has collected, after what is here.
    pub fn append(&mut self, other: Self) {
        let other = other.records;
        let numbers: Vec<u32> = other
            .sources
            .iter()
            .map(|source| self.source_number(source))
            .collect();
        let records = &mut self.records;
        let before = records.bytes.len() as u64;
        records.bytes.extend_from_slice(&other.bytes);
        records
            .places
            .extend(other.places.iter().map(|place| Place {
                start: before + place.start,
                source: numbers[place.source as usize],
            }));
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn source_number(&mut self, source: &str) -> u32 {
        if let Some(number) = self.numbers.get(source) {
            return *number;
        }
        let number = self.records.sources.len() as u32;
        self.records.sources.push(source.to_owned());
        self.numbers.insert(source.to_owned(), number);
        number
    }

    /// Sorts by key. Of records with one key the first that came stays; the others are told to `repeats`, by their number and
    /// that of the first, in the order of their keys.
    pub fn finish(self, repeats: impl FnMut(usize, usize)) -> Records {
        self.finish_with_origins(repeats).0
    }

    /// As [`RecordsBuilder::finish`], and with the number that each record came as.
    pub fn finish_with_origins(self, mut repeats: impl FnMut(usize, usize)) -> (Records, Vec<u32>) {
        let mut records = self.records;
        records.bytes.shrink_to_fit();
        let mut by_name: Vec<u32> = (0..records.sources.len() as u32).collect();
        by_name.sort_unstable_by_key(|source| &records.sources[*source as usize]);
        let mut rank = vec![0_u32; by_name.len()];
        for (position, source) in by_name.iter().enumerate() {
            rank[*source as usize] = position as u32;
        }
        // Most ids differ in their first eight bytes, which are at hand.
        let mut order: Vec<(u32, u64, u32)> = (0..records.len())
            .into_par_iter()
            .map(|index| {
                let id = records.record_id(index).as_bytes();
                let mut first = [0; 8];
                let length = id.len().min(8);
                first[..length].copy_from_slice(&id[..length]);
                let source = rank[records.places[index].source as usize];
                (source, u64::from_be_bytes(first), index as u32)
            })
            .collect();
        order.par_sort_by(|left, right| {
            let ids = || {
                let id = |index: u32| records.record_id(index as usize);
                id(left.2).cmp(id(right.2))
            };
            (left.0, left.1)
                .cmp(&(right.0, right.1))
                .then_with(ids)
                .then(left.2.cmp(&right.2))
        });
        let mut kept: Vec<u32> = Vec::with_capacity(order.len());
        for (.., index) in order {
            match kept.last() {
                Some(last) if records.key(*last as usize) == records.key(index as usize) => {
                    repeats(index as usize, *last as usize);
                }
                _ => kept.push(index),
            }
        }
        records.places = kept
            .iter()
            .map(|index| records.places[*index as usize])
            .collect();
        (records, kept)
    }
}

impl Records {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A record.
    pub fn get(&self, index: usize) -> Record {
        let unpacked: Unpacked<'_> = self.unpack(self.places[index]);
        Record {
            key: RecordKey::new(self.source(index), unpacked.record_id),
            attributes: unpacked.attributes,
        }
    }

    /// What a record states.
    pub fn attributes(&self, index: usize) -> Vec<StatedAttribute> {
        self.unpack::<Unpacked<'_>>(self.places[index]).attributes
    }

    /// The source and the record id of a record, which order it.
    pub fn key(&self, index: usize) -> (&str, &str) {
        (self.source(index), self.record_id(index))
    }

    /// Whether two records are of one source.
    pub fn are_of_one_source(&self, left: usize, right: usize) -> bool {
        self.places[left].source == self.places[right].source
    }

    /// The index of a key.
    pub fn find(&self, key: &RecordKey) -> Option<usize> {
        let key = (key.source.as_str(), key.record_id.as_str());
        let found = self.places.binary_search_by(|place| {
            let source = self.sources[place.source as usize].as_str();
            (source, self.unpack::<&str>(*place)).cmp(&key)
        });
        found.ok()
    }

    /// How many records each source has, by the sources' names.
    pub fn sources(&self) -> Vec<(String, usize)> {
        let mut counts: Vec<(String, usize)> = self
            .sources
            .iter()
            .map(|source| (source.clone(), 0))
            .collect();
        for place in &self.places {
            counts[place.source as usize].1 += 1;
        }
        counts.retain(|(_, count)| *count > 0);
        counts.sort_unstable();
        counts
    }

    fn source(&self, index: usize) -> &str {
        &self.sources[self.places[index].source as usize]
    }

    fn record_id(&self, index: usize) -> &str {
        self.unpack(self.places[index])
    }

    fn unpack<'a, T: Deserialize<'a>>(&'a self, place: Place) -> T {
        let (unpacked, _) = postcard::take_from_bytes(&self.bytes[place.start as usize..])
            .expect("what was packed can be unpacked");
        unpacked
    }
}

impl FromIterator<Record> for Records {
    /// Of records with one key the first stays.
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut builder = RecordsBuilder::default();
        for record in records {
            builder.push(&record);
        }
        builder.finish(|_, _| {})
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use veridem_matchers::Attribute;

    use super::*;

    fn record(source: &str, record_id: &str, email: &str) -> Record {
        Record {
            key: RecordKey::new(source, record_id),
            attributes: vec![StatedAttribute {
                attribute: Attribute::Email(email.to_owned()),
                stated_at_ms: 7,
            }],
        }
    }

    proptest! {
        #[test]
        fn records_are_those_of_a_sorted_map(
            // Ids that agree in their first eight bytes, and sources that come in any order.
            rows in prop::collection::vec(("[cab]", "(longer id )?[ab]{0,2}", "[a-z]{0,3}"), 0..40),
            parts in 1..5_usize,
        ) {
            let mut builder = RecordsBuilder::default();
            let mut expected = BTreeMap::new();
            let mut expected_repeats = 0;
            for chunk in rows.chunks(rows.len().div_ceil(parts).max(1)) {
                let mut part = RecordsBuilder::default();
                for (source, id, email) in chunk {
                    let record = record(source, id, email);
                    part.push(&record);
                    if expected.contains_key(&record.key) {
                        expected_repeats += 1;
                    } else {
                        expected.insert(record.key.clone(), record);
                    }
                }
                builder.append(part);
            }
            let mut repeats = 0;
            let (records, origins) = builder.finish_with_origins(|repeated, first| {
                assert!(first < repeated && rows[first].0 == rows[repeated].0 && rows[first].1 == rows[repeated].1);
                repeats += 1;
            });
            prop_assert_eq!(repeats, expected_repeats);
            prop_assert_eq!(records.len(), expected.len());
            for (index, (key, record)) in expected.iter().enumerate() {
                prop_assert_eq!(&records.get(index), record);
                prop_assert_eq!(records.key(index), (key.source.as_str(), key.record_id.as_str()));
                prop_assert_eq!(records.find(key), Some(index));
                let origin = &rows[origins[index] as usize];
                prop_assert_eq!((&origin.0, &origin.1), (&key.source, &key.record_id));
            }
            prop_assert_eq!(records.find(&RecordKey::new("d", "a")), None);
            let counted: usize = records.sources().iter().map(|(_, count)| count).sum();
            prop_assert_eq!(counted, records.len());
        }
    }
}
