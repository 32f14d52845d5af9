//! What a running sink is told: dead letters sent again or discarded, and replays.

use std::sync::Arc;

use tokio::time::Instant;

use super::consumer::Awaited;
use super::{MAX_STORED, Worker};
use crate::clock;
use crate::publish::breaker::Breaker;
use crate::publish::filter::Told;
use crate::publish::lines::Lines;
use crate::publish::watch::Watcher;
use crate::publish::{Command, CommandError, DeadLetters, ReplayFrom};
use crate::store::{StoreError, StoredDelivery, StoredEvent};

impl Worker {
    /// Carries a command out; nothing is on its way.
    pub(super) fn obey(&mut self, command: Command) -> Result<u64, CommandError> {
        let now = clock::instant();
        let answer = match command {
            Command::Redrive(which) => self.each_dead_letter(which, |worker, sequence| {
                worker.lines.revive(sequence, now);
                worker.write_delivery(sequence, Some(StoredDelivery::default()));
            }),
            Command::Discard(which) => self.each_dead_letter(which, |worker, sequence| {
                worker.lines.done(sequence);
                worker.failed_at.remove(&sequence);
                worker.repaired.remove(&sequence);
                worker.awaited.forget_late(sequence);
                worker.write_delivery(sequence, None);
            }),
            Command::Replay(from) => self.replay(from)?,
            Command::Repair(sequences) => self.repair(sequences)?,
            Command::Acknowledge(sequence, outcome) => self.acknowledged(sequence, outcome)?,
            Command::Watch(watcher) => self.begin_again(watcher),
        };
        self.save()?;
        self.store.flush()?;
        // Whoever asks after the answer sees what came of it.
        self.show_state();
        Ok(answer)
    }

    fn each_dead_letter(&mut self, which: DeadLetters, act: impl Fn(&mut Self, u64)) -> u64 {
        let named = match which {
            DeadLetters::All => self.lines.dead_letters(),
            DeadLetters::Of(mut sequences) => {
                sequences.retain(|sequence| self.lines.is_dead(*sequence));
                sequences.sort_unstable();
                sequences.dedup();
                sequences
            }
        };
        for sequence in &named {
            act(self, *sequence);
        }
        named.len() as u64
    }

    /// Delivers events once more, as far as there is room, each with what came of its identity since, so that the consumer ends with what
    /// is; how many. A file is repaired by a replay.
    fn repair(&mut self, sequences: Vec<u64>) -> Result<u64, StoreError> {
        // A file takes what is newer than its end, and nothing else.
        if self.target.is_in_feed_order() {
            return Ok(0);
        }
        // What comes again is told apart from what came before.
        self.replays += 1;
        let now = clock::instant();
        let mut queued = 0;
        for sequence in sequences {
            if sequence > self.last_read || self.lines.stored() >= MAX_STORED {
                continue;
            }
            let event = self.read(sequence)?;
            if self.takes(&event)? || self.is_of_snapshot(&event)? {
                queued += u64::from(self.enter_repair(event, now)?);
            }
        }
        Ok(queued)
    }

    /// Enters an event again, and its followers; not where others of their identities hold them up.
    fn enter_repair(&mut self, event: Arc<StoredEvent>, now: Instant) -> Result<bool, StoreError> {
        let mut entered = vec![event];
        while let Some(next) = self.latest_after(&entered[entered.len() - 1])? {
            entered.push(next);
        }
        let mut identities = entered.iter().flat_map(|event| self.touched_by(event));
        // What is on its way would arrive before what it follows, and what is given up not at all.
        if identities.any(|identity| self.lines.is_held_up(&identity)) {
            return Ok(false);
        }
        for event in &entered {
            let (sequence, identities) = (event.sequence, self.touched_by(event));
            self.repaired.insert(sequence);
            let Some(newly_stored) = self.lines.enter_again(sequence, identities, now) else {
                continue;
            };
            self.write_delivery(sequence, Some(StoredDelivery::default()));
            self.keep(newly_stored);
        }
        Ok(true)
    }

    fn told_until(&self, until: u64) -> Told {
        let last_snapshot = self.last_snapshot;
        Told {
            until,
            last_snapshot,
        }
    }

    /// Whether an event is what the last snapshot told of its identity, up to where that has come.
    fn is_of_snapshot(&self, event: &StoredEvent) -> Result<bool, StoreError> {
        let (store, tenant) = (self.store.as_ref(), self.tenant());
        let Some(identity) = store.identity(tenant, &event.identity.id)? else {
            return Ok(false);
        };
        let told = self.told_until(self.last_read.min(self.last_snapshot));
        let of_snapshot = self
            .settings
            .filter
            .latest(store, tenant, &identity, told)?;
        Ok(of_snapshot.is_some_and(|it| it.sequence == event.sequence))
    }

    /// The latest event that the sink was told of an identity, where that came after this one of it.
    fn latest_after(&self, event: &StoredEvent) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let (store, tenant) = (self.store.as_ref(), self.tenant());
        let Some(identity) = store.identity(tenant, &event.identity.id)? else {
            return Ok(None);
        };
        // What is not read yet comes by itself.
        if let Some(ended) = &identity.ended
            && event.sequence < ended.sequence
            && ended.sequence <= self.last_read
        {
            let end = self.read(ended.sequence)?;
            if self.takes(&end)? {
                return Ok(Some(end));
            }
        }
        let filter = &self.settings.filter;
        let told = self.told_until(self.last_read);
        let latest = filter.latest(store, tenant, &identity, told)?;
        Ok(latest.filter(|latest| latest.sequence > event.sequence))
    }

    /// What the last watcher did not acknowledge goes to this one, at once.
    fn begin_again(&mut self, watcher: Watcher) -> u64 {
        let now = clock::instant();
        self.breaker = Breaker::default();
        for sequence in self.awaited.take() {
            self.lines.failed(sequence, now, false);
        }
        self.lines.hurry(now);
        self.target.attach(watcher);
        0
    }

    fn replay(&mut self, from: ReplayFrom) -> Result<u64, StoreError> {
        let durable = self.durable.sequence(self.tenant());
        let first = match from {
            ReplayFrom::Sequence(sequence) => sequence.clamp(1, durable + 1),
            ReplayFrom::Time(time_ms) => self.first_since(time_ms, durable)?,
            ReplayFrom::Snapshot => 1,
        };
        self.save()?;
        for (sequence, _) in self.stored_after(first - 1)? {
            self.write_delivery(sequence, None);
        }
        // One that is broken off was not told; one of which the last piece has just arrived was.
        self.end_snapshot();
        if self.snapshot_until > 0 {
            self.last_snapshot = 0;
        }
        self.snapshot_until = 0;
        if let ReplayFrom::Snapshot = from {
            self.snapshot_until = durable;
            self.last_snapshot = durable;
        }
        self.replays += 1;
        self.last_read = first - 1;
        self.rests_until = clock::instant();
        self.lines = Lines::default();
        self.events.clear();
        self.members = 0;
        self.failed_at.clear();
        self.repaired.clear();
        self.awaited = Awaited::default();
        self.beyond.clear();
        self.breaker = Breaker::default();
        self.target.begin_replay(self.replays);
        self.save()?;
        self.enter_stored(clock::instant())?;
        Ok(first)
    }

    /// The first event that was decided at a moment or later; events are dated in their order.
    fn first_since(&self, time_ms: i64, durable: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (1, durable + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.read(middle)?.occurred_at_ms < time_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
