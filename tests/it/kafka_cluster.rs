//! librdkafka's own mock cluster: brokers that speak Kafka's protocol over TCP, in this process. No real broker can be had from the
//! package registries.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

pub const TOPIC: &str = "identities";
const PARTITIONS: i32 = 3;

/// The messages of each partition: the kind in the header, and the event.
type Partitions = Vec<Vec<(String, Value)>>;

pub struct KafkaCluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    read: Mutex<Partitions>,
    pub url: String,
}

impl KafkaCluster {
    pub fn start() -> Self {
        let mock = MockCluster::new(1).expect("a cluster");
        mock.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let url = mock.bootstrap_servers();
        let read = Mutex::new(vec![Vec::new(); PARTITIONS as usize]);
        Self { mock, read, url }
    }

    pub fn kill(&self) {
        self.mock.broker_down(1).expect("it goes down");
    }

    pub fn start_again(&self) {
        self.mock.broker_up(1).expect("it comes up");
    }

    /// Everything that was in the topic, partition by partition. The mock forgets what goes beyond 5 MB a partition: whoever sends more
    /// has to ask in between.
    pub fn messages(&self) -> Vec<(String, Value)> {
        let mut read = self.read.lock();
        // A reader of the mock hears nothing any more now and then: another goes on where it was.
        for _ in 0..10 {
            if self.read_on(&mut read) {
                return read.concat();
            }
        }
        panic!("the cluster does not say what it has");
    }

    /// Reads to the end of each partition; whether it got there.
    fn read_on(&self, read: &mut Partitions) -> bool {
        let consumer = self.consumer_behind(read);
        let mut ended = BTreeSet::new();
        while ended.len() < PARTITIONS as usize {
            match consumer.poll(Duration::from_secs(10)) {
                None => return false,
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                }
                Some(Err(cause)) => panic!("{cause}"),
                Some(Ok(message)) => {
                    let of_partition = &mut read[message.partition() as usize];
                    assert_eq!(message.offset() as usize, of_partition.len(), "a gap");
                    of_partition.push(kind_and_event(&message));
                }
            }
        }
        true
    }

    /// A consumer of what comes behind what was read.
    fn consumer_behind(&self, read: &Partitions) -> BaseConsumer {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.url)
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a consumer");
        let mut places = TopicPartitionList::new();
        for (partition, messages) in (0..).zip(read) {
            let next = Offset::Offset(messages.len() as i64);
            let added = places.add_partition_offset(TOPIC, partition, next);
            added.expect("a place");
        }
        consumer.assign(&places).expect("assigned");
        consumer
    }
}

fn kind_and_event(message: &BorrowedMessage<'_>) -> (String, Value) {
    let headers = message.headers().expect("headers");
    let kind = headers.iter().find(|header| header.key == "veridem-kind");
    let kind = kind.and_then(|header| header.value).expect("a kind");
    let event: Value = serde_json::from_slice(message.payload().expect("a payload")).expect("JSON");
    let key = message.key().expect("a key");
    assert_eq!(event["subject"].as_str().map(str::as_bytes), Some(key));
    (String::from_utf8_lossy(kind).into_owned(), event)
}
