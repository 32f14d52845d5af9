//! A queue of RabbitMQ.

use anyhow::Context as _;
use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};
use sha2::{Digest as _, Sha256};
use tokio_stream::StreamExt as _;

use super::{MAX_OPEN, Message, Receipt};

pub(super) struct RabbitMqLink {
    /// Closed where it is dropped.
    _connection: Connection,
    consumer: Consumer,
}

/// A message that waits for its confirmation.
pub(super) struct Delivery(Acker);

impl Delivery {
    pub(super) async fn confirm(self) -> anyhow::Result<()> {
        self.0.ack(BasicAckOptions::default()).await?;
        Ok(())
    }
}

impl RabbitMqLink {
    pub(super) async fn connect(url: &str, queue: &str) -> anyhow::Result<Self> {
        let properties = ConnectionProperties::default().with_connection_name("veridem".into());
        let connection = Connection::connect(url, properties).await?;
        let channel = connection.create_channel().await?;
        let ahead = u16::try_from(MAX_OPEN).unwrap_or(u16::MAX);
        channel.basic_qos(ahead, BasicQosOptions::default()).await?;
        let consumer = channel.basic_consume(
            queue.into(),
            "veridem".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        Ok(Self {
            consumer: consumer.await?,
            _connection: connection,
        })
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Message> {
        let delivery = self.consumer.next().await.context("the queue is gone")??;
        Ok(Message {
            // A queue has no places: the same content is the same message.
            place: hex::encode(Sha256::digest(&delivery.data)),
            payload: delivery.data.to_vec(),
            receipt: Receipt::RabbitMq(Delivery(delivery.acker.clone())),
        })
    }
}
