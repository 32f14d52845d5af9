//! What a sink that filters is told: live, by a snapshot and when it reconciles.

use std::collections::BTreeSet;

use serde_json::Value;
use veridem::publish::SinkSettings;
use veridem::store::EventKind;
use veridem_proto::v1;
use veridem_proto::v1::DiscrepancyKind;

use crate::consumer::*;
use crate::crosswalk::{reconcile, sink};
use crate::publishing::{churn, operations, settled, wait_for_dead_letters};
use crate::support::*;

fn kinds(events: &[Value]) -> BTreeSet<&str> {
    let kinds = events.iter().map(|event| event["data"]["kind"].as_str());
    kinds.map(|kind| kind.expect("a kind")).collect()
}

fn held(events: &[Value]) -> Vec<v1::HeldIdentity> {
    let held = view_of(events).into_iter().map(|(id, identity)| {
        let version = identity["version"].as_u64().expect("a version");
        v1::HeldIdentity {
            identity_id: id,
            version,
        }
    });
    held.collect()
}

pub async fn snapshot(running: &Running) {
    let asked = v1::ReplaySinkRequest {
        sink: "erp".into(),
        from: Some(v1::replay_sink_request::From::Snapshot(true)),
    };
    let mut client = operations(running).await;
    client.replay_sink(asked).await.expect("replays");
    settled(running).await;
}

async fn zoe(running: &Running, index: usize, age: i64) {
    let attributes = vec![
        name("Zoe", "Webber"),
        email("zoe@webber.org"),
        phone(&format!("+61 400 900 {age:03}")),
    ];
    let mut signal = update(
        &format!("zoe{index}-{age}"),
        &format!("crm/zoe{index}"),
        attributes,
    );
    signal.event_time_ms += age;
    submit(running, signal).await.expect("accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_of_some_kinds_hears_of_no_others_and_holds_nothing_wrongly() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    let mut filtered = sink(&consumer);
    filtered.filter.kinds = vec![EventKind::Created, EventKind::Merged];
    config.sinks = vec![filtered];
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..60).await;
    zoe(&running, 1, 0).await;
    zoe(&running, 1, 1).await;
    let attributes = vec![name("Ada", "Quill"), email("ada@quill.org")];
    let ada = update("ada", "crm/ada", attributes);
    submit(&running, ada).await.expect("accepted");
    settled(&running).await;
    let received = std::mem::take(&mut *consumer.received.lock());
    assert!(kinds(&received).is_subset(&BTreeSet::from(["created", "merged"])));

    // An update that it does not want makes nothing stale, and what it was never told of is not missing.
    let (wrong, summary) = reconcile(&running, held(&received), false).await;
    let stale = wrong
        .iter()
        .find(|it| it.kind() == DiscrepancyKind::Stale)
        .or_else(|| {
            wrong
                .iter()
                .find(|it| it.kind() == DiscrepancyKind::Missing)
        });
    assert_eq!(stale, None, "{summary:?}");
    let (wrong, summary) = reconcile(&running, Vec::new(), false).await;
    let living = held(&received).len() as u64 - summary_of_ended(&running, &received).await;
    assert_eq!(summary.missing, living);
    let last_told = received.iter().rfind(|event| {
        let golden = &event["data"]["identity"]["golden"];
        golden["email"] == "zoe@webber.org"
    });
    let last_told = last_told.expect("she was created");
    let told = wrong
        .iter()
        .find(|it| last_told["subject"] == it.identity_id.as_str())
        .expect("she is missing");
    assert_eq!(told.version, 1, "what it was told, not what is");

    // A snapshot tells every identity as it is, whatever kind of event came last.
    snapshot(&running).await;
    let received = std::mem::take(&mut *consumer.received.lock());
    assert_eq!(kinds(&received), BTreeSet::from(["snapshot"]));

    // From then on it was told of all of them, and gets back what only the snapshot told it.
    let living = received.len() as u64;
    let (wrong, summary) = reconcile(&running, held(&received), false).await;
    assert_eq!(wrong, Vec::new(), "{summary:?}");
    let (_, summary) = reconcile(&running, Vec::new(), true).await;
    assert_eq!((summary.missing, summary.repairs_queued), (living, living));
    settled(&running).await;
    let repaired = std::mem::take(&mut *consumer.received.lock());
    assert_eq!(view_of(&repaired), view_of(&received));
    assert_eq!(kinds(&repaired), BTreeSet::from(["created", "snapshot"]));

    // An update that it does not want leaves it with what the snapshot told, also after a restart.
    zoe(&running, 1, 2).await;
    settled(&running).await;
    running.stop().await;
    let running = Running::start_with(config).await;
    let (wrong, summary) = reconcile(&running, held(&received), false).await;
    assert_eq!(wrong, Vec::new(), "{summary:?}");
    assert_eq!(consumer.received.lock().len(), 0);
    snapshot(&running).await;
    let received = std::mem::take(&mut *consumer.received.lock());
    running.stop().await;
    let store = crate::publishing::store_of(directory.path());
    assert_eq!(view_of(&received), view_of_store(&store, &tenant()));
}

/// How many of the identities in a view live no more, of which the sink did not want to hear.
async fn summary_of_ended(running: &Running, received: &[Value]) -> u64 {
    reconcile(running, held(received), false).await.1.ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_of_some_sources_is_told_by_one_rule_live_and_when_it_reconciles() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    let mut filtered = sink(&consumer);
    filtered.filter.sources = vec!["crm".into()];
    config.sinks = vec![filtered];
    let running = Running::start_with(config).await;
    churn(&running, 0..30).await;
    for index in 0..3 {
        zoe(&running, index, 0).await;
    }
    settled(&running).await;
    let everything = consumer.received.lock().clone();
    assert_eq!(view_of(&everything).len(), 1);
    let (wrong, _) = reconcile(&running, held(&everything), false).await;
    assert_eq!(wrong, Vec::new());

    // What it lost it gets back, and nothing of other sources.
    consumer.received.lock().clear();
    let (_, summary) = reconcile(&running, Vec::new(), true).await;
    assert_eq!((summary.missing, summary.repairs_queued), (1, 1));
    settled(&running).await;
    assert_eq!(view_of(&consumer.received.lock()), view_of(&everything));
    snapshot(&running).await;
    assert_eq!(view_of(&consumer.received.lock()), view_of(&everything));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_merge_is_followed_by_what_the_survivor_has_become() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        batch: 10,
        max_attempts: 1,
        ..sink(&consumer)
    }];
    let running = Running::start_with(config).await;
    // Three persons become one, step by step, which changes after that.
    let families = ["Lee", "Quist", "Ray"];
    for family in families {
        let attributes = vec![name("Ann", family), email(&format!("ann@{family}.org"))];
        let signal = update(family, &format!("pos/{family}"), attributes);
        submit(&running, signal).await.expect("accepted");
    }
    settled(&running).await;
    // Events of different persons arrive in any order.
    let mut created = consumer.received.lock().clone();
    created.sort_by_key(sequence_of);
    let ids: Vec<String> = (created.iter())
        .map(|event| event["subject"].as_str().expect("an id").to_owned())
        .collect();
    for (key, pair) in [("one", [1, 2]), ("two", [0, 1])] {
        let merge = v1::MergeIdentitiesRequest {
            identity_ids: pair.iter().map(|place| ids[*place].clone()).collect(),
            call: Some(v1::StewardCall {
                idempotency_key: key.into(),
                ..Default::default()
            }),
        };
        let mut client = running.stewardship();
        client.merge_identities(merge).await.expect("merged");
    }
    let attributes = vec![name("Ann", "Lee"), email("new@lee.org")];
    let mut moved = update("moved", "pos/Lee", attributes);
    moved.event_time_ms += 1;
    submit(&running, moved).await.expect("accepted");
    settled(&running).await;
    let everything = std::mem::take(&mut *consumer.received.lock());
    let wanted = view_of(&everything);
    assert_eq!(wanted.len(), 1);

    // The consumer still has the one that went first.
    let mut consumer_holds = held(&everything);
    consumer_holds.push(v1::HeldIdentity {
        identity_id: ids[2].clone(),
        version: 1,
    });
    let (wrong, summary) = reconcile(&running, consumer_holds, true).await;
    assert_eq!((summary.ended, summary.repairs_queued), (1, 1), "{wrong:?}");
    settled(&running).await;
    let repaired = consumer.received.lock().clone();
    let named_as_gone = |id: &str| {
        repaired
            .iter()
            .filter_map(|event| event["data"]["merged_identity_ids"].as_array())
            .flatten()
            .any(|gone| gone == id)
    };
    assert!(named_as_gone(&ids[2]) && named_as_gone(&ids[1]));
    // A consumer that takes each event for what is now ends with what is.
    assert!(repaired.is_sorted_by_key(sequence_of));
    let last = repaired.last().expect("events");
    assert_eq!(
        last["data"]["identity"],
        wanted.into_values().next().expect("one")
    );

    // While the consumer refuses what came last, nothing older comes in its place.
    consumer.now(|_| Answer::Status(422));
    let attributes = vec![name("Ann", "Lee"), email("newer@lee.org")];
    let mut moved = update("moved on", "pos/Lee", attributes);
    moved.event_time_ms += 2;
    submit(&running, moved).await.expect("accepted");
    wait_for_dead_letters(&running, 1).await;
    consumer.now(|_| Answer::Ok);
    consumer.received.lock().clear();
    let gone = v1::HeldIdentity {
        identity_id: ids[2].clone(),
        version: 1,
    };
    let (_, summary) = reconcile(&running, vec![gone], true).await;
    assert_eq!((summary.ended, summary.repairs_queued), (1, 0));
    assert_eq!(consumer.received.lock().len(), 0);
    running.stop().await;
}
