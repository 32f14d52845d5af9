//! Delivery into NATS JetStream: a CloudEvent a message, under `<subject>.<kind>`, done when the stream has stored it.

use std::path::Path;

use anyhow::Context as _;
use async_nats::ConnectOptions;
use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};

use super::{Failure, Outgoing};

pub(super) struct Nats {
    jetstream: Context,
    subject: String,
}

impl Nats {
    /// Connects in the background, also where the server comes up later.
    pub(super) async fn connect(
        url: &str,
        subject: &str,
        credentials_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new()
            .name("veridem")
            .retry_on_initial_connect();
        if let Some(path) = credentials_file {
            let credentials = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            options = options.credentials(&credentials)?;
        }
        let client = options.connect(url).await?;
        Ok(Self {
            jetstream: async_nats::jetstream::new(client),
            subject: subject.to_owned(),
        })
    }

    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let mut acknowledgements = Vec::with_capacity(events.len());
        for outgoing in events {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/cloudevents+json");
            // The stream drops what comes again within its window, unless it is replayed.
            let message_id = format!("{}-{}", outgoing.id, outgoing.replays);
            headers.insert(NATS_MESSAGE_ID, message_id);
            let subject = format!("{}.{}", self.subject, outgoing.kind);
            let message = outgoing.cloud_event()?.clone();
            let sent = self
                .jetstream
                .publish_with_headers(subject, headers, message);
            acknowledgements.push(sent.await.map_err(judge)?);
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.map_err(judge)?;
        }
        Ok(())
    }
}

fn judge(cause: PublishError) -> Failure {
    match cause.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Failure::Rejected("the message is larger than the server takes".to_owned())
        }
        PublishErrorKind::StreamNotFound => Failure::unavailable(
            "no stream of the server takes the subject; create one, or mend the sink's subject",
        ),
        _ => Failure::unavailable(cause),
    }
}
