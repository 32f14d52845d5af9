//! Sinks into real brokers, started here. Where one is not installed its tests say so and end.

use std::time::Duration;

use serde_json::Value;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::consumer::*;
use crate::kafka_cluster::{self, KafkaCluster};
use crate::nats_server::NatsServer;
use crate::publishing::wait_for_dead_letters;
use crate::publishing::{churn, operations, settled, state, store_of};
use crate::rabbitmq_server::{self, RabbitMqServer};
use crate::support::*;

fn nats_sink(server: &NatsServer) -> SinkSettings {
    sink_into(SinkKind::Nats {
        url: server.url.clone(),
        subject: "retail.identity".into(),
        credentials_file: None,
    })
}

fn events_of(messages: Vec<(String, Value)>) -> Vec<Value> {
    messages.into_iter().map(|(_, event)| event).collect()
}

/// A broker that can go away and come back.
trait Broker {
    fn kill(&mut self);
    fn start_again(&mut self);
    /// Everything that it has, or has not given out yet: the kind as the broker knows it, and the event.
    async fn messages(&mut self) -> Vec<(String, Value)>;
}

impl Broker for NatsServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }

    async fn messages(&mut self) -> Vec<(String, Value)> {
        Self::messages(self).await
    }
}

impl Broker for RabbitMqServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }

    async fn messages(&mut self) -> Vec<(String, Value)> {
        Self::messages(self).await
    }
}

impl Broker for KafkaCluster {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }

    async fn messages(&mut self) -> Vec<(String, Value)> {
        // Other tasks go on meanwhile.
        tokio::task::block_in_place(|| Self::messages(self))
    }
}

/// Everything arrives, in order for each identity, through an outage of the broker; and once more where that is asked for.
async fn gets_everything_though_it_goes_away(broker: &mut impl Broker, sink: SinkSettings) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    config.sinks = vec![sink];
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..40).await;
    broker.kill();
    churn(&running, 40..80).await;
    broker.start_again();
    churn(&running, 80..120).await;
    let sink = settled(&running).await;
    assert_eq!((sink.dead_letters, sink.down), (0, false), "{sink:?}");
    running.stop().await;

    let messages = broker.messages().await;
    for (kind, event) in &messages {
        assert_eq!(event["data"]["kind"], kind.as_str());
    }
    let received = events_of(messages);
    let wanted = {
        let store = store_of(directory.path());
        view_of_store(&store, &Tenant::default_tenant())
    };
    assert_eq!(view_of(&received), wanted);
    assert_in_order_per_subject(&received);

    // A replay comes again, though a broker may drop what it has seen.
    let running = Running::start_with(config).await;
    let asked = v1::ReplaySinkRequest {
        sink: "cdp".into(),
        from: Some(v1::replay_sink_request::From::Snapshot(true)),
    };
    let mut client = operations(&running).await;
    client.replay_sink(asked).await.expect("replays");
    settled(&running).await;
    running.stop().await;
    let messages = broker.messages().await;
    let again = messages.into_iter().filter(|(kind, _)| kind == "snapshot");
    assert_eq!(view_of(&events_of(again.collect())), wanted);
}

fn sink_into(kind: SinkKind) -> SinkSettings {
    SinkSettings {
        timeout: Duration::from_secs(1),
        ..SinkSettings::new("cdp", kind)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_gets_everything_though_it_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mut server) = NatsServer::start(directory.path(), 1 << 20) else {
        return;
    };
    server.stream().await;
    let sink = nats_sink(&server);
    gets_everything_though_it_goes_away(&mut server, sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_gets_everything_though_it_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mut server) = RabbitMqServer::start(directory.path()).await else {
        return;
    };
    let sink = sink_into(SinkKind::RabbitMq {
        url: server.url.clone(),
        exchange: rabbitmq_server::EXCHANGE.into(),
        subject: "retail.identity".into(),
    });
    gets_everything_though_it_goes_away(&mut server, sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_of_rabbitmq_takes_is_not_taken_for_delivered() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(server) = RabbitMqServer::start(directory.path()).await else {
        return;
    };
    let sink = |exchange: &str, subject: &str| {
        sink_into(SinkKind::RabbitMq {
            url: server.url.clone(),
            exchange: exchange.into(),
            subject: subject.into(),
        })
    };
    let mut config = config(directory.path());
    config.sinks = vec![sink(rabbitmq_server::EXCHANGE, "nobody")];
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..5).await;
    for round in 0.. {
        let state = state(&running).await;
        assert_eq!(state.cursor, 0);
        if state.last_error.contains("no queue") {
            break;
        }
        assert!(round < 600, "{state:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
    // Straight into a queue.
    config.sinks = vec![sink("", rabbitmq_server::QUEUE)];
    let running = Running::start_with(config).await;
    settled(&running).await;
    running.stop().await;
    assert!(server.messages().await.len() >= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_gets_everything_though_its_broker_goes_away_and_comes_back() {
    let mut cluster = KafkaCluster::start();
    let sink = sink_into(SinkKind::Kafka {
        url: cluster.url.clone(),
        topic: kafka_cluster::TOPIC.into(),
    });
    gets_everything_though_it_goes_away(&mut cluster, sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nats_cannot_hold_is_a_dead_letter() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(server) = NatsServer::start(directory.path(), 2_000) else {
        return;
    };
    server.stream().await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        max_attempts: 1,
        ..nats_sink(&server)
    }];
    let running = Running::start_with(config).await;
    for index in 0..40 {
        let attributes = vec![name("Lou", "Large"), email("lou@web.org")];
        let signal = update(&format!("l{index}"), &format!("web/{index}"), attributes);
        submit(&running, signal).await.expect("accepted");
    }
    churn(&running, 0..20).await;
    wait_for_dead_letters(&running, 1).await;
    let sink = state(&running).await;
    assert!(
        sink.retries > 0,
        "those of the same person wait behind it: {sink:?}"
    );
    let received = events_of(server.messages().await);
    let is_churn =
        |event: &&Value| event["data"]["identity"]["golden"]["name"]["family"] != "Large";
    assert!(
        received.iter().filter(is_churn).count() >= 20,
        "everybody else arrived"
    );
    running.stop().await;
}
