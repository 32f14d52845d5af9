//! Decoded values of the store, kept in bounded memory. A commit writes through; a read that missed does not overwrite what a
//! commit has put there in the meantime.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;

use super::StoreError;

/// What a decoded value takes in memory for each byte of its encoding.
const MEMORY_PER_ENCODED_BYTE: u64 = 3;
/// What an entry takes besides.
const ENTRY_BYTES: u64 = 160;

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

impl<T> Weighter<Vec<u8>, Entry<T>> for Weight {
    fn weight(&self, key: &Vec<u8>, entry: &Entry<T>) -> u64 {
        entry.encoded_bytes as u64 * MEMORY_PER_ENCODED_BYTE + key.len() as u64 + ENTRY_BYTES
    }
}

/// Values by their encoded keys.
pub(super) struct Cache<T>(QuickCache<Vec<u8>, Entry<T>, Weight, rustc_hash::FxBuildHasher>);

impl<T> Cache<T> {
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
        key: &[u8],
        read: impl FnOnce() -> Result<Option<(T, usize)>, StoreError>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        let guard = match self.0.get_value_or_guard(key, None) {
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
    pub(super) fn peek(&self, key: &[u8]) -> Option<Arc<T>> {
        self.0.get(key).map(|entry| entry.value)
    }

    /// Puts what a commit has written.
    pub(super) fn put(&self, key: &[u8], value: Arc<T>, encoded_bytes: usize) {
        self.0.insert(
            key.to_vec(),
            Entry {
                value,
                encoded_bytes,
            },
        );
    }

    /// Forgets what a commit has removed.
    pub(super) fn remove(&self, key: &[u8]) {
        self.0.remove(key);
    }

    /// Whether hardly anything more fits in without something else going out.
    pub(super) fn is_full(&self) -> bool {
        self.0.weight() > self.0.capacity() / 10 * 9
    }
}
