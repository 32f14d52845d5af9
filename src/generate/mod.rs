//! A seeded synthetic retail world: signals of four sources about invented customers, with the truth of who is who.
//!
//! Households are drawn one by one, each from its own sequence of draws over (seed, household number), so any of them
//! can be had without the ones before it and memory does not grow with the number of persons. In a household live
//! persons with names, homes, phones, e-mail addresses and loyalty cards ([`Trap`] lists what is hard about them); each
//! leaves records at the till (`pos`), in the shop on the web (`ecommerce`), in the loyalty programme (`loyalty`) and
//! in the customer data platform (`cdp`), and each record is the fold of one to three signals.
//!
//! - [`generate`] holds everything in memory, for tests and demonstrations;
//! - [`GeneratedPersons`] yields one person after the other;
//! - [`write_dataset`] writes files, of any size, in bounded memory.

mod dataset;
mod dice;
mod history;
mod household;
mod ids;
mod mail;
mod names;
mod neighbourhood;
mod places;
mod signal_line;
mod sorter;
mod source;
#[cfg(test)]
mod tests;
mod trap;
mod typing;
mod writer;

use std::collections::VecDeque;

use veridem_matchers::RecordKey;

use crate::resolver::{Signal, SignalKind};
use dice::{Dice, Purpose};
use history::{Drafted, Ledger, records_of};
use household::Household;
use neighbourhood::{HOUSEHOLDS_PER_NEIGHBOURHOOD, Neighbourhood};

pub use dataset::{Manifest, write_dataset};
pub use trap::{Trap, TrapSet};

/// Changes whenever the same options give other bytes than before.
pub const GENERATOR_VERSION: u32 = 1;

/// How large a world, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Persons, each with one to six records, 2.4 on average. Loyalty numbers stay unique up to a hundred million.
    pub persons: usize,
    /// Which world: the same seed gives the same bytes, and fewer persons of a seed are the first of more.
    pub seed: u64,
}

/// What one source record says in the end, one text a column; empty where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedRecord {
    /// The source system.
    pub source: &'static str,
    /// The source's own id: ten hexadecimal characters that carry no truth, unique over all sources.
    pub record_id: String,
    /// The truth: number of the person, from 0.
    pub person: u64,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// E-mail address.
    pub email: String,
    /// Phone number.
    pub phone: String,
    /// Birth date.
    pub dob: String,
    /// Street line.
    pub street: String,
    /// City.
    pub city: String,
    /// State, two letters.
    pub state: String,
    /// ZIP code.
    pub zip: String,
    /// Loyalty number.
    pub loyalty_id: String,
    /// Order number; a record has one at most.
    pub order_id: String,
    /// Event time of the last signal, seconds since the Unix epoch.
    pub updated_at: i64,
    /// The difficulties that are in the values above. Not written to any file but the manifest's counts.
    pub traps: TrapSet,
}

impl GeneratedRecord {
    /// The record's key.
    pub fn key(&self) -> RecordKey {
        RecordKey::new(self.source, &self.record_id)
    }
}

/// One person with everything that the sources know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonOutput {
    /// The truth: number of the person, from 0.
    pub person: u64,
    /// Number of the household, from 0.
    pub household: u64,
    /// The records in their final state, at least one.
    pub records: Vec<GeneratedRecord>,
    /// The signals, record by record, each record's in event-time order; none where they were not asked for.
    pub signals: Vec<Signal>,
    /// The difficulties of the person, apart from those of the records.
    pub traps: TrapSet,
}

/// A whole world in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Every signal in order of event time, then signal id.
    pub signals: Vec<Signal>,
    /// The person of every record, sorted by key.
    pub truth: Vec<(RecordKey, u64)>,
    /// The final state of every record, sorted by record id, which is to say shuffled.
    pub records: Vec<GeneratedRecord>,
}

/// Yields the persons of a world one after the other, holding one household at a time.
pub struct GeneratedPersons {
    seed: u64,
    with_signals: bool,
    persons: u64,
    next_person: u64,
    next_household: u64,
    neighbourhood: Neighbourhood,
    ready: VecDeque<PersonOutput>,
}

impl GeneratedPersons {
    /// Starts at the first person.
    pub fn new(options: &GenerateOptions) -> Self {
        Self {
            seed: options.seed,
            with_signals: true,
            persons: options.persons as u64,
            next_person: 0,
            next_household: 0,
            neighbourhood: Neighbourhood::of(options.seed, 0),
            ready: VecDeque::new(),
        }
    }

    /// Leaves the signals out, which saves about a third of the time; the records stay the same.
    pub fn without_signals(mut self) -> Self {
        self.with_signals = false;
        self
    }

    fn draw_household(&mut self) {
        let number = self.next_household;
        self.next_household += 1;
        if number / HOUSEHOLDS_PER_NEIGHBOURHOOD != self.neighbourhood.number {
            self.neighbourhood = Neighbourhood::of(self.seed, number);
        }
        let mut dice = Dice::new(self.seed, Purpose::Household, number);
        let household = Household::draw(self.seed, number, &self.neighbourhood, &mut dice);
        let mut ledger = Ledger {
            seed: self.seed,
            with_signals: self.with_signals,
            position: 0,
        };
        for member in &household.members {
            let person = self.next_person + self.ready.len() as u64;
            let drafted = records_of(
                &mut dice,
                &mut ledger,
                &household,
                member,
                person,
                &self.neighbourhood,
            );
            let mut output = PersonOutput {
                person,
                household: number,
                records: Vec::with_capacity(drafted.len()),
                signals: Vec::new(),
                traps: member.traps,
            };
            for Drafted { record, signals } in drafted {
                output.records.push(record);
                output.signals.extend(signals);
            }
            self.ready.push_back(output);
        }
    }
}

impl Iterator for GeneratedPersons {
    type Item = PersonOutput;

    fn next(&mut self) -> Option<PersonOutput> {
        if self.next_person == self.persons {
            return None;
        }
        if self.ready.is_empty() {
            self.draw_household();
        }
        let output = self.ready.pop_front()?;
        self.next_person += 1;
        Some(output)
    }
}

/// Generates a whole world in memory: about 2.4 records and 3.6 signals a person, some 7 kB.
pub fn generate(options: &GenerateOptions) -> Generated {
    let mut signals = Vec::with_capacity(options.persons.saturating_mul(15) / 4);
    let mut records = Vec::with_capacity(options.persons.saturating_mul(5) / 2);
    for output in GeneratedPersons::new(options) {
        signals.extend(output.signals);
        records.extend(output.records);
    }
    signals.sort_unstable_by(|left, right| {
        let left_key = (left.event_time_ms, &left.signal_id);
        left_key.cmp(&(right.event_time_ms, &right.signal_id))
    });
    records.sort_by_cached_key(|record| record.record_id.clone());
    let mut truth: Vec<(RecordKey, u64)> = records
        .iter()
        .map(|record| (record.key(), record.person))
        .collect();
    truth.sort_unstable();
    Generated {
        signals,
        truth,
        records,
    }
}
