//! `Store` over any ordered key-value engine with atomic batches: the encoding is written once.

use serde::de::DeserializeOwned;
use veridem_matchers::RecordKey;
use veridem_matchers::block::BlockingKey;

use super::encoding::{FORMAT_KEY, Key, MODEL_KEY, Tag, decode, encode, last_number};
use super::{
    Counters, IdentityId, OverrideDecision, RecordNumber, SignalReceipt, Store, StoreError,
    StoredDecision, StoredEdge, StoredEvent, StoredIdentity, StoredOverride, StoredRecord,
    StoredReviewTask, Tenant, Write,
};

/// The format of what is stored.
const STORE_FORMAT_VERSION: u32 = 1;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

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
    /// Puts (`Some`) and removes (`None`), all or none.
    fn write(&self, batch: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError>;
    /// Returns when every finished write survives power loss.
    fn sync(&self) -> Result<(), StoreError>;
}

/// A store over an engine.
pub struct KeyedStore<E> {
    engine: E,
}

impl<E: Engine> KeyedStore<E> {
    /// Opens a store: writes the format version into an empty one, refuses another version.
    pub(super) fn open(engine: E) -> Result<Self, StoreError> {
        let store = Self { engine };
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
        Ok(store)
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
    fn before(tenant: &Tenant, tag: Tag, first: u64) -> Option<Vec<u8>> {
        first
            .checked_sub(1)
            .map(|before| Key::new(tenant, tag).number(before).bytes())
    }

    fn encode_write(
        &self,
        tenant: &Tenant,
        write: Write,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let key = |tag| Key::new(tenant, tag);
        match write {
            Write::Counters(counters) => {
                batch.push((key(Tag::Counters).bytes(), Some(encode(&counters))))
            }
            Write::Record(record) => {
                batch.push((
                    key(Tag::RecordNumber).record_key(&record.key).bytes(),
                    Some(encode(&record.number)),
                ));
                batch.push((
                    key(Tag::Record).number(record.number).bytes(),
                    Some(encode(&record)),
                ));
            }
            Write::Edges(number, edges) => {
                let value = (!edges.is_empty()).then(|| encode(&edges));
                batch.push((key(Tag::Edges).number(number).bytes(), value));
            }
            Write::Identity(identity) => batch.push((
                key(Tag::Identity).text(&identity.id.0).bytes(),
                Some(encode(&identity)),
            )),
            Write::Receipt {
                source,
                signal_id,
                receipt,
            } => {
                batch.push((
                    key(Tag::Receipt).text(&source).text(&signal_id).bytes(),
                    Some(encode(&receipt)),
                ));
            }
            Write::Event(event) => batch.push((
                key(Tag::Event).number(event.sequence).bytes(),
                Some(encode(&event)),
            )),
            Write::OpenTask(task) => {
                self.close_task(tenant, &task.id, batch)?;
                batch.push((
                    key(Tag::TaskByWeight)
                        .falling(task.score.weight.0)
                        .text(&task.id)
                        .bytes(),
                    Some(encode(&task)),
                ));
                batch.push((
                    key(Tag::TaskById).text(&task.id).bytes(),
                    Some(encode(&task)),
                ));
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
        tenant: &Tenant,
        id: &str,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        if let Some(task) = self.review_task(tenant, id)? {
            batch.push((
                Key::new(tenant, Tag::TaskByWeight)
                    .falling(task.score.weight.0)
                    .text(id)
                    .bytes(),
                None,
            ));
            batch.push((Key::new(tenant, Tag::TaskById).text(id).bytes(), None));
        }
        Ok(())
    }
}

impl<E: Engine> Store for KeyedStore<E> {
    fn counters(&self, tenant: &Tenant) -> Result<Counters, StoreError> {
        Ok(self
            .get("counters", Key::new(tenant, Tag::Counters).bytes())?
            .unwrap_or_default())
    }

    fn record(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Option<StoredRecord>, StoreError> {
        self.get(
            "source record",
            Key::new(tenant, Tag::Record).number(number).bytes(),
        )
    }

    fn record_number(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<Option<RecordNumber>, StoreError> {
        self.get(
            "record number",
            Key::new(tenant, Tag::RecordNumber).record_key(key).bytes(),
        )
    }

    fn records_from(
        &self,
        tenant: &Tenant,
        first: RecordNumber,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let after = Self::before(tenant, Tag::Record, first);
        let records = self.scan(
            "source record",
            Key::new(tenant, Tag::Record).bytes(),
            after.as_deref(),
            limit,
        )?;
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    fn edges(&self, tenant: &Tenant, number: RecordNumber) -> Result<Vec<StoredEdge>, StoreError> {
        Ok(self
            .get("edges", Key::new(tenant, Tag::Edges).number(number).bytes())?
            .unwrap_or_default())
    }

    fn identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<StoredIdentity>, StoreError> {
        self.get(
            "identity",
            Key::new(tenant, Tag::Identity).text(&id.0).bytes(),
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
            Key::new(tenant, Tag::Receipt)
                .text(source)
                .text(signal_id)
                .bytes(),
        )
    }

    fn events(
        &self,
        tenant: &Tenant,
        from_sequence: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let after = Self::before(tenant, Tag::Event, from_sequence);
        let events = self.scan(
            "identity event",
            Key::new(tenant, Tag::Event).bytes(),
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
            Key::new(tenant, Tag::TaskById).text(id).bytes(),
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
            Key::new(tenant, Tag::TaskByWeight).bytes(),
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
            Key::new(tenant, Tag::OverrideOf).number(number).bytes(),
            None,
            usize::MAX,
        )?;
        Ok(overrides
            .into_iter()
            .filter_map(|(key, decision)| Some((last_number(&key)?, decision)))
            .collect())
    }

    fn overrides(
        &self,
        tenant: &Tenant,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, StoredOverride)>, StoreError> {
        self.scan(
            "override",
            Key::new(tenant, Tag::OverrideByKeys).bytes(),
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
            Key::new(tenant, Tag::Decision)
                .text(idempotency_key)
                .bytes(),
        )
    }

    fn inactive_keys(&self, tenant: &Tenant) -> Result<Vec<BlockingKey>, StoreError> {
        let keys = self.engine.scan(
            &Key::new(tenant, Tag::InactiveKey).bytes(),
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
        let after = Key::new(tenant, Tag::Change).number(change).bytes();
        let changes = self.scan(
            "record change",
            Key::new(tenant, Tag::Change).bytes(),
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
                Key::new(tenant, Tag::SinkCursor).text(sink).bytes(),
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

    fn commit(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(writes.len() + 4);
        for write in writes {
            self.encode_write(tenant, write, &mut batch)?;
        }
        self.engine.write(batch)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }
}
