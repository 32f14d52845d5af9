//! Delivery into Kafka: a CloudEvent a message, keyed by the identity so that its events keep their order, done when all replicas in
//! sync have it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{Failure, Outgoing};

pub(super) struct Kafka {
    producer: FutureProducer,
    topic: String,
}

impl Kafka {
    /// Connects in the background, also where the brokers come up later.
    pub(super) fn connect(brokers: &str, topic: &str, timeout: Duration) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "veridem")
            // Repeats of the client's own do not change the order, nor come twice.
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", timeout.as_millis().to_string())
            .create()?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
        })
    }

    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let mut acknowledgements = Vec::with_capacity(events.len());
        for outgoing in &events {
            let headers = [
                ("content-type", "application/cloudevents+json"),
                ("veridem-kind", outgoing.kind),
            ];
            let headers = headers
                .into_iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| {
                    headers.insert(Header {
                        key,
                        value: Some(value),
                    })
                });
            let record = FutureRecord::to(&self.topic)
                .key(&outgoing.identity)
                .payload(outgoing.cloud_event()?.as_ref())
                .headers(headers);
            let sent = self.producer.send_result(record);
            acknowledgements.push(sent.map_err(|(cause, _)| judge(&cause))?);
        }
        for acknowledgement in acknowledgements {
            let arrived = acknowledgement.await.map_err(Failure::unavailable)?;
            arrived.map_err(|(cause, _)| judge(&cause))?;
        }
        Ok(())
    }
}

fn judge(cause: &KafkaError) -> Failure {
    match cause.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            Failure::Rejected("the message is larger than the brokers take".to_owned())
        }
        _ => Failure::unavailable(cause),
    }
}
