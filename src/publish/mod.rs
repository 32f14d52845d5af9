//! Publishing: every identity event to every sink, at least once, and in order for each identity. The outbox is the event feed
//! itself, written in the commit of the state; a sink is a cursor in it. What a sink cannot deliver is kept beside the cursor.

mod breaker;
mod cloud_event;
mod event_schema;
mod file;
mod filter;
#[cfg(feature = "kafka")]
mod kafka;
mod lines;
mod mapping;
#[cfg(feature = "nats")]
mod nats;
mod objects;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod settings;
mod target;
mod watch;
mod webhook;
mod worker;
mod written;

pub use cloud_event::event_data;
pub use event_schema::event_schemas;
pub use filter::{Filter, Told};
pub use mapping::{MappedRequest, Mapping, samples};
pub use settings::{Bounds, SinkKind, SinkSettings};
pub use watch::WatchedEvent;
pub use webhook::sign;
pub use written::WrittenEvents;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::resolver::Durable;
use crate::retry::delays;
use crate::store::{Store, StoredEvent};
use cloud_event::{CloudEvent, ConsumerRecords, EventData, id_of, kind_of};
use target::Target;
use worker::Worker;

/// How a sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Every event up to this one is delivered, left out by the filter, or among `retries` and `dead_letters`.
    pub cursor: u64,
    /// The latest event when it was last asked to deliver a snapshot; 0: never.
    pub last_snapshot: u64,
    /// Events that failed and are tried again, and those that wait behind them or behind dead letters.
    pub retries: u64,
    /// Events that were given up.
    pub dead_letters: u64,
    /// Whether the consumer counts as down.
    pub is_down: bool,
    /// Attempts that failed since the last one that did not.
    pub failed_attempts: u64,
    /// Why the last one failed, without personal values.
    pub last_error: String,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetters {
    /// All of the sink.
    All,
    /// Those of these sequence numbers.
    Of(Vec<u64>),
}

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayFrom {
    /// With the event of this sequence number.
    Sequence(u64),
    /// With the first event that was decided at this moment or later, milliseconds since the Unix epoch.
    Time(i64),
    /// With the state of every living identity, and after that with every event since.
    Snapshot,
}

/// A command to a running sink.
enum Command {
    Redrive(DeadLetters),
    Discard(DeadLetters),
    Replay(ReplayFrom),
    /// What the consumer says of an event: taken, or why not.
    Acknowledge(u64, Result<(), String>),
    /// Events to be delivered once more.
    Repair(Vec<u64>),
    /// A watcher has come.
    Watch(watch::Watcher),
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The sink has stopped.
    #[error("the service is stopping")]
    Stopping,
    /// The store fails.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

type Reply = oneshot::Sender<Result<u64, CommandError>>;

/// A running sink.
pub struct Sink {
    /// Its settings.
    pub settings: SinkSettings,
    state: Arc<Mutex<SinkState>>,
    commands: mpsc::Sender<(Command, Reply)>,
    target: Arc<Target>,
}

impl Sink {
    /// How it fares now.
    pub fn state(&self) -> SinkState {
        self.state.lock().clone()
    }

    /// Sends dead letters again, as if they had never failed; how many.
    pub async fn redrive(&self, which: DeadLetters) -> Result<u64, CommandError> {
        self.command(Command::Redrive(which)).await
    }

    /// Gives dead letters up for good: whatever waits behind them goes on; how many.
    pub async fn discard(&self, which: DeadLetters) -> Result<u64, CommandError> {
        self.command(Command::Discard(which)).await
    }

    /// Delivers anew what was delivered before; the sequence number of the first event. Retries and dead letters from there on are
    /// forgotten, as their events come again.
    pub async fn replay(&self, from: ReplayFrom) -> Result<u64, CommandError> {
        self.command(Command::Replay(from)).await
    }

    /// Tells what the consumer says of an event: taken, or why not. Whether the event waited for that.
    pub async fn acknowledge(
        &self,
        sequence: u64,
        outcome: Result<(), String>,
    ) -> Result<bool, CommandError> {
        let answer = self
            .command(Command::Acknowledge(sequence, outcome))
            .await?;
        Ok(answer > 0)
    }

    /// Delivers events once more, those left out whose identities have later events on their way; how many.
    pub async fn repair(&self, sequences: Vec<u64>) -> Result<u64, CommandError> {
        self.command(Command::Repair(sequences)).await
    }

    /// What the sink has to deliver, from what was not acknowledged on; none where it is of another kind. Ends when somebody else comes
    /// to watch.
    pub async fn watch(&self) -> Result<Option<mpsc::Receiver<WatchedEvent>>, CommandError> {
        let Target::Watch(watch) = self.target.as_ref() else {
            return Ok(None);
        };
        watch.detach();
        let (watcher, events) = watch::Watcher::new(self.settings.parallel);
        self.command(Command::Watch(watcher)).await?;
        Ok(Some(events))
    }

    async fn command(&self, command: Command) -> Result<u64, CommandError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send((command, reply)).await;
        sent.map_err(|_| CommandError::Stopping)?;
        answer.await.unwrap_or(Err(CommandError::Stopping))
    }
}

/// Commands that may wait for a sink.
const MAX_COMMANDS: usize = 16;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// How long to wait after so many failures before: doubled each time, with jitter.
fn delay(failures_before: u32) -> Duration {
    delays(FIRST_RETRY, LONGEST_RETRY)
        .nth(failures_before.min(20) as usize)
        .unwrap_or(LONGEST_RETRY)
}

/// An event as it goes out.
#[cfg_attr(
    not(all(feature = "kafka", feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "brokers need all of it")
)]
struct Outgoing {
    sequence: u64,
    /// Whose event.
    identity: String,
    /// Of the event, or "snapshot".
    kind: &'static str,
    /// How often the sink was asked to deliver anew.
    replays: u64,
    /// Of the CloudEvent.
    id: String,
    content: Content,
}

/// What the consumer gets of an event.
enum Content {
    /// A CloudEvent as JSON.
    CloudEvent(Bytes),
    /// Requests in the consumer's own API.
    Requests(Vec<MappedRequest>),
}

impl Outgoing {
    /// Maps an event; what a mapping cannot make anything of is rejected.
    fn of(
        settings: &SinkSettings,
        written: &WrittenEvents,
        event: &Arc<StoredEvent>,
        records: Option<&ConsumerRecords>,
        is_snapshot: bool,
        replays: u64,
    ) -> Result<Self, Failure> {
        let (tenant, mapping) = (&settings.tenant, &settings.mapping);
        let (id, kind) = (
            id_of(tenant, event, is_snapshot),
            kind_of(event, is_snapshot),
        );
        let failed =
            |problem| Failure::Rejected(format!("the mapping cannot take the event: {problem}"));
        let data = || EventData::new(event, kind, records);
        let content = match mapping {
            Mapping::None => {
                let write = || {
                    json_of(&CloudEvent::new(
                        tenant,
                        event,
                        data(),
                        is_snapshot,
                        replays,
                    ))
                };
                let is_the_same_for_all = !is_snapshot && replays == 0 && records.is_none();
                Content::CloudEvent(match is_the_same_for_all {
                    true => written.get(tenant, event, write)?,
                    false => write()?,
                })
            }
            _ => {
                let data = data();
                let data = serde_json::to_value(data).map_err(|cause| failed(cause.to_string()))?;
                match mapping.requests(&data, &id).map_err(failed)? {
                    Some(requests) => Content::Requests(requests),
                    None => {
                        let data = mapping.data(data, &id).map_err(failed)?;
                        let whole = CloudEvent::new(tenant, event, data, is_snapshot, replays);
                        Content::CloudEvent(json_of(&whole)?)
                    }
                }
            }
        };
        Ok(Self {
            sequence: event.sequence,
            identity: event.identity.id.to_string(),
            kind,
            replays,
            id,
            content,
        })
    }

    /// The CloudEvent. The configuration refuses requests for sinks that take nothing else.
    fn cloud_event(&self) -> Result<&Bytes, Failure> {
        match &self.content {
            Content::CloudEvent(json) => Ok(json),
            Content::Requests(_) => Err(Failure::Rejected(
                "the mapping makes requests, which this kind of sink cannot send".to_owned(),
            )),
        }
    }
}

/// What most events take as JSON: room for it at once, so that it is not moved as it grows.
const MOST_EVENTS_BYTES: usize = 2_048;

fn json_of(event: &impl serde::Serialize) -> Result<Bytes, Failure> {
    let mut json = Vec::with_capacity(MOST_EVENTS_BYTES);
    serde_json::to_writer(&mut json, event)
        .map_err(|cause| Failure::Rejected(cause.to_string()))?;
    Ok(json.into())
}

const NOT_IN_TIME: &str = "the consumer did not answer in time";

/// Why a delivery failed; never holds what was to be delivered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The consumer cannot take anything now, or nobody knows.
    #[error("{cause}")]
    Unavailable {
        cause: String,
        /// How long the consumer wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The consumer does not want this.
    #[error("{0}")]
    Rejected(String),
}

impl Failure {
    fn unavailable(cause: impl std::fmt::Display) -> Self {
        Self::Unavailable {
            cause: cause.to_string(),
            retry_after: None,
        }
    }
}

/// Starts a sink; it runs until `stop`.
///
/// `written`: shared with the other sinks.
pub async fn start(
    settings: SinkSettings,
    written: WrittenEvents,
    store: Arc<dyn Store>,
    durable: Durable,
    stop: CancellationToken,
) -> anyhow::Result<(Sink, tokio::task::JoinHandle<()>)> {
    let target = Arc::new(Target::open(&settings).await?);
    let state = Arc::new(Mutex::new(SinkState::default()));
    let worker = Worker::new(
        settings.clone(),
        written,
        store,
        durable,
        target.clone(),
        state.clone(),
    )?;
    let (commands, received) = mpsc::channel(MAX_COMMANDS);
    let sink = Sink {
        settings,
        state,
        commands,
        target,
    };
    Ok((sink, tokio::spawn(worker.run(received, stop))))
}
