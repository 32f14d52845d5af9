//! The writer: one thread takes signals and decisions from all callers and commits each. Before it other threads make signals ready; the
//! writer takes them in the order in which they came. Behind it one thread makes what was committed durable and then answers: all that the
//! writer commits during one flush is made durable by the next.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};

use super::engine::{Ack, Engine};
use super::erasure::Erasure;
use super::error::EngineError;
use super::model_change::ModelStep;
use super::prepare::Prepared;
use super::signal::Signal;
use super::steward::{StewardAnswer, StewardRequest};
use crate::clock;
use crate::executor::available_threads;
use crate::store::{StoredErasure, Tenant};

/// Requests that may wait for the writer.
const QUEUE_LENGTH: usize = 4_096;
/// Requests that one thread makes ready and hands to the writer together: a hand-over wakes a thread.
const MAX_BATCH: usize = 16;
/// Batches that are made ready before the writer comes to them: enough to even out what each costs, few enough that little of what was
/// found for them has changed by then.
const MAX_READY: usize = 16;
/// Batches that may wait for a flush while another one runs for as many: the writer goes on while the disk is slow, for so long.
const MAX_UNFLUSHED: usize = 128;

type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

enum Request {
    Signal(Tenant, Box<Signal>, Reply<Ack>),
    Steward(Tenant, Box<StewardRequest>, Reply<StewardAnswer>),
    Erase(Tenant, Box<Erasure>, Reply<StoredErasure>),
    Model(Tenant, Reply<ModelStep>),
}

/// A request that the writer can take.
enum Ready {
    Signal(
        Tenant,
        Box<Signal>,
        Result<Box<Prepared>, EngineError>,
        Reply<Ack>,
    ),
    Steward(Tenant, Box<StewardRequest>, Reply<StewardAnswer>),
    Erase(Tenant, Box<Erasure>, Reply<StoredErasure>),
    Model(Tenant, Reply<ModelStep>),
}

/// An answer on its way.
pub type Pending<T> = oneshot::Receiver<Result<T, EngineError>>;

/// The way to the writer.
#[derive(Clone)]
pub struct Ingest {
    requests: mpsc::Sender<Request>,
    durable: Durable,
}

/// The way to the writer for one that does not keep it running.
#[derive(Clone)]
pub(super) struct WeakIngest {
    requests: mpsc::WeakSender<Request>,
    durable: Durable,
}

impl WeakIngest {
    /// The way to the writer, while it runs.
    pub(super) fn upgrade(&self) -> Result<Ingest, EngineError> {
        let requests = self.requests.upgrade().ok_or(EngineError::Stopping)?;
        Ok(Ingest {
            requests,
            durable: self.durable.clone(),
        })
    }
}

/// How far each tenant's event feed is durable: nothing behind that leaves the service.
#[derive(Clone)]
pub struct Durable(watch::Receiver<FxHashMap<Tenant, u64>>);

impl Durable {
    /// The last event of a tenant that survives power loss.
    pub fn sequence(&self, tenant: &Tenant) -> u64 {
        self.0.borrow().get(tenant).copied().unwrap_or(0)
    }

    /// Forgets changes until now, so that [`Durable::changed`] waits for the next one.
    pub fn mark_seen(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for a flush; false once the writer is gone.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// The threads that make ready, write and flush; they join when all [`Ingest`]s are gone.
pub struct Writer(Vec<std::thread::JoinHandle<()>>);

impl Writer {
    /// Waits until everything accepted is durable and the index is committed.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("the writer stopped by a panic");
            }
        }
    }
}

impl Ingest {
    /// Starts the writer over an engine, for these tenants. What the store holds now was read back from disk: it is durable.
    pub fn start(engine: Arc<Engine>, tenants: &[Tenant]) -> anyhow::Result<(Self, Writer)> {
        let (requests, receiver) = mpsc::channel(QUEUE_LENGTH);
        let mut sequences = FxHashMap::default();
        for tenant in tenants {
            sequences.insert(
                tenant.clone(),
                engine.store().counters(tenant)?.last_sequence,
            );
        }
        let (flushed, durable) = watch::channel(sequences);
        let (ready, taken) = mpsc::channel(MAX_READY);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for _ in 0..available_threads() {
            let (engine, receiver, ready) = (engine.clone(), receiver.clone(), ready.clone());
            let preparer = std::thread::Builder::new().name("preparer".into());
            threads.push(preparer.spawn(move || make_ready(&engine, &receiver, &ready))?);
        }
        let (committed, unflushed) = mpsc::channel(MAX_UNFLUSHED);
        let writer = std::thread::Builder::new().name("writer".into());
        let flusher = std::thread::Builder::new().name("flusher".into());
        threads.push(writer.spawn({
            let engine = engine.clone();
            move || write(&engine, taken, &committed)
        })?);
        threads.push(flusher.spawn(move || flush(&engine, unflushed, &flushed))?);
        Ok((
            Self {
                requests,
                durable: Durable(durable),
            },
            Writer(threads),
        ))
    }

    /// Hands a signal to the writer; waits while its queue is full.
    pub async fn submit(
        &self,
        tenant: Tenant,
        signal: Signal,
    ) -> Result<Pending<Ack>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests
            .send(Request::Signal(tenant, Box::new(signal), reply))
            .await
            .map_err(|_| EngineError::Stopping)?;
        Ok(pending)
    }

    /// Hands a signal to the writer, or refuses it where the queue is full.
    pub fn try_submit(&self, tenant: Tenant, signal: Signal) -> Result<Pending<Ack>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests
            .try_send(Request::Signal(tenant, Box::new(signal), reply))
            .map_err(refusal)?;
        Ok(pending)
    }

    /// Hands a steward's call to the writer, or refuses it where the queue is full.
    pub fn try_steward(
        &self,
        tenant: Tenant,
        request: StewardRequest,
    ) -> Result<Pending<StewardAnswer>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests
            .try_send(Request::Steward(tenant, Box::new(request), reply))
            .map_err(refusal)?;
        Ok(pending)
    }

    /// Hands an erasure to the writer, or refuses it where the queue is full.
    pub fn try_erase(
        &self,
        tenant: Tenant,
        erasure: Erasure,
    ) -> Result<Pending<StoredErasure>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests
            .try_send(Request::Erase(tenant, Box::new(erasure), reply))
            .map_err(refusal)?;
        Ok(pending)
    }

    /// Has the writer take the next step of a model change, between signals; waits until the step is durable.
    pub fn model_step(&self, tenant: Tenant) -> Result<ModelStep, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests
            .blocking_send(Request::Model(tenant, reply))
            .map_err(|_| EngineError::Stopping)?;
        pending
            .blocking_recv()
            .unwrap_or(Err(EngineError::Stopping))
    }

    pub(super) fn downgrade(&self) -> WeakIngest {
        WeakIngest {
            requests: self.requests.downgrade(),
            durable: self.durable.clone(),
        }
    }

    /// How far the event feeds are durable.
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }
}

fn refusal(cause: mpsc::error::TrySendError<Request>) -> EngineError {
    match cause {
        mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => EngineError::Stopping,
    }
}

/// Waits for an answer.
pub async fn answer<T>(
    pending: impl Future<Output = Result<Result<T, EngineError>, oneshot::error::RecvError>>,
) -> Result<T, EngineError> {
    pending.await.unwrap_or(Err(EngineError::Stopping))
}

enum Answer {
    Signal(Reply<Ack>, Result<Ack, EngineError>),
    // Larger than all others.
    Steward(
        Reply<StewardAnswer>,
        Box<Result<StewardAnswer, EngineError>>,
    ),
    Erase(Reply<StoredErasure>, Result<StoredErasure, EngineError>),
    Model(Reply<ModelStep>, Result<ModelStep, EngineError>),
}

impl Answer {
    fn send(self, flushed: &Result<(), String>) {
        let lost = || {
            flushed
                .clone()
                .err()
                .map(|cause| EngineError::Store(crate::store::StoreError::Engine(cause)))
        };
        match self {
            Self::Signal(reply, result) => drop(reply.send(lost().map_or(result, Err))),
            Self::Steward(reply, result) => drop(reply.send(lost().map_or(*result, Err))),
            Self::Erase(reply, result) => drop(reply.send(lost().map_or(result, Err))),
            Self::Model(reply, result) => drop(reply.send(lost().map_or(result, Err))),
        }
    }
}

/// A batch on its way to the writer.
type Batch = oneshot::Receiver<Vec<Ready>>;

fn make_ready(
    engine: &Engine,
    requests: &Mutex<mpsc::Receiver<Request>>,
    ready: &mpsc::Sender<Batch>,
) {
    let mut waiting = Vec::with_capacity(MAX_BATCH);
    loop {
        let batch = {
            // Whoever takes requests queues for the writer before another takes the next.
            let mut requests = requests.lock();
            if requests.blocking_recv_many(&mut waiting, MAX_BATCH) == 0 {
                return;
            }
            let (batch, pending) = oneshot::channel();
            if ready.blocking_send(pending).is_err() {
                return;
            }
            batch
        };
        let made = waiting.drain(..).map(|request| match request {
            Request::Signal(tenant, signal, reply) => {
                let prepared = engine.prepare(&tenant, &signal).map(Box::new);
                Ready::Signal(tenant, signal, prepared, reply)
            }
            Request::Steward(tenant, request, reply) => Ready::Steward(tenant, request, reply),
            Request::Erase(tenant, erasure, reply) => Ready::Erase(tenant, erasure, reply),
            Request::Model(tenant, reply) => Ready::Model(tenant, reply),
        });
        if batch.send(made.collect()).is_err() {
            return;
        }
    }
}

/// What one batch became, and how far it brought the tenants' event feeds.
#[derive(Default)]
struct Committed {
    answers: Vec<Answer>,
    sequences: FxHashMap<Tenant, u64>,
}

fn write(engine: &Engine, mut ready: mpsc::Receiver<Batch>, committed: &mpsc::Sender<Committed>) {
    while let Some(batch) = ready.blocking_recv() {
        // Whoever waits for what a preparer lost by a panic is told that it is gone.
        let batch = batch.blocking_recv().unwrap_or_default();
        let mut done = Committed::default();
        for request in batch {
            let answer = handle(engine, request, &mut done.sequences);
            done.answers.push(answer);
        }
        if committed.blocking_send(done).is_err() {
            return;
        }
    }
}

fn flush(
    engine: &Engine,
    mut unflushed: mpsc::Receiver<Committed>,
    flushed: &watch::Sender<FxHashMap<Tenant, u64>>,
) {
    let mut group = Vec::with_capacity(MAX_UNFLUSHED);
    while unflushed.blocking_recv_many(&mut group, MAX_UNFLUSHED) > 0 {
        let flush = engine.store().flush().map_err(|cause| cause.to_string());
        if let Err(cause) = &flush {
            tracing::error!(%cause, "flush failed; nothing of the group is acknowledged");
        } else {
            flushed.send_modify(|known| {
                for (tenant, sequence) in group.iter_mut().flat_map(|done| done.sequences.drain()) {
                    note(known, tenant, sequence);
                }
            });
        }
        let answers: usize = group.iter().map(|done| done.answers.len()).sum();
        metrics::histogram!("veridem_commit_group_size").record(answers as f64);
        for answer in group.drain(..).flat_map(|done| done.answers) {
            answer.send(&flush);
        }
    }
    if let Err(cause) = engine.commit_indexes() {
        tracing::error!(%cause, "the index could not be committed; it will be built from the store at the next start");
    }
}

/// Handles a request and notes how far the tenant's event feed has come.
fn handle(engine: &Engine, request: Ready, sequences: &mut FxHashMap<Tenant, u64>) -> Answer {
    let now_ms = clock::now_ms();
    match request {
        Ready::Signal(tenant, signal, prepared, reply) => {
            let result = prepared
                .and_then(|prepared| engine.submit_prepared(&tenant, &signal, *prepared, now_ms));
            let outcome = match &result {
                Ok(ack) if ack.repeated => "repeated",
                Ok(_) => "accepted",
                Err(_) => "refused",
            };
            metrics::counter!("veridem_signals_total", "outcome" => outcome).increment(1);
            if let Ok(ack) = &result {
                note(sequences, tenant, ack.sequence);
            }
            Answer::Signal(reply, result)
        }
        Ready::Steward(tenant, request, reply) => {
            let result = engine.steward(&tenant, &request, now_ms);
            if let Ok(answer) = &result
                && !request.preview
            {
                note(sequences, tenant, answer.sequence);
            }
            Answer::Steward(reply, Box::new(result))
        }
        Ready::Erase(tenant, erasure, reply) => {
            let result = engine.erase(&tenant, &erasure, now_ms);
            if let Ok(done) = &result {
                // Other identities may have changed with it.
                let counters = engine.store().counters(&tenant);
                let sequence = counters.map_or(done.sequence, |counters| counters.last_sequence);
                note(sequences, tenant, sequence);
            }
            Answer::Erase(reply, result)
        }
        Ready::Model(tenant, reply) => {
            let result = engine.model_step(&tenant, now_ms);
            if let Ok(step) = &result {
                note(sequences, tenant, step.sequence);
            }
            Answer::Model(reply, result)
        }
    }
}

fn note(sequences: &mut FxHashMap<Tenant, u64>, tenant: Tenant, sequence: u64) {
    // A repeated signal has the sequence number of its first answer.
    let known = sequences.entry(tenant).or_default();
    *known = sequence.max(*known);
}
