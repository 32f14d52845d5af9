//! Caches that are filled at a start: what was there before is at hand from the first question on.

use std::hash::Hash;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Engine, KeyedStore, NumberKey};
use crate::store::cache::Cache;
use crate::store::encoding::{Key, Space, Tag, decode, last_id, last_number};
use crate::store::{Store, StoreError, Tenant};

/// Entries that one step of filling a cache reads.
const READ_AT_ONCE: usize = 4_096;

impl<E: Engine> KeyedStore<E> {
    /// Reads of a tenant what its caches hold.
    pub(super) fn fill_caches(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let own = self.space(tenant);
        let space = self.space_in(tenant, self.in_force(tenant));
        let (records, others) = rayon::join(
            || {
                let records = (space, Tag::Record);
                self.fill("source record", &self.records, records, last_number)
            },
            || {
                self.fill_numbers(self.key(tenant, Tag::RecordNumber).bytes())?;
                let identities = (own, Tag::Identity);
                self.fill("identity", &self.identities, identities, last_id)?;
                self.fill("edges", &self.edges, (space, Tag::Edges), last_number)
            },
        );
        records.and(others)
    }

    /// Reads what a space has under a tag into a cache, until it is full.
    fn fill<K: Copy + Eq + Hash, T: DeserializeOwned>(
        &self,
        what: &'static str,
        cache: &Cache<K, T>,
        (space, tag): (Space, Tag),
        name_of: impl Fn(&[u8]) -> Option<K>,
    ) -> Result<(), StoreError> {
        let prefix = Key::new(space, tag).bytes();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let entries = self.engine.scan(&prefix, after.as_deref(), READ_AT_ONCE)?;
            let Some((last, _)) = entries.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, bytes) in entries {
                if cache.is_full() {
                    return Ok(());
                }
                if let Some(name) = name_of(&key) {
                    cache.put((space, name), Arc::new(decode(what, &bytes)?), bytes.len());
                }
            }
        }
    }

    /// [`KeyedStore::fill`] of record numbers.
    fn fill_numbers(&self, prefix: Vec<u8>) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        while (self.numbers.len() as u64) < self.numbers.capacity() {
            let entries = self.engine.scan(&prefix, after.as_deref(), READ_AT_ONCE)?;
            let Some((last, _)) = entries.last() else {
                break;
            };
            after = Some(last.clone());
            for (key, bytes) in entries {
                if let Ok(key) = NumberKey::try_from(key.as_slice()) {
                    self.numbers.insert(key, decode("record number", &bytes)?);
                }
            }
        }
        Ok(())
    }
}
