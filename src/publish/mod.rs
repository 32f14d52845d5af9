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
mod watch;
mod webhook;
mod worker;

pub use cloud_event::event_data;
pub use event_schema::event_schemas;
pub use filter::Filter;
pub use mapping::{MappedRequest, Mapping, samples};
pub use watch::WatchedEvent;
pub use webhook::sign;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::files::Format;
use crate::objects::ObjectsPlace;
use crate::resolver::Durable;
use crate::retry::delays;
use crate::store::{Store, StoredEvent, Tenant};
use cloud_event::{CloudEvent, ConsumerRecords, EventData, id_of, kind_of};
use worker::Worker;

/// Where a sink delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// HTTP POST of one CloudEvent, or of a batch of them; with a mapping to requests, those.
    Webhook {
        /// The address.
        url: String,
        /// Signs each delivery with HMAC-SHA256.
        secret: Option<String>,
        /// Holds the value of the header `authorization`; read for each request, so that another process can renew it.
        authorization_file: Option<PathBuf>,
    },
    /// One CloudEvent a line, appended.
    File {
        /// The file.
        path: PathBuf,
    },
    /// Files in a folder or in object storage, a file a delivery.
    Objects {
        /// Where.
        place: ObjectsPlace,
        /// JSON Lines or Parquet.
        format: Format,
    },
    /// Kafka: one CloudEvent a message, keyed by the identity. Needs the feature `kafka`.
    Kafka {
        /// Some of the brokers, `host:9092`, separated by commas.
        url: String,
        /// Where messages go.
        topic: String,
    },
    /// RabbitMQ: one CloudEvent a message. Needs the feature `rabbitmq`.
    RabbitMq {
        /// The broker, `amqp://host:5672/%2f`.
        url: String,
        /// Messages go there with the routing key `<subject>.<kind of event>`; empty: to the queue named `subject`.
        exchange: String,
        /// See `exchange`.
        subject: String,
    },
    /// gRPC: one CloudEvent a message to whoever watches the sink, who has to acknowledge each.
    Watch,
    /// NATS JetStream: one CloudEvent a message. Needs the feature `nats`.
    Nats {
        /// The servers, `nats://host:4222`, several separated by commas.
        url: String,
        /// Messages go to `<subject>.<kind of event>`, which a stream has to take.
        subject: String,
        /// The credentials that a NATS account issued.
        credentials_file: Option<PathBuf>,
    },
}

impl SinkKind {
    /// The kind as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::File { .. } => "file",
            Self::Objects { .. } => "objects",
            Self::Kafka { .. } => "kafka",
            Self::Nats { .. } => "nats",
            Self::RabbitMq { .. } => "rabbitmq",
            Self::Watch => "watch",
        }
    }

    /// The feature that this build lacks for such a sink.
    pub fn missing_feature(&self) -> Option<&'static str> {
        let needed = match self {
            Self::Webhook { .. } | Self::File { .. } | Self::Objects { .. } | Self::Watch => {
                return None;
            }
            Self::Kafka { .. } => ("kafka", cfg!(feature = "kafka")),
            Self::Nats { .. } => ("nats", cfg!(feature = "nats")),
            Self::RabbitMq { .. } => ("rabbitmq", cfg!(feature = "rabbitmq")),
        };
        (!needed.1).then_some(needed.0)
    }

    /// Events in one delivery and deliveries at once, where nothing else is asked for, and the most of each.
    pub fn bounds(&self) -> Bounds {
        match self {
            Self::Webhook { .. } => Bounds {
                batch: 1,
                parallel: 8,
                max_batch: 1_000,
                max_parallel: 256,
            },
            // A file has one end.
            Self::File { .. } => Bounds {
                batch: 256,
                parallel: 1,
                max_batch: 1_000,
                max_parallel: 1,
            },
            // Names rise in the order of deliveries.
            Self::Objects { .. } => Bounds {
                batch: 10_000,
                parallel: 1,
                max_batch: 100_000,
                max_parallel: 1,
            },
            // How many events a watcher may leave unacknowledged.
            Self::Watch => Bounds {
                batch: 1,
                parallel: 64,
                max_batch: 1,
                max_parallel: 1_024,
            },
            // Each message is acknowledged by itself, so that many may be on their way.
            Self::Kafka { .. } | Self::Nats { .. } | Self::RabbitMq { .. } => Bounds {
                batch: 1,
                parallel: 256,
                max_batch: 1,
                max_parallel: 1_024,
            },
        }
    }
}

/// See [`SinkKind::bounds`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events in one delivery.
    pub batch: usize,
    /// Deliveries at once.
    pub parallel: usize,
    /// Events in one delivery at most.
    pub max_batch: usize,
    /// Deliveries at once at most.
    pub max_parallel: usize,
}

/// A sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSettings {
    /// Its name, under which its cursor is kept.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it delivers.
    pub kind: SinkKind,
    /// Whose events.
    pub tenant: Tenant,
    /// Which events.
    pub filter: Filter,
    /// What becomes of an event's fields.
    pub mapping: Mapping,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Events that go out in one delivery.
    pub batch: usize,
    /// Deliveries that may be on their way at once; of a watched sink, events that the watcher has not acknowledged.
    pub parallel: usize,
    /// How long events are collected before they go out together.
    pub collect_for: Duration,
    /// Events a second at most; none: as many as the consumer takes.
    pub max_per_second: Option<f64>,
    /// How long the consumer may take to acknowledge an event itself, by a call; none: its answer is enough.
    pub acknowledge_within: Option<Duration>,
    /// How long an event may wait before the sink counts as late.
    pub max_lag: Duration,
    /// The share of attempts to deliver that are to succeed.
    pub service_level: f64,
    /// Failures after which an event becomes a dead letter. One that nobody can tell from a consumer that is down does not count.
    pub max_attempts: u32,
}

impl SinkSettings {
    /// A sink that takes every event of the default tenant as it is.
    pub fn new(name: impl Into<String>, kind: SinkKind) -> Self {
        let bounds = kind.bounds();
        // Many small files are a burden for whoever reads them.
        let collect_for = match kind {
            SinkKind::Objects { .. } => Duration::from_secs(60),
            _ => Duration::ZERO,
        };
        // What was written to a stream may not have come through.
        let acknowledge_within = (kind == SinkKind::Watch).then_some(Duration::from_secs(30));
        Self {
            name: name.into(),
            owner: String::new(),
            kind,
            tenant: Tenant::default_tenant(),
            filter: Filter::default(),
            mapping: Mapping::default(),
            timeout: Duration::from_secs(10),
            batch: bounds.batch,
            parallel: bounds.parallel,
            collect_for,
            max_per_second: None,
            acknowledge_within,
            max_lag: Duration::from_secs(900),
            service_level: 0.99,
            max_attempts: 8,
        }
    }
}

/// How a sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Every event up to this one is delivered, left out by the filter, or among `retries` and `dead_letters`.
    pub cursor: u64,
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
    CloudEvent(String),
    /// Requests in the consumer's own API.
    Requests(Vec<MappedRequest>),
}

impl Outgoing {
    /// Maps an event; what a mapping cannot make anything of is rejected.
    fn of(
        settings: &SinkSettings,
        event: &StoredEvent,
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
        let data = EventData::new(event, kind, records);
        let content = match mapping {
            Mapping::None => {
                let whole = CloudEvent::new(tenant, event, data, is_snapshot, replays);
                Content::CloudEvent(json_of(&whole)?)
            }
            _ => {
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
    fn cloud_event(&self) -> Result<&str, Failure> {
        match &self.content {
            Content::CloudEvent(text) => Ok(text),
            Content::Requests(_) => Err(Failure::Rejected(
                "the mapping makes requests, which this kind of sink cannot send".to_owned(),
            )),
        }
    }
}

fn json_of(event: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(event).map_err(|cause| Failure::Rejected(cause.to_string()))
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

/// Where deliveries go.
enum Target {
    Webhook(webhook::Webhook),
    File(Arc<Mutex<file::EventFile>>),
    Objects(objects::ObjectSink),
    #[cfg(feature = "kafka")]
    Kafka(kafka::Kafka),
    #[cfg(feature = "nats")]
    Nats(nats::Nats),
    #[cfg(feature = "rabbitmq")]
    RabbitMq(rabbitmq::RabbitMq),
    Watch(watch::Watch),
}

impl Target {
    async fn open(settings: &SinkSettings) -> anyhow::Result<Self> {
        Ok(match &settings.kind {
            SinkKind::Webhook {
                url,
                secret,
                authorization_file,
            } => Self::Webhook(webhook::Webhook::new(
                url,
                secret.clone(),
                authorization_file.clone(),
                settings.timeout,
            )?),
            SinkKind::File { path } => {
                Self::File(Arc::new(Mutex::new(file::EventFile::open(path)?)))
            }
            SinkKind::Objects { place, format } => {
                Self::Objects(objects::ObjectSink::new(place.open()?, *format))
            }
            SinkKind::Watch => Self::Watch(watch::Watch::default()),
            #[cfg(feature = "nats")]
            SinkKind::Nats {
                url,
                subject,
                credentials_file,
            } => {
                let credentials = credentials_file.as_deref();
                Self::Nats(nats::Nats::connect(url, subject, credentials).await?)
            }
            #[cfg(feature = "kafka")]
            SinkKind::Kafka { url, topic } => {
                Self::Kafka(kafka::Kafka::connect(url, topic, settings.timeout)?)
            }
            #[cfg(feature = "rabbitmq")]
            SinkKind::RabbitMq {
                url,
                exchange,
                subject,
            } => Self::RabbitMq(rabbitmq::RabbitMq::new(url, exchange, subject)),
            #[cfg(not(all(feature = "kafka", feature = "nats", feature = "rabbitmq")))]
            other => anyhow::bail!("this veridem is built without {} sinks", other.as_str()),
        })
    }

    /// Whether events come in the order of the feed, not only in that of each identity.
    fn is_in_feed_order(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// A watcher comes.
    fn attach(&self, watcher: watch::Watcher) {
        if let Self::Watch(watch) = self {
            watch.attach(watcher);
        }
    }

    /// Whether there is anybody to deliver to.
    fn is_there(&self) -> bool {
        match self {
            Self::Watch(watch) => watch.is_watched(),
            _ => true,
        }
    }

    /// What follows belongs to this replay: what an earlier one brought is wanted again.
    fn begin_replay(&self, replay: u64) {
        if let Self::File(file) = self {
            file.lock().begin_replay(replay);
        }
    }

    /// Delivers all or none; after a failure some may have arrived.
    async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(events).await,
            Self::File(file) => {
                let file = file.clone();
                let appended = tokio::task::spawn_blocking(move || file.lock().append(&events));
                appended.await.map_err(Failure::unavailable)?
            }
            Self::Objects(objects) => objects.deliver(events).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.deliver(events).await,
            #[cfg(feature = "nats")]
            Self::Nats(nats) => nats.deliver(events).await,
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(rabbitmq) => rabbitmq.deliver(events).await,
            Self::Watch(watch) => watch.deliver(events).await,
        }
    }
}

/// Starts a sink; it runs until `stop`.
pub async fn start(
    settings: SinkSettings,
    store: Arc<dyn Store>,
    durable: Durable,
    stop: CancellationToken,
) -> anyhow::Result<(Sink, tokio::task::JoinHandle<()>)> {
    let target = Arc::new(Target::open(&settings).await?);
    let state = Arc::new(Mutex::new(SinkState::default()));
    let worker = Worker::new(
        settings.clone(),
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
