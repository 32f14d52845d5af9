//! `Store` over any ordered key-value engine with atomic batches: the encoding is written once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use veridem_matchers::RecordKey;
use veridem_matchers::block::BlockingKey;

use super::cache::Cache;
use super::encoding::{
    FORMAT_KEY, Key, MODEL_KEY, TENANTS_KEY, Tag, TenantNumber, decode, encode, last_number,
    tenant_of,
};
use super::{
    Counters, Entry, IdentityId, OverrideDecision, RecordNumber, SignalReceipt, Store, StoreError,
    StoredDecision, StoredEdge, StoredEvent, StoredFold, StoredIdentity, StoredOverride,
    StoredRecord, StoredReviewTask, Tenant, Visit, Write,
};

/// The format of what is stored.
const STORE_FORMAT_VERSION: u32 = 2;

/// An ordered map of bytes with atomic batches.
pub trait Engine: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// At most `limit` entries whose keys begin with `prefix` and are greater than `after`, in the order of keys.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;
    /// Shows all entries as of one moment.
    fn for_each(&self, visit: Visit<'_>) -> Result<(), StoreError>;
    /// Puts (`Some`) and removes (`None`), all or none.
    fn write(&self, batch: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError>;
    /// Returns when every finished write survives power loss.
    fn sync(&self) -> Result<(), StoreError>;
}

/// At most `limit` of some entries that come in the order of keys, as long as their keys begin with `prefix`.
pub(super) fn entries_under<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    prefix: &[u8],
    limit: usize,
    entries: impl Iterator<Item = Result<(K, V), StoreError>>,
) -> Result<Vec<Entry>, StoreError> {
    let is_wanted = |entry: &Result<(K, V), StoreError>| match entry {
        Ok((key, _)) => key.as_ref().starts_with(prefix),
        Err(_) => true,
    };
    entries
        .take_while(is_wanted)
        .take(limit)
        .map(|entry| entry.map(|(key, value)| (key.as_ref().to_vec(), value.as_ref().to_vec())))
        .collect()
}

/// A store over an engine.
pub struct KeyedStore<E> {
    engine: E,
    tenants: RwLock<BTreeMap<Tenant, TenantNumber>>,
    records: Cache<StoredRecord>,
    folds: Cache<StoredFold>,
    edges: Cache<Vec<StoredEdge>>,
    identities: Cache<StoredIdentity>,
}

/// What a commit has to show the caches, once it is written: key, value and the bytes of its encoding.
enum Fresh {
    Record(Vec<u8>, Arc<StoredRecord>, usize),
    Fold(Vec<u8>, Arc<StoredFold>, usize),
    Edges(Vec<u8>, Option<(Arc<Vec<StoredEdge>>, usize)>),
    Identity(Vec<u8>, Arc<StoredIdentity>, usize),
}

impl<E: Engine> KeyedStore<E> {
    /// Opens a store: writes the format version into an empty one, refuses another version.
    /// What is read often stays decoded in at most `cache_bytes` of memory.
    pub(super) fn open(engine: E, cache_bytes: u64) -> Result<Self, StoreError> {
        let mut store = Self {
            engine,
            tenants: RwLock::default(),
            records: Cache::new(cache_bytes / 8 * 5),
            folds: Cache::new(cache_bytes / 8),
            edges: Cache::new(cache_bytes / 8),
            identities: Cache::new(cache_bytes / 8),
        };
        match store.get::<u32>("format version", FORMAT_KEY.to_vec())? {
            None => {
                store.engine.write(vec![(
                    FORMAT_KEY.to_vec(),
                    Some(encode(&STORE_FORMAT_VERSION)),
                )])?;
                store.engine.sync()?;
            }
            Some(STORE_FORMAT_VERSION) => {}
            Some(other) => {
                return Err(StoreError::Open(format!(
                    "it has format version {other}, this veridem reads {STORE_FORMAT_VERSION}"
                )));
            }
        }
        let tenants = store.get("tenants", TENANTS_KEY.to_vec())?;
        *store.tenants.get_mut() = tenants.unwrap_or_default();
        Ok(store)
    }

    /// The key of something of a tenant; of one that has written nothing yet there is nothing to find.
    fn key(&self, tenant: &Tenant, tag: Tag) -> Key {
        let number = self.tenants.read().get(tenant).copied();
        Key::new(number.unwrap_or(TenantNumber::MAX), tag)
    }

    /// A tenant's number, given here where it has none.
    fn number_of(&self, tenant: &Tenant) -> Result<TenantNumber, StoreError> {
        if let Some(number) = self.tenants.read().get(tenant) {
            return Ok(*number);
        }
        let mut tenants = self.tenants.write();
        if let Some(number) = tenants.get(tenant) {
            return Ok(*number);
        }
        // Not their count: a restored tenant keeps the number that it had among others.
        let number = tenants.values().max().map_or(0, |largest| largest + 1);
        if number == TenantNumber::MAX {
            return Err(StoreError::Engine(
                "it has no number left for another tenant; the most is 65,535".to_owned(),
            ));
        }
        let mut known = tenants.clone();
        known.insert(tenant.clone(), number);
        self.engine
            .write(vec![(TENANTS_KEY.to_vec(), Some(encode(&known)))])?;
        *tenants = known;
        Ok(number)
    }

    fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: Vec<u8>,
    ) -> Result<Option<T>, StoreError> {
        self.engine
            .get(&key)?
            .map(|bytes| decode(what, &bytes))
            .transpose()
    }

    fn get_cached<T: DeserializeOwned>(
        &self,
        what: &'static str,
        cache: &Cache<T>,
        key: &[u8],
    ) -> Result<Option<Arc<T>>, StoreError> {
        cache.get(key, || {
            let Some(bytes) = self.engine.get(key)? else {
                return Ok(None);
            };
            Ok(Some((decode(what, &bytes)?, bytes.len())))
        })
    }

    fn scan<T: DeserializeOwned>(
        &self,
        what: &'static str,
        prefix: Vec<u8>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        let entries = self.engine.scan(&prefix, after, limit)?;
        entries
            .into_iter()
            .map(|(key, value)| Ok((key, decode(what, &value)?)))
            .collect()
    }

    /// The key before the first entry wanted, in a space ordered by a number.
    fn before(&self, tenant: &Tenant, tag: Tag, first: u64) -> Option<Vec<u8>> {
        first
            .checked_sub(1)
            .map(|before| self.key(tenant, tag).number(before).bytes())
    }

    fn encode_write(
        &self,
        tenant: TenantNumber,
        write: Write,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
        fresh: &mut Vec<Fresh>,
    ) -> Result<(), StoreError> {
        let key = |tag| Key::new(tenant, tag);
        match write {
            Write::Counters(counters) => {
                batch.push((key(Tag::Counters).bytes(), Some(encode(&counters))))
            }
            Write::NewRecord(record_key, number) => batch.push((
                key(Tag::RecordNumber)
                    .hash(&[&record_key.source, &record_key.record_id])
                    .bytes(),
                Some(encode(&number)),
            )),
            Write::Record(record) => {
                let (key, value) = (
                    key(Tag::Record).number(record.number).bytes(),
                    encode(&*record),
                );
                fresh.push(Fresh::Record(key.clone(), record, value.len()));
                batch.push((key, Some(value)));
            }
            Write::Fold(number, fold) => {
                let (key, value) = (key(Tag::Fold).number(number).bytes(), encode(&*fold));
                fresh.push(Fresh::Fold(key.clone(), fold, value.len()));
                batch.push((key, Some(value)));
            }
            Write::Edges(number, edges) => {
                let key = key(Tag::Edges).number(number).bytes();
                let value = (!edges.is_empty()).then(|| encode(&*edges));
                fresh.push(Fresh::Edges(
                    key.clone(),
                    value.as_ref().map(|value| (edges, value.len())),
                ));
                batch.push((key, value));
            }
            Write::Identity(identity) => {
                let (key, value) = (
                    key(Tag::Identity).id(&identity.id.0).bytes(),
                    encode(&*identity),
                );
                fresh.push(Fresh::Identity(key.clone(), identity, value.len()));
                batch.push((key, Some(value)));
            }
            Write::Receipt {
                source,
                signal_id,
                receipt,
            } => {
                batch.push((
                    key(Tag::Receipt).hash(&[&source, &signal_id]).bytes(),
                    Some(encode(&receipt)),
                ));
            }
            Write::Event(event) => batch.push((
                key(Tag::Event).number(event.sequence).bytes(),
                Some(encode(&event)),
            )),
            Write::OpenTask(task) => {
                self.close_task(tenant, &task.id, batch)?;
                let value = encode(&task);
                batch.push((
                    key(Tag::TaskByWeight)
                        .falling(task.score.weight.0)
                        .text(&task.id)
                        .bytes(),
                    Some(value.clone()),
                ));
                batch.push((key(Tag::TaskById).text(&task.id).bytes(), Some(value)));
            }
            Write::CloseTask(id) => self.close_task(tenant, &id, batch)?,
            Write::Override {
                records: (left, right),
                value,
            } => {
                batch.push((
                    key(Tag::OverrideOf).number(left).number(right).bytes(),
                    Some(encode(&value.decision)),
                ));
                batch.push((
                    key(Tag::OverrideOf).number(right).number(left).bytes(),
                    Some(encode(&value.decision)),
                ));
                batch.push((
                    key(Tag::OverrideByKeys)
                        .record_key(&value.left)
                        .record_key(&value.right)
                        .bytes(),
                    Some(encode(&value)),
                ));
            }
            Write::Decision {
                idempotency_key,
                decision,
            } => {
                batch.push((
                    key(Tag::Decision).text(&idempotency_key).bytes(),
                    Some(encode(&decision)),
                ));
            }
            Write::KeyActivity {
                key: blocking_key,
                inactive,
            } => {
                batch.push((
                    key(Tag::InactiveKey).number(blocking_key).bytes(),
                    inactive.then(Vec::new),
                ));
            }
            Write::Change(change, number) => batch.push((
                key(Tag::Change).number(change).bytes(),
                Some(encode(&number)),
            )),
            Write::PruneChanges(last) => {
                let changes = self
                    .engine
                    .scan(&key(Tag::Change).bytes(), None, usize::MAX)?;
                let pruned = changes
                    .into_iter()
                    .map(|(key, _)| key)
                    .take_while(|key| last_number(key).is_some_and(|change| change <= last));
                batch.extend(pruned.map(|key| (key, None)));
            }
            Write::SinkCursor(sink, sequence) => batch.push((
                key(Tag::SinkCursor).text(&sink).bytes(),
                Some(encode(&sequence)),
            )),
        }
        Ok(())
    }

    fn close_task(
        &self,
        tenant: TenantNumber,
        id: &str,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let by_id = Key::new(tenant, Tag::TaskById).text(id).bytes();
        let known: Option<StoredReviewTask> = self.get("review task", by_id.clone())?;
        if let Some(task) = known {
            let by_weight = Key::new(tenant, Tag::TaskByWeight)
                .falling(task.score.weight.0)
                .text(id);
            batch.push((by_weight.bytes(), None));
            batch.push((by_id, None));
        }
        Ok(())
    }
}

impl<E: Engine> Store for KeyedStore<E> {
    fn counters(&self, tenant: &Tenant) -> Result<Counters, StoreError> {
        Ok(self
            .get("counters", self.key(tenant, Tag::Counters).bytes())?
            .unwrap_or_default())
    }

    fn record(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredRecord>>, StoreError> {
        self.get_cached(
            "source record",
            &self.records,
            &self.key(tenant, Tag::Record).number(number).bytes(),
        )
    }

    fn fold(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredFold>>, StoreError> {
        let key = self.key(tenant, Tag::Fold).number(number).bytes();
        self.get_cached("fold", &self.folds, &key)
    }

    fn record_number(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<Option<RecordNumber>, StoreError> {
        self.get(
            "record number",
            self.key(tenant, Tag::RecordNumber)
                .hash(&[&key.source, &key.record_id])
                .bytes(),
        )
    }

    fn records_from(
        &self,
        tenant: &Tenant,
        first: RecordNumber,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let after = self.before(tenant, Tag::Record, first);
        let records = self.scan(
            "source record",
            self.key(tenant, Tag::Record).bytes(),
            after.as_deref(),
            limit,
        )?;
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    fn edges(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Arc<Vec<StoredEdge>>, StoreError> {
        let key = self.key(tenant, Tag::Edges).number(number).bytes();
        Ok(self
            .get_cached("edges", &self.edges, &key)?
            .unwrap_or_default())
    }

    fn identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<Arc<StoredIdentity>>, StoreError> {
        self.get_cached(
            "identity",
            &self.identities,
            &self.key(tenant, Tag::Identity).id(&id.0).bytes(),
        )
    }

    fn receipt(
        &self,
        tenant: &Tenant,
        source: &str,
        signal_id: &str,
    ) -> Result<Option<SignalReceipt>, StoreError> {
        self.get(
            "signal receipt",
            self.key(tenant, Tag::Receipt)
                .hash(&[source, signal_id])
                .bytes(),
        )
    }

    fn events(
        &self,
        tenant: &Tenant,
        from_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let after = self.before(tenant, Tag::Event, from_sequence);
        let events = self.scan(
            "identity event",
            self.key(tenant, Tag::Event).bytes(),
            after.as_deref(),
            limit,
        )?;
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    fn review_task(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<StoredReviewTask>, StoreError> {
        self.get(
            "review task",
            self.key(tenant, Tag::TaskById).text(id).bytes(),
        )
    }

    fn review_tasks(
        &self,
        tenant: &Tenant,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, StoredReviewTask)>, StoreError> {
        self.scan(
            "review task",
            self.key(tenant, Tag::TaskByWeight).bytes(),
            after,
            limit,
        )
    }

    fn overrides_of(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Vec<(RecordNumber, OverrideDecision)>, StoreError> {
        let overrides = self.scan(
            "override",
            self.key(tenant, Tag::OverrideOf).number(number).bytes(),
            None,
            usize::MAX,
        )?;
        Ok(overrides
            .into_iter()
            .filter_map(|(key, decision)| Some((last_number(&key)?, decision)))
            .collect())
    }

    fn overridden_records(&self, tenant: &Tenant) -> Result<Vec<RecordNumber>, StoreError> {
        let prefix = self.key(tenant, Tag::OverrideOf).bytes();
        let entries = self.engine.scan(&prefix, None, usize::MAX)?;
        let mut numbers: Vec<RecordNumber> = entries
            .iter()
            .filter_map(|(key, _)| last_number(&key[..key.len().checked_sub(8)?]))
            .collect();
        numbers.dedup();
        Ok(numbers)
    }

    fn overrides(
        &self,
        tenant: &Tenant,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, StoredOverride)>, StoreError> {
        self.scan(
            "override",
            self.key(tenant, Tag::OverrideByKeys).bytes(),
            after,
            limit,
        )
    }

    fn decision(
        &self,
        tenant: &Tenant,
        idempotency_key: &str,
    ) -> Result<Option<StoredDecision>, StoreError> {
        self.get(
            "decision",
            self.key(tenant, Tag::Decision)
                .text(idempotency_key)
                .bytes(),
        )
    }

    fn inactive_keys(&self, tenant: &Tenant) -> Result<Vec<BlockingKey>, StoreError> {
        let keys = self.engine.scan(
            &self.key(tenant, Tag::InactiveKey).bytes(),
            None,
            usize::MAX,
        )?;
        Ok(keys
            .into_iter()
            .filter_map(|(key, _)| last_number(&key))
            .collect())
    }

    fn changes_after(
        &self,
        tenant: &Tenant,
        change: u64,
    ) -> Result<Vec<(u64, RecordNumber)>, StoreError> {
        let after = self.key(tenant, Tag::Change).number(change).bytes();
        let changes = self.scan(
            "record change",
            self.key(tenant, Tag::Change).bytes(),
            Some(&after),
            usize::MAX,
        )?;
        Ok(changes
            .into_iter()
            .filter_map(|(key, number)| Some((last_number(&key)?, number)))
            .collect())
    }

    fn sink_cursor(&self, tenant: &Tenant, sink: &str) -> Result<u64, StoreError> {
        Ok(self
            .get(
                "sink cursor",
                self.key(tenant, Tag::SinkCursor).text(sink).bytes(),
            )?
            .unwrap_or_default())
    }

    fn bind_model(&self, fingerprint: &str) -> Result<String, StoreError> {
        if let Some(bound) = self.get("model fingerprint", MODEL_KEY.to_vec())? {
            return Ok(bound);
        }
        self.engine
            .write(vec![(MODEL_KEY.to_vec(), Some(encode(&fingerprint)))])?;
        self.engine.sync()?;
        Ok(fingerprint.to_owned())
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.tenants.read().keys().cloned().collect()
    }

    fn export(&self, tenant: Option<&Tenant>, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(tenant) = tenant else {
            return self.engine.for_each(visit);
        };
        let number = self.tenants.read().get(tenant).copied();
        let numbers: BTreeMap<&Tenant, TenantNumber> =
            number.map(|number| (tenant, number)).into_iter().collect();
        visit(TENANTS_KEY, &encode(&numbers))?;
        self.engine.for_each(&mut |key, value| {
            let is_wanted = match tenant_of(key) {
                Some(of) => Some(of) == number,
                None => key != TENANTS_KEY,
            };
            if is_wanted { visit(key, value) } else { Ok(()) }
        })
    }

    fn import(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        for (key, value) in &entries {
            if key == TENANTS_KEY {
                *self.tenants.write() = decode("tenants", value)?;
            }
        }
        let batch = entries.into_iter().map(|(key, value)| (key, Some(value)));
        self.engine.write(batch.collect())
    }

    fn commit(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(writes.len() + 4);
        let mut fresh = Vec::new();
        let number = self.number_of(tenant)?;
        for write in writes {
            self.encode_write(number, write, &mut batch, &mut fresh)?;
        }
        self.engine.write(batch)?;
        for fresh in fresh {
            match fresh {
                Fresh::Record(key, record, bytes) => self.records.put(&key, record, bytes),
                Fresh::Fold(key, fold, bytes) => self.folds.put(&key, fold, bytes),
                Fresh::Edges(key, Some((edges, bytes))) => self.edges.put(&key, edges, bytes),
                Fresh::Edges(key, None) => self.edges.remove(&key),
                Fresh::Identity(key, identity, bytes) => {
                    self.identities.put(&key, identity, bytes);
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }
}
