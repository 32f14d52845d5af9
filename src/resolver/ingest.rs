//! The writer: one thread takes signals and decisions from all callers, commits each, and makes a group of them durable with
//! one flush before it answers any.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::engine::{Ack, DecisionRequest, Engine};
use super::error::EngineError;
use super::signal::Signal;
use crate::clock;
use crate::store::{StoredDecision, Tenant};

/// Requests that may wait for the writer.
const QUEUE_LENGTH: usize = 4_096;
/// Requests that one flush makes durable.
const MAX_GROUP: usize = 512;

type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

enum Request {
    Signal(Tenant, Box<Signal>, Reply<Ack>),
    Decision(Tenant, Box<DecisionRequest>, Reply<StoredDecision>),
}

/// An answer on its way.
pub type Pending<T> = oneshot::Receiver<Result<T, EngineError>>;

/// The way to the writer.
#[derive(Clone)]
pub struct Ingest {
    requests: mpsc::Sender<Request>,
    durable: watch::Receiver<u64>,
}

/// The writer's thread; joins when all [`Ingest`]s are gone.
pub struct Writer(std::thread::JoinHandle<()>);

impl Writer {
    /// Waits until everything accepted is durable and the index is committed.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the writer stopped by a panic");
        }
    }
}

impl Ingest {
    /// Starts the writer over an engine.
    pub fn start(engine: Arc<Engine>) -> std::io::Result<(Self, Writer)> {
        let (requests, receiver) = mpsc::channel(QUEUE_LENGTH);
        let (flushed, durable) = watch::channel(0);
        let writer = std::thread::Builder::new().name("writer".into()).spawn(move || run(&engine, receiver, &flushed))?;
        Ok((Self { requests, durable }, Writer(writer)))
    }

    /// Hands a signal to the writer; waits while its queue is full.
    pub async fn submit(&self, tenant: Tenant, signal: Signal) -> Result<Pending<Ack>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests.send(Request::Signal(tenant, Box::new(signal), reply)).await.map_err(|_| EngineError::Stopping)?;
        Ok(pending)
    }

    /// Hands a signal to the writer, or refuses it where the queue is full.
    pub fn try_submit(&self, tenant: Tenant, signal: Signal) -> Result<Pending<Ack>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests.try_send(Request::Signal(tenant, Box::new(signal), reply)).map_err(refusal)?;
        Ok(pending)
    }

    /// Hands a steward's call to the writer, or refuses it where the queue is full.
    pub fn try_decide(&self, tenant: Tenant, request: DecisionRequest) -> Result<Pending<StoredDecision>, EngineError> {
        let (reply, pending) = oneshot::channel();
        self.requests.try_send(Request::Decision(tenant, Box::new(request), reply)).map_err(refusal)?;
        Ok(pending)
    }

    /// Changes whenever a flush has made new events durable.
    pub fn durable(&self) -> watch::Receiver<u64> {
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
pub async fn answer<T>(pending: Pending<T>) -> Result<T, EngineError> {
    pending.await.unwrap_or(Err(EngineError::Stopping))
}

enum Answer {
    Signal(Reply<Ack>, Result<Ack, EngineError>),
    Decision(Reply<StoredDecision>, Result<StoredDecision, EngineError>),
}

impl Answer {
    fn send(self, flushed: &Result<(), String>) {
        let lost = || flushed.clone().err().map(|cause| EngineError::Store(crate::store::StoreError::Engine(cause)));
        match self {
            Self::Signal(reply, result) => drop(reply.send(lost().map_or(result, Err))),
            Self::Decision(reply, result) => drop(reply.send(lost().map_or(result, Err))),
        }
    }
}

fn run(engine: &Engine, mut requests: mpsc::Receiver<Request>, flushed: &watch::Sender<u64>) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut flushes = 0;
    while let Some(request) = requests.blocking_recv() {
        group.push(handle(engine, request));
        while group.len() < MAX_GROUP
            && let Ok(request) = requests.try_recv()
        {
            group.push(handle(engine, request));
        }
        let flush = engine.store().flush().map_err(|cause| cause.to_string());
        if let Err(cause) = &flush {
            tracing::error!(%cause, "flush failed; nothing of the group is acknowledged");
        } else {
            flushes += 1;
            flushed.send_replace(flushes);
        }
        metrics::histogram!("veridem_commit_group_size").record(group.len() as f64);
        for answer in group.drain(..) {
            answer.send(&flush);
        }
    }
    if let Err(cause) = engine.commit_indexes() {
        tracing::error!(%cause, "the index could not be committed; it will be built from the store at the next start");
    }
}

fn handle(engine: &Engine, request: Request) -> Answer {
    let now_ms = clock::now_ms();
    match request {
        Request::Signal(tenant, signal, reply) => {
            let result = engine.submit(&tenant, &signal, now_ms);
            let outcome = match &result {
                Ok(ack) if ack.repeated => "repeated",
                Ok(_) => "accepted",
                Err(_) => "refused",
            };
            metrics::counter!("veridem_signals_total", "source" => signal.source.clone(), "outcome" => outcome).increment(1);
            Answer::Signal(reply, result)
        }
        Request::Decision(tenant, request, reply) => {
            let result = engine.decide(&tenant, &request, now_ms);
            Answer::Decision(reply, result)
        }
    }
}
