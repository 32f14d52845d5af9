//! librdkafka's own mock cluster: brokers that speak Kafka's protocol over TCP, in this process. No real broker can be had from the
//! package registries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

pub const TOPIC: &str = "identities";
const PARTITIONS: i32 = 3;

pub struct KafkaCluster {
    /// Ends before the brokers do.
    reader: Reader,
    mock: MockCluster<'static, DefaultProducerContext>,
    pub url: String,
}

impl KafkaCluster {
    pub fn start() -> Self {
        let mock = MockCluster::new(1).expect("a cluster");
        mock.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let url = mock.bootstrap_servers();
        let reader = Reader::start(&url);
        Self { reader, mock, url }
    }

    pub fn kill(&self) {
        self.mock.broker_down(1).expect("it goes down");
    }

    pub fn start_again(&self) {
        self.mock.broker_up(1).expect("it comes up");
    }

    /// Everything in the topic, partition by partition: the kind in the header, and the event.
    pub fn messages(&self) -> Vec<(String, Value)> {
        let client = consumer(&self.url);
        for partition in 0..PARTITIONS {
            let marks = client.fetch_watermarks(TOPIC, partition, Duration::from_secs(10));
            let (_, end) = marks.expect("the broker answers");
            self.reader.wait(partition as usize, end as usize);
        }
        self.reader.read.lock().concat()
    }
}

/// The messages of each partition: the kind in the header, and the event.
type Partitions = Vec<Vec<(String, Value)>>;

/// Reads along: the mock forgets what goes beyond 5 MB a partition.
struct Reader {
    read: Arc<Mutex<Partitions>>,
    stops: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reader {
    fn start(url: &str) -> Self {
        let consumer = consumer(url);
        let mut places = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let added = places.add_partition_offset(TOPIC, partition, Offset::Beginning);
            added.expect("a place");
        }
        consumer.assign(&places).expect("assigned");
        let mut reader = Self {
            read: Arc::new(Mutex::new(vec![Vec::new(); PARTITIONS as usize])),
            stops: Arc::default(),
            thread: None,
        };
        let (read, stops) = (reader.read.clone(), reader.stops.clone());
        reader.thread = Some(std::thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                // It is told of each outage, and goes on by itself.
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                    let of_partition = &mut read.lock()[message.partition() as usize];
                    assert_eq!(message.offset() as usize, of_partition.len(), "a gap");
                    of_partition.push(kind_and_event(&message));
                }
            }
        }));
        reader
    }

    fn wait(&self, partition: usize, count: usize) {
        for _ in 0..600 {
            if self.read.lock()[partition].len() >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("partition {partition} is not read up to {count} in 30 s");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it panicked of has been shown.
            let _ = thread.join();
        }
    }
}

fn consumer(url: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    let config = config.set("bootstrap.servers", url);
    let consumer = config.set("group.id", "reader").create();
    consumer.expect("a consumer")
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
