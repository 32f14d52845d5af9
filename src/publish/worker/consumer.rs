//! What the consumer itself says: that it has taken an event, and what it calls the persons that it was told of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::Worker;
use crate::publish::cloud_event::ConsumerRecords;
use crate::publish::{Failure, SinkKind};
use crate::store::{EventKind, RecordNumber, StoreError, StoredEvent};

/// Records of an identity that are looked through for what the consumer calls them.
const MAX_RECORDS: usize = 1_000;
/// Records of the consumer for one record of ours.
const MAX_REFERENCES: usize = 100;

/// Events that the consumer has to acknowledge yet.
#[derive(Default)]
pub(super) struct Awaited {
    deadlines: BTreeMap<u64, Instant>,
    by_deadline: BTreeSet<(Instant, u64)>,
    /// What the consumer said of events that are still on their way: its word may come before its answer.
    early: BTreeMap<u64, Result<(), String>>,
    /// Events whose time is over; the consumer's word may come yet.
    late: BTreeSet<u64>,
}

impl Awaited {
    /// An event waits from now on.
    pub(super) fn enter(&mut self, sequence: u64, deadline: Instant) {
        self.deadlines.insert(sequence, deadline);
        self.by_deadline.insert((deadline, sequence));
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Whether an event waited.
    fn leave(&mut self, sequence: u64) -> bool {
        let deadline = self.deadlines.remove(&sequence);
        deadline.is_some_and(|deadline| self.by_deadline.remove(&(deadline, sequence)))
    }

    /// Of an event that is delivered.
    pub(super) fn forget_late(&mut self, sequence: u64) {
        self.late.remove(&sequence);
    }

    /// All that wait no more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(self).deadlines.into_keys()
    }
}

impl Worker {
    /// What the consumer says of an event; 1 where the event waited for it.
    pub(super) fn acknowledged(
        &mut self,
        sequence: u64,
        outcome: Result<(), String>,
    ) -> Result<u64, StoreError> {
        self.look_for_references()?;
        if self.awaited.leave(sequence) {
            self.settle_awaited(sequence, outcome);
            return Ok(1);
        }
        if outcome.is_ok() && self.awaited.late.contains(&sequence) && self.lines.waits(sequence) {
            self.delivered(&[sequence]);
            return Ok(1);
        }
        let is_on_its_way = self.parcels.values().flatten().any(|it| *it == sequence);
        if is_on_its_way && self.settings.acknowledge_within.is_some() {
            self.awaited.early.insert(sequence, outcome);
            return Ok(1);
        }
        Ok(0)
    }

    /// Settles those events of a parcel of which the consumer has spoken while they were on their way, and returns the others. Its word
    /// holds also where the attempt failed.
    pub(super) fn settle_early(&mut self, mut parcel: Vec<u64>) -> Vec<u64> {
        let mut early = Vec::new();
        parcel.retain(|sequence| match self.awaited.early.remove(sequence) {
            Some(outcome) => {
                early.push((*sequence, outcome));
                false
            }
            None => true,
        });
        for (sequence, outcome) in early {
            self.settle_awaited(sequence, outcome);
        }
        parcel
    }

    fn settle_awaited(&mut self, sequence: u64, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.delivered(&[sequence]),
            Err(reason) => self.failed(&[sequence], &Failure::Rejected(reason)),
        }
    }

    /// Sends again what the consumer has not acknowledged in time.
    pub(super) fn give_up_awaited(&mut self, now: Instant) {
        while let Some((deadline, sequence)) = self.awaited.by_deadline.first().copied()
            && deadline <= now
        {
            self.awaited.leave(sequence);
            self.awaited.late.insert(sequence);
            if self.target.is_there() {
                let failure = Failure::unavailable("the consumer did not acknowledge it in time");
                self.failed(&[sequence], &failure);
            } else {
                // Nobody was there to do so.
                self.lines.failed(sequence, now, false);
            }
        }
    }

    /// Events at a watcher that it has not acknowledged: it has no other way to say that it is slow.
    pub(super) fn unacknowledged(&self) -> usize {
        match self.settings.kind {
            SinkKind::Watch => self.awaited.len(),
            _ => 0,
        }
    }

    /// Consumers that never say what they call persons are not asked after it with each event.
    pub(super) fn look_for_references(&mut self) -> Result<(), StoreError> {
        if !self.has_references {
            let any = self
                .store
                .references(self.tenant(), &self.settings.name, None, 1)?;
            self.has_references = !any.is_empty();
        }
        Ok(())
    }

    /// An event with what the consumer calls its persons.
    pub(super) fn with_records(
        &self,
        event: Arc<StoredEvent>,
    ) -> Result<(Arc<StoredEvent>, Option<ConsumerRecords>), StoreError> {
        if !self.has_references {
            return Ok((event, None));
        }
        let mut records = ConsumerRecords::default();
        for record in event.identity.members.iter().take(MAX_RECORDS) {
            records.own.extend(self.references_of(*record)?);
        }
        if event.kind == EventKind::Split {
            let in_force = self.store.in_force(self.tenant());
            for key in event.moved.iter().take(MAX_RECORDS) {
                let Some(number) = self.store.record_number(self.tenant(), key)? else {
                    continue;
                };
                let record = self.store.record(self.tenant(), in_force, number)?;
                if let Some(identity) = record.and_then(|record| record.identity_id) {
                    let own = self.references_of(number)?.into_iter();
                    records.returned.extend(own.map(|id| (id, identity)));
                }
            }
        }
        Ok((event, Some(records)))
    }

    fn references_of(&self, record: RecordNumber) -> Result<Vec<String>, StoreError> {
        let sink = &self.settings.name;
        let references =
            self.store
                .references(self.tenant(), sink, Some(record), MAX_REFERENCES)?;
        let ids = references
            .into_iter()
            .map(|reference| reference.consumer_record_id);
        Ok(ids.collect())
    }
}
