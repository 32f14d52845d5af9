//! A queue on disk, for who has to pass things on later.

use std::ops::Bound;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::StoreError;
use super::fjall_store::{not_opened, open_database};

/// Memory for what was read.
const CACHE_BYTES: u64 = 16 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// Numbered values that wait, and those that were given up.
pub struct DurableQueue {
    database: Database,
    waiting: Keyspace,
    refused: Keyspace,
}

/// What one step changes, all or nothing.
#[derive(Debug, Default)]
pub struct QueueChange {
    /// Values that come to wait, under numbers that were never used.
    pub pushed: Vec<(u64, Vec<u8>)>,
    /// Values that wait no more.
    pub removed: Vec<u64>,
    /// Values that are given up; they wait no more.
    pub refused: Vec<(u64, Vec<u8>)>,
    /// Values that were given up and are kept no longer.
    pub forgotten: Vec<u64>,
}

fn failed(cause: fjall::Error) -> StoreError {
    StoreError::Engine(cause.to_string())
}

impl DurableQueue {
    /// Opens or creates the queue in a directory.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let database = open_database(directory, CACHE_BYTES, MAX_JOURNAL_BYTES)?;
        let keyspace = |name: &str| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            database
                .keyspace(name, options)
                .map_err(|cause| not_opened(directory, &cause))
        };
        Ok(Self {
            waiting: keyspace("waiting")?,
            refused: keyspace("refused")?,
            database,
        })
    }

    /// What waits, in the order of numbers, after one.
    pub fn waiting(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        entries(&self.waiting, after, limit)
    }

    /// What was given up, in the order of numbers, after one.
    pub fn refused(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        entries(&self.refused, after, limit)
    }

    /// Changes everything or nothing.
    pub fn commit(&self, change: QueueChange) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for (number, value) in change.pushed {
            batch.insert(&self.waiting, number.to_be_bytes(), value);
        }
        for number in change.removed {
            batch.remove(&self.waiting, number.to_be_bytes());
        }
        for (number, value) in change.refused {
            batch.remove(&self.waiting, number.to_be_bytes());
            batch.insert(&self.refused, number.to_be_bytes(), value);
        }
        for number in change.forgotten {
            batch.remove(&self.refused, number.to_be_bytes());
        }
        batch.commit().map_err(failed)
    }

    /// Returns when every finished commit survives power loss.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncData).map_err(failed)
    }
}

fn entries(
    keyspace: &Keyspace,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let after = after.map(u64::to_be_bytes);
    let start = after
        .as_ref()
        .map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_slice()));
    let range = keyspace.range::<&[u8], _>((start, Bound::Unbounded));
    let entry = |entry: fjall::Guard| {
        let (key, value) = entry.into_inner().map_err(failed)?;
        let number = key.as_ref().try_into().map(u64::from_be_bytes);
        let number = number.map_err(|_| StoreError::Unreadable {
            what: "queue",
            cause: "a key is no number".to_owned(),
        })?;
        Ok((number, value.to_vec()))
    };
    range.take(limit).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    fn bytes_in(directory: &Path) -> u64 {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            // Deleted meanwhile.
            Err(_) => 0,
        });
        sizes.sum()
    }

    #[test]
    fn what_passes_through_does_not_stay_on_the_disk() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let queue = DurableQueue::open(directory.path()).expect("opens");
        let mut random = ChaCha8Rng::seed_from_u64(7);
        // 600 MB in all, of which 8 MB wait at any moment.
        let (size, group, most) = (40_000, 20, 200);
        let mut largest = 0;
        for first in (0..15_000_u64).step_by(group) {
            let numbers = first..first + group as u64;
            let value = |number: u64| {
                let mut value = vec![0; size];
                random.fill_bytes(&mut value);
                (number, value)
            };
            let pushed = numbers.clone().map(value).collect();
            let removed = numbers.filter_map(|number| number.checked_sub(most));
            let change = QueueChange {
                pushed,
                removed: removed.collect(),
                ..QueueChange::default()
            };
            queue.commit(change).expect("commits");
            largest = largest.max(bytes_in(directory.path()));
        }
        assert_eq!(queue.waiting(None, 10_000).expect("reads").len(), 200);
        println!("{} MB at most", largest / 1_000_000);
        assert!(largest < 8_000_000 + 200_000_000, "{largest} bytes");
    }
}
