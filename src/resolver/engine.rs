//! The online engine: one writer, any number of readers. A change is worked out in memory, committed to the store as one write,
//! then shown to the index.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};
use veridem_matchers::PartitionMemo;
use veridem_matchers::block::{BlockingKey, PersonalValue};

use super::change::{Change, NumberOf};
use super::components::{Components, MEMBERS_WORTH_REMEMBERING};
use super::error::EngineError;
use super::matcher::Matcher;
use super::model_change::Shadow;
use super::overrides::Overrides;
use super::prepare::Prepared;
use super::signal::Signal;
use super::tasks::{OpenTask, OpenTasks, TaskChange, record_pair};
use super::touched::{Touch, Touched};
use crate::index::{CandidateIndex, IndexDocument, IndexError, Indexes};
use crate::jobs::Jobs;
use crate::store::{
    Cause, Generation, IdentityId, ModelPhase, RecordNumber, SignalReceipt, Store, StoreError,
    StoredModel, Tenant, Write,
};

/// What one tenant needs in memory, of one generation.
pub(super) struct TenantState {
    pub(super) matcher: Arc<Matcher>,
    pub(super) generation: Generation,
    pub(super) index: Arc<dyn CandidateIndex>,
    /// Blocking keys held by more records than their rule allows.
    pub(super) inactive: RwLock<FxHashSet<BlockingKey>>,
    /// What was found of large components.
    pub(super) memo: PartitionMemo,
    /// What all generations share.
    pub(super) shared: Arc<SharedState>,
    /// The number of the latest record change.
    last_change: AtomicU64,
    /// What the latest changes touched.
    pub(super) touched_lately: Mutex<Touched>,
    /// Records that change while another generation is made.
    pub(super) touched: Mutex<Option<FxHashSet<RecordNumber>>>,
    /// Identities are still those of another model.
    is_deciding: AtomicBool,
    /// Records decided already together with those that came before them.
    pub(super) decided: Mutex<FxHashSet<RecordNumber>>,
}

/// What does not depend on the model.
#[derive(Default)]
pub(super) struct SharedState {
    /// Stewards' overrides.
    pub(super) overrides: RwLock<Arc<Overrides>>,
    /// Open review tasks.
    pub(super) open_tasks: RwLock<OpenTasks>,
}

impl TenantState {
    pub(super) fn new(
        matcher: Arc<Matcher>,
        generation: Generation,
        index: Arc<dyn CandidateIndex>,
        shared: Arc<SharedState>,
    ) -> Self {
        Self {
            matcher,
            generation,
            index,
            inactive: RwLock::default(),
            memo: PartitionMemo::default(),
            shared,
            last_change: AtomicU64::new(0),
            touched_lately: Mutex::default(),
            touched: Mutex::new(None),
            is_deciding: AtomicBool::new(false),
            decided: Mutex::default(),
        }
    }

    pub(super) fn last_change(&self) -> u64 {
        self.last_change.load(Ordering::Acquire)
    }

    pub(super) fn set_last_change(&self, change: u64) {
        self.last_change.store(change, Ordering::Release);
    }

    /// Shows the index what a record has become by this change.
    pub(super) fn stage(&self, document: IndexDocument, change: u64) {
        self.index.stage(document, change);
        self.set_last_change(change);
    }

    pub(super) fn touch(&self, records: impl Iterator<Item = RecordNumber>) {
        if let Some(touched) = self.touched.lock().as_mut() {
            touched.extend(records);
        }
    }

    /// The values that stewards have marked.
    pub(super) fn marked_values(&self) -> BTreeSet<PersonalValue> {
        self.shared.overrides.read().marked_values()
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.is_deciding.load(Ordering::Acquire)
    }

    pub(super) fn set_deciding(&self, is_deciding: bool) {
        self.is_deciding.store(is_deciding, Ordering::Release);
    }
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
    /// A model change is deciding: the identity may still change without another signal.
    pub provisional: bool,
    /// The person of its record was erased: nothing of the signal is kept.
    pub erased: bool,
}

/// Review tasks and overrides read at once when a tenant is opened.
const BATCH: usize = 10_000;
/// Records read at once when an index is built anew.
const REBUILD_BATCH: usize = 1_000;

/// The engine.
pub struct Engine {
    pub(super) store: Arc<dyn Store>,
    /// What decides in tenants that are new.
    pub(super) matcher: Arc<Matcher>,
    pub(super) indexes: Box<dyn Indexes>,
    pub(super) tenants: RwLock<FxHashMap<Tenant, Arc<TenantState>>>,
    pub(super) writer: Mutex<()>,
    /// Generations that are about to come into force.
    pub(super) shadows: Mutex<FxHashMap<Tenant, Shadow>>,
    /// One preview or sample at a time.
    pub(super) preview: Mutex<()>,
    jobs: Jobs,
    /// From so many members on a component is remembered.
    components_from: usize,
}

impl Engine {
    /// An engine over a store. What a tenant's store was filled under decides there; `matcher` decides in tenants that are new.
    pub fn new(store: Arc<dyn Store>, matcher: Arc<Matcher>, indexes: Box<dyn Indexes>) -> Self {
        Self {
            store,
            matcher,
            indexes,
            tenants: RwLock::default(),
            writer: Mutex::default(),
            shadows: Mutex::default(),
            preview: Mutex::default(),
            jobs: Jobs::default(),
            components_from: MEMBERS_WORTH_REMEMBERING,
        }
    }

    /// Has components of so many members remembered from one signal to the next: 32 where nothing is said. What comes of a signal does not
    /// depend on it.
    pub fn remember_components_from(mut self, members: usize) -> Self {
        self.components_from = members;
        self
    }

    /// The jobs that run over it.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Makes a tenant's index ready: what the store changed since the index's last commit is staged.
    pub fn open_tenant(&self, tenant: &Tenant) -> Result<(), EngineError> {
        self.tenant(tenant).map(drop)
    }

    /// The model and rules in force.
    pub fn matcher_of(&self, tenant: &Tenant) -> Result<Arc<Matcher>, EngineError> {
        Ok(self.tenant(tenant)?.matcher.clone())
    }

    /// Whether a tenant's identities are still being decided under a model that came into force.
    pub fn is_provisional(&self, tenant: &Tenant) -> Result<bool, EngineError> {
        Ok(self.tenant(tenant)?.is_deciding())
    }

    /// The model with its rules that decides in a tenant.
    pub fn model_in_force(&self, tenant: &Tenant) -> Result<StoredModel, EngineError> {
        Ok(self.tenant(tenant)?.matcher.stored())
    }

    pub(super) fn tenant(&self, tenant: &Tenant) -> Result<Arc<TenantState>, EngineError> {
        if let Some(state) = self.tenants.read().get(tenant) {
            return Ok(state.clone());
        }
        let mut tenants = self.tenants.write();
        if let Some(state) = tenants.get(tenant) {
            return Ok(state.clone());
        }
        let shared = Arc::new(self.shared_state(tenant)?);
        let matcher = self.matcher_in_force(tenant)?;
        let generation = self.store.in_force(tenant);
        let state = self.open_generation(tenant, generation, matcher, shared)?;
        let change = self.store.model_change(tenant)?;
        let phase = change.map(|change| change.phase);
        state.set_deciding(matches!(phase, Some(ModelPhase::Deciding { .. })));
        let state = Arc::new(state);
        tenants.insert(tenant.clone(), state.clone());
        Ok(state)
    }

    /// The matcher under which a tenant's store was filled; the one configured where it is empty. The store holds it from here on,
    /// durably: no signal's commit has to bring it.
    fn matcher_in_force(&self, tenant: &Tenant) -> Result<Arc<Matcher>, EngineError> {
        let generation = self.store.in_force(tenant);
        let is_new =
            generation == Generation::default() && self.store.counters(tenant)?.record_numbers == 0;
        let stored = self.store.model(tenant)?;
        let configured = &self.matcher;
        let Some(stored) = stored
            .as_ref()
            .filter(|stored| !is_new && stored.fingerprint != configured.fingerprint)
        else {
            let model = configured.stored();
            if stored.as_ref() != Some(&model) {
                let writes = vec![Write::Model(Box::new(model))];
                self.store.commit(tenant, generation, writes)?;
                self.store.flush()?;
            }
            return Ok(configured.clone());
        };
        if stored.model.is_empty() {
            return Err(StoreError::Open(
                "it is of an earlier version and was filled under another model or rules; start with those once, then change the model by veridem model".to_owned(),
            )
            .into());
        }
        tracing::warn!(
            tenant = tenant.as_str(),
            in_force = stored.fingerprint,
            configured = configured.fingerprint,
            "the configured model and rules are not those in force, which stay; preview and activate them by veridem model"
        );
        Ok(Arc::new(Matcher::from_stored(stored)?))
    }

    fn shared_state(&self, tenant: &Tenant) -> Result<SharedState, EngineError> {
        let mut overrides = Overrides::default();
        let mut after = 0;
        loop {
            let batch = self.store.overrides(tenant, after, BATCH)?;
            let Some(last) = batch.last() else { break };
            after = last.number;
            for value in &batch {
                overrides.set(value);
            }
        }
        let mut open_tasks = OpenTasks::default();
        let mut after = None;
        loop {
            let tasks = self.store.review_tasks(tenant, after.as_deref(), BATCH)?;
            let Some((last, _)) = tasks.last() else { break };
            after = Some(last.clone());
            for (_, task) in &tasks {
                let pair = record_pair(task.records.0, task.records.1);
                open_tasks.set(pair, TaskChange::Open(OpenTask::of(task)));
            }
        }
        Ok(SharedState {
            overrides: RwLock::new(Arc::new(overrides)),
            open_tasks: RwLock::new(open_tasks),
        })
    }

    /// What a generation needs in memory, its index caught up with the store.
    pub(super) fn open_generation(
        &self,
        tenant: &Tenant,
        generation: Generation,
        matcher: Arc<Matcher>,
        shared: Arc<SharedState>,
    ) -> Result<TenantState, EngineError> {
        let index = self.indexes.open(tenant, generation)?;
        let state = TenantState::new(matcher, generation, index, shared);
        state.touched_lately.lock().components = Components::from(self.components_from);
        state.set_last_change(self.store.last_change(tenant, generation)?);
        let inactive = self.store.inactive_keys(tenant, generation)?;
        state.inactive.write().extend(inactive);
        self.catch_up(tenant, &state)?;
        Ok(state)
    }

    fn catch_up(&self, tenant: &Tenant, state: &TenantState) -> Result<(), EngineError> {
        let (index, generation) = (state.index.as_ref(), state.generation);
        let last_change = state.last_change();
        let committed = index.committed_change();
        let changes = self.store.changes_after(tenant, generation, committed)?;
        if committed <= last_change && last_change - committed == changes.len() as u64 {
            for (change, number) in changes {
                let record = self.store.record(tenant, generation, number)?;
                // Whose person was erased leaves the index as well.
                let document = record.map_or_else(
                    || IndexDocument::removal(number),
                    |record| IndexDocument::of(&record),
                );
                index.stage(document, change);
            }
            return Ok(());
        }
        tracing::info!(tenant = tenant.as_str(), "index is built from the store");
        let mut first = 0;
        index.replace_all(
            &mut || {
                let records = self
                    .store
                    .records_from(tenant, generation, first, REBUILD_BATCH)
                    .map_err(|cause| IndexError(cause.to_string()))?;
                first = records.last().map_or(first, |last| last.number + 1);
                Ok(records.iter().map(IndexDocument::of).collect())
            },
            last_change,
        )?;
        Ok(())
    }

    /// The identity of a record, or the one that it was in when it was deleted.
    pub fn identity_of(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Option<IdentityId>, EngineError> {
        let generation = self.tenant(tenant)?.generation;
        let record = self.store.record(tenant, generation, number)?;
        Ok(record.and_then(|record| record.identity_id))
    }

    /// Takes a signal. Nothing is durable before the next [`Store::flush`].
    pub fn submit(
        &self,
        tenant: &Tenant,
        signal: &Signal,
        now_ms: i64,
    ) -> Result<Ack, EngineError> {
        let prepared = self.prepare(tenant, signal)?;
        self.submit_prepared(tenant, signal, prepared, now_ms)
    }

    /// [`Engine::submit`] of a signal that was made ready.
    pub fn submit_prepared(
        &self,
        tenant: &Tenant,
        signal: &Signal,
        mut prepared: Prepared,
        now_ms: i64,
    ) -> Result<Ack, EngineError> {
        let _writer = self.writer.lock();
        let content_hash = prepared.content_hash;
        let state = self.tenant(tenant)?;
        let known = prepared.known(signal, &state);
        let receipt = match known.is_new_signal {
            true => None,
            false => (self.store).receipt(tenant, &signal.source, &signal.signal_id)?,
        };
        if let Some(receipt) = receipt {
            if receipt.content_hash != content_hash {
                return Err(EngineError::Conflict {
                    field: "signal.signal_id",
                });
            }
            return Ok(Ack {
                identity_id: receipt.identity_id,
                sequence: receipt.sequence,
                repeated: true,
                provisional: self.is_provisional(tenant)?,
                erased: self.store.is_erased(tenant, &signal.record_key())?,
            });
        }
        let mut change = Change::begin(self, tenant, &state)?;
        let known_number = known.number;
        change.know(known);
        let number_of = change.number_of(&signal.record_key(), known_number)?;
        let (number, old) = match number_of {
            NumberOf::New(number) => (number, None),
            NumberOf::Known(number) => match change.record_before(number)? {
                Some(old) => (number, Some(old)),
                None => return forget_signal(change, signal, content_hash),
            },
        };
        let before = match &old {
            Some(_) => Some(change.fold(number)?),
            None => None,
        };
        let foreseen = prepared.statement(&state, before.as_ref());
        let statement = foreseen.unwrap_or_else(|| {
            change.forget_found();
            state.statement(before.as_deref(), signal)
        });
        change.counters.signals += 1;
        let identity_id = old.as_ref().and_then(|old| old.identity_id);
        let fold = statement.fold.clone();
        change.replace_record(old.as_deref(), statement.record(number, identity_id), fold)?;
        let cause = Cause::Signal(signal.source.clone(), signal.signal_id.clone());
        change.settle(&cause, now_ms)?;
        let identity_id = change.identity_of(number)?;
        let sequence = accept(&mut change, signal, content_hash, identity_id);
        change.commit()?;
        Ok(Ack {
            identity_id,
            sequence,
            repeated: false,
            provisional: state.is_deciding(),
            erased: false,
        })
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
                self.store.commit(
                    &tenant,
                    state.generation,
                    vec![Write::PruneChanges(committed)],
                )?;
            }
        }
        Ok(())
    }
}

/// Remembers that a signal was accepted; the latest event by now.
fn accept(
    change: &mut Change<'_>,
    signal: &Signal,
    content_hash: [u8; 16],
    identity_id: Option<IdentityId>,
) -> u64 {
    let sequence = change.counters.last_sequence;
    change.touch(Touch::signal(&signal.source, &signal.signal_id));
    change.write(Write::Receipt {
        source: signal.source.clone(),
        signal_id: signal.signal_id.clone(),
        receipt: SignalReceipt {
            content_hash,
            identity_id,
            sequence,
        },
    });
    sequence
}

/// Accepts a signal of a record whose person was erased: nothing of it is kept but that it came.
fn forget_signal(
    mut change: Change<'_>,
    signal: &Signal,
    content_hash: [u8; 16],
) -> Result<Ack, EngineError> {
    change.counters.signals += 1;
    let sequence = accept(&mut change, signal, content_hash, None);
    change.commit()?;
    Ok(Ack {
        identity_id: None,
        sequence,
        repeated: false,
        provisional: false,
        erased: true,
    })
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
