//! What waits to be passed on: taken by one thread, which makes a group of signals durable with one flush.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use rustc_hash::FxHashSet;
use tokio::sync::{Notify, mpsc, oneshot};
use veridem_proto::v1;

use super::WhenFull;
use crate::clock;
use crate::resolver::EngineError;
use crate::store::{DurableQueue, QueueChange, StoreError};

/// Signals that may wait for the writer.
const QUEUE_LENGTH: usize = 4_096;
/// Signals after which a flush makes them durable.
const MAX_GROUP: usize = 512;
/// Entries read at once.
const READ_AT_ONCE: usize = 10_000;
/// What the service refuses for good is kept aside in one of so many parts of the room, the latest of it.
const REFUSED_SHARE: u64 = 10;
/// Before each signal: when it came, milliseconds since the Unix epoch.
const HEAD_BYTES: usize = 8;

/// A number and its value.
type Entry = (u64, Vec<u8>);
type Reply = oneshot::Sender<Result<(), EngineError>>;

/// What waits.
#[derive(Clone)]
pub(super) struct Backlog(Arc<Inner>);

struct Inner {
    queue: Arc<DurableQueue>,
    state: Arc<Mutex<State>>,
    /// Something came.
    pushed: Arc<Notify>,
    signals: mpsc::Sender<(Vec<u8>, Reply)>,
    max_refused_bytes: u64,
}

/// How much waits.
#[derive(Debug, Default)]
struct State {
    bytes: u64,
    /// Number and size of what was given up because the service refuses it for good, oldest first.
    refused: VecDeque<(u64, u64)>,
    refused_bytes: u64,
    /// Lost, because there was no room.
    dropped: u64,
    /// Number and size of what waits, oldest first, with when it came.
    entries: VecDeque<(u64, u32, i64)>,
    next: u64,
}

/// A signal that waits.
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) signal: v1::Signal,
}

impl Backlog {
    /// Opens the queue and starts its writer, which ends with the last of these.
    pub(super) fn open(
        directory: &Path,
        max_bytes: u64,
        when_full: WhenFull,
    ) -> anyhow::Result<Self> {
        let queue = Arc::new(DurableQueue::open(directory)?);
        let mut state = State::default();
        let mut last_number = 0;
        for_each(
            |after| queue.waiting(after, READ_AT_ONCE),
            |number, value| {
                last_number = last_number.max(number);
                state.enter(number, value);
            },
        )?;
        for_each(
            |after| queue.refused(after, READ_AT_ONCE),
            |number, value| {
                last_number = last_number.max(number);
                state.refuse(number, value.len() as u64);
            },
        )?;
        state.next = last_number + 1;
        let state = Arc::new(Mutex::new(state));
        let pushed = Arc::new(Notify::new());
        let (signals, received) = mpsc::channel(QUEUE_LENGTH);
        let writer = Writer {
            queue: queue.clone(),
            state: state.clone(),
            pushed: pushed.clone(),
            max_bytes,
            when_full,
        };
        std::thread::Builder::new()
            .name("backlog".into())
            .spawn(move || writer.run(received))?;
        Ok(Self(Arc::new(Inner {
            queue,
            state,
            pushed,
            signals,
            max_refused_bytes: max_bytes / REFUSED_SHARE,
        })))
    }

    /// How many signals wait.
    pub(super) fn waiting(&self) -> u64 {
        self.0.state.lock().entries.len() as u64
    }

    /// Keeps a signal; returns when it survives power loss. Waits while the writer is busy, or refuses where it may not.
    pub(super) async fn push(
        &self,
        signal: &v1::Signal,
        may_wait: bool,
    ) -> Result<(), EngineError> {
        let mut value = clock::now_ms().to_be_bytes().to_vec();
        value.extend(signal.encode_to_vec());
        let (reply, answer) = oneshot::channel();
        if may_wait {
            let sent = self.0.signals.send((value, reply)).await;
            sent.map_err(|_| EngineError::Stopping)?;
        } else {
            self.0
                .signals
                .try_send((value, reply))
                .map_err(|cause| match cause {
                    mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
                    mpsc::error::TrySendError::Closed(_) => EngineError::Stopping,
                })?;
        }
        answer.await.unwrap_or(Err(EngineError::Stopping))
    }

    /// Waits until something comes.
    pub(super) async fn changed(&self) {
        self.0.pushed.notified().await;
    }

    /// What waits, oldest first, after a number.
    pub(super) async fn after(
        &self,
        number: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let queue = self.0.queue.clone();
        let read = tokio::task::spawn_blocking(move || queue.waiting(number, limit)).await;
        let entries = read.map_err(|cause| StoreError::Engine(cause.to_string()))??;
        let waiting = entries.into_iter().map(|(number, value)| {
            let signal = v1::Signal::decode(value.get(HEAD_BYTES..).unwrap_or_default());
            let signal = signal.map_err(|cause| StoreError::Unreadable {
                what: "signal",
                cause: cause.to_string(),
            })?;
            Ok(Waiting { number, signal })
        });
        waiting.collect()
    }

    /// What the service has, and what it refuses for good. After a crash both may come to it again, which changes nothing.
    pub(super) async fn settle(
        &self,
        removed: Vec<u64>,
        refused: Vec<(u64, v1::Signal)>,
    ) -> Result<(), StoreError> {
        let (queue, state) = (self.0.queue.clone(), self.0.state.clone());
        let max_refused_bytes = self.0.max_refused_bytes;
        let settled = tokio::task::spawn_blocking(move || {
            let numbers = removed
                .iter()
                .chain(refused.iter().map(|(number, _)| number));
            let numbers: FxHashSet<u64> = numbers.copied().collect();
            let refused = refused
                .into_iter()
                .map(|(number, signal)| (number, signal.encode_to_vec()));
            let refused: Vec<_> = refused.collect();
            let further: u64 = refused.iter().map(|(_, value)| value.len() as u64).sum();
            let forgotten = state.lock().refused_beyond(max_refused_bytes, further);
            let lengths: Vec<(u64, u64)> = (refused.iter())
                .map(|(number, value)| (*number, value.len() as u64))
                .collect();
            let gone = forgotten.len();
            if gone > 0 {
                tracing::warn!(
                    signals = gone,
                    "there is no room for more that the service refuses: the oldest of it is lost"
                );
            }
            queue.commit(QueueChange {
                removed,
                refused,
                forgotten,
                ..QueueChange::default()
            })?;
            let mut state = state.lock();
            state.leave(&numbers);
            for (number, length) in lengths {
                state.refuse(number, length);
            }
            state.forget_refused(gone);
            Ok(())
        });
        settled
            .await
            .map_err(|cause| StoreError::Engine(cause.to_string()))?
    }

    /// Shows how much waits, and for how long.
    pub(super) fn show(&self) {
        let state = self.0.state.lock();
        metrics::gauge!("veridem_relay_waiting_signals").set(state.entries.len() as f64);
        metrics::gauge!("veridem_relay_waiting_bytes").set(state.bytes as f64);
        metrics::gauge!("veridem_relay_refused_signals").set(state.refused.len() as f64);
        metrics::counter!("veridem_relay_dropped_signals_total").absolute(state.dropped);
        let oldest = state
            .entries
            .front()
            .map_or(0, |(.., came_ms)| (clock::now_ms() - came_ms).max(0));
        metrics::gauge!("veridem_relay_oldest_seconds").set(oldest as f64 / 1_000.0);
    }
}

/// Shows all entries of a queue.
fn for_each(
    read: impl Fn(Option<u64>) -> Result<Vec<Entry>, StoreError>,
    mut visit: impl FnMut(u64, &[u8]),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let entries = read(after)?;
        let Some((last, _)) = entries.last() else {
            return Ok(());
        };
        after = Some(*last);
        for (number, value) in &entries {
            visit(*number, value);
        }
    }
}

impl State {
    fn enter(&mut self, number: u64, value: &[u8]) {
        let came_ms = value
            .first_chunk()
            .map_or(0, |head| i64::from_be_bytes(*head));
        self.entries
            .push_back((number, value.len() as u32, came_ms));
        self.bytes += value.len() as u64;
    }

    fn refuse(&mut self, number: u64, length: u64) {
        self.refused.push_back((number, length));
        self.refused_bytes += length;
    }

    /// The oldest of what was refused, for which there is no room where so many bytes come.
    fn refused_beyond(&self, max_bytes: u64, further: u64) -> Vec<u64> {
        let mut bytes = self.refused_bytes + further;
        let oldest = self.refused.iter().take_while(|(_, length)| {
            let is_too_much = bytes > max_bytes;
            bytes = bytes.saturating_sub(*length);
            is_too_much
        });
        oldest.map(|(number, _)| *number).collect()
    }

    /// Takes out so many of the oldest of what was refused.
    fn forget_refused(&mut self, count: usize) {
        for (_, length) in self.refused.drain(..count) {
            self.refused_bytes -= length;
            self.dropped += 1;
        }
    }

    fn leave(&mut self, numbers: &FxHashSet<u64>) {
        // They come in the order of their numbers, and those that leave are mostly the oldest.
        let Some(last) = numbers.iter().max() else {
            return;
        };
        let end = self.entries.partition_point(|(number, ..)| number <= last);
        let kept: Vec<_> = self
            .entries
            .drain(..end)
            .filter(|(number, length, _)| {
                let leaves = numbers.contains(number);
                if leaves {
                    self.bytes -= u64::from(*length);
                }
                !leaves
            })
            .collect();
        for entry in kept.into_iter().rev() {
            self.entries.push_front(entry);
        }
    }
}

struct Writer {
    queue: Arc<DurableQueue>,
    state: Arc<Mutex<State>>,
    pushed: Arc<Notify>,
    max_bytes: u64,
    when_full: WhenFull,
}

impl Writer {
    fn run(self, mut received: mpsc::Receiver<(Vec<u8>, Reply)>) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while received.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
            self.write(std::mem::take(&mut group));
        }
    }

    fn write(&self, group: Vec<(Vec<u8>, Reply)>) {
        let mut change = QueueChange::default();
        let mut replies = Vec::with_capacity(group.len());
        {
            let mut state = self.state.lock();
            let mut bytes = state.bytes;
            for (value, reply) in group {
                let length = value.len() as u64;
                if bytes + length > self.max_bytes && self.when_full == WhenFull::Refuse {
                    // Nobody may wait for the answer.
                    let _ = reply.send(Err(EngineError::Overloaded));
                    continue;
                }
                while bytes + length > self.max_bytes
                    && let Some((number, length, _)) = state.entries.pop_front()
                {
                    bytes -= u64::from(length);
                    state.bytes -= u64::from(length);
                    state.dropped += 1;
                    change.removed.push(number);
                }
                bytes += length;
                change.pushed.push((state.next, value));
                state.next += 1;
                replies.push(reply);
            }
        }
        if !change.removed.is_empty() {
            tracing::warn!(
                signals = change.removed.len(),
                "there is no room: the oldest signals are lost"
            );
        }
        // Before anybody else can see them: who passes them on takes them out again.
        let numbers: FxHashSet<u64> = {
            let mut state = self.state.lock();
            let pushed = change.pushed.iter();
            pushed
                .map(|(number, value)| {
                    state.enter(*number, value);
                    *number
                })
                .collect()
        };
        let written = self.queue.commit(change).and_then(|()| self.queue.sync());
        if let Err(cause) = &written {
            tracing::error!(%cause, "signals cannot be kept; they are not acknowledged");
            self.state.lock().leave(&numbers);
        }
        for reply in replies {
            let failure = written
                .as_ref()
                .err()
                .map(|cause| StoreError::Engine(cause.to_string()));
            let _ = reply.send(failure.map_or(Ok(()), |cause| Err(cause.into())));
        }
        self.pushed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused for good takes a bounded room, and it is the latest of it that stays, also after a restart.
    #[tokio::test]
    async fn the_latest_of_what_is_refused_is_kept() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let signal = |number: u64| v1::Signal {
            signal_id: format!("{number:090}"),
            ..v1::Signal::default()
        };
        let length = signal(0).encode_to_vec().len() as u64;
        let open = || {
            let max_bytes = 3 * length * REFUSED_SHARE;
            Backlog::open(directory.path(), max_bytes, WhenFull::Refuse).expect("it opens")
        };
        let kept = |backlog: &Backlog| {
            let entries = backlog.0.queue.refused(None, 100).expect("it reads");
            let numbers: Vec<u64> = entries.into_iter().map(|(number, _)| number).collect();
            assert_eq!(backlog.0.state.lock().refused.len(), numbers.len());
            numbers
        };
        let backlog = open();
        for number in 1..=5 {
            let refused = vec![(number, signal(number))];
            backlog
                .settle(Vec::new(), refused)
                .await
                .expect("it is kept");
        }
        assert_eq!(kept(&backlog), [3, 4, 5]);
        let queue = Arc::downgrade(&backlog.0.queue);
        drop(backlog);
        // Its writer ends by itself.
        while queue.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        let backlog = open();
        backlog
            .settle(Vec::new(), vec![(6, signal(6))])
            .await
            .expect("it is kept");
        assert_eq!(kept(&backlog), [4, 5, 6]);
    }
}
