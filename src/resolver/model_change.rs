//! Another model or other rules on a live store. All pairs are weighed anew by the bulk job's code in a generation of their own while
//! signals go on under the model in force; what signals change meanwhile is weighed again. Then the new pairs come into force in one
//! commit, and the identities are decided anew, some at a time between signals. The store knows how far it is: after a crash it goes
//! on from there.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use tokio_util::sync::CancellationToken;

use super::bulk::{Abandoned, BulkOptions, BulkResult, resolve_records};
use super::change::Change;
use super::engine::{Engine, TenantState};
use super::error::EngineError;
use super::evidence::Evidence;
use super::ingest::{Ingest, WeakIngest};
use super::matcher::Matcher;
use super::model_preview::{ModelChangePreview, preview_of};
use super::records::{Records, RecordsBuilder};
use crate::clock;
use crate::executor;
use crate::jobs::{JobEnd, JobKind};
use crate::store::{
    Cause, Generation, IdentityId, ModelPhase, RecordNumber, StoredModel, StoredModelChange,
    StoredRecord, Tenant, Write,
};
use veridem_matchers::Record;
use veridem_matchers::block::PersonalValue;

/// Records read or written at once.
const BATCH: usize = 5_000;
/// Records that one step decides anew, with everything connected with them.
const RECORDS_A_STEP: usize = 64;
/// So many changed records may be weighed while signals wait.
const FEW: usize = 256;
/// Rounds of weighing what signals have changed meanwhile, after which they wait for the rest.
const MAX_ROUNDS: usize = 20;

/// Where a step of a model change has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelStep {
    /// The phase now.
    pub phase: ModelPhase,
    /// The latest event.
    pub sequence: u64,
}

/// A generation that is weighed and not in force yet.
pub(super) struct Shadow {
    state: Arc<TenantState>,
    /// The values that stewards had marked when its pairs were weighed.
    marked: BTreeSet<PersonalValue>,
}

/// All records of a tenant that live, as a bulk job takes them.
pub(super) struct LivingRecords {
    pub(super) records: Records,
    /// Their numbers and identities, by row.
    pub(super) rows: Vec<(RecordNumber, Option<IdentityId>)>,
    /// Those that are deleted.
    dead: Vec<StoredRecord>,
}

impl Engine {
    /// What would come of another model: as of now, nothing is changed. One at a time; ends soon where nobody waits any more. `entered` is
    /// told each stage as it begins.
    pub fn preview_model(
        &self,
        tenant: &Tenant,
        matcher: &Matcher,
        abandoned: &Abandoned,
        entered: &(dyn Fn(&'static str) + Sync),
    ) -> Result<ModelChangePreview, EngineError> {
        let _one = self.preview.try_lock().ok_or(EngineError::Overloaded)?;
        let state = self.tenant(tenant)?;
        same_folds(&state.matcher, matcher)?;
        let living = self.living_records(tenant, &state, abandoned)?;
        let marked = state.marked_values();
        let options = self.options_anew(&state, matcher, &living, &marked, abandoned);
        let result = resolved(&living, options, entered)?;
        entered("compare");
        preview_of(self, tenant, matcher, &living, &result)
    }

    /// Asks for another model. Refused while another change runs; asking again for the one that runs or is in force changes
    /// nothing. `limit` is the share of identities that may be joined or split: where it would be more, the change ends without effect.
    pub fn begin_model_change(
        &self,
        tenant: &Tenant,
        matcher: &Matcher,
        principal: &str,
        limit: f64,
        now_ms: i64,
    ) -> Result<(), EngineError> {
        let _writer = self.writer.lock();
        let state = self.tenant(tenant)?;
        let known = self.store.model_change(tenant)?;
        if let Some(known) = known.filter(StoredModelChange::is_running) {
            return if known.fingerprint == matcher.fingerprint {
                Ok(())
            } else {
                Err(EngineError::Refused {
                    field: "model",
                    problem: "another model is being activated; wait until it is done",
                })
            };
        }
        if state.matcher.fingerprint == matcher.fingerprint {
            return Ok(());
        }
        same_folds(&state.matcher, matcher)?;
        let generation = self.store.begin_generation(tenant)?;
        let change = StoredModelChange {
            fingerprint: matcher.fingerprint.clone(),
            principal: principal.to_owned(),
            asked_at_ms: now_ms,
            limit,
            phase: ModelPhase::Weighing(generation),
        };
        let model = Write::NextModel(Box::new(matcher.stored()));
        let writes = vec![model, Write::ModelChange(Box::new(change))];
        self.put(tenant, writes)
    }

    fn put_model_change(
        &self,
        tenant: &Tenant,
        change: StoredModelChange,
    ) -> Result<(), EngineError> {
        self.put(tenant, vec![Write::ModelChange(Box::new(change))])
    }

    fn put(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<(), EngineError> {
        let in_force = self.store.in_force(tenant);
        self.store.commit(tenant, in_force, writes)?;
        Ok(self.store.flush()?)
    }

    fn next_model(&self, tenant: &Tenant) -> Result<StoredModel, EngineError> {
        let model = self.store.next_model(tenant)?;
        model.ok_or(EngineError::NotFound {
            what: "the model that comes",
        })
    }

    fn living_records(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        abandoned: &Abandoned,
    ) -> Result<LivingRecords, EngineError> {
        let mut builder = RecordsBuilder::default();
        let mut dead = Vec::new();
        let mut first = 0;
        loop {
            let records = self
                .store
                .records_from(tenant, state.generation, first, BATCH)?;
            let Some(last) = records.last() else { break };
            if abandoned.is_set() {
                return Err(EngineError::Abandoned);
            }
            first = last.number + 1;
            for record in records {
                if record.is_alive {
                    let fold = self.store.fold(tenant, record.number)?.unwrap_or_default();
                    builder.push(&Record {
                        key: record.key,
                        attributes: fold.fold.attributes(),
                    });
                } else {
                    dead.push(record);
                }
            }
        }
        let records = builder.finish(|_, _| {});
        let rows = (0..records.len()).into_par_iter().map(|row| {
            let key = records.get(row).key;
            let number = self.store.record_number(tenant, &key)?.unwrap_or_default();
            let record = self.store.record(tenant, state.generation, number)?;
            Ok((number, record.and_then(|record| record.identity_id)))
        });
        let rows = rows.collect::<Result<_, EngineError>>()?;
        Ok(LivingRecords {
            records,
            rows,
            dead,
        })
    }

    /// How all records are resolved under another model.
    fn options_anew(
        &self,
        state: &TenantState,
        matcher: &Matcher,
        living: &LivingRecords,
        marked: &BTreeSet<PersonalValue>,
        abandoned: &Abandoned,
    ) -> BulkOptions {
        let numbers: Vec<RecordNumber> = living.rows.iter().map(|(number, _)| *number).collect();
        let links = state.shared.overrides.read().links(&numbers);
        BulkOptions {
            marked_values: marked.iter().copied().collect(),
            overrides: links
                .into_iter()
                .map(|(left, right, link, number)| (left as u32, right as u32, link, number))
                .collect(),
            abandoned: abandoned.clone(),
            ..matcher.bulk_options()
        }
    }

    /// Weighs all pairs under the model that comes, until only few records are left that signals have changed meanwhile; or ends
    /// the change where it goes beyond its limit. `entered` is told each stage as it begins.
    pub fn weigh_model_change(
        &self,
        tenant: &Tenant,
        entered: &(dyn Fn(&'static str) + Sync),
    ) -> Result<(), EngineError> {
        let state = self.tenant(tenant)?;
        let change = self.store.model_change(tenant)?;
        let Some((mut change, left)) = change.and_then(|change| match change.phase {
            ModelPhase::Weighing(left) => Some((change, left)),
            _ => None,
        }) else {
            return Ok(());
        };
        // What an interrupted attempt has left is thrown away.
        self.remove_generation(tenant, left)?;
        let generation = self.store.begin_generation(tenant)?;
        change.phase = ModelPhase::Weighing(generation);
        self.put_model_change(tenant, change.clone())?;
        let matcher = Arc::new(Matcher::from_stored(&self.next_model(tenant)?)?);
        *state.touched.lock() = Some(FxHashSet::default());
        let living = self.living_records(tenant, &state, &Abandoned::default())?;
        let marked = state.marked_values();
        let abandoned = Abandoned::default();
        let options = self.options_anew(&state, &matcher, &living, &marked, &abandoned);
        let result = resolved(&living, options, entered)?;
        entered("compare");
        let preview = preview_of(self, tenant, &matcher, &living, &result)?;
        if preview.changed_share() > change.limit {
            *state.touched.lock() = None;
            change.phase = ModelPhase::Refused {
                changed: preview.changed_identities(),
                identities: preview.identities,
            };
            self.put_model_change(tenant, change)?;
            return self.remove_generation(tenant, generation);
        }
        entered("store");
        self.write_generation(tenant, generation, &matcher, &living, &marked, &result)?;
        drop((living, result));
        let shadow = self.open_generation(tenant, generation, matcher, state.shared.clone())?;
        entered("catch up");
        for _ in 0..MAX_ROUNDS {
            let touched = std::mem::take(state.touched.lock().get_or_insert_default());
            for number in &touched {
                self.weigh_again(tenant, &state, &shadow, *number)?;
            }
            if touched.len() <= FEW {
                break;
            }
        }
        shadow.index.commit()?;
        let shadow = Shadow {
            state: Arc::new(shadow),
            marked,
        };
        self.shadows.lock().insert(tenant.clone(), shadow);
        Ok(())
    }

    fn write_generation(
        &self,
        tenant: &Tenant,
        generation: Generation,
        matcher: &Matcher,
        living: &LivingRecords,
        marked: &BTreeSet<PersonalValue>,
        result: &BulkResult,
    ) -> Result<(), EngineError> {
        let number_of = |row: usize| living.rows[row].0;
        let evidence = Evidence::new(result, &number_of);
        let mut keys = Vec::new();
        for start in (0..living.records.len()).step_by(BATCH) {
            let end = (start + BATCH).min(living.records.len());
            let stored: Vec<StoredRecord> = (start..end)
                .into_par_iter()
                .map(|row| {
                    let record = living.records.get(row);
                    let (number, identity_id) = living.rows[row];
                    let (normalised, keys, _) =
                        matcher.evidence(record.attributes.iter().map(|stated| &stated.attribute));
                    StoredRecord {
                        number,
                        key: record.key,
                        is_alive: true,
                        normalised,
                        keys,
                        identity_id,
                    }
                })
                .collect();
            let mut writes = Vec::with_capacity(2 * stored.len());
            for (row, record) in (start..end).zip(stored) {
                keys.extend(&record.keys);
                writes.extend(evidence.edges(row));
                writes.push(Write::Record(record.into()));
            }
            self.store.commit(tenant, generation, writes)?;
        }
        let dead = living.dead.iter().cloned();
        let dead = dead.map(|record| Write::Record(record.into())).collect();
        self.store.commit(tenant, generation, dead)?;
        let mut activity = evidence.activity(keys, &matcher.pack, marked);
        // As if each record had come by a signal of its own: an empty index is behind it.
        activity.push(Write::LastChange(living.records.len() as u64));
        Ok(self.store.commit(tenant, generation, activity)?)
    }

    /// Brings a record of the generation in the making to what it is now.
    fn weigh_again(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        shadow: &TenantState,
        number: RecordNumber,
    ) -> Result<(), EngineError> {
        let Some(current) = self.store.record(tenant, state.generation, number)? else {
            return Ok(());
        };
        let old = self.store.record(tenant, shadow.generation, number)?;
        let fold = self.store.fold(tenant, number)?.unwrap_or_default();
        let (normalised, keys, _) = shadow.matcher.evidence(fold.fold.values());
        let new = StoredRecord {
            normalised,
            keys,
            ..StoredRecord::clone(&current)
        };
        if old.as_deref() == Some(&new) {
            return Ok(());
        }
        let mut change = Change::begin(self, tenant, shadow)?;
        change.replace_evidence(old.as_deref(), Arc::new(new))?;
        change.weigh_dirty()?;
        change.commit_evidence()
    }

    fn remove_generation(
        &self,
        tenant: &Tenant,
        generation: Generation,
    ) -> Result<(), EngineError> {
        self.store.remove_generation(tenant, generation)?;
        Ok(self.indexes.remove(tenant, generation)?)
    }

    /// The next step of a model change. Nothing is durable before the next [`crate::store::Store::flush`].
    pub fn model_step(&self, tenant: &Tenant, now_ms: i64) -> Result<ModelStep, EngineError> {
        let _writer = self.writer.lock();
        let change = self.store.model_change(tenant)?;
        let change = change.ok_or(EngineError::NotFound {
            what: "the model change",
        })?;
        let phase = match change.phase {
            ModelPhase::Weighing(_) => self.bring_into_force(tenant, change)?,
            ModelPhase::Deciding { next, old } => {
                self.decide_some(tenant, change, (next, old), now_ms)?
            }
            ModelPhase::Removing(_) => {
                let phase = ModelPhase::Done { done_at_ms: now_ms };
                self.put_model_change(tenant, StoredModelChange { phase, ..change })?;
                phase
            }
            phase @ (ModelPhase::Done { .. } | ModelPhase::Refused { .. }) => phase,
        };
        let sequence = self.store.counters(tenant)?.last_sequence;
        Ok(ModelStep { phase, sequence })
    }

    fn bring_into_force(
        &self,
        tenant: &Tenant,
        mut change: StoredModelChange,
    ) -> Result<ModelPhase, EngineError> {
        let state = self.tenant(tenant)?;
        let Some(Shadow {
            state: shadow,
            marked,
        }) = self.shadows.lock().remove(tenant)
        else {
            return Ok(change.phase);
        };
        let touched = state.touched.lock().take().unwrap_or_default();
        for number in touched {
            self.weigh_again(tenant, &state, &shadow, number)?;
        }
        // What stewards have said of values since the pairs were weighed, or taken back.
        for value in marked.union(&state.marked_values()) {
            let mut change = Change::begin(self, tenant, &shadow)?;
            change.follow_mark(*value)?;
            change.weigh_dirty()?;
            change.commit_evidence()?;
        }
        let model = Write::Model(Box::new(self.next_model(tenant)?));
        change.phase = ModelPhase::Deciding {
            next: 1,
            old: state.generation,
        };
        let phase = change.phase;
        let writes = vec![Write::InForce, model, Write::ModelChange(Box::new(change))];
        self.store.commit(tenant, shadow.generation, writes)?;
        shadow.set_deciding(true);
        self.tenants.write().insert(tenant.clone(), shadow);
        Ok(phase)
    }

    fn decide_some(
        &self,
        tenant: &Tenant,
        mut change: StoredModelChange,
        (mut next, old): (RecordNumber, Generation),
        now_ms: i64,
    ) -> Result<ModelPhase, EngineError> {
        let state = self.tenant(tenant)?;
        let last = self.store.counters(tenant)?.record_numbers;
        let mut decided = state.decided.lock();
        let mut start = BTreeSet::new();
        while next <= last && start.len() < RECORDS_A_STEP {
            // What was decided with an earlier record is not decided again.
            if !decided.remove(&next) {
                start.insert(next);
            }
            next += 1;
        }
        let ends = next > last;
        change.phase = if ends {
            ModelPhase::Removing(old)
        } else {
            ModelPhase::Deciding { next, old }
        };
        let phase = change.phase;
        let cause = Cause::Model(change.fingerprint.clone());
        let mut deciding = Change::begin(self, tenant, &state)?;
        let affected = deciding.decide_anew(start, &cause, now_ms)?;
        deciding.write(Write::ModelChange(Box::new(change)));
        deciding.commit()?;
        decided.extend(affected.into_iter().filter(|number| *number >= next));
        if ends {
            decided.clear();
            state.set_deciding(false);
        }
        Ok(phase)
    }
}

fn resolved(
    living: &LivingRecords,
    options: BulkOptions,
    entered: &(dyn Fn(&'static str) + Sync),
) -> Result<BulkResult, EngineError> {
    let abandoned = options.abandoned.clone();
    let result = resolve_records(&living.records, options, &|stage| entered(stage));
    match abandoned.is_set() {
        true => Err(EngineError::Abandoned),
        false => Ok(result),
    }
}

/// Signals are folded by one of the rules and kept as folds only: where it changes, they have to be sent again.
fn same_folds(one: &Matcher, other: &Matcher) -> Result<(), EngineError> {
    if one.pack.identifiers != other.pack.identifiers {
        return Err(EngineError::invalid(
            "rules.identifiers.accumulating",
            "differs from the rules in force, under which signals were folded; load the signals into an empty data directory",
        ));
    }
    Ok(())
}

/// Carries model changes through in the background, one a tenant.
pub struct ModelChanges {
    engine: Arc<Engine>,
    ingest: WeakIngest,
    stop: CancellationToken,
    running: Mutex<Vec<(Tenant, std::thread::JoinHandle<()>)>>,
}

impl ModelChanges {
    /// Goes on with the changes of these tenants that a stop has interrupted.
    pub fn start(
        engine: Arc<Engine>,
        ingest: &Ingest,
        tenants: &[Tenant],
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        let changes = Arc::new(Self {
            engine,
            ingest: ingest.downgrade(),
            stop,
            running: Mutex::default(),
        });
        for tenant in tenants {
            let change = changes.engine.store().model_change(tenant)?;
            if change.is_some_and(|change| change.is_running()) {
                changes.carry_through(tenant)?;
            }
        }
        Ok(changes)
    }

    /// Starts to carry a tenant's change through, where it does not yet.
    pub fn carry_through(&self, tenant: &Tenant) -> std::io::Result<()> {
        let mut running = self.running.lock();
        running.retain(|(_, thread)| !thread.is_finished());
        if running.iter().any(|(known, _)| known == tenant) {
            return Ok(());
        }
        let (engine, ingest, stop) = (self.engine.clone(), self.ingest.clone(), self.stop.clone());
        let of = tenant.clone();
        let thread = std::thread::Builder::new()
            .name("model".into())
            .spawn(move || match run(&engine, &ingest, &of, &stop) {
                Ok(()) | Err(EngineError::Stopping) => {}
                Err(cause) => {
                    tracing::error!(%cause, tenant = of.as_str(), "the model change stopped; it goes on at the next start, or when it is asked for again");
                }
            })?;
        running.push((tenant.clone(), thread));
        Ok(())
    }

    /// Whether nothing is carried through any more.
    pub fn are_finished(&self) -> bool {
        let running = self.running.lock();
        running.iter().all(|(_, thread)| thread.is_finished())
    }
}

fn run(
    engine: &Engine,
    ingest: &WeakIngest,
    tenant: &Tenant,
    stop: &CancellationToken,
) -> Result<(), EngineError> {
    let threads = executor::available_threads().div_ceil(2);
    let Some(change) = engine.store().model_change(tenant)? else {
        return Ok(());
    };
    let (kind, name) = (JobKind::ModelChange, &change.fingerprint);
    let job = engine.jobs().begin(tenant, kind, name, &change.principal);
    while !stop.is_cancelled() {
        let Some(change) = engine.store().model_change(tenant)? else {
            return Ok(());
        };
        match change.phase {
            ModelPhase::Done { .. } | ModelPhase::Refused { .. } => {
                job.end_as(JobEnd::Done);
                return Ok(());
            }
            ModelPhase::Weighing(_) => {
                // Half of the cores stay with those who ask and send.
                let weigh = || engine.weigh_model_change(tenant, &|stage| job.enter(stage));
                executor::run(threads, weigh).map_err(|_| EngineError::Stopping)??;
                let now = engine.store().model_change(tenant)?;
                if !now.is_some_and(|change| change.is_running()) {
                    tracing::warn!(
                        tenant = tenant.as_str(),
                        "the model would change more than its limit; the one in force stays"
                    );
                    let problem = "it would change more than its limit";
                    job.end_as(JobEnd::Failed(problem.to_owned()));
                    return Ok(());
                }
            }
            ModelPhase::Removing(generation) => engine.remove_generation(tenant, generation)?,
            ModelPhase::Deciding { next, .. } => {
                let records = engine.store().counters(tenant)?.record_numbers;
                job.enter("decide");
                job.progress(next - 1, records);
            }
        }
        if stop.is_cancelled() {
            return Ok(());
        }
        let step = ingest.upgrade()?.model_step(tenant.clone())?;
        if matches!(step.phase, ModelPhase::Done { .. }) {
            tracing::info!(
                tenant = tenant.as_str(),
                fingerprint = change.fingerprint,
                seconds = (clock::now_ms() - change.asked_at_ms) / 1_000,
                "another model is in force and everything is decided"
            );
        }
    }
    Ok(())
}
