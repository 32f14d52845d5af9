//! A store in memory, for tests and for dry runs.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::RwLock;

use super::keyed::{Engine, KeyedStore, entries_under};
use super::{Entry, StoreError, Visit};

/// Entries in memory.
#[derive(Default)]
pub struct MemoryEngine(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

/// A store that is gone with the process.
pub type MemoryStore = KeyedStore<MemoryEngine>;

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::open(MemoryEngine::default(), 16 << 20)
            .expect("an empty store has the current format")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.read().get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let entries = self.0.read();
        let range = entries.range::<[u8], _>((start, Bound::Unbounded));
        entries_under(prefix, limit, range.map(Ok))
    }

    fn for_each(&self, visit: Visit<'_>) -> Result<(), StoreError> {
        let entries = self.0.read();
        entries
            .iter()
            .try_for_each(|(key, value)| visit(key, value))
    }

    fn write(&self, batch: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        let mut entries = self.0.write();
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
