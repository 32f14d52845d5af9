//! A stream of NATS JetStream, through a durable consumer.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::message::Acker;
use tokio_stream::StreamExt as _;

use super::{MAX_OPEN, Message, Receipt};

/// How long the server waits for a confirmation before a message comes again.
const ACK_WAIT: Duration = Duration::from_secs(60);

pub(super) struct NatsLink {
    messages: Stream,
}

/// A message that waits for its confirmation.
pub(super) struct Delivery(Box<Acker>);

impl Delivery {
    pub(super) async fn confirm(self) -> anyhow::Result<()> {
        self.0.ack().await.map_err(anyhow::Error::from_boxed)
    }
}

impl NatsLink {
    pub(super) async fn connect(
        url: &str,
        stream: &str,
        group: &str,
        credentials_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new().name("veridem");
        if let Some(path) = credentials_file {
            let credentials = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            options = options.credentials(&credentials)?;
        }
        let client = options.connect(url).await?;
        let stream = async_nats::jetstream::new(client)
            .get_stream(stream)
            .await?;
        let config = Config {
            durable_name: Some(group.to_owned()),
            ack_wait: ACK_WAIT,
            max_ack_pending: 2 * MAX_OPEN as i64,
            ..Config::default()
        };
        let consumer = stream.get_or_create_consumer(group, config).await?;
        Ok(Self {
            messages: consumer.messages().await?,
        })
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Message> {
        let message = self.messages.next().await.context("the stream ended")??;
        let sequence = message
            .info()
            .map_err(anyhow::Error::from_boxed)?
            .stream_sequence;
        let (message, acker) = message.split();
        Ok(Message {
            payload: message.payload.to_vec(),
            place: sequence.to_string(),
            receipt: Receipt::Nats(Delivery(Box::new(acker))),
        })
    }
}
