//! Which events a sink wants.

use std::sync::Arc;

use veridem_matchers::RecordKey;

use crate::store::{EventKind, Store, StoreError, StoredEvent, StoredIdentity, Tenant};

/// Which events a sink wants; empty lists: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kinds of events.
    pub kinds: Vec<EventKind>,
    /// Events of identities that have, had or lose a record of one of these sources.
    pub sources: Vec<String>,
}

/// How far a sink was told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Every event that it wants, up to this one.
    pub until: u64,
    /// Every living identity, as it was after this event; 0: never.
    pub last_snapshot: u64,
}

impl Filter {
    /// Whether the sink wants an event.
    pub fn takes(
        &self,
        store: &dyn Store,
        tenant: &Tenant,
        event: &StoredEvent,
    ) -> Result<bool, StoreError> {
        Ok(self.takes_kind(event.kind) && self.concerns(store, tenant, event)?)
    }

    pub(super) fn takes_kind(&self, kind: EventKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether an event, whatever its kind, is of one of the sources.
    pub(super) fn concerns(
        &self,
        store: &dyn Store,
        tenant: &Tenant,
        event: &StoredEvent,
    ) -> Result<bool, StoreError> {
        self.concerns_after(event, || store.event(tenant, event.previous_sequence))
    }

    /// The same, with the identity's event before.
    fn concerns_after(
        &self,
        event: &StoredEvent,
        before: impl FnOnce() -> Result<Option<Arc<StoredEvent>>, StoreError>,
    ) -> Result<bool, StoreError> {
        // Whoever may have heard of a person has to hear that they are erased, whatever records were left by then.
        if event.kind == EventKind::Erased
            || self.has_source(&event.identity.member_keys)
            || self.has_source(&event.moved)
        {
            return Ok(true);
        }
        // That an identity has lost its last record of a source is told by the event before.
        Ok(before()?.is_some_and(|before| self.has_source(&before.identity.member_keys)))
    }

    /// Whether a consumer that was told everything holds an identity, as far as sources decide.
    pub fn holds(&self, identity: &StoredIdentity) -> bool {
        identity.ended.is_none()
            && !identity.member_keys.is_empty()
            && self.has_source(&identity.member_keys)
    }

    /// The latest event of an identity that the sink was told: one that it wants, or what a snapshot told, whatever its kind.
    pub fn latest(
        &self,
        store: &dyn Store,
        tenant: &Tenant,
        identity: &StoredIdentity,
        told: Told,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let mut next = store.event(tenant, identity.changed_at_sequence)?;
        let mut is_after_snapshot = true;
        while let Some(event) = next {
            let before = store.event(tenant, event.previous_sequence)?;
            let is_of_snapshot = is_after_snapshot && event.sequence <= told.last_snapshot;
            is_after_snapshot &= !is_of_snapshot;
            if event.sequence <= told.until
                && (is_of_snapshot || self.takes_kind(event.kind))
                && self.concerns_after(&event, || Ok(before.clone()))?
            {
                return Ok(Some(event));
            }
            next = before;
        }
        Ok(None)
    }

    /// Whether one of some records is of a source that is asked for.
    fn has_source(&self, records: &[RecordKey]) -> bool {
        let is_of_one = |record: &RecordKey| self.sources.contains(&record.source);
        self.sources.is_empty() || records.iter().any(is_of_one)
    }
}
