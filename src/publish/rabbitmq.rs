//! Delivery into RabbitMQ (AMQP 0.9.1): a CloudEvent a message, durable, done when the broker has confirmed that a queue holds it.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::Mutex;

use super::{Failure, Outgoing};

/// Delivery mode of a message that outlives the broker (AMQP 0.9.1, "delivery-mode").
const PERSISTENT: u8 = 2;

pub(super) struct RabbitMq {
    url: String,
    exchange: String,
    subject: String,
    link: Mutex<Option<Link>>,
}

/// A channel lives as long as its connection.
#[derive(Clone)]
struct Link {
    _connection: std::sync::Arc<Connection>,
    channel: Channel,
}

impl RabbitMq {
    /// Connects with the first delivery, and anew after each failure of the connection.
    pub(super) fn new(url: &str, exchange: &str, subject: &str) -> Self {
        Self {
            url: url.to_owned(),
            exchange: exchange.to_owned(),
            subject: subject.to_owned(),
            link: Mutex::default(),
        }
    }

    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let channel = self.channel().await.map_err(Failure::unavailable)?;
        let mut confirmations = Vec::with_capacity(events.len());
        for outgoing in events {
            // To the default exchange the routing key is the queue's name.
            let routing_key = if self.exchange.is_empty() {
                self.subject.clone()
            } else {
                format!("{}.{}", self.subject, outgoing.kind)
            };
            let properties = BasicProperties::default()
                .with_content_type("application/cloudevents+json".into())
                .with_delivery_mode(PERSISTENT)
                .with_message_id(format!("{}-{}", outgoing.id, outgoing.replays).into())
                .with_type(outgoing.kind.into());
            let options = BasicPublishOptions {
                // What no queue takes comes back.
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let sent = channel.basic_publish(
                ShortString::from(self.exchange.as_str()),
                routing_key.into(),
                options,
                outgoing.cloud_event()?,
                properties,
            );
            confirmations.push(sent.await.map_err(Failure::unavailable)?);
        }
        for confirmation in confirmations {
            match confirmation.await.map_err(Failure::unavailable)? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) => {
                    return Err(Failure::unavailable(
                        "no queue takes the routing key; bind one, or mend the sink's exchange and subject",
                    ));
                }
                Confirmation::Nack(_) => {
                    return Err(Failure::unavailable(
                        "the broker could not take the message",
                    ));
                }
                Confirmation::NotRequested => {
                    return Err(Failure::unavailable("the broker confirms nothing"));
                }
            }
        }
        Ok(())
    }

    async fn channel(&self) -> Result<Channel, lapin::Error> {
        let mut link = self.link.lock().await;
        if let Some(known) = link
            .as_ref()
            .filter(|known| known.channel.status().connected())
        {
            return Ok(known.channel.clone());
        }
        let properties = ConnectionProperties::default().with_connection_name("veridem".into());
        let connection = Connection::connect(&self.url, properties).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        *link = Some(Link {
            _connection: std::sync::Arc::new(connection),
            channel: channel.clone(),
        });
        Ok(channel)
    }
}
