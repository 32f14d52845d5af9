//! Stewards over gRPC: previews, merges, splits of any subset, undoing, versions, what becomes of overrides.

use tonic::Code;
use veridem::resolver::{Signal, SignalKind};
use veridem_proto::v1;
use veridem_proto::v1::OverrideState;

use crate::support::*;

fn call(key: &str) -> Option<v1::StewardCall> {
    Some(v1::StewardCall {
        note: "seen the papers".into(),
        idempotency_key: key.into(),
        ..Default::default()
    })
}

pub fn preview() -> Option<v1::StewardCall> {
    Some(v1::StewardCall {
        preview: true,
        ..Default::default()
    })
}

fn record(text: &str) -> v1::RecordKey {
    let key = key(text);
    v1::RecordKey {
        source: key.source,
        record_id: key.record_id,
    }
}

async fn identity(running: &Running, key: &str) -> v1::Identity {
    let asked = v1::LookupIdentityRequest {
        record: Some(record(key)),
    };
    let found = running.resolution().lookup_identity(asked).await;
    let found = found.expect("it is known").into_inner();
    assert!(!found.provisional);
    found.identity.expect("an identity")
}

async fn states(running: &Running) -> Vec<OverrideState> {
    let asked = v1::ListOverridesRequest::default();
    let listed = running.stewardship().list_overrides(asked).await;
    let listed = listed.expect("lists").into_inner().overrides;
    listed.iter().map(v1::Override::state).collect()
}

/// Four records of one person, of whom the first was there first, and one stranger.
async fn household(running: &Running) {
    let told = || {
        vec![
            name("Ann", "Lee"),
            email("ann@lee.org"),
            phone("212 736 5001"),
        ]
    };
    for (signal, key) in [
        ("a", "pos/1"),
        ("b", "loyalty/1"),
        ("c", "ecommerce/1"),
        ("d", "cdp/1"),
    ] {
        submit(running, update(signal, key, told()))
            .await
            .expect("accepted");
    }
    let stranger = vec![name("Zoë", "Quist"), phone("646 555 0199")];
    submit(running, update("e", "cdp/9", stranger))
        .await
        .expect("accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_subset_is_split_off_and_undone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    household(&running).await;
    let before = identity(&running, "pos/1").await;
    assert_eq!(before.members.len(), 4);
    let split = |call| v1::SplitIdentityRequest {
        identity_id: before.identity_id.clone(),
        // The founding record among them.
        records: vec![record("pos/1"), record("cdp/1")],
        call,
    };
    let mut stewards = running.stewardship();
    let told = stewards.split_identity(split(preview())).await;
    let told = told
        .expect("a preview")
        .into_inner()
        .outcome
        .expect("an outcome");
    assert_eq!(
        identity(&running, "pos/1").await,
        before,
        "nothing is changed"
    );
    let done = stewards.split_identity(split(call("s"))).await;
    let done = done
        .expect("done")
        .into_inner()
        .outcome
        .expect("an outcome");
    assert_eq!(done.identity_ids, told.identity_ids);
    assert_eq!(done.sequence, told.sequence);
    let (out, rest) = (
        identity(&running, "pos/1").await,
        identity(&running, "loyalty/1").await,
    );
    assert_eq!((out.members.len(), rest.members.len()), (2, 2));
    assert_ne!(out.identity_id, rest.identity_id);
    let again = stewards.split_identity(split(call("s"))).await;
    assert_eq!(
        again.expect("the first answer").into_inner().outcome,
        Some(done.clone())
    );

    // What comes later joins one of the two, and neither drags the other along.
    let further = update("f", "pos/7", vec![name("Ann", "Lee"), email("ann@lee.org")]);
    submit(&running, further).await.expect("accepted");
    assert_ne!(
        identity(&running, "pos/1").await.identity_id,
        identity(&running, "loyalty/1").await.identity_id
    );
    let undo = v1::UndoOverrideRequest {
        override_number: done.r#override.expect("an override").override_number,
        call: call("u"),
    };
    stewards.undo_override(undo.clone()).await.expect("undone");
    let after = identity(&running, "pos/1").await;
    assert_eq!(
        after.members.len(),
        5,
        "with the record that came in between"
    );
    assert_eq!(states(&running).await, [OverrideState::Undone]);
    let twice = v1::UndoOverrideRequest {
        call: call("u2"),
        ..undo
    };
    let refused = stewards
        .undo_override(twice)
        .await
        .expect_err("undone already");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_hold_and_tell_when_they_no_longer_apply() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    household(&running).await;
    let (one, other) = (
        identity(&running, "pos/1").await,
        identity(&running, "cdp/9").await,
    );
    let seen = |version| {
        vec![v1::IdentityVersion {
            identity_id: one.identity_id.clone(),
            version,
        }]
    };
    let merge = |key: &str, expected_versions| v1::MergeIdentitiesRequest {
        identity_ids: vec![one.identity_id.clone(), other.identity_id.clone()],
        call: Some(v1::StewardCall {
            expected_versions,
            ..call(key).expect("a call")
        }),
    };
    let mut stewards = running.stewardship();
    let stale = stewards
        .merge_identities(merge("m", seen(one.version + 1)))
        .await;
    assert_eq!(stale.expect_err("it has changed").code(), Code::Aborted);
    stewards
        .merge_identities(merge("m", seen(one.version)))
        .await
        .expect("merged");
    assert_eq!(identity(&running, "cdp/9").await.members.len(), 5);
    // The other id lives no more: a steward who still sees two is told.
    let late = stewards.merge_identities(merge("late", Vec::new())).await;
    assert_eq!(late.expect_err("it has changed").code(), Code::Aborted);
    assert_eq!(states(&running).await, [OverrideState::InForce]);

    let apart = v1::SetOverrideRequest {
        groups: [["cdp/9"], ["pos/1"]]
            .map(|group| v1::OverrideGroup {
                records: group.map(record).to_vec(),
            })
            .to_vec(),
        call: call("apart"),
    };
    stewards.set_override(apart).await.expect("set");
    assert_ne!(
        identity(&running, "cdp/9").await.identity_id,
        identity(&running, "pos/1").await.identity_id
    );
    // Three more records are still said to be one with it, and cannot be.
    assert_eq!(
        states(&running).await,
        [OverrideState::Contradicted, OverrideState::InForce]
    );
    running.stop().await;

    let running = Running::start(directory.path()).await;
    for (signal, key) in [("x", "cdp/9"), ("y", "pos/1")] {
        let gone = Signal {
            kind: SignalKind::Delete,
            event_time_ms: EVENT_TIME_MS + 1,
            ..update(signal, key, Vec::new())
        };
        submit(&running, gone).await.expect("accepted");
    }
    assert_eq!(
        states(&running).await,
        [OverrideState::InForce, OverrideState::WithoutRecords]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_names_the_field() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    household(&running).await;
    let id = identity(&running, "pos/1").await.identity_id;
    let mut stewards = running.stewardship();
    let split = |records: &[&str]| v1::SplitIdentityRequest {
        identity_id: id.clone(),
        records: records.iter().map(|key| record(key)).collect(),
        call: call("k"),
    };
    let all = ["pos/1", "loyalty/1", "ecommerce/1", "cdp/1"];
    for records in [&all[..], &[], &["cdp/9"]] {
        let refused = stewards
            .split_identity(split(records))
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with("records:"), "{refused}");
    }
    let alone = v1::MergeIdentitiesRequest {
        identity_ids: vec![id.clone(), id],
        call: call("k"),
    };
    let refused = stewards.merge_identities(alone).await.expect_err("refused");
    assert!(refused.message().starts_with("identity_ids:"), "{refused}");
    let group = |records: &[&str]| v1::OverrideGroup {
        records: records.iter().map(|key| record(key)).collect(),
    };
    for groups in [
        vec![group(&["pos/1"])],
        vec![group(&["pos/1", "cdp/1"]), group(&["pos/1"])],
        vec![group(&["pos/1", "cdp/1"]), group(&[])],
    ] {
        let set = v1::SetOverrideRequest {
            groups,
            call: call("k"),
        };
        let refused = stewards.set_override(set).await.expect_err("refused");
        assert!(refused.message().starts_with("groups:"), "{refused}");
    }
    let unknown = v1::SetOverrideRequest {
        groups: vec![group(&["pos/1", "pos/404"])],
        call: call("k"),
    };
    let refused = stewards.set_override(unknown).await.expect_err("refused");
    assert_eq!(refused.code(), Code::NotFound);
    for call in [None, Some(v1::StewardCall::default())] {
        let undo = v1::UndoOverrideRequest {
            override_number: 1,
            call,
        };
        let refused = stewards.undo_override(undo).await.expect_err("refused");
        assert!(refused.message().starts_with("call"), "{refused}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_value_is_evidence_of_nobody_however_it_is_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let told = |number| vec![name("John", "Smith"), phone(number)];
    for (signal, key, number) in [
        ("a", "pos/1", "212 736 5001"),
        ("b", "cdp/1", "+1 (212) 736-5001"),
    ] {
        submit(&running, update(signal, key, told(number)))
            .await
            .expect("accepted");
    }
    let phones = |identity: &v1::Identity| {
        let slots = identity.golden_record.iter();
        slots.filter(|value| value.slot == "phone").count()
    };
    let before = identity(&running, "pos/1").await;
    assert_eq!((before.members.len(), phones(&before)), (2, 1));
    let mut stewards = running.stewardship();
    let mark = |number: &str, mark: v1::ValueMark, call| v1::MarkValueRequest {
        record: Some(record("pos/1")),
        value: Some(v1::Attribute {
            value: Some(v1::attribute::Value::Phone(number.into())),
        }),
        mark: mark.into(),
        call,
    };
    let refused = stewards
        .mark_value(mark("212 736 5002", v1::ValueMark::Shared, call("x")))
        .await
        .expect_err("it does not state that");
    assert!(refused.message().starts_with("value:"), "{refused}");
    let shared = |call| mark("212 736 5001", v1::ValueMark::Shared, call);
    let told = stewards.mark_value(shared(preview())).await;
    let told = told.expect("a preview").into_inner().outcome;
    assert_eq!(
        identity(&running, "pos/1").await,
        before,
        "nothing is changed"
    );
    let done = stewards.mark_value(shared(call("s"))).await;
    let done = done.expect("marked").into_inner().outcome.expect("so");
    let identities = |outcome: v1::StewardOutcome| {
        let events = outcome.events.into_iter();
        events.map(|event| event.identity).collect::<Vec<_>>()
    };
    assert_eq!(identities(told.expect("an outcome")), identities(done));
    let (one, other) = (
        identity(&running, "pos/1").await,
        identity(&running, "cdp/1").await,
    );
    assert_ne!(one.identity_id, other.identity_id, "nothing else held them");
    assert_eq!((phones(&one), phones(&other)), (1, 1), "it stays theirs");

    // Nobody's: in no golden record, of whoever comes with it later.
    let junk = mark("212 736 5001", v1::ValueMark::Junk, call("j"));
    stewards.mark_value(junk).await.expect("marked");
    let later = vec![name("Zoë", "Quist"), phone("2127365001")];
    submit(&running, update("c", "loyalty/7", later))
        .await
        .expect("accepted");
    for key in ["pos/1", "cdp/1", "loyalty/7"] {
        assert_eq!(phones(&identity(&running, key).await), 0, "{key}");
    }
    let stated = v1::ListSourceRecordsRequest {
        identity_id: identity(&running, "cdp/1").await.identity_id,
    };
    let stated = stewards.list_source_records(stated).await;
    let stated = stated.expect("lists").into_inner().records.remove(0).values;
    let marks: Vec<_> = stated.iter().map(v1::StatedValue::mark).collect();
    assert_eq!(marks, [v1::ValueMark::Unspecified, v1::ValueMark::Junk]);
    use OverrideState::{InForce, Superseded, Undone};
    assert_eq!(states(&running).await, [Superseded, InForce]);

    for number in [2, 1] {
        let undo = v1::UndoOverrideRequest {
            override_number: number,
            call: call(&format!("u{number}")),
        };
        stewards.undo_override(undo).await.expect("undone");
    }
    assert_eq!(states(&running).await, [Undone, Undone]);
    let after = identity(&running, "cdp/1").await;
    assert_eq!((after.members.len(), phones(&after)), (2, 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lives_together_stays_who_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    for (at, given) in ["Ann", "Bob", "Eva"].into_iter().enumerate() {
        let told = vec![
            name(given, "Oberholzer"),
            email(&format!("{given}@lee.org")),
        ];
        submit(&running, update(given, &format!("pos/{at}"), told))
            .await
            .expect("accepted");
    }
    let id = async |at: usize| identity(&running, &format!("pos/{at}")).await.identity_id;
    let ids = [id(0).await, id(1).await, id(2).await];
    let mut stewards = running.stewardship();
    let make = |one: usize, other: usize, key: &str| v1::MakeHouseholdRequest {
        identity_ids: vec![ids[one].clone(), ids[other].clone()],
        call: call(key),
    };
    let household = async |at: usize| {
        let asked = v1::GetHouseholdRequest {
            identity_id: ids[at].clone(),
        };
        let answer = running.stewardship().get_household(asked).await;
        let answer = answer.expect("it lives").into_inner();
        let told = answer.identities.iter().all(|identity| {
            identity.golden_record.iter().any(|value| {
                value.slot == "custom.household_id"
                    && value.criterion() == v1::SurvivorshipCriterion::Pinned
            })
        });
        assert!(told, "golden records tell it");
        (answer.override_number, answer.identities.len())
    };
    assert_eq!(household(0).await, (0, 0));
    stewards
        .make_household(make(0, 1, "a"))
        .await
        .expect("made");
    assert_eq!(household(1).await, (1, 2));
    let again = stewards.make_household(make(1, 0, "b")).await;
    assert_eq!(again.expect_err("they do").code(), Code::InvalidArgument);
    // Whoever lives with one of them comes along.
    stewards
        .make_household(make(1, 2, "c"))
        .await
        .expect("made");
    for (at, same) in ids.iter().enumerate() {
        assert_eq!(household(at).await, (2, 3));
        assert_eq!(id(at).await, *same, "nobody is merged");
    }
    let undo = v1::UndoOverrideRequest {
        override_number: 2,
        call: call("u"),
    };
    stewards.undo_override(undo).await.expect("undone");
    assert_eq!(household(0).await, (1, 2));
    assert_eq!(household(2).await, (0, 0));
    running.stop().await;
}
