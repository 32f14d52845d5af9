//! The audit log: what is written into it, and that nobody changes it unseen.

use veridem::publish::SinkSettings;
use veridem::store::{AuditHead, Store, StoredAuditEntry, Write, check_tenant};
use veridem_proto::v1;
use veridem_proto::v1::privacy_service_client::PrivacyServiceClient;

use crate::bulk::bad;
use crate::consumer::*;
use crate::crosswalk::sink;
use crate::filters::snapshot;
use crate::operating::told;
use crate::privacy::{call, identity_of};
use crate::publishing::store_of;
use crate::stewardship::preview;
use crate::support::*;

async fn entries(running: &Running) -> Vec<v1::AuditEntry> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = v1::ListAuditEntriesRequest {
            page_size: 2,
            page_token,
        };
        let page = running.stewardship().list_audit_entries(asked).await;
        let page = page.expect("lists").into_inner();
        entries.extend(page.audit_entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

/// Ann and Bob, who have nothing in common.
async fn two_persons(running: &Running) {
    for (given, record) in [("Ann", "pos/ann"), ("Bob", "pos/bob")] {
        let attributes = vec![name(given, "Quist"), email(&format!("{given}@quist.org"))];
        let submitted = submit(running, update(record, record, attributes));
        submitted.await.expect("accepted");
    }
}

/// Their identities, as long as they are two.
async fn ids_of(running: &Running) -> [String; 2] {
    let mut ids = Vec::new();
    for record_id in ["ann", "bob"] {
        ids.push(identity_of(running, "pos", record_id).await.expect("known"));
    }
    ids.try_into().expect("two")
}

async fn merge(running: &Running, ids: &[String; 2], call: Option<v1::StewardCall>) -> u64 {
    let identity_ids = ids.to_vec();
    let asked = v1::MergeIdentitiesRequest { identity_ids, call };
    let merged = running.stewardship().merge_identities(asked).await;
    let outcome = merged.expect("merged").into_inner().outcome;
    outcome.expect("an outcome").sequence
}

fn address(running: &Running) -> String {
    format!("http://{}", running.service.grpc_address)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_and_why_is_written_down_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(path);
    config.sinks = vec![SinkSettings {
        batch: 10,
        ..sink(&consumer)
    }];
    let running = Running::start_with(config.clone()).await;
    assert_eq!(
        told(&running, &["audit", "verify"], path),
        format!(
            "0 entries, none changed; the last one is 0:{}\n",
            "0".repeat(64)
        )
    );
    two_persons(&running).await;
    let ids = ids_of(&running).await;
    // A preview changes nothing, a call that comes again does nothing.
    merge(&running, &ids, preview()).await;
    let sequence = merge(&running, &ids, call("one", "seen the papers")).await;
    merge(&running, &ids, call("one", "seen the papers")).await;
    let undo = v1::UndoOverrideRequest {
        override_number: 1,
        call: call("two", "the papers were forged"),
    };
    running
        .stewardship()
        .undo_override(undo)
        .await
        .expect("undone");
    snapshot(&running).await;
    let written = entries(&running).await;
    let calls: Vec<_> = written
        .iter()
        .map(|entry| {
            (
                entry.number,
                entry.call.as_str(),
                entry.note.as_str(),
                entry.principal.as_str(),
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            (1, "MergeIdentities", "seen the papers", "local"),
            (2, "UndoOverride", "the papers were forged", "local"),
            (3, "ReplaySink", "", "local"),
        ]
    );
    assert_eq!(
        (written[0].first_event, written[0].last_event),
        (sequence, sequence)
    );
    assert_eq!(written[0].subjects[0], "override 1");
    assert!(ids.contains(&written[0].subjects[1]["identity ".len()..].to_owned()));
    assert_eq!(
        written[2].subjects,
        [format!("sink {}", sink(&consumer).name)]
    );
    assert_eq!((written[2].first_event, written[2].last_event), (0, 0));

    // The chain goes on behind a restart, and can be held against what was seen of it.
    let first = told(&running, &["audit", "verify"], path);
    let seen = first.trim().rsplit(' ').next().expect("a head").to_owned();
    assert!(seen.starts_with("3:"), "{first}");
    running.stop().await;
    let running = Running::start_with(config).await;
    merge(&running, &ids_of(&running).await, call("three", "")).await;
    let whole = told(&running, &["audit", "verify", "--seen", &seen], path);
    assert!(whole.starts_with("4 entries, none changed"), "{whole}");
    let listed = told(&running, &["audit", "list"], path);
    assert_eq!(listed.lines().count(), 4);
    assert!(listed.contains("UndoOverride  override 1"), "{listed}");
    let other = seen.replacen("3:", "4:", 1);
    let refused = [
        "audit",
        "verify",
        "--address",
        &address(&running),
        "--seen",
        &other,
    ];
    let refused = tokio::task::block_in_place(|| bad(&refused, path, 1));
    assert!(refused.contains("entry 4 is gone"), "{refused}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_somebody_changed_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let running = Running::start_with(config(path)).await;
    two_persons(&running).await;
    for key in ["one", "two", "three"] {
        merge(
            &running,
            &ids_of(&running).await,
            call(key, "seen the papers"),
        )
        .await;
        let undo = v1::UndoOverrideRequest {
            override_number: entries(&running).await.len() as u64 / 2 + 1,
            call: call(&format!("not {key}"), ""),
        };
        running
            .stewardship()
            .undo_override(undo)
            .await
            .expect("undone");
    }
    running.stop().await;
    let store = store_of(path);
    let problems = || check_tenant(&store, &tenant()).expect("reads");
    let commit = |write| {
        let in_force = store.in_force(&tenant());
        store
            .commit(&tenant(), in_force, vec![write])
            .expect("commits");
    };
    assert_eq!(problems(), Vec::<String>::new());
    let whole = store.audit_entries(&tenant(), 0, 100).expect("reads");
    assert_eq!(whole.len(), 6);
    let mut forged: StoredAuditEntry = whole[2].clone();
    forged.principal = "somebody else".into();
    commit(Write::Audit(Box::new(forged.clone())));
    assert_eq!(problems(), ["audit entry 3 is not what was written"]);
    // Also one whose own hash was made to fit.
    forged.hash = forged.hash_of_content();
    commit(Write::Audit(Box::new(forged)));
    assert_eq!(problems(), ["audit entry 4 is not what was written"]);
    commit(Write::Audit(Box::new(whole[2].clone())));
    assert_eq!(problems(), Vec::<String>::new());
    commit(Write::AuditHead(AuditHead {
        number: 7,
        ..whole[5].head()
    }));
    assert_eq!(problems().len(), 1);
    commit(Write::AuditHead(whole[5].head()));
    let mut forged = whole[1].clone();
    forged.at_ms += 1;
    commit(Write::Audit(Box::new(forged)));
    store.flush().expect("durable");
    drop(store);

    let running = Running::start_with(config(path)).await;
    let told = ["audit", "verify", "--address", &address(&running)];
    let told = tokio::task::block_in_place(|| bad(&told, path, 1));
    assert!(
        told.contains("entry 2 is not what was written after entry 1"),
        "{told}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_holds_without_what_was_said_of_a_person_who_is_erased() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let running = Running::start_with(config(path)).await;
    two_persons(&running).await;
    merge(
        &running,
        &ids_of(&running).await,
        call("one", "she told me her maiden name"),
    )
    .await;
    let mut privacy = PrivacyServiceClient::new(running.channel.clone());
    let survivor = entries(&running).await[0].subjects[1]["identity ".len()..].to_owned();
    let identity_id = survivor.clone();
    let asked = v1::ExportPersonRequest { identity_id };
    privacy.export_person(asked).await.expect("exported");
    let identity_id = survivor.clone();
    let asked = v1::ErasePersonRequest { identity_id };
    privacy.erase_person(asked.clone()).await.expect("erased");
    privacy
        .erase_person(asked)
        .await
        .expect("it is done already");
    let written = entries(&running).await;
    let calls: Vec<_> = written
        .iter()
        .map(|entry| (entry.call.as_str(), entry.note.as_str()))
        .collect();
    assert_eq!(
        calls,
        [
            ("MergeIdentities", ""),
            ("ExportPerson", ""),
            ("ErasePerson", "")
        ]
    );
    assert_eq!(written[2].subjects, [format!("identity {survivor}")]);
    assert!(written[2].last_event > 0);
    assert!(told(&running, &["audit", "verify"], path).starts_with("3 entries, none changed"));
    running.stop().await;
}
