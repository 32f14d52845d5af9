//! Everything fails at once: sinks refuse, stall and cut connections, brokers are killed, Veridem is killed, persons are erased, and signals go on. In the
//! end each consumer's picture, made of nothing but what it received, is what the store holds.
//!
//! 5,000 signals, or as many as `VERIDEM_CHAOS_SIGNALS` says; `VERIDEM_CHAOS_SEED` brings a run back as far as clocks allow.

#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod brokers;
#[path = "../it/consumer.rs"]
mod consumer;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
#[path = "../it/kafka_cluster.rs"]
mod kafka_cluster;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
#[path = "../it/nats_server.rs"]
mod nats_server;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../it/process.rs"]
mod process;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
#[path = "../it/rabbitmq_server.rs"]
mod rabbitmq_server;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../it/support.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use veridem::resolver::{Signal, SignalKind};
use veridem::store::{FjallStore, Store, Tenant};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::privacy_service_client::PrivacyServiceClient;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;

use brokers::Brokers;
use consumer::*;
use process::Process;
use support::*;

/// A deadline of sinks that the consumer's late answers miss.
const TIMEOUT: Duration = Duration::from_millis(300);
/// Senders at once.
const SENDERS: usize = 4;
/// Failures that the signals are spread over: a fast machine would have sent all before much has failed.
const FAILURES: u64 = 12;
/// Failures after which a dead letter and an erased person must have been there.
const MOST_FAILURES: u64 = 100;

fn setting(name: &str, standard: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(standard, |text| text.parse().expect("a number"))
}

struct Chance(ChaCha8Rng);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }
}

/// People of four records each, who share addresses now and then, move, and are forgotten; some of it late, some of it twice.
fn signals(count: u64, seed: u64) -> Vec<Signal> {
    let mut chance = Chance::new(seed);
    let people = (count / 10).max(4);
    let mut signals: Vec<Signal> = Vec::new();
    for index in 0..count {
        if index > 0 && chance.below(50) == 0 {
            let again = chance.below(index) as usize;
            signals.push(signals[again].clone());
            continue;
        }
        let person = chance.below(people);
        let record = chance.below(4);
        // Two people of one household write each other's address from time to time.
        let mailbox = if chance.below(8) == 0 {
            person ^ 1
        } else {
            person
        };
        let source = ["pos", "web", "loyalty", "erp"][record as usize];
        let mut signal = update(
            &format!("s{index}"),
            &format!("{source}/{person}"),
            vec![
                name(
                    ["Ann", "Bob", "Eva", "Kim"][person as usize % 4],
                    &format!("Quist{}", letters(person)),
                ),
                email(&format!("m{mailbox}@web.org")),
                phone(&format!("+61 4{:08}", person * 100 + chance.below(3))),
            ],
        );
        let late = chance.below(40) * u64::from(chance.below(10) == 0);
        signal.event_time_ms += index.saturating_sub(late) as i64;
        if chance.below(25) == 0 {
            signal.kind = SignalKind::Delete;
            signal.attributes.clear();
        }
        signals.push(signal);
    }
    signals
}

fn letters(mut number: u64) -> String {
    let mut letters = String::new();
    loop {
        letters.push((b'a' + (number % 26) as u8) as char);
        number /= 26;
        if number == 0 {
            return letters;
        }
    }
}

/// Sends until every signal is acknowledged, by whichever process runs, as far as what has failed allows.
async fn send_all(
    signals: Vec<Signal>,
    channel: Arc<Mutex<Channel>>,
    acknowledged: Arc<AtomicU64>,
    allowed: Arc<Semaphore>,
) {
    for chunk in signals.chunks(50) {
        let turn = allowed.acquire_many(chunk.len() as u32).await;
        turn.expect("it is open").forget();
        loop {
            let running = channel.lock().clone();
            if send(chunk, running).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        acknowledged.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
}

async fn send(chunk: &[Signal], channel: Channel) -> bool {
    let requests: Vec<_> = (chunk.iter().map(message))
        .map(|signal| v1::SubmitSignalsRequest {
            signal: Some(signal),
        })
        .collect();
    let mut client = ResolutionServiceClient::new(channel);
    let Ok(answers) = client.submit_signals(tokio_stream::iter(requests)).await else {
        return false;
    };
    let mut answers = answers.into_inner();
    let mut acknowledged = 0;
    while let Some(Ok(answer)) = answers.next().await {
        let outcome = answer.outcome;
        let is_ack = matches!(outcome, Some(v1::submit_signals_response::Outcome::Ack(_)));
        assert!(is_ack, "{outcome:?}");
        acknowledged += 1;
    }
    acknowledged == chunk.len()
}

/// Erases whoever a record belongs to; whether anybody was.
async fn erase(channel: &Channel, signal: &Signal) -> bool {
    let record = Some(v1::RecordKey {
        source: signal.source.clone(),
        record_id: signal.record_id.clone(),
    });
    let mut resolution = ResolutionServiceClient::new(channel.clone());
    let found = (resolution.lookup_identity(v1::LookupIdentityRequest { record })).await;
    let Some(identity) = found.ok().and_then(|found| found.into_inner().identity) else {
        return false;
    };
    let asked = v1::ErasePersonRequest {
        identity_id: identity.identity_id,
    };
    let mut privacy = PrivacyServiceClient::new(channel.clone());
    privacy.erase_person(asked).await.is_ok()
}

/// What the consumer does while everything fails; some events it refuses for good.
fn unruly(seed: u64) -> impl FnMut(&[Value]) -> Answer + Send {
    let mut chance = Chance::new(seed);
    move |events| {
        if (events.iter()).any(|event| sequence_of(event).is_multiple_of(89)) {
            return Answer::Status(422);
        }
        match chance.below(60) {
            0..4 => Answer::Status(500),
            4..6 => Answer::Reset,
            6..8 => Answer::Status(503),
            8 => Answer::RetryAfter(1),
            9 => Answer::Late(TIMEOUT * 2),
            _ => Answer::Ok,
        }
    }
}

fn settings(consumer: &Consumer, directory: &Path) -> String {
    format!(
        r#"
[[sinks]]
name = "erp"
kind = "webhook"
url = {:?}
secret = {SECRET:?}
timeout = "300ms"
batch = 8
max_attempts = 3

[[sinks]]
name = "file"
kind = "file"
path = {:?}

[[sinks]]
name = "watched"
kind = "watch"
acknowledge_within = "5s"
"#,
        consumer.url,
        directory.join("feed.jsonl")
    )
}

/// Watches a sink of whichever process runs, acknowledges what comes, and notes it.
async fn watch_sink(channel: Arc<Mutex<Channel>>, noted: Arc<Mutex<Vec<Value>>>) {
    loop {
        let running = channel.lock().clone();
        let asked = v1::WatchIdentitiesRequest {
            from_sequence: 0,
            sink: "watched".into(),
        };
        let mut client = ResolutionServiceClient::new(running.clone());
        let Ok(deliveries) = client.watch_identities(asked).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut deliveries = deliveries.into_inner();
        let at_once = Arc::new(Semaphore::new(32));
        while let Some(Ok(response)) = deliveries.next().await {
            let delivery = response.delivery.expect("what a sink delivers");
            let event = serde_json::from_str(&delivery.cloud_event).expect("JSON");
            noted.lock().push(event);
            let turn = at_once.clone().acquire_owned().await.expect("it is open");
            let mut client = OperationsServiceClient::new(running.clone());
            tokio::spawn(async move {
                let asked = v1::AckDeliveryRequest {
                    sink: "watched".into(),
                    sequence: delivery.sequence,
                    ..Default::default()
                };
                // What is lost on the way comes again.
                drop(client.ack_delivery(asked).await);
                drop(turn);
            });
        }
    }
}

/// Without the features of all brokers there is none.
#[cfg(not(all(feature = "kafka", feature = "nats", feature = "rabbitmq")))]
mod brokers {
    use super::*;

    pub struct Brokers;

    impl Brokers {
        pub async fn start(_: &Path) -> Self {
            Self
        }

        pub fn settings(&self) -> String {
            String::new()
        }

        pub async fn send(
            &self,
            signals: Vec<Signal>,
        ) -> Result<tokio::task::JoinHandle<()>, Vec<Signal>> {
            Err(signals)
        }

        pub async fn wait_for_confirmations(&self) {}

        pub async fn fail(&mut self, _: &mut Chance) {}

        pub async fn events(&self) -> Vec<(&'static str, Vec<Value>, u32)> {
            Vec::new()
        }
    }
}

async fn sinks(channel: &Channel) -> Vec<v1::Sink> {
    let mut client = OperationsServiceClient::new(channel.clone());
    let listed = client.list_sinks(v1::ListSinksRequest {}).await;
    listed.map_or_else(|_| Vec::new(), |listed| listed.into_inner().sinks)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_comes_out_of_order_though_everything_fails() {
    let (count, seed) = (
        setting("VERIDEM_CHAOS_SIGNALS", 5_000),
        setting("VERIDEM_CHAOS_SEED", 20_261_125),
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(unruly(seed)).await;
    let mut brokers = Brokers::start(directory.path()).await;
    let settings = settings(&consumer, directory.path()) + &brokers.settings();
    let mut process = Process::start_with(directory.path(), &settings).await;
    let channel = Arc::new(Mutex::new(process.channel.clone()));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let allowed = Arc::new(Semaphore::new(0));
    let all = signals(count, seed);
    let mut senders = tokio::task::JoinSet::new();
    let share = |sender| all.iter().skip(sender).step_by(SENDERS + 1).cloned();
    let sending =
        |own: Vec<Signal>| send_all(own, channel.clone(), acknowledged.clone(), allowed.clone());
    for sender in 0..SENDERS {
        senders.spawn(sending(share(sender).collect()));
    }
    // The last share comes out of a broker, which is killed as well.
    match brokers.send(share(SENDERS).collect()).await {
        Ok(by_broker) => {
            acknowledged.fetch_add(share(SENDERS).count() as u64, Ordering::Relaxed);
            senders.spawn(async { by_broker.await.expect("all are at the broker") });
        }
        Err(own) => drop(senders.spawn(sending(own))),
    }
    let watched = Arc::new(Mutex::new(Vec::new()));
    let watching = tokio::spawn(watch_sink(channel.clone(), watched.clone()));
    let is_over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn({
        let is_over = is_over.clone();
        async move {
            while let Some(sent) = senders.join_next().await {
                sent.expect("the sender ends");
            }
            is_over.store(true, Ordering::Relaxed);
        }
    });

    let (mut chance, mut kills, mut erased) = (Chance::new(seed + 1), 0, 0);
    let mut is_too_quiet = true;
    // Where the machine is slow nobody gets far in a short life.
    let mut longer = 1.0_f64;
    while !is_over.load(Ordering::Relaxed) || (is_too_quiet && kills < MOST_FAILURES) {
        allowed.add_permits((count / FAILURES + 1) as usize);
        let life = Duration::from_millis(300 + chance.below(1_500));
        tokio::time::sleep(life.mul_f64(longer)).await;
        let somebody = &all[chance.below(count) as usize];
        erased += u64::from(erase(&process.channel, somebody).await);
        brokers.fail(&mut chance).await;
        process.kill();
        kills += 1;
        process = Process::start_with(directory.path(), &settings).await;
        *channel.lock() = process.channel.clone();
        // One that was seen before the kill may have gone with it: its event is delivered once more.
        let has_dead_letters =
            (sinks(&process.channel).await.iter()).any(|sink| sink.dead_letters > 0);
        is_too_quiet = erased == 0 || !has_dead_letters;
        if is_too_quiet && is_over.load(Ordering::Relaxed) {
            longer = (longer * 1.2).min(10.0);
        }
    }
    watch.await.expect("all are sent");
    assert_eq!(acknowledged.load(Ordering::Relaxed), count);
    brokers.wait_for_confirmations().await;

    // The consumers come to themselves, and what was given up is sent again.
    consumer.now(|_| Answer::Ok);
    let mut redriven = 0;
    for round in 0.. {
        assert!(
            round < 600 + count / 50,
            "not settled in {} s: {:?}",
            round / 10,
            sinks(&process.channel).await
        );
        let listed = sinks(&process.channel).await;
        for sink in listed.iter().filter(|sink| sink.dead_letters > 0) {
            let mut client = OperationsServiceClient::new(process.channel.clone());
            let asked = v1::RedriveDeadLettersRequest {
                sink: sink.name.clone(),
                sequences: Vec::new(),
                all: true,
            };
            let answer = client.redrive_dead_letters(asked).await.expect("answers");
            redriven += answer.into_inner().redriven;
        }
        if listed
            .iter()
            .all(|sink| sink.lag == 0 && sink.dead_letters == 0)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    watching.abort();
    process.stop();

    let store = FjallStore::open_directory(&directory.path().join("data/store"), 64 << 20);
    let (store, tenant) = (store.expect("opens"), Tenant::default_tenant());
    for signal in &all {
        let receipt = store.receipt(&tenant, &signal.source, &signal.signal_id);
        let is_there = receipt.expect("reads").is_some();
        let is_erased = || store.is_erased(&tenant, &signal.record_key());
        assert!(is_there || is_erased().expect("reads"), "{signal:?}");
    }
    let wanted = view_of_store(&store, &tenant);
    let text = std::fs::read_to_string(directory.path().join("feed.jsonl")).expect("the feed");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let file: Vec<Value> = lines.collect();
    let webhook = consumer.received.lock().clone();
    println!(
        "seed {seed}: {count} signals, {kills} kills, {} events, {} identities, {erased} persons erased; webhook {} requests, {} events taken, {redriven} redriven",
        file.len(),
        wanted.len(),
        consumer.requests.lock().len(),
        webhook.len(),
    );
    assert!(
        kills > 0 && redriven > 0 && erased > 0,
        "it was too quiet to prove anything"
    );
    assert!(
        file.iter().map(sequence_of).eq(1..=file.len() as u64),
        "the file has every event once, in order"
    );
    assert_eq!(view_of(&file), wanted);
    assert_in_order_per_identity(&webhook);
    assert_eq!(view_of(&webhook), wanted);
    let watched = watched.lock().clone();
    println!("watched: {} events", watched.len());
    assert_in_order_per_identity(&watched);
    assert_eq!(view_of(&watched), wanted);
    for (broker, events, failures) in brokers.events().await {
        println!("{broker}: {failures} failures, {} events", events.len());
        assert!(failures > 0, "{broker} never failed");
        match broker {
            "kafka" => assert_in_order_per_subject(&events),
            _ => assert_in_order_per_identity(&events),
        }
        assert_eq!(view_of(&events), wanted, "{broker}");
    }
}
