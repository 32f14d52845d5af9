//! Signals out of brokers: one JSON message a signal. A message is confirmed once its signal is durable or set aside; until then
//! the broker keeps it. What is no signal does not hold up what comes after it.

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use metrics::Counter;
use tokio_util::sync::CancellationToken;

use super::{Incoming, Intake};
use crate::resolver::{Ack, EngineError, Pending, answer};
use crate::retry::delays;
use crate::store::Tenant;

/// Where a consumer takes messages from.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsumerKind {
    /// A topic of Kafka. Needs the feature `kafka`.
    Kafka {
        /// Some of the brokers, `host:9092`, separated by commas.
        url: String,
        /// The topic.
        topic: String,
        /// The consumer group, under which offsets are kept.
        group: String,
    },
    /// A stream of NATS JetStream. Needs the feature `nats`.
    Nats {
        /// The servers, `nats://host:4222`, several separated by commas.
        url: String,
        /// The stream.
        stream: String,
        /// The name of the durable consumer, under which the server keeps what is confirmed.
        group: String,
        /// The credentials that a NATS account issued.
        credentials_file: Option<PathBuf>,
    },
    /// A queue of RabbitMQ. Needs the feature `rabbitmq`.
    RabbitMq {
        /// The broker, `amqp://host:5672/%2f`.
        url: String,
        /// The queue.
        queue: String,
    },
}

impl ConsumerKind {
    /// The feature that this build lacks for such a consumer.
    pub fn missing_feature(&self) -> Option<&'static str> {
        let (name, is_there) = match self {
            Self::Kafka { .. } => ("kafka", cfg!(feature = "kafka")),
            Self::Nats { .. } => ("nats", cfg!(feature = "nats")),
            Self::RabbitMq { .. } => ("rabbitmq", cfg!(feature = "rabbitmq")),
        };
        (!is_there).then_some(name)
    }
}

/// A consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerSettings {
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it takes messages from.
    pub kind: ConsumerKind,
    /// Whose signals.
    pub tenant: Tenant,
}

/// Makes a signal of a message; says without values why it is none.
pub type Parse = fn(&[u8]) -> Result<Incoming, String>;

/// Messages that may be on their way between broker and writer.
#[cfg_attr(
    not(any(feature = "kafka", feature = "nats", feature = "rabbitmq")),
    allow(dead_code, reason = "brokers need it")
)]
const MAX_OPEN: usize = 512;

/// A message.
struct Message {
    payload: Vec<u8>,
    /// Names it for ever among those of its consumer.
    place: String,
    receipt: Receipt,
}

/// What confirms a message.
enum Receipt {
    #[cfg(feature = "kafka")]
    Kafka(kafka::Place),
    #[cfg(feature = "nats")]
    Nats(nats::Delivery),
    #[cfg(feature = "rabbitmq")]
    RabbitMq(rabbitmq::Delivery),
}

/// A connection to a broker.
enum Link {
    #[cfg(feature = "kafka")]
    Kafka(kafka::KafkaLink),
    #[cfg(feature = "nats")]
    Nats(nats::NatsLink),
    #[cfg(feature = "rabbitmq")]
    RabbitMq(rabbitmq::RabbitMqLink),
}

impl Link {
    async fn connect(kind: &ConsumerKind) -> anyhow::Result<Self> {
        match kind {
            #[cfg(feature = "kafka")]
            ConsumerKind::Kafka { url, topic, group } => {
                Ok(Self::Kafka(kafka::KafkaLink::connect(url, topic, group)?))
            }
            #[cfg(feature = "nats")]
            ConsumerKind::Nats {
                url,
                stream,
                group,
                credentials_file,
            } => {
                let credentials = credentials_file.as_deref();
                let link = nats::NatsLink::connect(url, stream, group, credentials);
                Ok(Self::Nats(link.await?))
            }
            #[cfg(feature = "rabbitmq")]
            ConsumerKind::RabbitMq { url, queue } => Ok(Self::RabbitMq(
                rabbitmq::RabbitMqLink::connect(url, queue).await?,
            )),
            #[cfg(not(all(feature = "kafka", feature = "nats", feature = "rabbitmq")))]
            _ => anyhow::bail!("this veridem is built without such consumers"),
        }
    }

    /// The next message. Loses none where it is dropped.
    async fn next(&mut self) -> anyhow::Result<Message> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(link) => link.next().await,
            #[cfg(feature = "nats")]
            Self::Nats(link) => link.next().await,
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(link) => link.next().await,
            #[cfg(not(any(feature = "kafka", feature = "nats", feature = "rabbitmq")))]
            _ => unreachable!("no link was made"),
        }
    }

    /// Tells the broker that a message, and in Kafka all before it, is taken care of.
    async fn confirm(&mut self, receipt: Receipt) -> anyhow::Result<()> {
        match (self, receipt) {
            #[cfg(feature = "kafka")]
            (Self::Kafka(link), Receipt::Kafka(place)) => link.confirm(&place),
            #[cfg(feature = "nats")]
            (Self::Nats(_), Receipt::Nats(delivery)) => delivery.confirm().await,
            #[cfg(feature = "rabbitmq")]
            (Self::RabbitMq(_), Receipt::RabbitMq(delivery)) => delivery.confirm().await,
            #[allow(unreachable_patterns, reason = "where one broker is built in")]
            _ => unreachable!("a link's messages have its receipts"),
        }
    }
}

/// How far a message is.
enum Progress {
    /// Its signal is with the writer.
    Pending(Pending<Ack>),
    /// It is set aside.
    Done,
}

struct Open {
    message: Message,
    progress: Progress,
}

/// Why a connection is given up: what was not confirmed comes again.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("{0:#}")]
    Broker(#[from] anyhow::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Takes messages until `stop`.
pub async fn consume(
    settings: ConsumerSettings,
    intake: Intake,
    parse: Parse,
    stop: CancellationToken,
) {
    let label = || settings.name.clone();
    let failures = metrics::counter!("veridem_consumer_failures_total", "consumer" => label());
    let owned = [("consumer", label()), ("owner", settings.owner.clone())];
    let connected = metrics::gauge!("veridem_consumer_connected", &owned);
    let messages = metrics::counter!("veridem_consumer_messages_total", "consumer" => label());
    let mut consumer = Consumer {
        settings,
        intake,
        parse,
        messages,
        taken: 0,
    };
    let mut waits = delays(FIRST_DELAY, LONGEST_DELAY);
    loop {
        let link = tokio::select! {
            () = stop.cancelled() => return,
            link = tokio::time::timeout(CONNECT_WITHIN, Link::connect(&consumer.settings.kind)) => {
                link.unwrap_or_else(|_| Err(anyhow::anyhow!("the broker did not answer in time")))
            }
        };
        let taken_before = consumer.taken;
        let ended = match link {
            Ok(mut link) => {
                connected.set(1.0);
                consumer.run(&mut link, &stop).await
            }
            Err(cause) => Err(cause.into()),
        };
        connected.set(0.0);
        let Err(cause) = ended else { return };
        failures.increment(1);
        tracing::warn!(
            consumer = consumer.settings.name,
            %cause,
            "a consumer was interrupted; it connects again"
        );
        if consumer.taken > taken_before {
            waits = delays(FIRST_DELAY, LONGEST_DELAY);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(waits.next().unwrap_or(LONGEST_DELAY)) => {}
        }
    }
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A broker that takes the connection and then says nothing counts as one that is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

struct Consumer {
    settings: ConsumerSettings,
    intake: Intake,
    parse: Parse,
    messages: Counter,
    taken: u64,
}

impl Consumer {
    /// Takes messages over one connection; ends well where the service stops.
    async fn run(&mut self, link: &mut Link, stop: &CancellationToken) -> Result<(), Interruption> {
        // In the order in which they came, and confirmed in it.
        let mut open: VecDeque<Open> = VecDeque::new();
        loop {
            let has_room = open.len() < MAX_OPEN;
            tokio::select! {
                () = stop.cancelled() => break,
                result = settled(open.front_mut()), if !open.is_empty() => {
                    self.finish(link, &mut open, result).await?;
                }
                message = link.next(), if has_room => {
                    let message = message?;
                    let progress = self.take(&message).await?;
                    open.push_back(Open { message, progress });
                }
            }
        }
        while !open.is_empty() {
            let result = settled(open.front_mut()).await;
            self.finish(link, &mut open, result).await?;
        }
        Ok(())
    }

    async fn take(&self, message: &Message) -> Result<Progress, EngineError> {
        let (tenant, origin) = (&self.settings.tenant, self.settings.name.as_str());
        match (self.parse)(&message.payload) {
            Err(problem) => self.set_aside(message, problem).await,
            Ok(incoming) => match self.intake.submit(tenant.clone(), incoming, origin).await {
                Ok(pending) => Ok(Progress::Pending(pending)),
                Err(cause) => self.judge(message, cause).await,
            },
        }
    }

    async fn finish(
        &mut self,
        link: &mut Link,
        open: &mut VecDeque<Open>,
        result: Result<(), EngineError>,
    ) -> Result<(), Interruption> {
        let Some(done) = open.pop_front() else {
            return Ok(());
        };
        if let Err(cause) = result {
            self.judge(&done.message, cause).await?;
        }
        link.confirm(done.message.receipt).await?;
        self.messages.increment(1);
        self.taken += 1;
        Ok(())
    }

    /// What the message itself is to blame for is set aside; what is our own trouble comes again.
    async fn judge(&self, message: &Message, cause: EngineError) -> Result<Progress, EngineError> {
        match cause {
            EngineError::Quarantined { .. } => Ok(Progress::Done),
            cause if cause.is_transient() => Err(cause),
            cause => self.set_aside(message, cause.to_string()).await,
        }
    }

    async fn set_aside(&self, message: &Message, problem: String) -> Result<Progress, EngineError> {
        let (tenant, origin) = (&self.settings.tenant, &self.settings.name);
        self.intake
            .set_aside(tenant, &message.payload, origin, &message.place, problem)
            .await?;
        Ok(Progress::Done)
    }
}

/// Waits for the first of those that are open.
async fn settled(first: Option<&mut Open>) -> Result<(), EngineError> {
    match first.map(|open| &mut open.progress) {
        Some(Progress::Pending(pending)) => answer(pending).await.map(drop),
        Some(Progress::Done) | None => Ok(()),
    }
}
