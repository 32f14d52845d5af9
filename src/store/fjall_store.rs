//! The embedded store over fjall, a log-structured merge tree. A commit is one entry of its journal; [`Engine::sync`] is one
//! `fdatasync` of the journal, during which others write. What is overwritten is reclaimed by compaction, and blocks are compressed.

use std::ops::Bound;
use std::path::Path;

use fjall::config::{BlockSizePolicy, CompressionPolicy, HashRatioPolicy, PinningPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::encoding::{Tag, tag_of};
use super::fjall_journal::{ActiveJournal, drop_torn_end};
use super::keyed::{Engine, KeyedStore, entries_under};
use super::{Entry, StoreError, Visit};

/// What may lie in one keyspace's memory before it is written out.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// Journals hold what is not written out yet; they are the part of the disk that does not grow with the data.
const MAX_JOURNAL_BYTES: u64 = 160 << 20;

/// fjall with one keyspace for each way of access.
pub struct FjallEngine {
    database: Database,
    journal: ActiveJournal,
    /// Read and overwritten at random.
    state: Keyspace,
    /// Written once in order, read in order.
    events: Keyspace,
    /// Written once at random, hardly ever found.
    receipts: Keyspace,
}

/// A store in a directory.
pub type FjallStore = KeyedStore<FjallEngine>;

impl FjallStore {
    /// Opens or creates the store in a directory. A sixteenth of `cache_bytes` is fjall's, for blocks: what is asked for by
    /// itself takes far less room decoded than the block around it.
    pub fn open_directory(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        Self::open(
            FjallEngine::open(directory, cache_bytes / 16)?,
            cache_bytes / 16 * 15,
        )
    }

    /// Whether a directory holds a store of this engine.
    pub fn is_in(directory: &Path) -> bool {
        directory.join("keyspaces").is_dir()
    }
}

impl FjallEngine {
    fn open(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let database = open_database(directory, cache_bytes, MAX_JOURNAL_BYTES)?;
        let keyspace = |name: &str, options: &dyn Fn() -> KeyspaceCreateOptions| {
            let options = || options().max_memtable_size(MEMTABLE_BYTES);
            database
                .keyspace(name, options)
                .map_err(|cause| not_opened(directory, &cause))
        };
        let compressed = |block_bytes: u32| {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(BlockSizePolicy::all(block_bytes))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        };
        // What is read at random is found without unpacking a block or looking for the index that leads to it.
        let at_hand = || {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(BlockSizePolicy::all(4 << 10))
                .data_block_compression_policy(CompressionPolicy::disabled())
                .data_block_hash_ratio_policy(HashRatioPolicy::all(0.75))
                .index_block_pinning_policy(PinningPolicy::all(true))
                .index_block_partitioning_policy(PinningPolicy::all(false))
                .filter_block_pinning_policy(PinningPolicy::all(true))
                .filter_block_partitioning_policy(PinningPolicy::all(false))
        };
        Ok(Self {
            state: keyspace("state", &at_hand)?,
            events: keyspace("events", &|| compressed(32 << 10))?,
            receipts: keyspace("receipts", &|| compressed(8 << 10))?,
            journal: ActiveJournal::of(directory),
            database,
        })
    }

    fn keyspace_of(&self, key: &[u8]) -> &Keyspace {
        match tag_of(key) {
            Some(tag) if tag == Tag::Event as u8 => &self.events,
            Some(tag) if tag == Tag::Receipt as u8 => &self.receipts,
            _ => &self.state,
        }
    }
}

fn engine(cause: fjall::Error) -> StoreError {
    StoreError::Engine(cause.to_string())
}

fn failed(cause: std::io::Error) -> StoreError {
    StoreError::Engine(format!("journal: {cause}"))
}

impl Engine for FjallEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .keyspace_of(key)
            .get(key)
            .map_err(engine)?
            .map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let range = self
            .keyspace_of(prefix)
            .range::<&[u8], _>((start, Bound::Unbounded));
        let entries = range.map(|entry| entry.into_inner().map_err(engine));
        entries_under(prefix, limit, entries)
    }

    fn for_each(&self, visit: Visit<'_>) -> Result<(), StoreError> {
        let snapshot = self.database.snapshot();
        for keyspace in [&self.state, &self.events, &self.receipts] {
            for entry in snapshot.iter(keyspace) {
                let (key, value) = entry.into_inner().map_err(engine)?;
                visit(&key, &value)?;
            }
        }
        Ok(())
    }

    fn write(&self, batch: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        self.journal.check().map_err(failed)?;
        let mut writes = self.database.batch();
        for (key, value) in batch {
            let keyspace = self.keyspace_of(&key);
            match value {
                Some(value) => writes.insert(keyspace, key, value),
                None => writes.remove(keyspace, key),
            }
        }
        writes.commit().map_err(engine)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::Buffer).map_err(engine)?;
        self.journal.sync().map_err(failed)?;
        // Where fjall has given up meanwhile, it may have written elsewhere.
        self.database.persist(PersistMode::Buffer).map_err(engine)
    }
}

/// Opens or creates a database whose journal is made durable by whoever writes.
pub(super) fn open_database(
    directory: &Path,
    cache_bytes: u64,
    max_journal_bytes: u64,
) -> Result<Database, StoreError> {
    drop_torn_end(directory).map_err(|cause| not_opened(directory, &cause))?;
    Database::builder(directory)
        .cache_size(cache_bytes)
        .max_journaling_size(max_journal_bytes)
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()
        .map_err(|cause| match cause {
            fjall::Error::Locked => not_opened(directory, &"another veridem is running on it"),
            cause => not_opened(directory, &cause),
        })
}

/// Names the directory that cannot be opened.
pub(super) fn not_opened(directory: &Path, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open(format!("{}: {cause}", directory.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn journals_that_fjall_begins_and_drops_meanwhile_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let open = || open_database(directory.path(), 8 << 20, 64 << 20).unwrap();
        let options = || KeyspaceCreateOptions::default().max_memtable_size(1 << 20);
        const COMMITS: u64 = 40_000;
        {
            let database = open();
            let keyspace = database.keyspace("state", options).unwrap();
            let journal = ActiveJournal::of(directory.path());
            let mut synced = BTreeSet::new();
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut random = ChaCha8Rng::seed_from_u64(7);
                    for number in 0..COMMITS {
                        let mut value = vec![0; 4_000];
                        random.fill_bytes(&mut value);
                        let mut batch = database.batch();
                        batch.insert(&keyspace, number.to_be_bytes(), value);
                        batch.commit().unwrap();
                    }
                });
                while !writer.is_finished() {
                    database.persist(PersistMode::Buffer).unwrap();
                    journal.sync().unwrap();
                    synced.extend(journal.synced());
                }
            });
            journal.sync().unwrap();
            assert!(synced.len() > 2, "{synced:?}");
        }
        let keyspace = open().keyspace("state", options).unwrap();
        assert_eq!(keyspace.len().unwrap() as u64, COMMITS);
    }
}
