//! One sink at work: it reads the outbox, delivers what may go, and keeps what could not be delivered.

mod commands;
mod consumer;
mod outbox;

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::consumer::Awaited;
use super::breaker::Breaker;
use super::cloud_event::ConsumerRecords;
use super::lines::Lines;
use super::{
    Command, Failure, NOT_IN_TIME, Outgoing, Reply, SinkSettings, SinkState, Target, WrittenEvents,
    delay,
};
use crate::clock;
use crate::resolver::Durable;
use crate::store::{
    EventKind, SinkProgress, Store, StoreError, StoredDelivery, StoredEvent, Tenant, Write,
};

/// Events read from the outbox at once.
const READ_AT_ONCE: usize = 256;
/// Events in memory that are not delivered and not stored, where deliveries are small.
const MAX_UNSTORED: usize = 2_048;
/// Records that the identities of those events may have together, beyond one event.
const MAX_MEMBERS: usize = 100_000;
/// Events that may be kept beside the cursor; then the sink reads no further until some are delivered or discarded.
const MAX_STORED: usize = 100_000;
/// How long the sink rests once it has read all there is: what comes meanwhile goes out together. An event after a longer silence does
/// not wait.
const REST: Duration = Duration::from_millis(20);
/// How often the cursor is written while events go out.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);

/// What came of deliveries that were on their way.
type OnTheirWay = JoinSet<Result<(), Failure>>;
type Delivered = Result<(task::Id, Result<(), Failure>), task::JoinError>;

/// What a sink shows of itself, under its name.
struct Meters {
    lag: Gauge,
    lag_seconds: Gauge,
    retries: Gauge,
    dead_letters: Gauge,
    down: Gauge,
    delivered: Counter,
    failed: Counter,
}

impl Meters {
    fn new(settings: &SinkSettings) -> Self {
        let sink = settings.name.clone();
        // What is to be expected stands beside what is, for alerts to compare.
        let owned = [("sink", sink.clone()), ("owner", settings.owner.clone())];
        metrics::gauge!("veridem_sink_service_level", &owned).set(settings.service_level);
        let max_lag = settings.max_lag.as_secs_f64();
        metrics::gauge!("veridem_sink_max_lag_seconds", &owned).set(max_lag);
        Self {
            lag: metrics::gauge!("veridem_sink_lag_events", "sink" => sink.clone()),
            lag_seconds: metrics::gauge!("veridem_sink_lag_seconds", "sink" => sink.clone()),
            retries: metrics::gauge!("veridem_sink_retries", "sink" => sink.clone()),
            dead_letters: metrics::gauge!("veridem_sink_dead_letters", "sink" => sink.clone()),
            down: metrics::gauge!("veridem_sink_down", "sink" => sink.clone()),
            delivered: metrics::counter!("veridem_deliveries_total", "sink" => sink.clone()),
            failed: metrics::counter!("veridem_delivery_failures_total", "sink" => sink),
        }
    }
}

pub(super) struct Worker {
    settings: Arc<SinkSettings>,
    written: WrittenEvents,
    store: Arc<dyn Store>,
    durable: Durable,
    target: Arc<Target>,
    state: Arc<Mutex<SinkState>>,
    meters: Meters,
    lines: Lines,
    /// What is on its way, by the task that delivers it.
    parcels: FxHashMap<task::Id, Vec<u64>>,
    /// Events in memory.
    events: FxHashMap<u64, Arc<StoredEvent>>,
    /// Records of their identities.
    members: usize,
    last_read: u64,
    /// Until when nothing is read.
    rests_until: Instant,
    /// What an earlier run could not deliver, of events that are not read yet.
    beyond: FxHashMap<u64, StoredDelivery>,
    snapshot_until: u64,
    last_snapshot: u64,
    replays: u64,
    saved: SinkProgress,
    unsaved: Vec<Write>,
    save_due: Instant,
    breaker: Breaker,
    /// When the first of the events came that are collected to go out together.
    collecting_since: Option<Instant>,
    /// When the rate allows the next delivery.
    paced_until: Instant,
    /// Deliveries that arrived, since the start.
    successes: u64,
    /// How many had when an event failed last.
    failed_at: FxHashMap<u64, u64>,
    failed_attempts: u64,
    last_error: String,
    awaited: Awaited,
    /// Repairs, which are told as what they were, also within a snapshot.
    repaired: FxHashSet<u64>,
    /// The consumer has said what it calls some persons.
    has_references: bool,
    /// The oldest event that waits, and when it was decided.
    oldest: (u64, i64),
}

impl Worker {
    pub(super) fn new(
        settings: SinkSettings,
        written: WrittenEvents,
        store: Arc<dyn Store>,
        durable: Durable,
        target: Arc<Target>,
        state: Arc<Mutex<SinkState>>,
    ) -> Result<Self, StoreError> {
        let saved = store.sink_progress(&settings.tenant, &settings.name)?;
        target.begin_replay(saved.replays);
        let now = clock::instant();
        let meters = Meters::new(&settings);
        let mut worker = Self {
            settings: Arc::new(settings),
            written,
            store,
            durable,
            target,
            state,
            meters,
            lines: Lines::default(),
            parcels: FxHashMap::default(),
            events: FxHashMap::default(),
            members: 0,
            last_read: saved.cursor,
            rests_until: now,
            beyond: FxHashMap::default(),
            snapshot_until: saved.snapshot_until,
            last_snapshot: saved.last_snapshot,
            replays: saved.replays,
            saved,
            unsaved: Vec::new(),
            save_due: now,
            breaker: Breaker::default(),
            collecting_since: None,
            paced_until: now,
            successes: 0,
            failed_at: FxHashMap::default(),
            failed_attempts: 0,
            last_error: String::new(),
            awaited: Awaited::default(),
            repaired: FxHashSet::default(),
            has_references: false,
            oldest: (0, 0),
        };
        worker.enter_stored(now)?;
        worker.look_for_references()?;
        worker.show_state();
        Ok(worker)
    }

    fn tenant(&self) -> &Tenant {
        &self.settings.tenant
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<(Command, Reply)>,
        stop: CancellationToken,
    ) {
        let mut on_their_way: OnTheirWay = JoinSet::new();
        loop {
            self.durable.mark_seen();
            let now = clock::instant();
            let next = match self.step(now, &mut on_their_way) {
                Ok(next) => next,
                Err(cause) => {
                    self.note_failure(&cause);
                    Some(now + delay(0))
                }
            };
            self.show_state();
            let wake = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(delivered) = on_their_way.join_next_with_id(), if !on_their_way.is_empty() => {
                    self.take_result(delivered);
                    while let Some(delivered) = on_their_way.try_join_next_with_id() {
                        self.take_result(delivered);
                    }
                }
                Some((command, reply)) = commands.recv() => {
                    if let Command::Acknowledge(sequence, outcome) = command {
                        // It may be about what has just arrived.
                        while let Some(delivered) = on_their_way.try_join_next_with_id() {
                            self.take_result(delivered);
                        }
                        let answer = self.acknowledged(sequence, outcome);
                        let saved = self.save_when_due();
                        // Whoever asks after the answer sees what came of it.
                        self.show_state();
                        let _ = reply.send(saved.and(answer).map_err(Into::into));
                        continue;
                    }
                    while let Some(delivered) = on_their_way.join_next_with_id().await {
                        self.take_result(delivered);
                    }
                    let answer = self.obey(command);
                    // Whoever asks after the answer sees what came of it.
                    self.show_state();
                    // Nobody may wait for the answer.
                    let _ = reply.send(answer);
                }
                goes_on = self.durable.changed(), if self.rests_until <= now => if !goes_on { break },
                () = wake => {}
            }
        }
        while let Some(delivered) = on_their_way.join_next_with_id().await {
            self.take_result(delivered);
        }
        if let Err(cause) = self.save() {
            self.note_failure(&cause);
        }
    }

    /// Reads, sends and saves what can be; returns when to come again where nothing happens before.
    fn step(
        &mut self,
        now: Instant,
        on_their_way: &mut OnTheirWay,
    ) -> Result<Option<Instant>, StoreError> {
        self.end_snapshot();
        self.give_up_awaited(now);
        if on_their_way.is_empty() {
            self.save_due = now;
        }
        self.save_when_due()?;
        let reads_on = self.fill(now)?;
        self.send(now, on_their_way)?;
        if reads_on {
            return Ok(Some(now));
        }
        let has_changes = !self.unsaved.is_empty() || self.progress() != self.saved;
        let save = has_changes.then_some(self.save_due);
        let rested = Some(self.rests_until).filter(|until| *until > now);
        // Where nothing more may be on its way, the next answer wakes us; where nobody is there, whoever comes.
        let open = on_their_way.len() + self.unacknowledged();
        let has_room = open < self.breaker.most(self.settings.parallel) && self.target.is_there();
        let due = (self.lines.next_due()).filter(|_| has_room).map(|due| {
            let next_try = self.breaker.next_try().unwrap_or(due);
            let collected = self.collected_at().unwrap_or(due);
            due.max(self.paced_until).max(next_try).max(collected)
        });
        Ok(save
            .into_iter()
            .chain(rested)
            .chain(due)
            .chain(self.awaited.next_deadline())
            .min())
    }

    fn forget(&mut self, sequence: u64) {
        if let Some(event) = self.events.remove(&sequence) {
            self.members -= event.identity.members.len();
        }
    }

    /// Keeps events beside the cursor from now on.
    fn keep(&mut self, sequences: Vec<u64>) {
        for sequence in sequences {
            self.forget(sequence);
            self.write_delivery(sequence, Some(StoredDelivery::default()));
        }
    }

    fn write_delivery(&mut self, sequence: u64, delivery: Option<StoredDelivery>) {
        let sink = self.settings.name.clone();
        self.unsaved.push(Write::Delivery(sink, sequence, delivery));
    }

    /// Until when events are collected, where they are and are not enough yet.
    fn collected_at(&self) -> Option<Instant> {
        let until = self.collecting_since? + self.settings.collect_for;
        (self.lines.unstored() < self.settings.batch).then_some(until)
    }

    /// Events in memory that are not delivered and not stored, at most.
    fn max_unstored(&self) -> usize {
        MAX_UNSTORED.max(2 * self.settings.batch)
    }

    /// Sends what may go.
    fn send(&mut self, now: Instant, on_their_way: &mut OnTheirWay) -> Result<(), StoreError> {
        if !self.target.is_there() || self.collected_at().is_some_and(|until| now < until) {
            return Ok(());
        }
        self.collecting_since = None;
        let parallel = self.settings.parallel;
        let disjoint = self.target.is_side_by_side();
        while on_their_way.len() + self.unacknowledged() < self.breaker.allows(now, parallel)
            && self.paced_until <= now
        {
            // A consumer that is tried gets one event.
            let limit = if self.breaker.is_down() {
                1
            } else {
                self.most_together()
            };
            let parcel = self.lines.take(now, limit, disjoint);
            if parcel.is_empty() {
                break;
            }
            let events = match parcel
                .iter()
                .map(|sequence| self.with_records(self.event(*sequence)?))
                .collect()
            {
                Ok(events) => events,
                Err(cause) => {
                    for sequence in parcel {
                        self.lines.failed(sequence, now + delay(0), false);
                    }
                    return Err(cause);
                }
            };
            if let Some(rate) = self.settings.max_per_second {
                let pause = Duration::from_secs_f64(parcel.len() as f64 / rate);
                self.paced_until = self.paced_until.max(now) + pause;
            }
            self.deliver(parcel, events, on_their_way);
        }
        Ok(())
    }

    /// Events in one delivery at most: those of a second where the rate is bounded.
    fn most_together(&self) -> usize {
        let batch = self.settings.batch;
        let of_a_second = self
            .settings
            .max_per_second
            .map(|rate| rate.max(1.0) as usize);
        of_a_second.map_or(batch, |most| most.min(batch))
    }

    fn event(&self, sequence: u64) -> Result<Arc<StoredEvent>, StoreError> {
        match self.events.get(&sequence) {
            Some(event) => Ok(event.clone()),
            None => self.read(sequence),
        }
    }

    fn deliver(
        &mut self,
        parcel: Vec<u64>,
        events: Vec<(Arc<StoredEvent>, Option<ConsumerRecords>)>,
        on_their_way: &mut OnTheirWay,
    ) {
        let (target, settings) = (self.target.clone(), self.settings.clone());
        let written = self.written.clone();
        // What the filter lets through of no other kind went out as part of a snapshot, and is repaired as that.
        let is_snapshot = |event: &StoredEvent| {
            let is_in_snapshot =
                event.sequence <= self.snapshot_until && !self.repaired.contains(&event.sequence);
            event.kind != EventKind::Erased
                && (is_in_snapshot || !self.settings.filter.takes_kind(event.kind))
        };
        let events: Vec<_> = events
            .into_iter()
            .map(|(event, records)| (is_snapshot(&event), event, records))
            .collect();
        let replays = self.replays;
        let task = on_their_way.spawn(async move {
            let outgoing = events.iter().map(|(is_snapshot, event, records)| {
                let records = records.as_ref();
                Outgoing::of(&settings, &written, event, records, *is_snapshot, replays)
            });
            let outgoing = outgoing.collect::<Result<_, _>>()?;
            let delivered = tokio::time::timeout(settings.timeout, target.deliver(outgoing)).await;
            delivered.unwrap_or_else(|_| Err(Failure::unavailable(NOT_IN_TIME)))
        });
        self.parcels.insert(task.id(), parcel);
    }

    fn take_result(&mut self, delivered: Delivered) {
        let (task, result) = match delivered {
            Ok(delivered) => delivered,
            Err(cause) => (
                cause.id(),
                Err(Failure::unavailable("the delivery stopped")),
            ),
        };
        let parcel = self.parcels.remove(&task).unwrap_or_default();
        let parcel = self.settle_early(parcel);
        match (result, self.settings.acknowledge_within) {
            _ if parcel.is_empty() => {}
            (Ok(()), None) => self.delivered(&parcel),
            (Ok(()), Some(within)) => {
                let deadline = clock::instant() + within;
                for sequence in parcel {
                    self.awaited.enter(sequence, deadline);
                }
            }
            (Err(failure), _) => self.failed(&parcel, &failure),
        }
    }

    fn delivered(&mut self, parcel: &[u64]) {
        self.successes += 1;
        self.breaker.succeeded();
        self.failed_attempts = 0;
        self.last_error.clear();
        for sequence in parcel {
            self.forget(*sequence);
            self.failed_at.remove(sequence);
            self.repaired.remove(sequence);
            self.awaited.forget_late(*sequence);
            if self.lines.done(*sequence) {
                self.write_delivery(*sequence, None);
            }
        }
        self.meters.delivered.increment(parcel.len() as u64);
    }

    fn failed(&mut self, parcel: &[u64], failure: &Failure) {
        let now = clock::instant();
        let is_rejected = matches!(failure, Failure::Rejected(_));
        if let Failure::Unavailable { retry_after, .. } = failure {
            self.breaker.failed(now, *retry_after);
        }
        self.note_failure(failure);
        self.meters.failed.increment(parcel.len() as u64);
        let is_alone = parcel.len() == 1;
        for sequence in parcel {
            // What a consumer that is down does not take is not the event's fault: it is only where others arrived meanwhile.
            let successes = self.failed_at.insert(*sequence, self.successes);
            let others_arrived = successes.is_some_and(|successes| successes < self.successes);
            let counts = is_rejected || others_arrived;
            let due = now + delay(self.lines.attempts(*sequence));
            let attempts = self.lines.failed(*sequence, due, counts);
            let is_dead = is_alone && counts && attempts >= self.settings.max_attempts;
            if is_dead {
                self.lines.bury(*sequence);
                // Whoever sees that there is one finds it.
                self.save_due = now;
                tracing::warn!(
                    sink = self.settings.name,
                    sequence,
                    attempts,
                    cause = %failure,
                    "an event is given up and is a dead letter"
                );
            }
            if !counts {
                continue;
            }
            // Kept beside the cursor, which others have passed.
            let newly_stored = self.lines.store(*sequence);
            self.keep(newly_stored);
            let delivery = StoredDelivery {
                attempts,
                last_error: failure.to_string(),
                failed_at_ms: clock::now_ms(),
                is_dead,
            };
            self.write_delivery(*sequence, Some(delivery));
        }
    }

    fn note_failure(&mut self, cause: &dyn std::fmt::Display) {
        self.failed_attempts += 1;
        self.last_error = cause.to_string();
        tracing::warn!(
            sink = self.settings.name,
            attempt = self.failed_attempts,
            %cause,
            "delivery failed; it is tried again"
        );
    }

    fn progress(&self) -> SinkProgress {
        SinkProgress {
            cursor: self.lines.cursor(self.last_read),
            snapshot_until: self.snapshot_until,
            last_snapshot: self.last_snapshot,
            replays: self.replays,
        }
    }

    fn save_when_due(&mut self) -> Result<(), StoreError> {
        let now = clock::instant();
        if self.save_due <= now {
            self.save()?;
            self.save_due = now + SAVE_INTERVAL;
        }
        Ok(())
    }

    /// Writes the cursor and what is kept beside it in one commit. It may lag behind after a crash: what was delivered is then
    /// delivered again, never lost.
    fn save(&mut self) -> Result<(), StoreError> {
        let progress = self.progress();
        if self.unsaved.is_empty() && progress == self.saved {
            return Ok(());
        }
        let mut writes = self.unsaved.clone();
        writes.push(Write::SinkProgress(self.settings.name.clone(), progress));
        let in_force = self.store.in_force(self.tenant());
        self.store.commit(self.tenant(), in_force, writes)?;
        self.unsaved.clear();
        self.saved = progress;
        Ok(())
    }

    /// How long the oldest event has waited that is not delivered, nor kept beside the cursor.
    fn lag_seconds(&mut self, cursor: u64, lag: u64) -> f64 {
        if lag == 0 {
            return 0.0;
        }
        let oldest = cursor + 1;
        if self.oldest.0 != oldest {
            // What cannot be read now is read with the next event.
            let event = self.event(oldest);
            self.oldest = (
                oldest,
                event.map_or(clock::now_ms(), |event| event.occurred_at_ms),
            );
        }
        (clock::now_ms() - self.oldest.1).max(0) as f64 / 1_000.0
    }

    fn show_state(&mut self) {
        let cursor = self.lines.cursor(self.last_read);
        let (stored, dead) = (self.lines.stored(), self.lines.dead());
        *self.state.lock() = SinkState {
            cursor,
            last_snapshot: self.last_snapshot,
            retries: (stored - dead) as u64,
            dead_letters: dead as u64,
            is_down: self.breaker.is_down(),
            failed_attempts: self.failed_attempts,
            last_error: self.last_error.clone(),
        };
        let lag = self.durable.sequence(self.tenant()).saturating_sub(cursor);
        self.meters.lag.set(lag as f64);
        let lag_seconds = self.lag_seconds(cursor, lag);
        self.meters.lag_seconds.set(lag_seconds);
        self.meters.retries.set((stored - dead) as f64);
        self.meters.dead_letters.set(dead as f64);
        let is_down = u8::from(self.breaker.is_down());
        self.meters.down.set(f64::from(is_down));
    }
}
