//! The brokers that fail beside Veridem: those that are installed here.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream;
use prost::Message as _;
use serde_json::Value;
use veridem::resolver::Signal;
use veridem::schema::to_json;

use crate::Chance;
use crate::kafka_cluster::{self, KafkaCluster};
use crate::nats_server::NatsServer;
use crate::rabbitmq_server::{self, RabbitMqServer};
use crate::support::message;

/// Where signals wait at NATS.
const SIGNALS: &str = "signals";

pub struct Brokers {
    kafka: KafkaCluster,
    nats: Option<NatsServer>,
    rabbitmq: Option<RabbitMqServer>,
    failures: [u32; 3],
}

impl Brokers {
    pub async fn start(directory: &Path) -> Self {
        let nats = NatsServer::start(directory, 1 << 20);
        if let Some(nats) = &nats {
            nats.stream().await;
        }
        Self {
            kafka: KafkaCluster::start(),
            nats,
            rabbitmq: RabbitMqServer::start(directory).await,
            failures: [0; 3],
        }
    }

    /// Sinks into each of them.
    pub fn settings(&self) -> String {
        let mut settings = sink("kafka", &self.kafka.url, "topic", kafka_cluster::TOPIC);
        if let Some(nats) = &self.nats {
            settings += &sink("nats", &nats.url, "subject", "retail.identity");
            settings += &format!(
                "\n[[consumers]]\nname = \"stores\"\nkind = \"nats\"\nurl = {:?}\nstream = {SIGNALS:?}\n",
                nats.url
            );
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            settings += &sink("rabbitmq", &rabbitmq.url, "subject", "retail.identity");
            settings += &format!("exchange = {:?}\n", rabbitmq_server::EXCHANGE);
        }
        settings
    }

    /// Sends signals by way of NATS, each until the server has it; those that it cannot send, as it is not installed.
    pub async fn send(
        &self,
        signals: Vec<Signal>,
    ) -> Result<tokio::task::JoinHandle<()>, Vec<Signal>> {
        let Some(nats) = &self.nats else {
            return Err(signals);
        };
        let context = jetstream::new(nats.client().await);
        let config = jetstream::stream::Config {
            name: SIGNALS.into(),
            subjects: vec![SIGNALS.into()],
            ..Default::default()
        };
        let created = context.get_or_create_stream(config).await;
        created.expect("a stream for signals");
        Ok(tokio::spawn(async move {
            for signal in signals {
                let message = message(&signal).encode_to_vec();
                let json = to_json("veridem.v1.Signal", &message).expect("a signal");
                loop {
                    let sent = context.publish(SIGNALS, json.clone().into()).await;
                    // What has no answer is sent again: it may come twice.
                    let stored = async { sent?.await }.await;
                    if stored.is_ok() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }))
    }

    /// Waits until Veridem has confirmed every signal that came by way of NATS.
    pub async fn wait_for_confirmations(&self) {
        let Some(nats) = &self.nats else { return };
        let context = jetstream::new(nats.client().await);
        let mut open = None;
        for _ in 0..600 {
            let stream = context.get_stream(SIGNALS).await;
            if let Ok(stream) = stream
                && let Ok(consumer) = stream.consumer_info("veridem").await
            {
                let left = (consumer.num_pending, consumer.num_ack_pending);
                if left == (0, 0) {
                    return;
                }
                open = Some(left);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("signals wait at NATS after 60 s: {open:?}");
    }

    /// Kills some of them and starts them again a moment later; RabbitMQ needs seconds to come up.
    pub async fn fail(&mut self, chance: &mut Chance) {
        // Each once, and then some of them.
        let mut fails = |broker: usize, end| chance.below(end) == 0 || self.failures[broker] == 0;
        let (kafka, nats, rabbitmq) = (fails(0, 2), fails(1, 2), fails(2, 4));
        let mut nats = self.nats.as_mut().filter(|_| nats);
        let mut rabbitmq = self.rabbitmq.as_mut().filter(|_| rabbitmq);
        if kafka {
            // The mock forgets what nobody reads for long.
            tokio::task::block_in_place(|| self.kafka.messages());
            self.kafka.kill();
            self.failures[0] += 1;
        }
        if let Some(nats) = &mut nats {
            nats.kill();
            self.failures[1] += 1;
        }
        if let Some(rabbitmq) = &mut rabbitmq {
            rabbitmq.kill();
            self.failures[2] += 1;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(500))).await;
        if kafka {
            self.kafka.start_again();
        }
        if let Some(nats) = nats {
            nats.start_again();
        }
        if let Some(rabbitmq) = rabbitmq {
            rabbitmq.start_again();
        }
    }

    /// What each of them has received, and how often it failed.
    pub async fn events(&self) -> Vec<(&'static str, Vec<Value>, u32)> {
        let kafka = tokio::task::block_in_place(|| self.kafka.messages());
        let mut received = vec![("kafka", kafka, self.failures[0])];
        if let Some(nats) = &self.nats {
            received.push(("nats", nats.messages().await, self.failures[1]));
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            received.push(("rabbitmq", rabbitmq.messages().await, self.failures[2]));
        }
        let events = received.into_iter().map(|(broker, messages, failures)| {
            let events = messages.into_iter().map(|(_, event)| event);
            (broker, events.collect(), failures)
        });
        events.collect()
    }
}

fn sink(kind: &str, url: &str, place: &str, name: &str) -> String {
    format!(
        "\n[[sinks]]\nname = \"{kind}\"\nkind = \"{kind}\"\nurl = {url:?}\ntimeout = \"1s\"\n{place} = {name:?}\n"
    )
}
