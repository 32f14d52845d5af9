//! The initial load: a bulk job whose result becomes the state of an empty tenant, as if each record had come as a snapshot signal.

use std::collections::BTreeSet;
use std::sync::Arc;

use std::sync::mpsc::{SyncSender, sync_channel};

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use veridem_matchers::block::BlockingKey;
use veridem_matchers::golden::golden_record_of;
use veridem_matchers::{Record, RecordKey};

use super::bulk::{BulkResult, ScoredPair, resolve_records};
use super::engine::Engine;
use super::error::EngineError;
use super::evidence::Evidence;
use super::fold::Fold;
use super::identities::new_identity_id;
use super::records::Records;
use super::signal::{Signal, SignalKind};
use super::tasks::{OpenTask, review_task};
use crate::index::{IndexDocument, IndexError};
use crate::store::{
    Cause, Counters, EventKind, Generation, IdentityId, RecordNumber, StoreError, StoredEvent,
    StoredFold, StoredIdentity, StoredRecord, Tenant, Write, impact_of,
};

/// Identities that one commit writes.
const IDENTITIES_AT_ONCE: usize = 2_000;
/// Batches of documents that wait for the index.
const WAITING_BATCHES: usize = 4;

/// What a load made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSummary {
    /// Source records.
    pub records: u64,
    /// Identities.
    pub identities: u64,
    /// Open review tasks.
    pub review_tasks: u64,
}

/// The signal that a record of a file stands for. What tells no time was said at the beginning of 1970.
pub fn snapshot_signal(record: Record) -> Signal {
    let times = record.attributes.iter().map(|stated| stated.stated_at_ms);
    Signal {
        signal_id: "load".to_owned(),
        source: record.key.source,
        record_id: record.key.record_id,
        event_time_ms: times.max().unwrap_or_default().max(1),
        kind: SignalKind::Snapshot,
        attributes: record
            .attributes
            .into_iter()
            .map(|stated| stated.attribute)
            .collect(),
    }
}

impl Engine {
    /// Loads records into a tenant that has none. Nothing may run on the engine beside it; when it fails, what it wrote is to be
    /// thrown away. `entered` is told each stage as it begins.
    pub fn load(
        &self,
        tenant: &Tenant,
        records: &Records,
        now_ms: i64,
        entered: &dyn Fn(&'static str),
    ) -> Result<LoadSummary, EngineError> {
        if self.store.counters(tenant)? != Counters::default() {
            return Err(EngineError::invalid(
                "tenant",
                "it has records already; load into an empty data directory, or send signals",
            ));
        }
        let options = self.matcher.bulk_options();
        let result = resolve_records(records, options, entered);
        entered("store");
        let load = Load::new(self, tenant, records, &result, now_ms);
        let index = self.indexes.open(tenant, Generation::default())?;
        let (documents, received) = sync_channel::<Vec<IndexDocument>>(WAITING_BATCHES);
        let last_change = records.len() as u64;
        std::thread::scope(|scope| {
            let indexing = scope.spawn(move || {
                // The writer hangs up when it is done, and before that where it fails; then what is here is thrown away.
                index.replace_all(&mut || Ok(received.recv().unwrap_or_default()), last_change)
            });
            let written = load.write(&documents);
            drop(documents);
            let indexed = indexing
                .join()
                .map_err(|_| IndexError("its thread stopped by a panic".to_owned()))?;
            written.and_then(|summary| indexed.map(|()| summary).map_err(EngineError::from))
        })
    }
}

struct Load<'a> {
    engine: &'a Engine,
    tenant: &'a Tenant,
    records: &'a Records,
    result: &'a BulkResult,
    /// The identity of each row.
    identities: Vec<IdentityId>,
    evidence: Evidence<'a>,
    now_ms: i64,
}

/// The number of a row's record: rows are sorted by key.
fn number_of(row: usize) -> RecordNumber {
    row as RecordNumber + 1
}

/// What one batch of identities comes to.
struct Batch {
    writes: Vec<Write>,
    documents: Vec<IndexDocument>,
    keys: Vec<BlockingKey>,
}

impl<'a> Load<'a> {
    fn new(
        engine: &'a Engine,
        tenant: &'a Tenant,
        records: &'a Records,
        result: &'a BulkResult,
        now_ms: i64,
    ) -> Self {
        let mut identities = vec![IdentityId([0; 16]); records.len()];
        for (sequence, cluster) in (1..).zip(&result.clusters) {
            let id = new_identity_id(tenant, sequence);
            for row in cluster {
                identities[*row] = id;
            }
        }
        Self {
            engine,
            tenant,
            records,
            result,
            identities,
            evidence: Evidence::new(result, &number_of),
            now_ms,
        }
    }

    fn write(
        &self,
        documents: &SyncSender<Vec<IndexDocument>>,
    ) -> Result<LoadSummary, EngineError> {
        let store = self.engine.store();
        let clusters = &self.result.clusters;
        let batch = |start: usize| -> Option<Batch> {
            let end = (start + IDENTITIES_AT_ONCE).min(clusters.len());
            let parts: Vec<Batch> = (start..end)
                .into_par_iter()
                .map(|cluster| self.identity(cluster))
                .collect();
            let mut parts = parts.into_iter();
            let mut all = parts.next()?;
            for part in parts {
                all.writes.extend(part.writes);
                all.documents.extend(part.documents);
                all.keys.extend(part.keys);
            }
            Some(all)
        };
        let mut keys: Vec<BlockingKey> = Vec::new();
        let (mut start, mut next) = (0, batch(0));
        while let Some(current) = next {
            start += IDENTITIES_AT_ONCE;
            keys.extend(&current.keys);
            let (following, written) = rayon::join(
                || batch(start),
                || -> Result<(), EngineError> {
                    self.commit(current.writes)?;
                    documents
                        .send(current.documents)
                        .map_err(|_| IndexError("it takes no more documents".to_owned()))?;
                    Ok(())
                },
            );
            written?;
            next = following;
        }
        let review_tasks = self.write_tasks()?;
        let mut last = self
            .evidence
            .activity(keys, &self.engine.matcher.pack, &BTreeSet::new());
        let summary = LoadSummary {
            records: self.records.len() as u64,
            identities: clusters.len() as u64,
            review_tasks,
        };
        let counters = Counters {
            record_numbers: summary.records,
            last_sequence: summary.identities,
            last_event_ms: self.now_ms,
            signals: summary.records,
            source_records: summary.records,
            identities: summary.identities,
            open_review_tasks: review_tasks,
            overrides: 0,
            override_numbers: 0,
            events: [summary.identities, 0, 0, 0, 0],
        };
        last.push(Write::Counters(counters));
        last.push(Write::LastChange(summary.records));
        last.push(Write::Model(Box::new(self.engine.matcher.stored())));
        self.commit(last)?;
        store.flush()?;
        Ok(summary)
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let store = self.engine.store();
        store.commit(self.tenant, Generation::default(), writes)
    }

    /// One identity with its records and its event.
    fn identity(&self, cluster: usize) -> Batch {
        let pack = &self.engine.matcher.pack;
        let (rows, sequence) = (&self.result.clusters[cluster], cluster as u64 + 1);
        let (stored, folds): (Vec<StoredRecord>, Vec<StoredFold>) =
            rows.iter().map(|row| self.record(*row)).unzip();
        let members = stored.iter().zip(&folds);
        let values = members.flat_map(|(record, fold)| fold.stated_by(&record.key));
        let member_keys: Vec<_> = stored.iter().map(|record| record.key.clone()).collect();
        let identity = Arc::new(StoredIdentity {
            id: self.identities[rows[0]],
            members: rows.iter().map(|row| number_of(*row)).collect(),
            member_keys: member_keys.clone(),
            golden: golden_record_of(values, pack),
            version: 1,
            created_at_sequence: sequence,
            changed_at_sequence: sequence,
            ended: None,
        });
        let mut writes = vec![
            Write::Event(Arc::new(StoredEvent {
                sequence,
                kind: EventKind::Created,
                occurred_at_ms: self.now_ms,
                identity: identity.clone(),
                previous_sequence: 0,
                merged: Vec::new(),
                split_into: Vec::new(),
                moved: member_keys,
                cause: Cause::Load,
            })),
            Write::Identity(identity),
        ];
        let documents = stored.iter().map(IndexDocument::of).collect();
        let keys = stored
            .iter()
            .flat_map(|record| record.keys.iter().copied())
            .collect();
        for ((row, record), fold) in rows.iter().zip(stored).zip(folds) {
            writes.extend(self.evidence.edges(*row));
            writes.push(Write::Fold(record.number, fold.into()));
            writes.push(Write::NewRecord(record.key.clone(), record.number));
            writes.push(Write::Record(record.into()));
        }
        Batch {
            writes,
            documents,
            keys,
        }
    }

    fn record(&self, row: usize) -> (StoredRecord, StoredFold) {
        let pack = &self.engine.matcher.pack;
        let record = self.records.get(row);
        let key = record.key.clone();
        let mut fold = Fold::default();
        fold.apply(&snapshot_signal(record), pack);
        let (normalised, keys, comparables) = self.engine.matcher.evidence(fold.values());
        let stored = StoredRecord {
            number: number_of(row),
            key,
            is_alive: true,
            keys,
            normalised,
            identity_id: Some(self.identities[row]),
        };
        (stored, StoredFold { fold, comparables })
    }

    /// A task for each pair of identities that have pairs between them: the strongest of these.
    fn write_tasks(&self) -> Result<u64, StoreError> {
        let mut strongest: FxHashMap<(IdentityId, IdentityId), &ScoredPair> = FxHashMap::default();
        for pair in &self.result.pairs {
            let one = self.identities[pair.left as usize];
            let other = self.identities[pair.right as usize];
            if one == other {
                continue;
            }
            // Pairs come in the order of their record keys: of equally strong ones the first stays.
            let known = strongest
                .entry((one.min(other), one.max(other)))
                .or_insert(pair);
            if pair.score.weight.0 > known.score.weight.0 {
                *known = pair;
            }
        }
        let mut pairs: Vec<&ScoredPair> = strongest.into_values().collect();
        pairs.sort_unstable_by_key(|pair| (pair.left, pair.right));
        let mut sizes: FxHashMap<IdentityId, usize> = FxHashMap::default();
        for identity in &self.identities {
            *sizes.entry(*identity).or_default() += 1;
        }
        let records_of = |row: u32| sizes[&self.identities[row as usize]];
        for pairs in pairs.chunks(IDENTITIES_AT_ONCE) {
            let tasks = pairs.iter().map(|pair| {
                let side = |row: u32| {
                    let (source, record_id) = self.records.key(row as usize);
                    let key = RecordKey::new(source, record_id);
                    (key, number_of(row as usize))
                };
                let open = OpenTask {
                    score: pair.score,
                    impact: impact_of(records_of(pair.left) + records_of(pair.right)),
                    opened_at_ms: self.now_ms,
                };
                Write::OpenTask(review_task(side(pair.left), side(pair.right), open))
            });
            self.commit(tasks.collect())?;
        }
        Ok(pairs.len() as u64)
    }
}
