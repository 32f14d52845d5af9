//! Decoded values of the store, kept in bounded memory. A commit writes through; a read that missed does not overwrite what a
//! commit has put there in the meantime.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;

use super::StoreError;
use super::encoding::Space;

/// What a decoded value takes in memory for each byte of its encoding.
const MEMORY_PER_ENCODED_BYTE: u64 = 3;
/// What an entry takes besides.
const ENTRY_BYTES: u64 = 120;

struct Entry<T> {
    value: Arc<T>,
    encoded_bytes: usize,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            encoded_bytes: self.encoded_bytes,
        }
    }
}

#[derive(Clone)]
struct Weight;

impl<K, T> Weighter<K, Entry<T>> for Weight {
    fn weight(&self, _: &K, entry: &Entry<T>) -> u64 {
        entry.encoded_bytes as u64 * MEMORY_PER_ENCODED_BYTE + ENTRY_BYTES
    }
}

/// Values by what names them: a space, and a number or an id in it.
pub(super) struct Cache<K, T>(QuickCache<(Space, K), Entry<T>, Weight, rustc_hash::FxBuildHasher>);

impl<K: Copy + Eq + Hash, T> Cache<K, T> {
    /// A cache of at most so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let items = bytes / (MEMORY_PER_ENCODED_BYTE * 400);
        Self(QuickCache::with(
            usize::try_from(items).unwrap_or(usize::MAX).max(16),
            bytes,
            Weight,
            rustc_hash::FxBuildHasher,
            quick_cache::sync::DefaultLifecycle::default(),
        ))
    }

    /// The value of a key, read where it is not known; a value that does not exist is not remembered.
    pub(super) fn get(
        &self,
        key: (Space, K),
        read: impl FnOnce() -> Result<Option<(T, usize)>, StoreError>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        let guard = match self.0.get_value_or_guard(&key, None) {
            quick_cache::sync::GuardResult::Value(entry) => return Ok(Some(entry.value)),
            quick_cache::sync::GuardResult::Guard(guard) => guard,
            quick_cache::sync::GuardResult::Timeout => unreachable!("no timeout is given"),
        };
        let Some((value, encoded_bytes)) = read()? else {
            return Ok(None);
        };
        let value = Arc::new(value);
        // Refused where a commit came in between: its value is the newer one.
        let _ = guard.insert(Entry {
            value: value.clone(),
            encoded_bytes,
        });
        Ok(Some(value))
    }

    /// The value of a key where it is known.
    pub(super) fn peek(&self, key: (Space, K)) -> Option<Arc<T>> {
        self.0.get(&key).map(|entry| entry.value)
    }

    /// Puts what a commit has written.
    pub(super) fn put(&self, key: (Space, K), value: Arc<T>, encoded_bytes: usize) {
        self.0.insert(
            key,
            Entry {
                value,
                encoded_bytes,
            },
        );
    }

    /// Forgets what a commit has removed.
    pub(super) fn remove(&self, key: (Space, K)) {
        self.0.remove(&key);
    }

    /// Whether hardly anything more fits in without something else going out.
    pub(super) fn is_full(&self) -> bool {
        self.0.weight() > self.0.capacity() / 10 * 9
    }
}
