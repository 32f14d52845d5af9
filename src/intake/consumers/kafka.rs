//! A topic of Kafka, in a consumer group. Offsets are stored once a message is taken care of, and committed every second.

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;

use super::{Message, Receipt};

pub(super) struct KafkaLink {
    consumer: StreamConsumer,
}

/// Where a message lies.
pub(super) struct Place {
    topic: String,
    partition: i32,
    offset: i64,
}

impl KafkaLink {
    /// Connects in the background.
    pub(super) fn connect(brokers: &str, topic: &str, group: &str) -> anyhow::Result<Self> {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "veridem")
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            // One that was killed is not waited for longer than this.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("enable.auto.offset.store", "false")
            .create()?;
        consumer.subscribe(&[topic])?;
        Ok(Self { consumer })
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Message> {
        let message = self.consumer.recv().await.context("Kafka")?;
        let place = Place {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
        };
        Ok(Message {
            payload: message.payload().unwrap_or_default().to_vec(),
            place: format!("{}/{}/{}", place.topic, place.partition, place.offset),
            receipt: Receipt::Kafka(place),
        })
    }

    pub(super) fn confirm(&self, place: &Place) -> anyhow::Result<()> {
        // Stored is the offset of the last one that is done. A partition that has gone to another member is its own to confirm.
        match self
            .consumer
            .store_offset(&place.topic, place.partition, place.offset)
        {
            Ok(()) => Ok(()),
            Err(rdkafka::error::KafkaError::StoreOffset(
                rdkafka::error::RDKafkaErrorCode::State,
            )) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }
}

impl Drop for KafkaLink {
    fn drop(&mut self) {
        // What is not committed comes again, which changes nothing.
        let stored = self.consumer.position();
        let has_any = stored.is_ok_and(|places| {
            places
                .elements()
                .iter()
                .any(|place| place.offset() != Offset::Invalid)
        });
        if has_any {
            let _ = self.consumer.commit_consumer_state(CommitMode::Async);
        }
    }
}
