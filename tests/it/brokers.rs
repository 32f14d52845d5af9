//! Sinks into real brokers, started here. Where one is not installed its tests say so and end.

use std::time::Duration;

use serde_json::Value;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::consumer::*;
use crate::nats_server::NatsServer;
use crate::publishing::{churn, operations, settled, state, store_of, wait_for_dead_letters};
use crate::support::*;

fn nats_sink(server: &NatsServer) -> SinkSettings {
    let kind = SinkKind::Nats {
        url: server.url.clone(),
        subject: "retail.identity".into(),
        credentials_file: None,
    };
    SinkSettings {
        timeout: Duration::from_secs(1),
        ..SinkSettings::new("cdp", kind)
    }
}

fn events_of(messages: Vec<(String, Value)>) -> Vec<Value> {
    messages.into_iter().map(|(_, event)| event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_gets_everything_in_order_though_it_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mut server) = NatsServer::start(directory.path(), 1 << 20) else {
        return;
    };
    server.stream().await;
    let mut config = config(directory.path());
    config.sinks = vec![nats_sink(&server)];
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..40).await;
    server.kill();
    churn(&running, 40..80).await;
    server.start_again();
    churn(&running, 80..120).await;
    let sink = settled(&running).await;
    assert_eq!((sink.dead_letters, sink.down), (0, false), "{sink:?}");
    running.stop().await;

    let messages = server.messages().await;
    for (kind, event) in &messages {
        assert_eq!(event["data"]["kind"], kind.as_str());
    }
    let received = events_of(messages);
    assert_in_order_per_identity(&received);
    let wanted = {
        let store = store_of(directory.path());
        view_of_store(&store, &Tenant::default_tenant())
    };
    assert_eq!(view_of(&received), wanted);

    // A replay comes again, though the stream drops what it has seen.
    let running = Running::start_with(config).await;
    let asked = v1::ReplaySinkRequest {
        sink: "cdp".into(),
        from: Some(v1::replay_sink_request::From::Snapshot(true)),
    };
    let mut client = operations(&running).await;
    client.replay_sink(asked).await.expect("replays");
    settled(&running).await;
    running.stop().await;
    let again = events_of(server.messages().await.split_off(received.len()));
    assert_eq!(view_of(&again), wanted);
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
