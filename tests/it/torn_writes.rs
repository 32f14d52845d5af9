//! Torn writes: of what was written after the last flush the disk has any part, sector by sector, in no order. What was flushed is
//! there all the same, and the rest is there whole or not at all.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use veridem::resolver::Signal;
use veridem::store::{Store, StoreEngine, check_tenant, open_store};

use crate::support::*;

/// What a disk writes whole.
const SECTOR: usize = 512;
/// Disks that are tried for each round of signals.
const DISKS: usize = 6;

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn read_files(root: &Path, directory: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_files(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the root").to_owned();
            files.insert(name, std::fs::read(path).expect("it reads"));
        }
    }
}

fn files_of(root: &Path) -> Files {
    let mut files = Files::new();
    read_files(root, root, &mut files);
    files
}

/// A disk on which any part of the sectors that differ was written: the old content, the new one, or of what is new nothing.
/// What becomes of a file depends on the file and the seed alone, not on which others the engine's threads have written by then.
fn torn(flushed: &Files, written: &Files, seed: u64) -> Files {
    let share = ChaCha8Rng::seed_from_u64(seed).next_u32() % 101;
    let mut disk = flushed.clone();
    for (name, new) in written {
        let mut hash = DefaultHasher::new();
        (seed, name).hash(&mut hash);
        let mut dice = ChaCha8Rng::seed_from_u64(hash.finish());
        let mut is_written = || dice.next_u32() % 100 < share;
        let old = flushed.get(name).cloned();
        if old.as_ref() == Some(new) || (old.is_none() && !is_written()) {
            continue;
        }
        let mut content = old.unwrap_or_default();
        // A length that grew may be there without the content.
        if is_written() {
            content.resize(content.len().max(new.len()), 0);
        }
        let length = content.len();
        for (sector, new) in content.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
            let common = sector.len().min(new.len());
            if sector[..common] != new[..common] && is_written() {
                sector[..common].copy_from_slice(&new[..common]);
            }
        }
        content.truncate(length);
        disk.insert(name.clone(), content);
    }
    disk
}

fn put(files: &Files, root: &Path) {
    for (name, content) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
        std::fs::write(path, content).expect("written");
    }
}

fn submit(store: &Arc<dyn Store>, signals: &[Signal]) {
    let engine = engine_over(store.clone());
    for signal in signals {
        let accepted = engine.submit(&tenant(), signal, EVENT_TIME_MS + 200_000_000_000);
        accepted.expect("accepted");
    }
}

/// The states that a store may be in: that of the first `at_least` signals, or of more of them.
fn assert_whole(store: &dyn Store, signals: &[Signal], at_least: usize, told: &str) {
    let counters = store.counters(&tenant()).expect("the store reads");
    let accepted = counters.signals as usize;
    assert!(
        accepted >= at_least,
        "{told}: {accepted} of {at_least} flushed signals"
    );
    let expected = memory_engine();
    for signal in &signals[..accepted] {
        let accepted = expected.submit(&tenant(), signal, EVENT_TIME_MS + 200_000_000_000);
        accepted.expect("accepted");
    }
    assert!(
        partition_of(store) == partition_of(expected.store().as_ref()),
        "{told}"
    );
    assert!(
        golden_and_tasks(store) == golden_and_tasks(expected.store().as_ref()),
        "{told}"
    );
    let problems = check_tenant(store, &tenant()).expect("the store reads");
    assert_eq!(problems, Vec::<String>::new(), "{told}");
}

fn torn_writes_lose_nothing_flushed(engine: StoreEngine) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("store");
    let signals: Vec<Signal> = sample_signals().into_iter().take(400).collect();
    let store = open_store(&root, engine, 16 << 20).expect("it opens");
    let mut torn_disks = 0;
    for round in 0..8 {
        let (start, flushed, written) = (round * 50, round * 50 + 30, round * 50 + 50);
        submit(&store, &signals[start..flushed]);
        store.flush().expect("it flushes");
        let on_disk = files_of(&root);
        submit(&store, &signals[flushed..written]);
        // A flush brings everything to the files; of this one the disk has any part.
        store.flush().expect("it flushes");
        let wanted = files_of(&root);
        for number in 0..DISKS {
            let told = format!("{engine:?}, round {round}, disk {number}");
            let disk = directory.path().join(format!("disk-{round}-{number}"));
            let files = torn(&on_disk, &wanted, (round * DISKS + number) as u64);
            torn_disks += usize::from(files != on_disk && files != wanted);
            put(&files, &disk);
            let store = open_store(&disk, engine, 16 << 20).expect(&told);
            assert_whole(store.as_ref(), &signals, flushed, &told);
            // And it goes on from there.
            submit(&store, &signals[..written]);
            assert_whole(store.as_ref(), &signals, written, &told);
        }
    }
    assert!(torn_disks > 20, "only {torn_disks} disks were torn");
}

#[test]
fn torn_writes_lose_nothing_flushed_on_fjall() {
    torn_writes_lose_nothing_flushed(StoreEngine::Fjall);
}

#[test]
fn torn_writes_lose_nothing_flushed_on_sled() {
    torn_writes_lose_nothing_flushed(StoreEngine::Sled);
}
