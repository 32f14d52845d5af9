//! What consumers say and hold: acknowledgements with their own record ids, what goes back to whom, and reconciliation.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tonic::Code;
use veridem::config::Config;
use veridem::publish::{SinkKind, SinkSettings};
use veridem_proto::v1;
use veridem_proto::v1::DiscrepancyKind as Kind;
use veridem_proto::v1::reconcile_response::Outcome;

use crate::consumer::*;
use crate::publishing::{churn, operations, settled, state, wait_for_dead_letters};
use crate::support::*;

pub fn sink(consumer: &Consumer) -> SinkSettings {
    let kind = SinkKind::Webhook {
        url: consumer.url.clone(),
        secret: Some(SECRET.into()),
        authorization_file: None,
    };
    SinkSettings::new("erp", kind)
}

pub async fn acknowledge(running: &Running, sequence: u64, id: &str, rejected: &str) -> bool {
    let asked = v1::AckDeliveryRequest {
        sink: "erp".into(),
        sequence,
        consumer_record_id: id.into(),
        rejected: rejected.into(),
    };
    let answer = operations(running).await.ack_delivery(asked).await;
    answer.expect("taken").into_inner().awaited
}

async fn received(consumer: &Consumer, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        if consumer.received.lock().len() >= count {
            return consumer.received.lock().clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{} of {count} events in 5 s",
        consumer.received.lock().len()
    );
}

fn ann(index: usize) -> veridem::resolver::Signal {
    let attributes = vec![
        name("Ann", "Lee"),
        email("ann@lee.org"),
        phone("+61 400 000 001"),
    ];
    update(
        &format!("ann{index}"),
        &format!("pos/ann{index}"),
        attributes,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_consumer_has_to_acknowledge_is_sent_until_it_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        acknowledge_within: Some(Duration::from_millis(400)),
        max_attempts: 2,
        ..sink(&consumer)
    }];
    let running = Running::start_with(config.clone()).await;
    submit(&running, ann(1)).await.expect("accepted");
    submit(&running, ann(2)).await.expect("accepted");
    let first = received(&consumer, 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        state(&running).await.cursor,
        0,
        "it is not taken for delivered"
    );
    assert_eq!(
        consumer.received.lock().len(),
        1,
        "the next of the same person waits"
    );
    // Not acknowledged in time it comes again.
    let again = received(&consumer, 2).await;
    assert_eq!(sequence_of(&again[1]), sequence_of(&first[0]));
    assert!(acknowledge(&running, 1, "P-1", "").await);
    assert!(!acknowledge(&running, 1, "P-1", "").await, "once");
    received(&consumer, 3).await;
    // What the consumer refuses becomes a dead letter with its reason.
    acknowledge(&running, 2, "", "no such branch").await;
    received(&consumer, 4).await;
    acknowledge(&running, 2, "", "no such branch").await;
    wait_for_dead_letters(&running, 1).await;
    let asked = v1::ListDeadLettersRequest {
        sink: "erp".into(),
        ..Default::default()
    };
    let letters = operations(&running)
        .await
        .list_dead_letters(asked)
        .await
        .expect("lists")
        .into_inner();
    assert!(
        letters.dead_letters[0].reason.contains("no such branch"),
        "{letters:?}"
    );
    let unknown = v1::AckDeliveryRequest {
        sink: "erp".into(),
        sequence: 99,
        ..Default::default()
    };
    let unknown = operations(&running)
        .await
        .ack_delivery(unknown)
        .await
        .expect_err("no such event");
    assert_eq!(unknown.code(), Code::NotFound);
    running.stop().await;

    // After a restart what was not acknowledged comes again.
    let running = Running::start_with(config).await;
    let redrive = v1::RedriveDeadLettersRequest {
        sink: "erp".into(),
        all: true,
        ..Default::default()
    };
    operations(&running)
        .await
        .redrive_dead_letters(redrive)
        .await
        .expect("redriven");
    let all = received(&consumer, 5).await;
    let last = all.last().expect("an event");
    assert_eq!(
        last["data"]["consumer_record_ids"],
        json!(["P-1"]),
        "it knows what the consumer calls the person"
    );
    assert!(acknowledge(&running, sequence_of(last), "P-1", "").await);
    settled(&running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_consumer_says_before_it_answers_counts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Late(Duration::from_millis(400))).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        acknowledge_within: Some(Duration::from_millis(300)),
        ..sink(&consumer)
    }];
    let running = Running::start_with(config).await;
    submit(&running, ann(1)).await.expect("accepted");
    received(&consumer, 1).await;
    assert!(
        acknowledge(&running, 1, "P-1", "").await,
        "it is on its way"
    );
    settled(&running).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(consumer.received.lock().len(), 1, "it does not come again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_consumer_says_when_its_time_is_over_counts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut is_first = true;
    let consumer = Consumer::start(move |_| match std::mem::take(&mut is_first) {
        true => Answer::Ok,
        false => Answer::Status(503),
    })
    .await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        acknowledge_within: Some(Duration::from_millis(100)),
        ..sink(&consumer)
    }];
    let running = Running::start_with(config).await;
    submit(&running, ann(1)).await.expect("accepted");
    received(&consumer, 1).await;
    // Not acknowledged in time it is sent again, to a consumer that is busy with the first one.
    while consumer.requests.lock().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(acknowledge(&running, 1, "P-1", "").await, "it waits yet");
    settled(&running).await;
    consumer.now(|_| Answer::Ok);
    let other = update("bob", "pos/bob", vec![name("Bob", "Ray")]);
    submit(&running, other).await.expect("accepted");
    let all = received(&consumer, 2).await;
    assert_eq!(sequence_of(&all[1]), 2, "the first does not come again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_consumer_says_counts_though_its_answer_is_lost() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Late(Duration::from_secs(2))).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        acknowledge_within: Some(Duration::from_secs(60)),
        timeout: Duration::from_millis(700),
        ..sink(&consumer)
    }];
    let running = Running::start_with(config).await;
    submit(&running, ann(1)).await.expect("accepted");
    received(&consumer, 1).await;
    assert!(acknowledge(&running, 1, "P-1", "").await, "on its way");
    settled(&running).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(consumer.received.lock().len(), 1, "it does not come again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmerge_tells_which_of_the_consumer_s_records_go_back_to_whom() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    config.sinks = vec![sink(&consumer)];
    let running = Running::start_with(config).await;
    let bob = update(
        "bob",
        "pos/bob",
        vec![name("Bob", "Quist"), email("bob@quist.org")],
    );
    submit(&running, ann(1)).await.expect("accepted");
    submit(&running, bob).await.expect("accepted");
    let events = received(&consumer, 2).await;
    for event in &events {
        let family = event["data"]["identity"]["golden"]["name"]["family"]
            .as_str()
            .expect("a name");
        acknowledge(&running, sequence_of(event), &format!("C-{family}"), "").await;
    }
    let id = |event: &Value| event["subject"].as_str().expect("an id").to_owned();
    let call = |key: &str| {
        Some(v1::StewardCall {
            idempotency_key: key.into(),
            ..Default::default()
        })
    };
    let merge = v1::MergeIdentitiesRequest {
        identity_ids: events.iter().map(id).collect(),
        call: call("merge"),
    };
    let merged = running
        .stewardship()
        .merge_identities(merge)
        .await
        .expect("merged")
        .into_inner();
    let merged_id = merged.outcome.expect("an outcome").identity_ids[0].clone();
    let lookup = async |consumer_record_id: &str| {
        let record = Some(v1::RecordKey {
            source: "erp".into(),
            record_id: consumer_record_id.into(),
        });
        let found = running
            .resolution()
            .lookup_identity(v1::LookupIdentityRequest { record })
            .await;
        found
            .expect("known")
            .into_inner()
            .identity
            .expect("an identity")
            .identity_id
    };
    assert_eq!(
        (lookup("C-Lee").await, lookup("C-Quist").await),
        (merged_id.clone(), merged_id.clone())
    );
    let events = received(&consumer, 3).await;
    assert_eq!(
        events[2]["data"]["consumer_record_ids"],
        json!(["C-Lee", "C-Quist"])
    );
    let asked = v1::ListCrossReferencesRequest {
        identity_id: merged_id.clone(),
    };
    let references = operations(&running)
        .await
        .list_cross_references(asked)
        .await
        .expect("lists")
        .into_inner();
    assert_eq!(references.references.len(), 2, "{references:?}");

    let split = v1::SplitIdentityRequest {
        identity_id: merged_id.clone(),
        records: vec![v1::RecordKey {
            source: "pos".into(),
            record_id: "bob".into(),
        }],
        call: call("split"),
    };
    running
        .stewardship()
        .split_identity(split)
        .await
        .expect("split");
    settled(&running).await;
    let events = received(&consumer, 5).await;
    let split = events
        .iter()
        .find(|event| event["data"]["kind"] == "split")
        .expect("a split");
    let new_id = lookup("C-Quist").await;
    assert_ne!(new_id, merged_id);
    assert_eq!(
        split["data"]["returned"],
        json!([{ "consumer_record_id": "C-Quist", "identity_id": new_id }])
    );
    assert_eq!(split["data"]["consumer_record_ids"], json!(["C-Lee"]));
    assert_eq!(lookup("C-Lee").await, merged_id);
    running.stop().await;
}

pub async fn reconcile(
    running: &Running,
    held: Vec<v1::HeldIdentity>,
    repair: bool,
) -> (Vec<v1::Discrepancy>, v1::ReconcileSummary) {
    let mut requests = vec![v1::ReconcileRequest {
        sink: "erp".into(),
        repair,
        held: Vec::new(),
    }];
    requests.extend(held.chunks(3).map(|held| v1::ReconcileRequest {
        held: held.to_vec(),
        ..Default::default()
    }));
    let answers = operations(running)
        .await
        .reconcile(tokio_stream::iter(requests))
        .await
        .expect("opens")
        .into_inner();
    let answers: Vec<_> = answers
        .map(|answer| answer.expect("goes on").outcome.expect("an outcome"))
        .collect()
        .await;
    let (mut discrepancies, mut summary) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Outcome::Discrepancy(discrepancy) => discrepancies.push(discrepancy),
            Outcome::Summary(told) => summary = Some(told),
        }
    }
    (discrepancies, summary.expect("a summary at the end"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_learns_what_it_misses_or_holds_wrongly_and_gets_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    config.sinks = vec![sink(&consumer)];
    let running = Running::start_with(config).await;
    churn(&running, 0..80).await;
    settled(&running).await;
    let two = view_of(&consumer.received.lock())
        .into_keys()
        .take(2)
        .collect();
    let merge = v1::MergeIdentitiesRequest {
        identity_ids: two,
        call: Some(v1::StewardCall {
            idempotency_key: "merge".into(),
            ..Default::default()
        }),
    };
    running
        .stewardship()
        .merge_identities(merge)
        .await
        .expect("merged");
    settled(&running).await;
    let view = view_of(&consumer.received.lock());
    let held = |view: &View| -> Vec<v1::HeldIdentity> {
        let held = view.iter().map(|(id, identity)| v1::HeldIdentity {
            identity_id: id.clone(),
            version: identity["version"].as_u64().expect("a version"),
        });
        held.collect()
    };
    let (wrong, summary) = reconcile(&running, held(&view), false).await;
    assert_eq!(
        (wrong.len(), summary.held),
        (0, view.len() as u64),
        "{wrong:?}"
    );

    // The consumer loses one, has an old one, one that lives no more, and one that never was.
    let mut broken = held(&view);
    let lost = broken.remove(0);
    broken[0].version -= 1;
    let old = broken[0].clone();
    let received = consumer.received.lock().clone();
    let gone = received
        .iter()
        .find_map(|event| event["data"]["merged_identity_ids"][0].as_str())
        .expect("a merge");
    broken.push(v1::HeldIdentity {
        identity_id: gone.into(),
        version: 1,
    });
    broken.push(v1::HeldIdentity {
        identity_id: "f".repeat(32),
        version: 1,
    });
    let (wrong, summary) = reconcile(&running, broken.clone(), false).await;
    let kind_of = |id: &str| {
        wrong
            .iter()
            .find(|it| it.identity_id == id)
            .map(v1::Discrepancy::kind)
    };
    assert_eq!(kind_of(&lost.identity_id), Some(Kind::Missing));
    assert_eq!(kind_of(&old.identity_id), Some(Kind::Stale));
    assert_eq!(kind_of(gone), Some(Kind::Ended));
    assert_eq!(kind_of(&"f".repeat(32)), Some(Kind::Unknown));
    assert_eq!(
        (
            wrong.len(),
            summary.missing,
            summary.stale,
            summary.ended,
            summary.unknown
        ),
        (4, 1, 1, 1, 1)
    );

    // Repaired, what it holds is right again; that somebody was merged is told as a merge, though it had everything as a snapshot before.
    let snapshot = v1::ReplaySinkRequest {
        sink: settled(&running).await.name,
        from: Some(v1::replay_sink_request::From::Snapshot(true)),
    };
    let mut client = operations(&running).await;
    client.replay_sink(snapshot).await.expect("replays");
    settled(&running).await;
    consumer.received.lock().clear();
    let (_, summary) = reconcile(&running, broken, true).await;
    assert_eq!(summary.repairs_queued, 3);
    settled(&running).await;
    let kinds: Vec<Value> = (consumer.received.lock().iter())
        .map(|event| event["data"]["kind"].clone())
        .collect();
    assert!(kinds.contains(&json!("merged")), "{kinds:?}");
    let mut repaired = view.clone();
    repaired.remove(&lost.identity_id);
    repaired.insert(gone.to_owned(), json!({}));
    for event in consumer.received.lock().iter() {
        for id in event["data"]["merged_identity_ids"]
            .as_array()
            .expect("a list")
        {
            repaired.remove(id.as_str().expect("an id"));
        }
        let identity = &event["data"]["identity"];
        let id = identity["identity_id"].as_str().expect("an id").to_owned();
        let is_newer = |known: &Value| known["version"].as_u64() < identity["version"].as_u64();
        if repaired.get(&id).is_none_or(is_newer) {
            repaired.insert(id, identity.clone());
        }
    }
    assert_eq!(repaired, view);
    running.stop().await;
}

#[test]
fn a_sink_of_a_brand_gets_the_sources_of_the_brand() {
    let text = "[[sources]]\nname = \"pos-north\"\nbrand = \"north\"\n[[sources]]\nname = \"pos-south\"\nbrand = \"south\"\n[[sinks]]\nname = \"n\"\nkind = \"file\"\npath = \"n.jsonl\"\nbrands = [\"north\"]\n";
    let config = Config::from_toml(text).expect("a configuration");
    assert_eq!(config.sinks[0].filter.sources, ["pos-north"]);
    let unknown = Config::from_toml(&text.replace("[\"north\"]", "[\"west\"]"))
        .err()
        .expect("no such brand");
    assert!(
        unknown.to_string().starts_with("sinks[0].brands"),
        "{unknown}"
    );
}
