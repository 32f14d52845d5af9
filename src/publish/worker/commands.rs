//! What a running sink is told: dead letters sent again or discarded, and replays.

use super::{MAX_STORED, Worker};
use crate::clock;
use crate::publish::breaker::Breaker;
use crate::publish::lines::Lines;
use crate::publish::{Command, CommandError, DeadLetters, ReplayFrom};
use crate::store::{StoreError, StoredDelivery};

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
                worker.write_delivery(sequence, None);
            }),
            Command::Replay(from) => self.replay(from)?,
            Command::Repair(sequences) => self.repair(sequences)?,
            Command::Acknowledge(sequence, outcome) => self.acknowledged(sequence, outcome)?,
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

    /// Delivers events once more, as far as there is room. An identity with events on their way will be told the latest anyway; a file
    /// is repaired by a replay.
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
            if !self.takes(&event)? {
                continue;
            }
            let identities = self.touched_by(&event);
            if identities
                .iter()
                .any(|identity| self.lines.has_line(identity))
            {
                continue;
            }
            self.lines.enter_stored(sequence, identities, now, 0, false);
            self.write_delivery(sequence, Some(StoredDelivery::default()));
            queued += 1;
        }
        Ok(queued)
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
        self.snapshot_until = match from {
            ReplayFrom::Snapshot => durable,
            _ => 0,
        };
        self.replays += 1;
        self.last_read = first - 1;
        self.lines = Lines::default();
        self.events.clear();
        self.members = 0;
        self.failed_at.clear();
        self.awaited.clear();
        self.beyond.clear();
        self.breaker = Breaker::default();
        self.target.begin_anew(first);
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
