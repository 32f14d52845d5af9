//! librdkafka's own mock cluster: brokers that speak Kafka's protocol over TCP, in this process. No real broker can be had from the
//! package registries.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

pub const TOPIC: &str = "identities";
const PARTITIONS: i32 = 3;

pub struct KafkaCluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    pub url: String,
}

impl KafkaCluster {
    pub fn start() -> Self {
        let mock = MockCluster::new(1).expect("a cluster");
        mock.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let url = mock.bootstrap_servers();
        Self { mock, url }
    }

    pub fn kill(&self) {
        self.mock.broker_down(1).expect("it goes down");
    }

    pub fn start_again(&self) {
        self.mock.broker_up(1).expect("it comes up");
    }

    /// Everything in the topic, partition by partition: the kind in the header, and the event.
    pub fn messages(&self) -> Vec<(String, Value)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.url)
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a consumer");
        let mut places = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let added = places.add_partition_offset(TOPIC, partition, Offset::Beginning);
            added.expect("a place");
        }
        consumer.assign(&places).expect("assigned");
        let (mut messages, mut ended) = (Vec::new(), std::collections::BTreeSet::new());
        while ended.len() < PARTITIONS as usize {
            match consumer.poll(Duration::from_secs(10)).expect("goes on") {
                Err(rdkafka::error::KafkaError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                }
                Err(cause) => panic!("{cause}"),
                Ok(message) => {
                    let headers = message.headers().expect("headers");
                    let kind = headers.iter().find(|header| header.key == "veridem-kind");
                    let kind = kind.and_then(|header| header.value).expect("a kind");
                    let event: Value =
                        serde_json::from_slice(message.payload().expect("a payload"))
                            .expect("JSON");
                    let key = message.key().expect("a key");
                    assert_eq!(event["subject"].as_str().map(str::as_bytes), Some(key));
                    messages.push((String::from_utf8_lossy(kind).into_owned(), event));
                }
            }
        }
        messages
    }
}
