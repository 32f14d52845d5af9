//! What could not be taken, with the reasons, until somebody mends or discards it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::resolver::EngineError;
use crate::store::{QuarantineId, Store, StoreError, StoredQuarantined, Tenant, Write};

/// Entries read at once.
const READ_AT_ONCE: usize = 100;
/// Entries of a tenant at most; then the way in is closed to what would have to be set aside.
const MAX_ENTRIES: usize = 100_000;

/// The quarantine of every tenant, in the store.
#[derive(Clone)]
pub struct Quarantine {
    store: Arc<dyn Store>,
    /// Entries of each tenant; held while they change, so that one entry is not counted twice.
    counts: Arc<Mutex<FxHashMap<Tenant, usize>>>,
}

impl Quarantine {
    /// Over a store that has these tenants.
    pub fn open(store: Arc<dyn Store>, tenants: &[Tenant]) -> Result<Self, StoreError> {
        let mut counts = FxHashMap::default();
        for tenant in tenants {
            let count = count_of(store.as_ref(), tenant)?;
            show(tenant, count);
            counts.insert(tenant.clone(), count);
        }
        Ok(Self {
            store,
            counts: Arc::new(Mutex::new(counts)),
        })
    }

    /// The store that it is in.
    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// An entry.
    pub(super) async fn get(
        &self,
        tenant: &Tenant,
        id: QuarantineId,
    ) -> Result<StoredQuarantined, EngineError> {
        let tenant = tenant.clone();
        let found =
            self.blocking(move |quarantine| Ok(quarantine.store.quarantined_entry(&tenant, id)?));
        found.await?.ok_or(EngineError::NotFound {
            what: "the quarantined signal",
        })
    }

    /// Puts an entry, durably; one that is there is replaced.
    pub(super) async fn put(
        &self,
        tenant: &Tenant,
        id: QuarantineId,
        entry: StoredQuarantined,
    ) -> Result<(), EngineError> {
        let tenant = tenant.clone();
        self.blocking(move |quarantine| {
            let mut counts = quarantine.counts.lock();
            let is_new = quarantine.store.quarantined_entry(&tenant, id)?.is_none();
            let count = counts.entry(tenant.clone()).or_default();
            if is_new && *count >= MAX_ENTRIES {
                return Err(EngineError::Overloaded);
            }
            quarantine.write(&tenant, vec![Write::Quarantined(id, Some(Box::new(entry)))])?;
            *count += usize::from(is_new);
            show(&tenant, *count);
            Ok(())
        })
        .await
    }

    /// Removes entries, durably; how many there were.
    pub async fn remove(
        &self,
        tenant: &Tenant,
        ids: BTreeSet<QuarantineId>,
    ) -> Result<u64, EngineError> {
        let tenant = tenant.clone();
        self.blocking(move |quarantine| {
            let mut counts = quarantine.counts.lock();
            let mut writes = Vec::new();
            for id in ids {
                if quarantine.store.quarantined_entry(&tenant, id)?.is_some() {
                    writes.push(Write::Quarantined(id, None));
                }
            }
            let removed = writes.len();
            if removed > 0 {
                quarantine.write(&tenant, writes)?;
                let count = counts.entry(tenant.clone()).or_default();
                *count = count.saturating_sub(removed);
                show(&tenant, *count);
            }
            Ok(removed as u64)
        })
        .await
    }

    /// Counts a tenant's entries anew: some have gone with a person who was erased.
    pub async fn recount(&self, tenant: &Tenant) -> Result<(), EngineError> {
        let tenant = tenant.clone();
        self.blocking(move |quarantine| {
            let mut counts = quarantine.counts.lock();
            let count = count_of(quarantine.store.as_ref(), &tenant)?;
            show(&tenant, count);
            counts.insert(tenant, count);
            Ok(())
        })
        .await
    }

    fn write(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<(), EngineError> {
        let in_force = self.store.in_force(tenant);
        self.store.commit(tenant, in_force, writes)?;
        Ok(self.store.flush()?)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let quarantine = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&quarantine)).await;
        done.unwrap_or(Err(EngineError::Stopping))
    }
}

fn show(tenant: &Tenant, count: usize) {
    metrics::gauge!("veridem_quarantined_signals", "tenant" => tenant.as_str().to_owned())
        .set(count as f64);
}

fn count_of(store: &dyn Store, tenant: &Tenant) -> Result<usize, StoreError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = store.quarantined(tenant, after, READ_AT_ONCE)?;
        let Some((last, _)) = page.last() else {
            return Ok(count);
        };
        after = Some(*last);
        count += page.len();
    }
}
