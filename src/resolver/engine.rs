//! The online engine: one writer, any number of readers. A change is worked out in memory, committed to the store as one write,
//! then shown to the index.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};
use veridem_matchers::block::BlockingKey;
use veridem_matchers::{NormalisedRecord, RecordKey};

use super::change::Change;
use super::error::EngineError;
use super::matcher::Matcher;
use super::signal::Signal;
use super::tasks::{RecordPair, content_of, record_pair};
use crate::index::{CandidateIndex, IndexDocument, IndexError};
use crate::store::{
    Cause, IdentityId, OverrideDecision, RecordNumber, SignalReceipt, Store, StoreError,
    StoredDecision, StoredFold, StoredOverride, StoredRecord, Tenant, Write,
};

/// Opens the index of a tenant.
pub type IndexOpener =
    Box<dyn Fn(&Tenant) -> Result<Arc<dyn CandidateIndex>, IndexError> + Send + Sync>;

/// What one tenant needs in memory.
pub(super) struct TenantState {
    pub(super) index: Arc<dyn CandidateIndex>,
    /// Blocking keys held by more records than their rule allows.
    pub(super) inactive: RwLock<FxHashSet<BlockingKey>>,
    /// Records that have overrides.
    pub(super) overridden: RwLock<FxHashSet<RecordNumber>>,
    /// The records of open review tasks, with hashes of the tasks' content.
    pub(super) open_tasks: RwLock<FxHashMap<RecordPair, u64>>,
}

/// The answer to a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The identity of the signal's record.
    pub identity_id: Option<IdentityId>,
    /// The latest event when it was answered.
    pub sequence: u64,
    /// It had been accepted before.
    pub repeated: bool,
}

/// A steward's call.
#[derive(Clone, Debug)]
pub struct DecisionRequest {
    /// The two records.
    pub records: (RecordKey, RecordKey),
    /// The word.
    pub decision: OverrideDecision,
    /// Who says it.
    pub principal: String,
    /// The note.
    pub note: String,
    /// The caller's id of the call.
    pub idempotency_key: String,
}

/// Review tasks read at once when a tenant is opened.
const TASK_BATCH: usize = 10_000;
/// Records read at once when an index is built anew.
const REBUILD_BATCH: usize = 1_000;

/// The engine.
pub struct Engine {
    pub(super) store: Arc<dyn Store>,
    pub(super) matcher: Arc<Matcher>,
    open_index: IndexOpener,
    tenants: RwLock<FxHashMap<Tenant, Arc<TenantState>>>,
    writer: Mutex<()>,
}

impl Engine {
    /// An engine over a store. Refuses a store whose state was made under another model or pack.
    pub fn new(
        store: Arc<dyn Store>,
        matcher: Arc<Matcher>,
        open_index: IndexOpener,
    ) -> Result<Self, StoreError> {
        let bound = store.bind_model(&matcher.fingerprint)?;
        if bound != matcher.fingerprint {
            return Err(StoreError::Open(
                "its identities were decided under another model or rules; start with those, or load the signals into an empty data directory".to_owned(),
            ));
        }
        Ok(Self {
            store,
            matcher,
            open_index,
            tenants: RwLock::default(),
            writer: Mutex::default(),
        })
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Model and pack.
    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    /// Makes a tenant's index ready: what the store changed since the index's last commit is staged.
    pub fn open_tenant(&self, tenant: &Tenant) -> Result<(), EngineError> {
        self.tenant(tenant).map(drop)
    }

    pub(super) fn tenant(&self, tenant: &Tenant) -> Result<Arc<TenantState>, EngineError> {
        if let Some(state) = self.tenants.read().get(tenant) {
            return Ok(state.clone());
        }
        let mut tenants = self.tenants.write();
        if let Some(state) = tenants.get(tenant) {
            return Ok(state.clone());
        }
        let index = (self.open_index)(tenant)?;
        self.catch_up(tenant, index.as_ref())?;
        let inactive = self.store.inactive_keys(tenant)?.into_iter().collect();
        let overridden = self.store.overridden_records(tenant)?.into_iter().collect();
        let mut open_tasks = FxHashMap::default();
        let mut after = None;
        loop {
            let tasks = self
                .store
                .review_tasks(tenant, after.as_deref(), TASK_BATCH)?;
            let Some((last, _)) = tasks.last() else { break };
            after = Some(last.clone());
            let entries = tasks.iter().map(|(_, task)| {
                (
                    record_pair(task.records.0, task.records.1),
                    content_of(task),
                )
            });
            open_tasks.extend(entries);
        }
        let state = Arc::new(TenantState {
            index,
            open_tasks: RwLock::new(open_tasks),
            inactive: RwLock::new(inactive),
            overridden: RwLock::new(overridden),
        });
        tenants.insert(tenant.clone(), state.clone());
        Ok(state)
    }

    fn catch_up(&self, tenant: &Tenant, index: &dyn CandidateIndex) -> Result<(), EngineError> {
        let last_change = self.store.counters(tenant)?.last_change;
        let committed = index.committed_change();
        let changes = self.store.changes_after(tenant, committed)?;
        if committed <= last_change && last_change - committed == changes.len() as u64 {
            for (change, number) in changes {
                if let Some(record) = self.store.record(tenant, number)? {
                    index.stage(IndexDocument::of(&record), change);
                }
            }
            return Ok(());
        }
        tracing::info!(tenant = tenant.as_str(), "index is built from the store");
        let mut first = 0;
        index.replace_all(
            &mut || {
                let records = self
                    .store
                    .records_from(tenant, first, REBUILD_BATCH)
                    .map_err(|cause| IndexError(cause.to_string()))?;
                first = records.last().map_or(first, |last| last.number + 1);
                Ok(records.iter().map(IndexDocument::of).collect())
            },
            last_change,
        )?;
        Ok(())
    }

    /// The index of a tenant of which nothing is stored yet.
    pub(super) fn open_empty_index(
        &self,
        tenant: &Tenant,
    ) -> Result<Arc<dyn CandidateIndex>, EngineError> {
        Ok((self.open_index)(tenant)?)
    }

    /// Takes a signal. Nothing is durable before the next [`Store::flush`].
    pub fn submit(
        &self,
        tenant: &Tenant,
        signal: &Signal,
        now_ms: i64,
    ) -> Result<Ack, EngineError> {
        let _writer = self.writer.lock();
        let content_hash = hash_of(&postcard_bytes(signal));
        if let Some(receipt) = self
            .store
            .receipt(tenant, &signal.source, &signal.signal_id)?
        {
            if receipt.content_hash != content_hash {
                return Err(EngineError::Conflict {
                    field: "signal.signal_id",
                });
            }
            return Ok(Ack {
                identity_id: receipt.identity_id,
                sequence: receipt.sequence,
                repeated: true,
            });
        }
        let state = self.tenant(tenant)?;
        let mut change = Change::begin(self, tenant, &state)?;
        let number = change.number_of(&signal.record_key())?;
        let old_record = self.store.record(tenant, number)?;
        let mut record = old_record
            .as_deref()
            .cloned()
            .unwrap_or_else(|| StoredRecord {
                number,
                key: signal.record_key(),
                is_alive: false,
                normalised: NormalisedRecord::default(),
                keys: Vec::new(),
                identity_id: None,
            });
        let mut fold = match &old_record {
            Some(_) => change.fold(number)?.fold.clone(),
            None => Default::default(),
        };
        fold.apply(signal, &self.matcher.pack);
        let mut comparables = Vec::new();
        record.is_alive = fold.is_alive();
        record.normalised = NormalisedRecord::with_comparables(
            &fold.attributes(),
            self.matcher.pack.region(),
            &mut comparables,
        );
        record.keys = self.matcher.pack.blocking.keys(&record.normalised);
        change.counters.signals += 1;
        change.replace_record(
            old_record.as_deref(),
            record,
            StoredFold { fold, comparables },
        )?;
        let cause = Cause::Signal(signal.source.clone(), signal.signal_id.clone());
        change.settle(&cause, now_ms)?;
        let identity_id = change.identity_of(number)?;
        let receipt = SignalReceipt {
            content_hash,
            identity_id,
            sequence: change.counters.last_sequence,
        };
        let sequence = receipt.sequence;
        change.write(Write::Receipt {
            source: signal.source.clone(),
            signal_id: signal.signal_id.clone(),
            receipt,
        });
        change.commit()?;
        Ok(Ack {
            identity_id,
            sequence,
            repeated: false,
        })
    }

    /// Takes a steward's word on two records. Nothing is durable before the next [`Store::flush`].
    pub fn decide(
        &self,
        tenant: &Tenant,
        request: &DecisionRequest,
        now_ms: i64,
    ) -> Result<StoredDecision, EngineError> {
        let _writer = self.writer.lock();
        let content_hash = hash_of(&postcard_bytes(&(
            &request.records,
            request.decision,
            &request.note,
        )));
        if let Some(decision) = self.store.decision(tenant, &request.idempotency_key)? {
            return if decision.content_hash == content_hash {
                Ok(decision)
            } else {
                Err(EngineError::Conflict {
                    field: "idempotency_key",
                })
            };
        }
        let state = self.tenant(tenant)?;
        let mut change = Change::begin(self, tenant, &state)?;
        let (one, other) = &request.records;
        let (left, right) = (one.min(other).clone(), one.max(other).clone());
        let find = |key: &RecordKey| {
            self.store
                .record_number(tenant, key)?
                .ok_or(EngineError::NotFound { what: "the record" })
        };
        let numbers = (find(&left)?, find(&right)?);
        let value = StoredOverride {
            left,
            right,
            decision: request.decision,
            principal: request.principal.clone(),
            decided_at_ms: now_ms,
            note: request.note.clone(),
        };
        change.set_override(numbers, &value)?;
        change.settle(&Cause::Override(request.principal.clone()), now_ms)?;
        let identities = (
            change.identity_of(numbers.0)?,
            change.identity_of(numbers.1)?,
        );
        let decision = StoredDecision {
            content_hash,
            value,
            identities,
            sequence: change.counters.last_sequence,
        };
        change.write(Write::Decision {
            idempotency_key: request.idempotency_key.clone(),
            decision: decision.clone(),
        });
        change.commit()?;
        Ok(decision)
    }

    /// Makes every tenant's index durable and lets the store forget the changes that it holds.
    pub fn commit_indexes(&self) -> Result<(), EngineError> {
        let tenants: Vec<(Tenant, Arc<TenantState>)> = self
            .tenants
            .read()
            .iter()
            .map(|(tenant, state)| (tenant.clone(), state.clone()))
            .collect();
        for (tenant, state) in tenants {
            let before = state.index.committed_change();
            let committed = state.index.commit()?;
            if committed > before {
                self.store
                    .commit(&tenant, vec![Write::PruneChanges(committed)])?;
            }
        }
        Ok(())
    }
}

pub(super) fn postcard_bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("these types hold nothing that postcard cannot write")
}

pub(super) fn hash_of(bytes: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}
