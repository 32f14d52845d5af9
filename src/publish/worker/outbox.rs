//! What a sink reads of the outbox, and which of it waits for delivery.

use std::sync::Arc;

use tokio::time::Instant;

use super::{MAX_MEMBERS, MAX_STORED, READ_AT_ONCE, REST, Worker};
use crate::store::{EventKind, IdentityId, StoreError, StoredDelivery, StoredEvent};

impl Worker {
    /// Reads a piece of the outbox, where there is room; whether there may be more to read at once.
    pub(super) fn fill(&mut self, now: Instant) -> Result<bool, StoreError> {
        let durable = self.durable.sequence(self.tenant());
        let has_room = self.lines.unstored() + READ_AT_ONCE <= self.max_unstored()
            && self.lines.stored() < MAX_STORED
            && self.members <= MAX_MEMBERS;
        if self.last_read >= durable || !has_room || now < self.rests_until {
            return Ok(false);
        }
        let first = self.last_read + 1;
        for event in self.store.events(self.tenant(), first, READ_AT_ONCE)? {
            if event.sequence > durable || self.members > MAX_MEMBERS {
                break;
            }
            self.last_read = event.sequence;
            if let Some(delivery) = self.beyond.remove(&event.sequence) {
                self.enter_kept(&event, &delivery, now);
            } else if self.wants(&event)? {
                self.enter(event, now);
            }
        }
        if self.last_read == durable {
            self.rests_until = now + REST;
        }
        Ok(self.last_read >= first)
    }

    /// Whether the filter takes an event.
    pub(super) fn takes(&self, event: &StoredEvent) -> Result<bool, StoreError> {
        let filter = &self.settings.filter;
        filter.takes(self.store.as_ref(), self.tenant(), event)
    }

    /// Whether an event that is read goes out: one that the filter takes; within a snapshot the latest of each living identity, whatever
    /// its kind, and what tells of persons erased.
    fn wants(&self, event: &StoredEvent) -> Result<bool, StoreError> {
        if event.sequence > self.snapshot_until || event.kind == EventKind::Erased {
            return self.takes(event);
        }
        let filter = &self.settings.filter;
        Ok(self.is_last_of_snapshot(event)?
            && filter.concerns(self.store.as_ref(), self.tenant(), event)?)
    }

    /// Whether an event is what a snapshot tells of its identity. One that changed since comes with its later event, if that is wanted.
    fn is_last_of_snapshot(&self, event: &StoredEvent) -> Result<bool, StoreError> {
        let identity = self.store.identity(self.tenant(), &event.identity.id)?;
        let Some(identity) = identity.filter(|identity| identity.ended.is_none()) else {
            return Ok(false);
        };
        let mut sequence = identity.changed_at_sequence;
        while sequence > self.snapshot_until {
            let later = self.read(sequence)?;
            if self.takes(&later)? {
                return Ok(false);
            }
            sequence = later.previous_sequence;
        }
        Ok(sequence == event.sequence)
    }

    /// Once all of a snapshot has arrived, an event of it that goes out again is what it was: a merge is told as a merge.
    pub(super) fn end_snapshot(&mut self) {
        let is_behind = |first| first > self.snapshot_until;
        if self.last_read >= self.snapshot_until && self.lines.first().is_none_or(is_behind) {
            self.snapshot_until = 0;
        }
    }

    pub(super) fn enter(&mut self, event: Arc<StoredEvent>, now: Instant) {
        let sequence = event.sequence;
        let identities = self.touched_by(&event);
        self.collecting_since.get_or_insert(now);
        if self.lines.enter(sequence, identities, now) {
            self.write_delivery(sequence, Some(StoredDelivery::default()));
        } else {
            self.members += event.identity.members.len();
            self.events.insert(sequence, event);
        }
    }

    /// Takes up what an earlier run could not deliver. What lies beyond the cursor has its turn when the outbox is read.
    pub(super) fn enter_stored(&mut self, now: Instant) -> Result<(), StoreError> {
        for (sequence, delivery) in self.stored_after(0)? {
            if sequence > self.last_read {
                self.beyond.insert(sequence, delivery);
            } else {
                let event = self.read(sequence)?;
                self.enter_kept(&event, &delivery, now);
            }
        }
        Ok(())
    }

    /// What could not be delivered, after an event; [`MAX_STORED`] bounds it.
    pub(super) fn stored_after(
        &self,
        sequence: u64,
    ) -> Result<Vec<(u64, StoredDelivery)>, StoreError> {
        self.store
            .deliveries(self.tenant(), &self.settings.name, sequence, usize::MAX)
    }

    pub(super) fn enter_kept(
        &mut self,
        event: &StoredEvent,
        delivery: &StoredDelivery,
        now: Instant,
    ) {
        let identities = self.touched_by(event);
        let (attempts, is_dead) = (delivery.attempts, delivery.is_dead);
        self.lines
            .enter_stored(event.sequence, identities, now, attempts, is_dead);
    }

    pub(super) fn read(&self, sequence: u64) -> Result<Arc<StoredEvent>, StoreError> {
        let event = self.store.event(self.tenant(), sequence)?;
        event.ok_or_else(|| StoreError::Unreadable {
            what: "identity event",
            cause: format!("number {sequence} is not there"),
        })
    }

    /// The identities whose events have to come in order.
    pub(super) fn touched_by(&self, event: &StoredEvent) -> Vec<IdentityId> {
        if self.target.is_in_feed_order() {
            return vec![IdentityId([0; 16])];
        }
        let others = event.merged.iter().chain(&event.split_into);
        [event.identity.id]
            .into_iter()
            .chain(others.copied())
            .collect()
    }
}
