//! Replays: from an event, a moment, or a snapshot and everything since.

use std::collections::BTreeSet;

use serde_json::Value;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::store::{SinkProgress, Store, Tenant, Write};
use veridem_proto::v1;

use crate::consumer::*;
use crate::publishing::{
    churn, lines, operations, settled, state, store_of, submit, wait_until, webhook,
};
use crate::support::{Running, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_everything_again_from_where_it_is_asked_for() {
    use v1::replay_sink_request::From;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let file = directory.path().join("feed.jsonl");
    let mut config = config(directory.path());
    let feed = SinkSettings::new("cdp", SinkKind::File { path: file.clone() });
    config.sinks = vec![webhook(&consumer), feed];
    let running = Running::start_with(config).await;
    churn(&running, 0..60).await;
    settled(&running).await;
    let last = state(&running).await.cursor;
    let replay = async |sink: &str, from| {
        let asked = v1::ReplaySinkRequest {
            sink: sink.into(),
            from: Some(from),
        };
        let answer = operations(&running).await.replay_sink(asked).await;
        answer.map(|answer| answer.into_inner().first_sequence)
    };
    let taken = || std::mem::take(&mut *consumer.received.lock());
    let before = taken();
    let numbers = |events: &[Value]| events.iter().map(sequence_of).collect::<BTreeSet<_>>();
    assert!(numbers(&before).into_iter().eq(1..=last));

    assert_eq!(
        replay("erp", From::Sequence(last - 4))
            .await
            .expect("replays"),
        last - 4
    );
    settled(&running).await;
    assert!(numbers(&taken()).into_iter().eq(last - 4..=last));

    // The moment of an event brings it and all that follow.
    let time = before
        .iter()
        .find(|event| sequence_of(event) == 20)
        .unwrap_or_else(|| panic!("{last} events"))["time"]
        .clone();
    let time = humantime::parse_rfc3339(time.as_str().expect("text")).expect("a time");
    let time_ms = time
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64;
    let first = replay("erp", From::TimeMs(time_ms)).await.expect("replays");
    settled(&running).await;
    let received = taken();
    assert!(first <= 20 && numbers(&received).into_iter().eq(first..=last));
    let time_of = |event: &Value| event["time"].as_str().expect("text").to_owned();
    let earlier = before.iter().filter(|event| sequence_of(event) < first);
    let earliest = received.iter().map(time_of).min().expect("some");
    assert!(earlier.map(time_of).all(|time| time < earliest));

    // Everything anew, while more comes in; of some persons nothing does.
    submit(&running, 20..23).await;
    let more = async {
        churn(&running, 60..100).await;
    };
    let ((), first) = tokio::join!(more, replay("erp", From::Snapshot(true)));
    assert_eq!(first.expect("replays"), 1);
    settled(&running).await;
    let received = taken();
    let snapshots: Vec<&Value> = received
        .iter()
        .filter(|event| event["type"] == "veridem.identity.snapshot.v1")
        .collect();
    assert!(
        !snapshots.is_empty()
            && snapshots
                .iter()
                .all(|event| event["data"]["kind"] == "snapshot")
    );
    let of_each: BTreeSet<&str> = snapshots
        .iter()
        .map(|event| event["subject"].as_str().expect("an id"))
        .collect();
    assert_eq!(of_each.len(), snapshots.len(), "one of each identity");

    // A file gets everything once more behind what it has.
    let all = state(&running).await.cursor as usize;
    wait_until(|| lines(&file).len() == all).await;
    replay("cdp", From::Sequence(1)).await.expect("replays");
    wait_until(|| lines(&file).len() == 2 * all).await;

    let unknown = replay("crm", From::Snapshot(true))
        .await
        .expect_err("there is none");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let nothing = replay("erp", From::Snapshot(false))
        .await
        .expect_err("says nothing");
    assert_eq!(nothing.code(), tonic::Code::InvalidArgument);
    running.stop().await;
    let store = store_of(directory.path());
    let wanted = view_of_store(&store, &Tenant::default_tenant());
    // What was delivered before the snapshot, and again with it, is left out: the snapshot and its tail are enough.
    let start = received
        .iter()
        .position(|event| event["type"] == "veridem.identity.snapshot.v1");
    assert_eq!(view_of(&received[start.expect("some")..]), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_into_a_file_goes_on_after_a_restart_before_its_first_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("feed.jsonl");
    let mut config = config(directory.path());
    let feed = SinkSettings::new("cdp", SinkKind::File { path: file.clone() });
    config.sinks = vec![feed];
    let running = Running::start_with(config.clone()).await;
    submit(&running, 0..5).await;
    settled(&running).await;
    running.stop().await;
    let whole = lines(&file);
    let store = store_of(directory.path());
    // The replay was taken down, and nothing of it was appended when the power went.
    let progress = SinkProgress {
        cursor: 0,
        snapshot_until: 0,
        last_snapshot: 0,
        replays: 1,
    };
    let tenant = Tenant::default_tenant();
    let in_force = store.in_force(&tenant);
    let write = Write::SinkProgress("cdp".into(), progress);
    store
        .commit(&tenant, in_force, vec![write])
        .expect("commits");
    store.flush().expect("durable");
    drop(store);
    for _ in 0..2 {
        let running = Running::start_with(config.clone()).await;
        settled(&running).await;
        running.stop().await;
        let sequences: Vec<u64> = lines(&file).iter().map(sequence_of).collect();
        let once = whole.iter().map(sequence_of);
        assert_eq!(sequences, once.clone().chain(once).collect::<Vec<_>>());
    }
}
