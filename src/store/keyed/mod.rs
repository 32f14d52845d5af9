//! `Store` over any ordered key-value engine with atomic batches: the encoding is written once.

mod warm_up;
mod write;

use std::hash::Hash;
use std::sync::Arc;

use parking_lot::RwLock;
use quick_cache::sync::Cache as QuickCache;
use serde::de::DeserializeOwned;
use veridem_matchers::RecordKey;
use veridem_matchers::block::BlockingKey;

use crate::store::cache::Cache;
use crate::store::encoding::{
    FORMAT_KEY, Key, Space, TENANTS_KEY, Tag, decode, encode, last_number, space_of,
};
use crate::store::migrate::migrate;
use crate::store::spaces::{Spaces, TenantSpaces};
use crate::store::{
    AuditHead, Counters, Entry, Generation, IdentityId, QuarantineId, RecordNumber, SignalReceipt,
    SinkProgress, Store, StoreError, StoredAnswer, StoredAuditEntry, StoredDelivery, StoredEdge,
    StoredErasure, StoredEvent, StoredFold, StoredIdentity, StoredModel, StoredModelChange,
    StoredOverride, StoredQuarantined, StoredRecord, StoredReference, StoredReviewTask,
    StoredSample, Tenant, Visit, Write,
};

/// The format of what is stored.
pub(super) const STORE_FORMAT_VERSION: u32 = 5;
/// The oldest format that is brought to the present one.
const OLDEST_FORMAT_VERSION: u32 = 2;
/// The parts of a large value. sled (0.34.7) panicked when it was opened after power loss behind a value of 16 KiB; it takes these.
const PART_BYTES: usize = 2 << 10;
/// The latest events, for sinks and watches that follow closely.
const EVENT_CACHE_BYTES: u64 = 24 << 20;
/// What a record number takes in its cache.
const NUMBER_BYTES: u64 = 64;
/// Entries that one write removes.
const REMOVED_AT_ONCE: usize = 10_000;

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

/// The key of a record number: tag, space and hash.
type NumberKey = [u8; 19];

/// A store over an engine.
pub struct KeyedStore<E> {
    engine: E,
    spaces: RwLock<Spaces>,
    /// Record numbers by their keys. A record keeps its number for ever.
    numbers: QuickCache<NumberKey, RecordNumber>,
    records: Cache<RecordNumber, StoredRecord>,
    folds: Cache<RecordNumber, StoredFold>,
    edges: Cache<RecordNumber, Vec<StoredEdge>>,
    identities: Cache<IdentityId, StoredIdentity>,
    /// The latest events, by their sequence numbers.
    events: Cache<u64, StoredEvent>,
}

impl<E: Engine> KeyedStore<E> {
    /// Opens a store: writes the format version into an empty one, refuses another version.
    /// What is read often stays decoded in at most `cache_bytes` of memory.
    pub(super) fn open(engine: E, cache_bytes: u64) -> Result<Self, StoreError> {
        let store = Self {
            engine,
            spaces: RwLock::default(),
            numbers: QuickCache::new(
                usize::try_from(cache_bytes / 16 / NUMBER_BYTES).unwrap_or(usize::MAX),
            ),
            records: Cache::new(cache_bytes / 8 * 5),
            folds: Cache::new(cache_bytes / 16),
            edges: Cache::new(cache_bytes / 8),
            identities: Cache::new(cache_bytes / 8),
            events: Cache::new(EVENT_CACHE_BYTES.min(cache_bytes / 8)),
        };
        if store.format_version()?.is_none() {
            store.engine.write(vec![(
                FORMAT_KEY.to_vec(),
                Some(encode(&STORE_FORMAT_VERSION)),
            )])?;
            store.engine.sync()?;
        }
        store.read_spaces()?;
        Ok(store)
    }

    fn format_version(&self) -> Result<Option<u32>, StoreError> {
        self.get("format version", FORMAT_KEY.to_vec())
    }

    /// Brings what an earlier version wrote to the present format, and reads which spaces there are.
    fn read_spaces(&self) -> Result<(), StoreError> {
        match self.format_version()?.unwrap_or_default() {
            STORE_FORMAT_VERSION => {}
            older @ OLDEST_FORMAT_VERSION.. if older < STORE_FORMAT_VERSION => {
                migrate(&self.engine, older)?;
            }
            other => {
                return Err(StoreError::Open(format!(
                    "it has format version {other}, this veridem reads {OLDEST_FORMAT_VERSION} to {STORE_FORMAT_VERSION}"
                )));
            }
        }
        let spaces = self.get("tenants", TENANTS_KEY.to_vec())?;
        *self.spaces.write() = spaces.unwrap_or_default();
        Ok(())
    }

    /// The space of a tenant; of one that has written nothing yet there is nothing to find.
    fn space(&self, tenant: &Tenant) -> Space {
        let spaces = self.spaces.read();
        let of_tenant = spaces.tenants.get(tenant);
        of_tenant.map_or(Space::MAX, |spaces| spaces.own)
    }

    /// The space of a generation.
    fn space_in(&self, tenant: &Tenant, generation: Generation) -> Space {
        self.space_of(tenant, generation).unwrap_or(Space::MAX)
    }

    /// The key of something of a tenant.
    fn key(&self, tenant: &Tenant, tag: Tag) -> Key {
        Key::new(self.space(tenant), tag)
    }

    /// The key of something of a generation.
    fn key_in(&self, tenant: &Tenant, generation: Generation, tag: Tag) -> Key {
        Key::new(self.space_in(tenant, generation), tag)
    }

    fn space_of(&self, tenant: &Tenant, generation: Generation) -> Option<Space> {
        let spaces = self.spaces.read();
        let of_tenant = spaces.tenants.get(tenant)?;
        of_tenant.generations.get(&generation).copied()
    }

    /// A tenant's own space, given here where it has none.
    fn own_space(&self, tenant: &Tenant) -> Result<Space, StoreError> {
        if let Some(spaces) = self.spaces.read().tenants.get(tenant) {
            return Ok(spaces.own);
        }
        self.change_spaces(|spaces| {
            if let Some(known) = spaces.tenants.get(tenant) {
                return Ok(known.own);
            }
            let own = spaces.give()?;
            let of_tenant = TenantSpaces::new(own);
            spaces.tenants.insert(tenant.clone(), of_tenant);
            Ok(own)
        })
    }

    fn change_spaces<T>(
        &self,
        change: impl FnOnce(&mut Spaces) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut known = self.spaces.write();
        let mut spaces = known.clone();
        let result = change(&mut spaces)?;
        self.engine
            .write(vec![(TENANTS_KEY.to_vec(), Some(encode(&spaces)))])?;
        *known = spaces;
        Ok(result)
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

    fn get_cached<K: Copy + Eq + Hash, T: DeserializeOwned>(
        &self,
        what: &'static str,
        cache: &Cache<K, T>,
        name: (Space, K),
        key: impl FnOnce() -> Key,
    ) -> Result<Option<Arc<T>>, StoreError> {
        cache.get(name, || {
            let Some(bytes) = self.engine.get(&key().bytes())? else {
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

    fn get_parts<T: DeserializeOwned>(
        &self,
        what: &'static str,
        prefix: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let parts = self.engine.scan(prefix, None, usize::MAX)?;
        let value: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        if value.is_empty() {
            return Ok(None);
        }
        decode(what, &value).map(Some)
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
        generation: Generation,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredRecord>>, StoreError> {
        let space = self.space_in(tenant, generation);
        self.get_cached("source record", &self.records, (space, number), || {
            Key::new(space, Tag::Record).number(number)
        })
    }

    fn fold(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredFold>>, StoreError> {
        let space = self.space(tenant);
        self.get_cached("fold", &self.folds, (space, number), || {
            Key::new(space, Tag::Fold).number(number)
        })
    }

    fn record_number(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<Option<RecordNumber>, StoreError> {
        let key = self
            .key(tenant, Tag::RecordNumber)
            .hash(&[&key.source, &key.record_id])
            .bytes();
        let cached = NumberKey::try_from(key.as_slice()).ok();
        if let Some(number) = cached.and_then(|key| self.numbers.get(&key)) {
            return Ok(Some(number));
        }
        let number = self.get("record number", key)?;
        if let (Some(key), Some(number)) = (cached, number) {
            self.numbers.insert(key, number);
        }
        Ok(number)
    }

    fn records_from(
        &self,
        tenant: &Tenant,
        generation: Generation,
        first: RecordNumber,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let key = || self.key_in(tenant, generation, Tag::Record);
        let after = first.checked_sub(1).map(|before| key().number(before));
        let records = self.scan(
            "source record",
            key().bytes(),
            after.map(Key::bytes).as_deref(),
            limit,
        )?;
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    fn edges(
        &self,
        tenant: &Tenant,
        generation: Generation,
        number: RecordNumber,
    ) -> Result<Arc<Vec<StoredEdge>>, StoreError> {
        let space = self.space_in(tenant, generation);
        let edges = self.edges.get((space, number), || {
            let key = Key::new(space, Tag::Edges).number(number);
            // That a record has none is remembered too: its neighbours are asked for again and again.
            Ok(Some(match self.engine.get(&key.bytes())? {
                Some(bytes) => (decode("edges", &bytes)?, bytes.len()),
                None => (Vec::new(), 0),
            }))
        });
        Ok(edges?.unwrap_or_default())
    }

    fn identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<Arc<StoredIdentity>>, StoreError> {
        let space = self.space(tenant);
        self.get_cached("identity", &self.identities, (space, *id), || {
            Key::new(space, Tag::Identity).id(&id.0)
        })
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
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let space = self.space(tenant);
        // Whoever follows the feed closely finds what was just committed.
        let mut next = from_sequence.max(1);
        let mut events = Vec::new();
        while events.len() < limit
            && let Some(event) = self.events.peek((space, next))
        {
            events.push(event);
            next += 1;
        }
        if events.len() < limit {
            let key = || Key::new(space, Tag::Event);
            let after = key().number(next - 1).bytes();
            let further = limit - events.len();
            let stored = self.scan("identity event", key().bytes(), Some(&after), further)?;
            events.extend(stored.into_iter().map(|(_, event)| Arc::new(event)));
        }
        Ok(events)
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
            self.key(tenant, Tag::TaskByPriority).bytes(),
            after,
            limit,
        )
    }

    fn overrides(
        &self,
        tenant: &Tenant,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOverride>, StoreError> {
        let key = || self.key(tenant, Tag::Override);
        let after = key().number(after).bytes();
        let overrides = self.scan("override", key().bytes(), Some(&after), limit)?;
        Ok(overrides.into_iter().map(|(_, value)| value).collect())
    }

    fn answer(
        &self,
        tenant: &Tenant,
        idempotency_key: &str,
    ) -> Result<Option<StoredAnswer>, StoreError> {
        let key = self.key(tenant, Tag::Answer).text(idempotency_key);
        self.get("answer", key.bytes())
    }

    fn answers(
        &self,
        tenant: &Tenant,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, StoredAnswer)>, StoreError> {
        let key = || self.key(tenant, Tag::Answer);
        let prefix = key().bytes();
        let after = after.map(|after| key().text(after).bytes());
        let answers = self.scan("answer", prefix.clone(), after.as_deref(), limit)?;
        Ok(answers
            .into_iter()
            .filter_map(|(key, answer)| {
                let text = key.get(prefix.len()..key.len().checked_sub(1)?)?;
                Some((String::from_utf8(text.to_vec()).ok()?, answer))
            })
            .collect())
    }

    fn sample(&self, tenant: &Tenant) -> Result<Option<StoredSample>, StoreError> {
        self.get_parts("sample", &self.key(tenant, Tag::Sample).bytes())
    }

    fn erasure(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<StoredErasure>, StoreError> {
        let key = self.key(tenant, Tag::Erasure).id(&id.0);
        self.get("erasure", key.bytes())
    }

    fn inactive_keys(
        &self,
        tenant: &Tenant,
        generation: Generation,
    ) -> Result<Vec<BlockingKey>, StoreError> {
        let prefix = self.key_in(tenant, generation, Tag::InactiveKey).bytes();
        let keys = self.engine.scan(&prefix, None, usize::MAX)?;
        Ok(keys
            .into_iter()
            .filter_map(|(key, _)| last_number(&key))
            .collect())
    }

    fn last_change(&self, tenant: &Tenant, generation: Generation) -> Result<u64, StoreError> {
        let key = self.key_in(tenant, generation, Tag::LastChange);
        Ok(self.get("last change", key.bytes())?.unwrap_or_default())
    }

    fn changes_after(
        &self,
        tenant: &Tenant,
        generation: Generation,
        change: u64,
    ) -> Result<Vec<(u64, RecordNumber)>, StoreError> {
        let key = || self.key_in(tenant, generation, Tag::Change);
        let after = key().number(change).bytes();
        let changes = self.scan("record change", key().bytes(), Some(&after), usize::MAX)?;
        Ok(changes
            .into_iter()
            .filter_map(|(key, number)| Some((last_number(&key)?, number)))
            .collect())
    }

    fn sink_progress(&self, tenant: &Tenant, sink: &str) -> Result<SinkProgress, StoreError> {
        let key = |tag| self.key(tenant, tag).text(sink).bytes();
        let cursor: Option<u64> = self.get("sink cursor", key(Tag::SinkCursor))?;
        let replay: Option<(u64, u64)> = self.get("sink replay", key(Tag::SinkReplay))?;
        let (snapshot_until, replays) = replay.unwrap_or_default();
        let last_snapshot: Option<u64> = self.get("sink snapshot", key(Tag::SinkSnapshot))?;
        Ok(SinkProgress {
            cursor: cursor.unwrap_or_default(),
            snapshot_until,
            last_snapshot: last_snapshot.unwrap_or_default(),
            replays,
        })
    }

    fn deliveries(
        &self,
        tenant: &Tenant,
        sink: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, StoredDelivery)>, StoreError> {
        let key = || self.key(tenant, Tag::Delivery).text(sink);
        let after = key().number(after).bytes();
        let deliveries = self.scan("delivery", key().bytes(), Some(&after), limit)?;
        Ok(deliveries
            .into_iter()
            .filter_map(|(key, delivery)| Some((last_number(&key)?, delivery)))
            .collect())
    }

    fn references(
        &self,
        tenant: &Tenant,
        sink: &str,
        record: Option<RecordNumber>,
        limit: usize,
    ) -> Result<Vec<StoredReference>, StoreError> {
        let key = self.key(tenant, Tag::ReferenceByRecord).text(sink);
        let key = match record {
            Some(record) => key.number(record),
            None => key,
        };
        let references = self.scan("cross reference", key.bytes(), None, limit)?;
        Ok(references
            .into_iter()
            .map(|(_, reference)| reference)
            .collect())
    }

    fn reference(
        &self,
        tenant: &Tenant,
        sink: &str,
        consumer_record_id: &str,
    ) -> Result<Option<StoredReference>, StoreError> {
        let key = self.key(tenant, Tag::ReferenceById);
        self.get(
            "cross reference",
            key.hash(&[sink, consumer_record_id]).bytes(),
        )
    }

    fn identities_after(
        &self,
        tenant: &Tenant,
        after: Option<IdentityId>,
        limit: usize,
    ) -> Result<Vec<StoredIdentity>, StoreError> {
        let key = || self.key(tenant, Tag::Identity);
        let after = after.map(|id| key().id(&id.0).bytes());
        let identities = self.scan("identity", key().bytes(), after.as_deref(), limit)?;
        Ok(identities
            .into_iter()
            .map(|(_, identity)| identity)
            .collect())
    }

    fn quarantined(
        &self,
        tenant: &Tenant,
        after: Option<QuarantineId>,
        limit: usize,
    ) -> Result<Vec<(QuarantineId, StoredQuarantined)>, StoreError> {
        let key = || self.key(tenant, Tag::Quarantined);
        let after = after.map(|id| key().id(&id.0).bytes());
        let entries = self.scan("quarantined signal", key().bytes(), after.as_deref(), limit)?;
        Ok(entries
            .into_iter()
            .filter_map(|(key, entry)| {
                let id = key[key.len().checked_sub(16)?..].try_into().ok()?;
                Some((QuarantineId(id), entry))
            })
            .collect())
    }

    fn quarantined_entry(
        &self,
        tenant: &Tenant,
        id: QuarantineId,
    ) -> Result<Option<StoredQuarantined>, StoreError> {
        let key = self.key(tenant, Tag::Quarantined).id(&id.0);
        self.get("quarantined signal", key.bytes())
    }

    fn audit_head(&self, tenant: &Tenant) -> Result<AuditHead, StoreError> {
        let head = self.get("audit head", self.key(tenant, Tag::AuditHead).bytes())?;
        Ok(head.unwrap_or_default())
    }

    fn audit_entries(
        &self,
        tenant: &Tenant,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredAuditEntry>, StoreError> {
        let key = || self.key(tenant, Tag::Audit);
        let after = key().number(after).bytes();
        let entries = self.scan("audit entry", key().bytes(), Some(&after), limit)?;
        // Where the two differ the entry was changed, which its hash shows; whoever reads on reads on from its place.
        let at_its_place = |(key, entry): (Vec<u8>, StoredAuditEntry)| StoredAuditEntry {
            number: last_number(&key).unwrap_or(entry.number),
            ..entry
        };
        Ok(entries.into_iter().map(at_its_place).collect())
    }

    fn model(&self, tenant: &Tenant) -> Result<Option<StoredModel>, StoreError> {
        self.get_parts("model", &self.key(tenant, Tag::Model).bytes())
    }

    fn next_model(&self, tenant: &Tenant) -> Result<Option<StoredModel>, StoreError> {
        self.get_parts("model", &self.key(tenant, Tag::NextModel).bytes())
    }

    fn model_change(&self, tenant: &Tenant) -> Result<Option<StoredModelChange>, StoreError> {
        self.get("model change", self.key(tenant, Tag::ModelChange).bytes())
    }

    fn in_force(&self, tenant: &Tenant) -> Generation {
        let spaces = self.spaces.read();
        let of_tenant = spaces.tenants.get(tenant);
        of_tenant.map(|spaces| spaces.in_force).unwrap_or_default()
    }

    fn begin_generation(&self, tenant: &Tenant) -> Result<Generation, StoreError> {
        self.own_space(tenant)?;
        self.change_spaces(|spaces| {
            let space = spaces.give()?;
            let of_tenant = spaces.tenants.entry(tenant.clone());
            let of_tenant = of_tenant.or_insert_with(|| TenantSpaces::new(space));
            let latest = of_tenant.generations.keys().next_back();
            let next = Generation(latest.map_or(0, |latest| latest.0 + 1));
            of_tenant.generations.insert(next, space);
            Ok(next)
        })
    }

    fn remove_generation(&self, tenant: &Tenant, generation: Generation) -> Result<(), StoreError> {
        let Some(space) = self.space_of(tenant, generation) else {
            return Ok(());
        };
        if self.in_force(tenant) == generation {
            return Err(StoreError::Engine(
                "what is in force cannot be removed".to_owned(),
            ));
        }
        for tag in [
            Tag::Record,
            Tag::Edges,
            Tag::InactiveKey,
            Tag::Change,
            Tag::LastChange,
        ] {
            let prefix = Key::new(space, tag).bytes();
            loop {
                let entries = self.engine.scan(&prefix, None, REMOVED_AT_ONCE)?;
                if entries.is_empty() {
                    break;
                }
                let removed = entries.into_iter().map(|(key, _)| (key, None));
                self.engine.write(removed.collect())?;
            }
        }
        self.change_spaces(|spaces| {
            if let Some(of_tenant) = spaces.tenants.get_mut(tenant) {
                of_tenant.generations.remove(&generation);
            }
            Ok(())
        })
    }

    fn warm_up(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.fill_caches(tenant)
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.spaces.read().tenants.keys().cloned().collect()
    }

    fn export(&self, tenant: Option<&Tenant>, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(tenant) = tenant else {
            return self.engine.for_each(visit);
        };
        let all = self.spaces.read().clone();
        let of_tenant = all.tenants.get(tenant).cloned();
        let mut wanted: Vec<Space> = Vec::new();
        if let Some(spaces) = &of_tenant {
            wanted.push(spaces.own);
            wanted.extend(spaces.generations.values());
        }
        let exported = Spaces {
            tenants: of_tenant
                .map(|spaces| (tenant.clone(), spaces))
                .into_iter()
                .collect(),
            next: all.next,
        };
        visit(TENANTS_KEY, &encode(&exported))?;
        self.engine.for_each(&mut |key, value| {
            let is_wanted = match space_of(key) {
                Some(space) => wanted.contains(&space),
                None => key != TENANTS_KEY,
            };
            if is_wanted { visit(key, value) } else { Ok(()) }
        })
    }

    fn import(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        let batch = entries.into_iter().map(|(key, value)| (key, Some(value)));
        self.engine.write(batch.collect())
    }

    fn finish_import(&self) -> Result<(), StoreError> {
        self.read_spaces()?;
        self.engine.sync()
    }

    fn commit(
        &self,
        tenant: &Tenant,
        generation: Generation,
        writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        self.write(tenant, generation, writes)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }
}
