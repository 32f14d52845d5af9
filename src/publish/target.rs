//! Where deliveries go, whatever the kind of the sink.

use std::sync::Arc;

use parking_lot::Mutex;

#[cfg(feature = "kafka")]
use super::kafka;
#[cfg(feature = "nats")]
use super::nats;
#[cfg(feature = "rabbitmq")]
use super::rabbitmq;
use super::{Failure, Outgoing, SinkKind, SinkSettings, file, objects, watch, webhook};

/// Where deliveries go.
pub(super) enum Target {
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
    pub(super) async fn open(settings: &SinkSettings) -> anyhow::Result<Self> {
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
    pub(super) fn is_in_feed_order(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Whether the events of one delivery are on their way side by side, each acknowledged by itself: a later one may then arrive without
    /// an earlier one.
    pub(super) fn is_side_by_side(&self) -> bool {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
            #[cfg(feature = "nats")]
            Self::Nats(_) => true,
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(_) => true,
            _ => false,
        }
    }

    /// A watcher comes.
    pub(super) fn attach(&self, watcher: watch::Watcher) {
        if let Self::Watch(watch) = self {
            watch.attach(watcher);
        }
    }

    /// Whether there is anybody to deliver to.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Watch(watch) => watch.is_watched(),
            _ => true,
        }
    }

    /// What follows belongs to this replay: what an earlier one brought is wanted again.
    pub(super) fn begin_replay(&self, replay: u64) {
        if let Self::File(file) = self {
            file.lock().begin_replay(replay);
        }
    }

    /// Delivers all or none; after a failure some may have arrived.
    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
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
