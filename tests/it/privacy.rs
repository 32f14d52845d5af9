//! Erasing a person: nothing of them is left, nothing of them comes back, everybody hears of it.

use std::path::Path;

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;
use veridem::config::Config;
use veridem::resolver::{Signal, SignalKind};
use veridem::store::{StoreEngine, check_tenant, open_store};
use veridem_proto::v1;
use veridem_proto::v1::privacy_service_client::PrivacyServiceClient;

use crate::consumer::*;
use crate::crosswalk::{acknowledge, sink};
use crate::publishing::settled;
use crate::support::*;

/// What is said of the person, and of nobody else.
const VALUES: [&str; 6] = [
    "Zephyrina",
    "zephyrina",
    "Quizzlebach",
    "quizzlebach",
    "400123987",
    "talked to her",
];
const RECORDS: [&str; 4] = ["z-till-1", "z-card-2", "z-web-3", "z-gone-4"];

const REGISTRY: &str = r#"
[[sources]]
name = "pos"
schema_versions = ["", "2"]

[[sources]]
name = "loyalty"

[[sources]]
name = "shop"
"#;

fn privacy(running: &Running) -> PrivacyServiceClient<Channel> {
    PrivacyServiceClient::new(running.channel.clone())
}

async fn erase(
    running: &Running,
    identity_id: &str,
) -> Result<v1::ErasePersonResponse, tonic::Status> {
    let identity_id = identity_id.to_owned();
    let asked = v1::ErasePersonRequest { identity_id };
    Ok(privacy(running).erase_person(asked).await?.into_inner())
}

pub async fn identity_of(
    running: &Running,
    source: &str,
    record_id: &str,
) -> Result<String, tonic::Status> {
    let record = Some(v1::RecordKey {
        source: source.into(),
        record_id: record_id.into(),
    });
    let asked = v1::LookupIdentityRequest { record };
    let found = running.resolution().lookup_identity(asked).await?;
    Ok(found
        .into_inner()
        .identity
        .expect("an identity")
        .identity_id)
}

fn with_sink(directory: &Path, consumer: &Consumer) -> Config {
    let mut config = config(directory);
    config.sinks = vec![sink(consumer)];
    config.sources = Config::from_toml(REGISTRY).expect("a registry").sources;
    config
}

fn said(signal_id: &str, record: &str) -> Signal {
    let attributes = vec![
        name("Zephyrina", "Quizzlebach"),
        email("zephyrina@quizzlebach.example"),
        phone("+61 400 123 987"),
    ];
    update(signal_id, record, attributes)
}

pub fn call(key: &str, note: &str) -> Option<v1::StewardCall> {
    Some(v1::StewardCall {
        idempotency_key: key.into(),
        note: note.into(),
        ..Default::default()
    })
}

/// Which of some texts stand in a store, and how often.
fn found_in(directory: &Path, texts: &[&'static str]) -> Vec<(&'static str, usize)> {
    let store = open_store(
        &directory.join("data/store"),
        StoreEngine::default(),
        1 << 20,
    );
    let store = store.expect("it opens");
    let problems = check_tenant(store.as_ref(), &tenant()).expect("it reads");
    assert_eq!(problems, Vec::<String>::new());
    let mut entries = Vec::new();
    let taken = store.export(None, &mut |key, value| {
        entries.push([key, value].concat());
        Ok(())
    });
    taken.expect("it reads");
    let holds = |entry: &[u8], text: &str| {
        entry
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    let count = |text: &&'static str| {
        let entries = entries.iter().filter(|entry| holds(entry, text));
        (*text, entries.count())
    };
    texts
        .iter()
        .map(count)
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_erased_leaves_nothing_and_does_not_come_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let running = Running::start_with(with_sink(directory.path(), &consumer)).await;
    let bob = update(
        "b1",
        "pos/bob",
        vec![name("Bob", "Quist"), email("bob@quist.example")],
    );
    let merged_with = submit(&running, bob).await.expect("accepted").identity_id;
    for (signal_id, record) in [
        ("z1", "pos/z-till-1"),
        ("z2", "loyalty/z-card-2"),
        ("z4", "shop/z-gone-4"),
    ] {
        submit(&running, said(signal_id, record))
            .await
            .expect("accepted");
    }
    // One that its source has deleted since, one that is set aside, and a merge with a stranger that was a mistake.
    let deleted = Signal {
        kind: SignalKind::Delete,
        event_time_ms: EVENT_TIME_MS + 5,
        ..update("z5", "shop/z-gone-4", Vec::new())
    };
    submit(&running, deleted).await.expect("accepted");
    let ack = submit(&running, said("z3", "shop/z-web-3")).await;
    let merging = ack.expect("accepted").identity_id;
    let set_aside = update("z6", "pos/z-till-1", vec![name("Zephyrina", "Quizzlebach")]);
    let set_aside = v1::SubmitSignalRequest {
        signal: Some(v1::Signal {
            schema_version: "7".into(),
            ..message(&set_aside)
        }),
    };
    let refused = running.resolution().submit_signal(set_aside.clone()).await;
    assert_eq!(
        refused.expect_err("not agreed").code(),
        Code::FailedPrecondition
    );
    let merged = running
        .stewardship()
        .merge_identities(v1::MergeIdentitiesRequest {
            identity_ids: vec![merged_with, merging],
            call: call("merge", "talked to her: Zephyrina Quizzlebach"),
        })
        .await
        .expect("merged")
        .into_inner()
        .outcome
        .expect("an outcome");
    let number = merged.r#override.expect("an override").override_number;
    running
        .stewardship()
        .undo_override(v1::UndoOverrideRequest {
            override_number: number,
            call: call("undo", "no: talked to her again"),
        })
        .await
        .expect("undone");
    // Most of the merged identity's records are hers: the id goes with them.
    let person = identity_of(&running, "pos", "z-till-1").await;
    let person = person.expect("she is there");
    let bob = identity_of(&running, "pos", "bob").await.expect("so is he");
    assert_ne!(person, bob);
    settled(&running).await;
    let acknowledged = consumer.received.lock().clone();
    let of_person = |event: &&Value| event["subject"] == json!(person);
    let latest = acknowledged.iter().rfind(of_person).expect("told of");
    acknowledge(&running, sequence_of(latest), "P-17", "").await;
    let before = consumer.received.lock().len();

    let done = erase(&running, &person).await.expect("erased");
    assert_eq!(done.source_records, 4);
    assert_eq!(
        erase(&running, &person).await.expect("the first answer"),
        done
    );
    settled(&running).await;
    let told = consumer.received.lock()[before..].to_vec();
    let [told] = told.as_slice() else {
        panic!("one event: {told:?}")
    };
    assert_eq!(told["type"], "veridem.identity.erased.v1");
    assert_eq!(told["subject"], json!(person));
    assert_eq!(told["data"]["identity"]["members"], json!([]));
    assert_eq!(told["data"]["identity"]["golden"], json!({}));
    assert_eq!(told["data"]["consumer_record_ids"], json!(["P-17"]));
    let records: Vec<&str> = told["data"]["moved_records"]
        .as_array()
        .expect("records")
        .iter()
        .filter_map(|record| record["record_id"].as_str())
        .collect();
    assert_eq!(records, ["z-card-2", "z-till-1", "z-gone-4", "z-web-3"]);
    acknowledge(&running, done.sequence, "P-17", "").await;

    // Nobody finds the person, and bob is who he was.
    let identity = v1::GetIdentityRequest {
        identity_id: person.clone(),
        as_of: None,
    };
    let identity = running.resolution().get_identity(identity).await;
    let identity = identity.expect("the id is known").into_inner();
    assert!(identity.identities.is_empty());
    assert!(
        identity.lineage[0].successor_identity_ids.is_empty(),
        "{identity:?}"
    );
    let search = v1::SearchIdentitiesRequest {
        query: "quizzlebach".into(),
        ..Default::default()
    };
    let search = running.resolution().search_identities(search).await;
    assert!(search.expect("answers").into_inner().identities.is_empty());
    for (source, record_id) in [("erp", "P-17"), ("pos", "z-till-1")] {
        let nobody = identity_of(&running, source, record_id).await;
        assert_eq!(nobody.expect_err("nobody").code(), Code::NotFound);
    }
    let of_bob = v1::ExportPersonRequest { identity_id: bob };
    let of_bob = privacy(&running).export_person(of_bob).await;
    let of_bob = of_bob.expect("he is there").into_inner();
    assert_eq!(of_bob.records.len(), 1);
    assert!(
        !format!("{of_bob:?}").contains("Quizzlebach"),
        "not in his history either"
    );

    // What comes later is taken and forgotten: late, new, a second time, and what would have to be set aside.
    let newer = Signal {
        event_time_ms: EVENT_TIME_MS + 1_000_000,
        ..said("z7", "pos/z-till-1")
    };
    for (signal, repeated) in [
        (said("z8", "loyalty/z-card-2"), false),
        (newer.clone(), false),
        (newer, true),
    ] {
        let ack = submit(&running, signal).await.expect("taken");
        assert_eq!(
            (ack.identity_id.as_str(), ack.erased, ack.repeated),
            ("", true, repeated)
        );
    }
    let forgotten = running.resolution().submit_signal(set_aside.clone()).await;
    let forgotten = forgotten.expect("taken").into_inner().ack.expect("an ack");
    assert!(forgotten.erased);
    running.stop().await;
    assert_eq!(found_in(directory.path(), &VALUES), []);
    assert_eq!(
        found_in(directory.path(), &RECORDS),
        RECORDS.map(|record| (record, 1)),
        "in the event that tells it"
    );

    // And after a restart.
    let running = Running::start_with(with_sink(directory.path(), &consumer)).await;
    let ack = submit(&running, said("z9", "shop/z-web-3")).await;
    assert!(ack.expect("taken").erased);
    let forgotten = running.resolution().submit_signal(set_aside).await;
    assert!(forgotten.is_ok());
    running.stop().await;
    assert_eq!(found_in(directory.path(), &VALUES), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_living_identity_can_be_erased() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let ann = update("a1", "pos/ann", vec![name("Ann", "Lee")]);
    let bob = update("b1", "pos/bob", vec![name("Bob", "Quist")]);
    let ann = submit(&running, ann).await.expect("accepted").identity_id;
    let bob = submit(&running, bob).await.expect("accepted").identity_id;
    let merge = v1::MergeIdentitiesRequest {
        identity_ids: vec![ann.clone(), bob.clone()],
        call: call("merge", ""),
    };
    running
        .stewardship()
        .merge_identities(merge)
        .await
        .expect("merged");
    let ended = erase(&running, &bob).await.expect_err("it lives no more");
    assert_eq!(ended.code(), Code::FailedPrecondition, "{ended}");
    let unknown = erase(&running, &"0".repeat(32)).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
    let malformed = erase(&running, "ann").await;
    assert_eq!(malformed.expect_err("no id").code(), Code::NotFound);
    assert_eq!(
        erase(&running, &ann).await.expect("erased").source_records,
        2
    );
    // A steward's word that names who is gone is not taken.
    let word = v1::SetOverrideRequest {
        groups: vec![v1::OverrideGroup {
            records: ["ann", "bob"]
                .map(|record_id| v1::RecordKey {
                    source: "pos".into(),
                    record_id: record_id.into(),
                })
                .into(),
        }],
        call: call("word", ""),
    };
    let refused = running.stewardship().set_override(word).await;
    assert_eq!(refused.expect_err("nobody").code(), Code::NotFound);
    running.stop().await;
}
