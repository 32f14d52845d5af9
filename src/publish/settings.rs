//! What is said of a sink.

use std::path::PathBuf;
use std::time::Duration;

use super::{Filter, Mapping};
use crate::files::Format;
use crate::objects::ObjectsPlace;
use crate::store::Tenant;

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
            // Messages whose acknowledgements are waited for together.
            Self::Kafka { .. } | Self::Nats { .. } | Self::RabbitMq { .. } => Bounds {
                batch: 64,
                parallel: 16,
                max_batch: 1_000,
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
