//! What fills, copies and checks a store: load, replay, backup, restore, check.

use std::path::Path;
use std::sync::Arc;

use tokio_stream::StreamExt;
use veridem::files::{ReadOptions, read_records};
use veridem::resolver::{Engine, StewardAction, StewardRequest, snapshot_signal};
use veridem::store::{
    Generation, MemoryStore, Store, StoreEngine, Tenant, ValueMark, Write, check_tenant,
    open_store, read_backup, write_backup,
};
use veridem_matchers::{Attribute, Pack};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

use crate::bulk::{bad, good};
use crate::support::*;

fn consistent(store: &dyn Store) {
    let problems = check_tenant(store, &tenant()).expect("the store reads");
    assert_eq!(problems, Vec::<String>::new());
}

fn sample_records() -> veridem::resolver::Records {
    let files = ["pos", "loyalty", "ecommerce", "cdp"];
    let files = files.map(|source| sample_directory().join(format!("{source}.csv")));
    let read = read_records(&files, &ReadOptions::default(), &Pack::retail());
    read.expect("the sample reads").records
}

fn submit_all(engine: &Engine, signals: impl IntoIterator<Item = veridem::resolver::Signal>) {
    for signal in signals {
        engine
            .submit(&tenant(), &signal, EVENT_TIME_MS)
            .expect("accepted");
    }
}

/// Law 1: loaded by the bulk job's code or sent one by one, and whatever comes after it.
#[test]
fn a_load_is_what_the_same_signals_would_have_made() {
    let records = sample_records();
    let (loaded, streamed) = (memory_engine(), memory_engine());
    let summary = loaded
        .load(&tenant(), &records, EVENT_TIME_MS, &|_| {})
        .expect("loaded");
    submit_all(
        &streamed,
        (0..records.len())
            .map(|row| snapshot_signal(records.get(row)))
            .map(|signal| {
                // The stream knows signals by their ids.
                veridem::resolver::Signal {
                    signal_id: format!("{}-{}", signal.signal_id, signal.record_id),
                    ..signal
                }
            }),
    );
    let equal = || {
        let (one, other) = (loaded.store().as_ref(), streamed.store().as_ref());
        consistent(one);
        consistent(other);
        assert!(partition_of(one) == partition_of(other));
        assert!(golden_and_tasks(one) == golden_and_tasks(other));
    };
    equal();
    assert_eq!(summary.records, records.len() as u64);
    assert!(
        loaded
            .load(&tenant(), &records, EVENT_TIME_MS, &|_| {})
            .is_err()
    );
    let further: Vec<_> = sample_signals().into_iter().take(400).collect();
    submit_all(&loaded, further.clone());
    submit_all(&streamed, further);
    equal();
}

fn store_in(directory: &Path, engine: StoreEngine) -> Arc<dyn Store> {
    open_store(&directory.join("store"), engine, 16 << 20).expect("it opens")
}

#[test]
fn a_backup_restores_everything_into_either_engine() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for engine in [StoreEngine::Fjall, StoreEngine::Sled] {
        let from = directory.path().join(format!("{engine:?}"));
        let store = store_in(&from, engine);
        let source = engine_over(store.clone());
        submit_all(&source, sample_signals().into_iter().take(300));
        let mut backup = Vec::new();
        let entries = write_backup(store.as_ref(), Some(&tenant()), &mut backup).expect("written");
        assert!(entries > 300);
        let restored = store_in(&directory.path().join(format!("to-{engine:?}")), engine);
        assert_eq!(
            read_backup(restored.as_ref(), backup.as_slice()).expect("read"),
            entries
        );
        consistent(restored.as_ref());
        assert!(partition_of(restored.as_ref()) == partition_of(store.as_ref()));
        // And goes on from there.
        let (one, other) = (engine_over(restored), source);
        for engine in [&one, &other] {
            submit_all(engine, sample_signals().into_iter().skip(300).take(200));
        }
        assert!(partition_of(one.store().as_ref()) == partition_of(other.store().as_ref()));

        for at in [3, backup.len() / 3, backup.len() - 2] {
            let mut damaged = backup.clone();
            damaged[at] ^= 0x10;
            assert!(
                read_backup(&MemoryStore::new(), damaged.as_slice()).is_err(),
                "byte {at}"
            );
            assert!(
                read_backup(&MemoryStore::new(), &backup[..at]).is_err(),
                "cut at {at}"
            );
        }
    }
}

/// The backup of one tenant keeps the tenant's number; a tenant that comes later must not get the same.
#[test]
fn a_tenant_that_comes_after_a_restore_is_apart() {
    let named = |name: &str| Tenant::try_from(name.to_owned()).expect("a name");
    let (first, second, third) = (named("first"), named("second"), named("third"));
    let signal = sample_signals().remove(0);
    let source = memory_engine();
    for tenant in [&first, &second] {
        source
            .submit(tenant, &signal, EVENT_TIME_MS)
            .expect("accepted");
    }
    let mut backup = Vec::new();
    write_backup(source.store().as_ref(), Some(&second), &mut backup).expect("written");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    read_backup(store.as_ref(), backup.as_slice()).expect("read");
    let restored = engine_over(store);
    let further = sample_signals().remove(1);
    restored
        .submit(&third, &further, EVENT_TIME_MS)
        .expect("accepted");
    let records = |tenant: &Tenant| {
        records_of(restored.store().as_ref(), tenant)
            .into_iter()
            .map(|record| record.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(records(&second), [signal.record_key()]);
    assert_eq!(records(&third), [further.record_key()]);
}

#[test]
fn a_check_tells_what_contradicts_what() {
    let engine = memory_engine();
    submit_all(&engine, sample_signals().into_iter().take(200));
    let store = engine.store();
    consistent(store.as_ref());
    let first = Generation::default();
    let record = |number| {
        let record = store.record(&tenant(), first, number).expect("reads");
        record.expect("stored")
    };
    let mut counters = store.counters(&tenant()).expect("reads");
    counters.source_records += 1;
    let moved = veridem::store::StoredRecord {
        identity_id: record(2).identity_id,
        ..record(1).as_ref().clone()
    };
    let edges = vec![veridem::store::StoredEdge {
        other: 3,
        score: records_of(store.as_ref(), &tenant())
            .iter()
            .find_map(|record| {
                let edges = store.edges(&tenant(), first, record.number);
                let edges = edges.expect("reads");
                edges.first().map(|edge| edge.score)
            })
            .expect("an edge"),
    }];
    let damage = vec![
        Write::Record(moved.into()),
        Write::Counters(counters),
        Write::Edges(5, edges.into()),
    ];
    store.commit(&tenant(), first, damage).expect("written");
    let problems = check_tenant(store.as_ref(), &tenant()).expect("reads");
    for told in ["no member", "the counters say", "no other side"] {
        assert!(
            problems.iter().any(|problem| problem.contains(told)),
            "{told}: {problems:?}"
        );
    }
}

/// The whole way of a data engineer: load, serve, back up while it serves, restore elsewhere, check.
#[tokio::test(flavor = "multi_thread")]
async fn load_serve_backup_restore_check() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    for name in ["one", "two"] {
        let text = format!("data_directory = \"{name}\"\n");
        std::fs::write(path.join(format!("{name}.toml")), text).expect("written");
    }
    let sample = |source: &str| {
        let file = sample_directory().join(format!("{source}.csv"));
        file.display().to_string()
    };
    let (pos, loyalty) = (sample("pos"), sample("loyalty"));
    let load = ["load", &pos, &loyalty, "--config", "one.toml"];
    let said = good(&load, path);
    assert!(said.contains("identities"), "{said}");
    assert!(bad(&load, path, 1).contains("without a store"));
    good(&["check", "--config", "one.toml", "--store"], path);

    let mut config = config(path);
    config.data_directory = path.join("one");
    let running = Running::start_with(config).await;
    submit(&running, sample_signals().remove(0))
        .await
        .expect("accepted");
    let mut bytes = Vec::new();
    let mut chunks = OperationsServiceClient::new(running.channel.clone())
        .backup(v1::BackupRequest {})
        .await
        .expect("a backup")
        .into_inner();
    while let Some(chunk) = chunks.next().await {
        bytes.extend(chunk.expect("a chunk").chunk);
    }
    let address = format!("http://{}", running.service.grpc_address);
    let by_command = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || {
            good(
                &["backup", "--address", &address, "--out", "by-command"],
                &path,
            );
            // The directory is in use.
            bad(
                &["backup", "--config", "one.toml", "--out", "second"],
                &path,
                1,
            )
        })
    };
    assert!(
        by_command
            .await
            .expect("both ran")
            .contains("another veridem")
    );
    running.stop().await;

    std::fs::write(path.join("backup"), bytes).expect("written");
    good(&["restore", "backup", "--config", "two.toml"], path);
    assert!(good(&["check", "--config", "two.toml", "--store"], path).contains("store: good"));
    let one = store_in(&path.join("one"), StoreEngine::Fjall);
    let two = store_in(&path.join("two"), StoreEngine::Fjall);
    assert!(partition_of(one.as_ref()) == partition_of(two.as_ref()));
    assert!(
        bad(&["restore", "backup", "--config", "two.toml"], path, 1).contains("without a store")
    );
    std::fs::write(path.join("no-backup"), "customers").expect("written");
    std::fs::write(path.join("three.toml"), "data_directory = \"three\"\n").expect("written");
    assert!(
        bad(&["restore", "no-backup", "--config", "three.toml"], path, 1).contains("no backup")
    );
    assert!(!path.join("three/store").exists(), "no half store is left");
}

#[test]
fn a_replay_in_another_order_comes_to_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = sample_directory().join("signals.jsonl");
    let lines = std::fs::read_to_string(log).expect("the sample");
    let some: String = lines
        .lines()
        .take(600)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(
        directory.path().join("log.jsonl"),
        some + "{\"signal_id\":1}\n",
    )
    .expect("written");
    let told = bad(
        &["replay", "log.jsonl", "--shuffle", "7"],
        directory.path(),
        1,
    );
    assert!(told.contains("line 601"), "{told}");
    let some: String = lines
        .lines()
        .take(600)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(directory.path().join("log.jsonl"), some).expect("written");
    let said = good(&["replay", "log.jsonl", "--shuffle", "7"], directory.path());
    assert!(said.ends_with("equal\n"), "{said}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What a format version once wrote opens for ever. A new version adds a folder and leaves the others as they are.
#[test]
fn stores_and_backups_of_every_format_version_open() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (version, records, identities, overrides) in [
        ("store-2", 480, 442, 0),
        ("store-3", 375, 342, 2),
        ("store-4", 374, 334, 2),
        ("store-5", 374, 334, 6),
    ] {
        let from = fixtures().join(version);
        let store = directory.path().join(version).join("store");
        copy(&from.join("fjall"), &store);
        // git keeps no empty directory.
        for keyspace in std::fs::read_dir(store.join("keyspaces"))
            .expect("keyspaces")
            .flatten()
        {
            std::fs::create_dir_all(keyspace.path().join("tables")).expect("a directory");
        }
        let opened = store_in(&directory.path().join(version), StoreEngine::default());
        consistent(opened.as_ref());
        let counters = opened.counters(&tenant()).expect("reads");
        assert_eq!(
            (
                counters.source_records,
                counters.identities,
                counters.overrides
            ),
            (records, identities, overrides)
        );
        let backup = std::fs::read(from.join("backup")).expect("a backup");
        let restored: Arc<dyn Store> = Arc::new(MemoryStore::new());
        read_backup(restored.as_ref(), backup.as_slice()).expect("it reads");
        consistent(restored.as_ref());
        assert!(partition_of(restored.as_ref()) == partition_of(opened.as_ref()));
        // And each goes on from there.
        for store in [opened, restored] {
            if version != "store-2" {
                let engine = engine_over(store);
                submit_all(&engine, sample_signals().into_iter().skip(400).take(20));
                consistent(engine.store().as_ref());
            }
        }
    }
}

/// Writes the fixture of the present format version: `cargo test --test it -- --ignored the_fixture`.
#[test]
#[ignore = "writes into tests/fixtures; only where the format is new"]
fn the_fixture_of_this_format_version() {
    let directory = fixtures().join("store-5");
    std::fs::create_dir_all(&directory).expect("a directory");
    let open =
        || open_store(&directory.join("fjall"), StoreEngine::Fjall, 16 << 20).expect("it opens");
    let engine = engine_over(open());
    submit_all(&engine, sample_signals().into_iter().take(400));
    let mut calls = 0;
    let mut steward = |action: StewardAction, four_eyes_above| {
        calls += 1;
        let request = StewardRequest {
            call: "SetOverride",
            action,
            expected_versions: Vec::new(),
            principal: "steward".into(),
            reason: "documents seen".into(),
            four_eyes_above,
            note: "seen the papers".into(),
            idempotency_key: format!("call-{calls}"),
            preview: false,
        };
        engine
            .steward(&tenant(), &request, EVENT_TIME_MS)
            .expect("decided")
    };
    let store = engine.store().clone();
    let partition = partition_of(store.as_ref());
    let large = partition.iter().max_by_key(|members| members.len());
    let large: Vec<_> = large.expect("identities").iter().cloned().collect();
    let id = |key| engine.lookup_identity(&tenant(), key).expect("known").id;
    let alone: Vec<_> = partition
        .iter()
        .filter(|members| members.len() == 1)
        .filter_map(|members| members.first())
        .map(id)
        .collect();
    steward(
        StewardAction::Split(id(&large[0]), vec![large[0].clone()]),
        None,
    );
    steward(StewardAction::Merge(alone[..2].to_vec()), None);
    let undone = steward(StewardAction::Merge(alone[2..4].to_vec()), None);
    steward(StewardAction::Undo(undone.value.number), None);
    steward(StewardAction::Merge(alone[4..6].to_vec()), Some(1));
    steward(StewardAction::Pin(large[1].clone(), "name".into()), None);
    let phones = sample_signals().into_iter().flat_map(|signal| {
        let record = signal.record_key();
        let phones = signal.attributes.into_iter();
        phones.filter_map(move |attribute| match attribute {
            Attribute::Phone(_) => Some((record.clone(), attribute)),
            _ => None,
        })
    });
    for ((record, phone), mark) in phones.zip([ValueMark::Shared, ValueMark::Junk]) {
        steward(StewardAction::Mark(record, phone, mark), None);
    }
    steward(StewardAction::Household(alone[6..8].to_vec()), None);
    let erasure = engine.find_person(&tenant(), &id(&large[0]), "steward");
    let erased = engine.erase(&tenant(), &erasure.expect("found"), EVENT_TIME_MS);
    assert_eq!(erased.expect("erased").records.len(), 1);
    store.flush().expect("it flushes");
    let backup = std::fs::File::create(directory.join("backup")).expect("a file");
    write_backup(store.as_ref(), None, backup).expect("written");
    drop((store, engine));
    // A journal is allocated ahead: what is not written yet does not belong into a repository.
    let journal = directory.join("fjall/0.jnl");
    let mut bytes = std::fs::read(&journal).expect("a journal");
    let written = bytes.iter().rposition(|byte| *byte != 0);
    bytes.truncate(written.map_or(0, |last| last + 1));
    std::fs::write(&journal, bytes).expect("written");
}
