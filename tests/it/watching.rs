//! A sink that is watched over gRPC: what is not acknowledged comes again, and nothing is lost between two watchers.

use std::time::Duration;

use serde_json::Value;
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};
use veridem::config::Config;
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::consumer::*;
use crate::publishing::{churn, operations, settled, state, store_of};
use crate::support::*;

type Deliveries = Streaming<v1::WatchIdentitiesResponse>;

fn watched(directory: &std::path::Path, more: &str) -> Config {
    let text = format!("[[sinks]]\nname = \"crm\"\nkind = \"watch\"\nowner = \"crm team\"\n{more}");
    let mut config = config(directory);
    let read = Config::from_toml(&text).unwrap_or_else(|cause| panic!("{cause}"));
    config.sinks = read.sinks;
    config
}

async fn watch(running: &Running, sink: &str, from_sequence: u64) -> Result<Deliveries, Status> {
    let asked = v1::WatchIdentitiesRequest {
        from_sequence,
        sink: sink.into(),
    };
    let answer = running.resolution().watch_identities(asked).await;
    answer.map(tonic::Response::into_inner)
}

async fn next(deliveries: &mut Deliveries) -> v1::WatchedDelivery {
    let response = tokio::time::timeout(Duration::from_secs(10), deliveries.next()).await;
    let response = response.expect("in time").expect("goes on");
    let delivery = response.expect("no failure").delivery;
    delivery.expect("what a sink delivers")
}

async fn acknowledge(running: &Running, sequence: u64) {
    let asked = v1::AckDeliveryRequest {
        sink: "crm".into(),
        sequence,
        ..Default::default()
    };
    let answer = operations(running).await.ack_delivery(asked).await;
    assert!(answer.expect("taken").into_inner().awaited);
}

fn event(delivery: &v1::WatchedDelivery) -> Value {
    let event: Value = serde_json::from_str(&delivery.cloud_event).expect("JSON");
    assert_eq!(sequence_of(&event), delivery.sequence);
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_comes_again_goes_on_with_what_it_has_not_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = watched(directory.path(), "");
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..60).await;
    let sink = state(&running).await;
    assert!(!sink.down && sink.lag > 0, "nobody watches: {sink:?}");
    let mut taken: Vec<Value> = Vec::new();
    let mut deliveries = watch(&running, "crm", 0).await.expect("opens");
    for _ in 0..10 {
        let delivery = next(&mut deliveries).await;
        acknowledge(&running, delivery.sequence).await;
        taken.push(event(&delivery));
    }
    // Its process is gone, with what it had received and not acknowledged.
    let lost = next(&mut deliveries).await;
    drop(deliveries);
    let mut deliveries = watch(&running, "crm", 0).await.expect("opens");
    let mut comes_again = false;
    for _ in 0..10 {
        let delivery = next(&mut deliveries).await;
        comes_again |= delivery.sequence == lost.sequence;
        acknowledge(&running, delivery.sequence).await;
        taken.push(event(&delivery));
    }
    assert!(comes_again, "within what comes first, not after a deadline");
    running.stop().await;

    // Over a restart as well.
    let running = Running::start_with(config).await;
    churn(&running, 60..80).await;
    let mut deliveries = watch(&running, "crm", 0).await.expect("opens");
    // What is acknowledged may count as waiting for a moment yet: whether anything comes is for the sink to say.
    loop {
        let delivery = tokio::select! {
            delivery = next(&mut deliveries) => delivery,
            _ = settled(&running) => break,
        };
        acknowledge(&running, delivery.sequence).await;
        taken.push(event(&delivery));
    }
    drop(deliveries);
    running.stop().await;
    assert_in_order_per_identity(&taken);
    let store = store_of(directory.path());
    assert_eq!(
        view_of(&taken),
        view_of_store(&store, &Tenant::default_tenant())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_sink_filters_and_maps_and_what_is_not_acknowledged_in_time_comes_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let more = "kinds = [\"created\"]\nacknowledge_within = \"3s\"\nmapping = { \"Partner.LastName\" = \"identity.golden.name.family\" }\n";
    let running = Running::start_with(watched(directory.path(), more)).await;
    let mut deliveries = watch(&running, "crm", 0).await.expect("opens");
    let ann = |age: i64| {
        let attributes = vec![name("Ann", "Lee"), email(&format!("ann{age}@lee.org"))];
        let mut signal = update(&format!("s{age}"), "pos/1", attributes);
        signal.event_time_ms += age;
        signal
    };
    submit(&running, ann(0)).await.expect("accepted");
    submit(&running, ann(1)).await.expect("accepted");
    let first = next(&mut deliveries).await;
    let again = next(&mut deliveries).await;
    assert_eq!(first, again);
    let told = event(&again);
    assert_eq!(told["type"], "veridem.identity.created.v1");
    assert_eq!(
        told["data"],
        serde_json::json!({ "Partner": { "LastName": "Lee" } })
    );
    acknowledge(&running, again.sequence).await;
    settled(&running).await;
    drop(deliveries);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_has_one_watcher_and_says_what_cannot_be_watched() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("feed.jsonl");
    let more = format!(
        "[[sinks]]\nname = \"cdp\"\nkind = \"file\"\npath = \"{}\"\n",
        file.display()
    );
    let running = Running::start_with(watched(directory.path(), &more)).await;
    let mut before = watch(&running, "crm", 0).await.expect("opens");
    let mut after = watch(&running, "crm", 0).await.expect("opens");
    let ended = before.next().await.expect("an answer");
    assert_eq!(ended.expect_err("the sink is taken").code(), Code::Aborted);
    let signal = update("s", "pos/1", vec![name("Ann", "Lee"), email("a@lee.org")]);
    submit(&running, signal).await.expect("accepted");
    let delivery = next(&mut after).await;
    acknowledge(&running, delivery.sequence).await;
    for (sink, from, code) in [
        ("crm", 7, Code::InvalidArgument),
        ("cdp", 0, Code::InvalidArgument),
        ("nobody", 0, Code::NotFound),
    ] {
        let refused = watch(&running, sink, from).await.map(drop);
        assert_eq!(refused.expect_err("refused").code(), code, "{sink}");
    }
    drop(after);
    running.stop().await;
}
