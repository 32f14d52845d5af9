//! librdkafka's own mock cluster: brokers that speak Kafka's protocol over TCP, in a process of their own. No real broker can be had from the
//! package registries.
//!
//! A broker that goes down gives its port up and takes it again at once, and ends the process where it cannot: in a process that starts
//! others in between, as tests do, one of these may still hold it. So the process is this test binary anew, with one test that is a broker.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

pub const TOPIC: &str = "identities";
const PARTITIONS: i32 = 3;

/// The messages of each partition: the kind in the header, and the event.
type Partitions = Vec<Vec<(String, Value)>>;

/// Tells the process that it is a broker.
const IS_BROKER: &str = "VERIDEM_TEST_BROKER";

pub struct KafkaCluster {
    process: Mutex<Process>,
    read: Mutex<Partitions>,
    pub url: String,
}

struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// The next answer, without what the test harness says.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line).expect("it reads");
            assert_ne!(read, 0, "the broker's process has ended");
            // The harness begins its line with the test's name.
            if let Some((_, answer)) = line.split_once("broker: ") {
                return answer.trim().to_owned();
            }
        }
    }

    fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("it listens");
        assert_eq!(self.answer(), command);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The broker that other tests start.
#[test]
#[ignore = "other tests start it, as a process"]
fn a_broker() {
    if std::env::var_os(IS_BROKER).is_none() {
        return;
    }
    let mock = MockCluster::new(1).expect("a cluster");
    mock.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
    println!("broker: {}", mock.bootstrap_servers());
    for command in std::io::stdin().lines() {
        let command = command.expect("a line");
        match command.as_str() {
            "down" => mock.broker_down(1).expect("it goes down"),
            "up" => mock.broker_up(1).expect("it comes up"),
            other => panic!("{other}"),
        }
        println!("broker: {command}");
    }
}

impl KafkaCluster {
    pub fn start() -> Self {
        let this_binary = std::env::current_exe().expect("it runs");
        let child = Command::new(this_binary)
            .args(["--ignored", "--exact", "kafka_cluster::a_broker"])
            .arg("--nocapture")
            .env(IS_BROKER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("this binary starts");
        let mut process = Process {
            commands: child.stdin.take().expect("a pipe"),
            answers: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        };
        let url = process.answer();
        let read = Mutex::new(vec![Vec::new(); PARTITIONS as usize]);
        Self {
            process: Mutex::new(process),
            read,
            url,
        }
    }

    pub fn kill(&self) {
        self.process.lock().command("down");
    }

    pub fn start_again(&self) {
        self.process.lock().command("up");
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
