//! Events as they are written for every sink that takes them as they are: once, however many sinks there are.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::store::{StoredEvent, Tenant};

/// What written events may take in memory together; sinks that keep up are never further apart.
const MAX_BYTES: u64 = 4 << 20;
const USUAL_EVENT_BYTES: u64 = 2_048;

type Key = (Tenant, u64);

#[derive(Clone)]
struct Entry {
    /// An event that was stored anew, as erasing a person does, is written anew.
    of: Weak<StoredEvent>,
    cloud_event: Bytes,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Entry> for Weight {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        entry.cloud_event.len() as u64
    }
}

/// The CloudEvents that were written last.
#[derive(Clone)]
pub struct WrittenEvents(Arc<Cache<Key, Entry, Weight>>);

impl Default for WrittenEvents {
    fn default() -> Self {
        let items = (MAX_BYTES / USUAL_EVENT_BYTES) as usize;
        Self(Arc::new(Cache::with_weighter(items, MAX_BYTES, Weight)))
    }
}

impl WrittenEvents {
    /// The CloudEvent of an event, written by `write` where it is not at hand. Whoever else wants the same one meanwhile waits.
    pub(super) fn get<E>(
        &self,
        tenant: &Tenant,
        event: &Arc<StoredEvent>,
        write: impl Fn() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let written = || {
            Ok(Entry {
                of: Arc::downgrade(event),
                cloud_event: write()?,
            })
        };
        let key = (tenant.clone(), event.sequence);
        let mut entry = self.0.get_or_insert_with(&key, written)?;
        if entry.of.as_ptr() != Arc::as_ptr(event) {
            entry = written()?;
            self.0.insert(key, entry.clone());
        }
        Ok(entry.cloud_event)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use veridem_matchers::golden::GoldenRecord;

    use super::*;
    use crate::store::{Cause, EventKind, IdentityId, StoredIdentity};

    fn event() -> StoredEvent {
        let identity = StoredIdentity {
            id: IdentityId([1; 16]),
            members: Vec::new(),
            member_keys: Vec::new(),
            golden: GoldenRecord::default(),
            version: 1,
            created_at_sequence: 7,
            changed_at_sequence: 7,
            ended: None,
        };
        StoredEvent {
            sequence: 7,
            kind: EventKind::Created,
            occurred_at_ms: 0,
            identity: Arc::new(identity),
            previous_sequence: 0,
            merged: Vec::new(),
            split_into: Vec::new(),
            moved: Vec::new(),
            cause: Cause::Signal("pos".to_owned(), "S1".to_owned()),
        }
    }

    #[test]
    fn an_event_is_written_once_and_anew_where_it_was_stored_anew() {
        let (written, tenant, times) = (
            WrittenEvents::default(),
            Tenant::default_tenant(),
            Cell::new(0),
        );
        let write = || {
            times.set(times.get() + 1);
            Ok::<_, Infallible>(Bytes::from(format!("writing {}", times.get())))
        };
        let event = Arc::new(event());
        for _ in 0..2 {
            assert_eq!(written.get(&tenant, &event, write), Ok("writing 1".into()));
        }
        let stored_anew = Arc::new(StoredEvent::clone(&event));
        for _ in 0..2 {
            assert_eq!(
                written.get(&tenant, &stored_anew, write),
                Ok("writing 2".into())
            );
        }
    }
}
