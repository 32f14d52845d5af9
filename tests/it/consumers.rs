//! Signals out of real brokers: every one comes in, what is no signal is set aside, and nothing is lost where broker or service go away.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use veridem::config::Config;
use veridem::intake::{ConsumerKind, ConsumerSettings};
use veridem::store::{QuarantineContent, Store, Tenant};
use veridem_proto::v1;

use crate::kafka_cluster::{KafkaCluster, TOPIC};
use crate::nats_server::NatsServer;
use crate::publishing::{operations, store_of};
use crate::rabbitmq_server::RabbitMqServer;
use crate::support::*;

const POISON: &str = "{ this is no signal of ann@lee.org";

fn signal(index: usize) -> String {
    let message = json!({
        "signal_id": format!("s{index}"),
        "source": "pos",
        "record_id": format!("{index}"),
        "event_time_ms": 1_700_000_000_000_i64,
        "attributes": [{ "name": { "given": "Ann", "family": "Lee" } }, { "email": format!("a{}@lee.org", index % 7) }],
    });
    message.to_string()
}

/// Signals, a poisonous message in their middle, and some of the signals once more.
fn messages(range: std::ops::Range<usize>) -> Vec<String> {
    let middle = range.len() / 2;
    let mut messages: Vec<String> = range.clone().map(signal).collect();
    messages.insert(middle, POISON.to_owned());
    messages.extend(range.take(5).map(signal));
    messages
}

fn config_with(directory: &std::path::Path, kind: ConsumerKind) -> Config {
    let mut config = config(directory);
    config.consumers = vec![ConsumerSettings {
        name: "from-stores".into(),
        owner: "stores".into(),
        kind,
        tenant: Tenant::default_tenant(),
    }];
    config
}

async fn wait_for_signals(running: &Running, count: u64) {
    let mut signals = 0;
    for _ in 0..1_500 {
        let asked = v1::GetStatisticsRequest {};
        signals = operations(running)
            .await
            .get_statistics(asked)
            .await
            .expect("counts")
            .into_inner()
            .signals;
        if signals == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{signals} of {count} signals in 30 s");
}

/// Sends messages, stops the service and goes on, takes the broker away and goes on.
async fn comes_in(
    kind: ConsumerKind,
    mut send: impl AsyncFnMut(Vec<String>),
    mut interrupt: impl FnMut(),
) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config_with(directory.path(), kind);
    send(messages(0..100)).await;
    let running = Running::start_with(config.clone()).await;
    wait_for_signals(&running, 100).await;
    running.stop().await;
    send(messages(100..200)).await;
    let running = Running::start_with(config.clone()).await;
    wait_for_signals(&running, 200).await;
    interrupt();
    send(messages(200..300)).await;
    wait_for_signals(&running, 300).await;
    running.stop().await;
    let store = store_of(directory.path());
    let entries = store
        .quarantined(&Tenant::default_tenant(), None, 100)
        .expect("reads");
    let contents: BTreeSet<Vec<u8>> = entries
        .iter()
        .map(|(_, entry)| match &entry.content {
            QuarantineContent::Message { bytes, .. } => bytes.clone(),
            QuarantineContent::Signal { .. } => panic!("a signal: {entry:?}"),
        })
        .collect();
    assert_eq!(contents, BTreeSet::from([POISON.as_bytes().to_vec()]));
    for (_, entry) in &entries {
        assert_eq!(entry.origin, "from-stores");
        assert!(
            !entry.reasons.join(" ").contains("ann"),
            "no values: {entry:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_come_in_from_nats_though_it_is_killed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(server) = NatsServer::start(directory.path(), 1 << 20) else {
        return;
    };
    server.stream().await;
    let server = parking_lot::Mutex::new(server);
    let url = server.lock().url.clone();
    let kind = ConsumerKind::Nats {
        url: url.clone(),
        stream: "identities".into(),
        group: "veridem".into(),
        credentials_file: None,
    };
    let send = async |messages: Vec<String>| {
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
        let client = options.connect(&url).await.expect("a client");
        let context = async_nats::jetstream::new(client);
        for message in messages {
            for attempt in 0.. {
                let sent = context
                    .publish("retail.identity.signal", message.clone().into())
                    .await;
                match async { sent?.await }.await {
                    Ok(_) => break,
                    Err(cause) => assert!(attempt < 100, "{cause}"),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let interrupt = || {
        let mut server = server.lock();
        server.kill();
        server.start_again();
    };
    comes_in(kind, send, interrupt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_come_in_from_rabbitmq_though_it_is_killed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(server) = RabbitMqServer::start(directory.path()).await else {
        return;
    };
    let queue = "signals";
    let channel = server.channel().await;
    let declared = channel.queue_declare(
        queue.into(),
        QueueDeclareOptions::durable(),
        Default::default(),
    );
    declared.await.expect("a queue");
    let server = tokio::sync::Mutex::new(server);
    let kind = ConsumerKind::RabbitMq {
        url: server.lock().await.url.clone(),
        queue: queue.into(),
    };
    let send = async |messages: Vec<String>| {
        let channel = server.lock().await.channel().await;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        for message in messages {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish(
                "".into(),
                queue.into(),
                options,
                message.as_bytes(),
                properties,
            );
            let confirmed = async { sent.await.expect("sent").await.expect("confirmed") };
            let confirmed = tokio::time::timeout(Duration::from_secs(30), confirmed).await;
            confirmed.expect("confirmed in 30 s");
        }
    };
    let interrupt = || {
        let mut server = server.try_lock().expect("nobody sends");
        server.kill();
        server.start_again();
    };
    comes_in(kind, send, interrupt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_nothing_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let kind = ConsumerKind::RabbitMq {
        url: format!("amqp://{address}/%2f"),
        queue: "signals".into(),
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start_with(config_with(directory.path(), kind)).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        let accepted = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await;
        silent.push(accepted.expect("a connection in 30 s"));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_come_in_from_kafka_though_its_broker_goes_away() {
    let cluster = KafkaCluster::start();
    let kind = ConsumerKind::Kafka {
        url: cluster.url.clone(),
        topic: TOPIC.into(),
        group: "veridem".into(),
    };
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.url)
        .create()
        .expect("a producer");
    let send = async |messages: Vec<String>| {
        for (index, message) in messages.iter().enumerate() {
            let key = index.to_string();
            let record = FutureRecord::to(TOPIC).key(&key).payload(message);
            let sent = producer.send(record, Duration::from_secs(20)).await;
            sent.map_err(|(cause, _)| cause).expect("sent");
        }
    };
    let interrupt = || {
        cluster.kill();
        std::thread::sleep(Duration::from_millis(300));
        cluster.start_again();
    };
    comes_in(kind, send, interrupt).await;
}

#[test]
fn a_consumer_s_settings_are_checked() {
    let text = "[[consumers]]\nname = \"a\"\nkind = \"kafka\"\nurl = \"k:9092\"\n[[consumers]]\nname = \"b\"\nkind = \"rabbitmq\"\nurl = \"amqp://r\"\nqueue = \"q\"\ngroup = \"g\"\n[[consumers]]\nname = \"c\"\nkind = \"pigeon\"\n";
    let mistakes = Config::from_toml(text).err().expect("mistakes").0;
    for place in [
        "consumers[0].topic",
        "consumers[1].group",
        "consumers[2].kind",
    ] {
        assert!(
            mistakes.iter().any(|mistake| mistake.starts_with(place)),
            "{place} in {mistakes:?}"
        );
    }
}
