//! Commits: what the domain writes as entries of the engine, in one batch.

use std::sync::Arc;

use super::{Engine, KeyedStore, PART_BYTES};
use crate::store::encoding::{Key, Space, TENANTS_KEY, Tag, decode, encode, last_number};
use crate::store::{
    Generation, RecordNumber, StoreError, StoredEdge, StoredEvent, StoredFold, StoredIdentity,
    StoredRecord, StoredReference, StoredReviewTask, Tenant, Write,
};

/// What a commit has to show the caches, once it is written, and the bytes of its encoding.
enum Fresh {
    Record(Arc<StoredRecord>, usize),
    Fold(RecordNumber, Arc<StoredFold>, usize),
    Edges(RecordNumber, Arc<Vec<StoredEdge>>, usize),
    Identity(Arc<StoredIdentity>, usize),
    Event(Arc<StoredEvent>, usize),
    Erased(RecordNumber),
}

impl<E: Engine> KeyedStore<E> {
    /// Writes everything or nothing, and shows it the caches.
    pub(super) fn write(
        &self,
        tenant: &Tenant,
        generation: Generation,
        writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(writes.len() + 4);
        let mut fresh = Vec::new();
        let own = self.own_space(tenant)?;
        let space = self.space_of(tenant, generation).ok_or_else(|| {
            StoreError::Engine("what was made under an earlier model is gone".to_owned())
        })?;
        let comes_into_force = writes.contains(&Write::InForce);
        for write in writes {
            self.encode_write(own, space, write, &mut batch, &mut fresh)?;
        }
        if comes_into_force {
            let mut known = self.spaces.write();
            let mut spaces = known.clone();
            if let Some(of_tenant) = spaces.tenants.get_mut(tenant) {
                of_tenant.in_force = generation;
            }
            batch.push((TENANTS_KEY.to_vec(), Some(encode(&spaces))));
            self.engine.write(batch)?;
            *known = spaces;
        } else {
            self.engine.write(batch)?;
        }
        for fresh in fresh {
            match fresh {
                Fresh::Record(record, bytes) => {
                    self.records.put((space, record.number), record, bytes);
                }
                Fresh::Fold(number, fold, bytes) => self.folds.put((own, number), fold, bytes),
                Fresh::Edges(number, edges, bytes) => {
                    self.edges.put((space, number), edges, bytes);
                }
                Fresh::Identity(identity, bytes) => {
                    self.identities.put((own, identity.id), identity, bytes);
                }
                Fresh::Event(event, bytes) => {
                    self.events.put((own, event.sequence), event, bytes);
                }
                Fresh::Erased(number) => {
                    self.records.remove((space, number));
                    self.folds.remove((own, number));
                    self.edges.remove((space, number));
                }
            }
        }
        Ok(())
    }

    fn encode_write(
        &self,
        own: Space,
        generation: Space,
        write: Write,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
        fresh: &mut Vec<Fresh>,
    ) -> Result<(), StoreError> {
        let key = |tag| Key::new(own, tag);
        let key_in = |tag| Key::new(generation, tag);
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
                    key_in(Tag::Record).number(record.number).bytes(),
                    encode(&*record),
                );
                fresh.push(Fresh::Record(record, value.len()));
                batch.push((key, Some(value)));
            }
            Write::Fold(number, fold) => {
                let (key, value) = (key(Tag::Fold).number(number).bytes(), encode(&*fold));
                fresh.push(Fresh::Fold(number, fold, value.len()));
                batch.push((key, Some(value)));
            }
            Write::Edges(number, edges) => {
                let key = key_in(Tag::Edges).number(number).bytes();
                let value = (!edges.is_empty()).then(|| encode(&*edges));
                let bytes = value.as_ref().map_or(0, Vec::len);
                fresh.push(Fresh::Edges(number, edges, bytes));
                batch.push((key, value));
            }
            Write::Identity(identity) => {
                let (key, value) = (
                    key(Tag::Identity).id(&identity.id.0).bytes(),
                    encode(&*identity),
                );
                fresh.push(Fresh::Identity(identity, value.len()));
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
            Write::Event(event) => {
                let (key, value) = (
                    key(Tag::Event).number(event.sequence).bytes(),
                    encode(&*event),
                );
                fresh.push(Fresh::Event(event, value.len()));
                batch.push((key, Some(value)));
            }
            Write::OpenTask(task) => {
                let value = encode(&task);
                batch.push((
                    key(Tag::TaskByPriority)
                        .falling(task.priority)
                        .text(&task.id)
                        .bytes(),
                    Some(value.clone()),
                ));
                batch.push((key(Tag::TaskById).text(&task.id).bytes(), Some(value)));
            }
            Write::CloseTask(id) => self.close_task(own, &id, batch)?,
            Write::Override(value) => batch.push((
                key(Tag::Override).number(value.number).bytes(),
                Some(encode(&value)),
            )),
            Write::Answer {
                idempotency_key,
                answer,
            } => batch.push((
                key(Tag::Answer).text(&idempotency_key).bytes(),
                Some(encode(&answer)),
            )),
            Write::KeyActivity {
                key: blocking_key,
                inactive,
            } => batch.push((
                key_in(Tag::InactiveKey).number(blocking_key).bytes(),
                inactive.then(Vec::new),
            )),
            Write::Change(change, number) => {
                batch.push((
                    key_in(Tag::Change).number(change).bytes(),
                    Some(encode(&number)),
                ));
                batch.push((key_in(Tag::LastChange).bytes(), Some(encode(&change))));
            }
            Write::LastChange(change) => {
                batch.push((key_in(Tag::LastChange).bytes(), Some(encode(&change))));
            }
            Write::PruneChanges(last) => {
                let prefix = key_in(Tag::Change).bytes();
                let changes = self.engine.scan(&prefix, None, usize::MAX)?;
                let pruned = changes
                    .into_iter()
                    .map(|(key, _)| key)
                    .take_while(|key| last_number(key).is_some_and(|change| change <= last));
                batch.extend(pruned.map(|key| (key, None)));
            }
            Write::Model(model) => {
                self.put_parts(&key(Tag::Model).bytes(), &encode(&model), batch)?
            }
            Write::NextModel(model) => {
                self.put_parts(&key(Tag::NextModel).bytes(), &encode(&model), batch)?;
            }
            Write::ModelChange(change) => {
                batch.push((key(Tag::ModelChange).bytes(), Some(encode(&change))));
            }
            // Written with the batch, see `commit`.
            Write::InForce => {}
            Write::SinkProgress(sink, progress) => {
                let key = |tag| key(tag).text(&sink).bytes();
                batch.push((key(Tag::SinkCursor), Some(encode(&progress.cursor))));
                if progress.replays > 0 {
                    let replay = (progress.snapshot_until, progress.replays);
                    batch.push((key(Tag::SinkReplay), Some(encode(&replay))));
                }
                if progress.last_snapshot > 0 {
                    let snapshot = encode(&progress.last_snapshot);
                    batch.push((key(Tag::SinkSnapshot), Some(snapshot)));
                }
            }
            Write::Delivery(sink, sequence, delivery) => batch.push((
                key(Tag::Delivery).text(&sink).number(sequence).bytes(),
                delivery.as_ref().map(encode),
            )),
            Write::Reference(sink, reference) => {
                let id = reference.consumer_record_id.as_str();
                let by_id = key(Tag::ReferenceById).hash(&[&sink, id]).bytes();
                let by_record = |record| {
                    let key = key(Tag::ReferenceByRecord).text(&sink).number(record);
                    key.hash(&[id]).bytes()
                };
                let known: Option<StoredReference> = self.get("cross reference", by_id.clone())?;
                if let Some(known) = known {
                    batch.push((by_record(known.record), None));
                }
                let value = encode(&reference);
                batch.push((by_record(reference.record), Some(value.clone())));
                batch.push((by_id, Some(value)));
            }
            Write::NoReferences(sink, record) => {
                let of_record = key(Tag::ReferenceByRecord).text(&sink).number(record);
                let entries = (self.engine).scan(&of_record.bytes(), None, usize::MAX)?;
                for (by_record, value) in entries {
                    let reference: StoredReference = decode("cross reference", &value)?;
                    let id = reference.consumer_record_id.as_str();
                    let by_id = key(Tag::ReferenceById).hash(&[&sink, id]);
                    batch.extend([(by_record, None), (by_id.bytes(), None)]);
                }
            }
            Write::Sample(sample) => {
                self.put_parts(&key(Tag::Sample).bytes(), &encode(&*sample), batch)?;
            }
            Write::Erasure(erasure) => {
                for number in &erasure.records {
                    let record = key_in(Tag::Record).number(*number).bytes();
                    let fold = key(Tag::Fold).number(*number).bytes();
                    let edges = key_in(Tag::Edges).number(*number).bytes();
                    batch.extend([record, fold, edges].map(|key| (key, None)));
                    fresh.push(Fresh::Erased(*number));
                }
                let id = erasure.identity_id.0;
                batch.push((key(Tag::Erasure).id(&id).bytes(), Some(encode(&erasure))));
            }
            Write::Audit(entry) => batch.push((
                key(Tag::Audit).number(entry.number).bytes(),
                Some(encode(&entry)),
            )),
            Write::AuditHead(head) => {
                batch.push((key(Tag::AuditHead).bytes(), Some(encode(&head))));
            }
            Write::Quarantined(id, entry) => batch.push((
                key(Tag::Quarantined).id(&id.0).bytes(),
                entry.as_ref().map(encode),
            )),
        }
        Ok(())
    }

    /// Puts a large value in parts, in the place of all parts that are there.
    fn put_parts(
        &self,
        prefix: &[u8],
        value: &[u8],
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let known = self.engine.scan(prefix, None, usize::MAX)?;
        batch.extend(known.into_iter().map(|(key, _)| (key, None)));
        let parts = (0_u32..).zip(value.chunks(PART_BYTES));
        batch.extend(parts.map(|(number, part)| {
            let key = [prefix, &number.to_be_bytes()].concat();
            (key, Some(part.to_vec()))
        }));
        Ok(())
    }

    fn close_task(
        &self,
        own: Space,
        id: &str,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let by_id = Key::new(own, Tag::TaskById).text(id).bytes();
        let known: Option<StoredReviewTask> = self.get("review task", by_id.clone())?;
        if let Some(task) = known {
            let by_priority = Key::new(own, Tag::TaskByPriority)
                .falling(task.priority)
                .text(id);
            batch.push((by_priority.bytes(), None));
            batch.push((by_id, None));
        }
        Ok(())
    }
}
