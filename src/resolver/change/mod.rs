//! One change of a tenant's state: which pairs, clusters, identities and tasks follow from a record's new state or from an
//! override. Worked out in memory; nothing is visible before [`Change::commit`].

mod ahead;
mod clusters;
mod pairs;
mod remembered;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use veridem_matchers::block::BlockingKey;
use veridem_matchers::{NormalisedRecord, RecordKey};

use super::engine::{Engine, TenantState};
use super::error::EngineError;
use super::identities::assign_identities;
use super::overrides::Overrides;
use super::prepare::Known;
use super::tasks::{Doubt, OpenTask, RecordPair, TaskChange, settle_tasks, task_id};
use super::touched::Touch;
use crate::index::IndexDocument;
use crate::store::{
    Cause, Counters, IdentityId, OverrideKind, RecordNumber, StoredEdge, StoredEvent, StoredFold,
    StoredOverride, StoredRecord, Tenant, Write,
};

type SharedEdges = Arc<Vec<StoredEdge>>;

/// The number of a record.
#[derive(Clone, Copy)]
pub(super) enum NumberOf {
    /// It had one: where there is no such record any more, its person was erased.
    Known(RecordNumber),
    /// It gets one.
    New(RecordNumber),
}

/// Everything connected with what changes, and the clusters that it makes.
pub(super) struct Partition {
    /// All of it, sorted.
    connected: Vec<RecordNumber>,
    /// What of it may come into another identity or another review task.
    pub(super) affected: BTreeSet<RecordNumber>,
    /// The clusters of what is affected, each in the order of record keys, in the order of their first keys.
    clusters: Vec<Vec<RecordNumber>>,
}

impl Partition {
    /// Gives a record another number.
    pub(super) fn replace(&mut self, old: RecordNumber, new: RecordNumber) {
        if self.affected.remove(&old) {
            self.affected.insert(new);
        }
        let members = self.clusters.iter_mut().flatten();
        for member in members.filter(|member| **member == old) {
            *member = new;
        }
    }
}

/// A change in the making.
pub(super) struct Change<'a> {
    pub(super) engine: &'a Engine,
    pub(super) tenant: &'a Tenant,
    pub(super) state: &'a TenantState,
    pub(super) counters: Counters,
    /// Every identity looked at is decided and its golden record made anew, also where nothing in it changes.
    anew: bool,
    /// Records as they will be.
    records: FxHashMap<RecordNumber, Arc<StoredRecord>>,
    changed_records: BTreeSet<RecordNumber>,
    /// Folds of the members whose golden record is made anew.
    folds: FxHashMap<RecordNumber, Arc<StoredFold>>,
    /// Records whose own values change: the index does not know them yet.
    subjects: BTreeSet<RecordNumber>,
    /// The identity whose person is erased, with its records.
    erased: Option<(IdentityId, Vec<RecordNumber>)>,
    /// Records that hold shared values, without them.
    comparable: FxHashMap<RecordNumber, NormalisedRecord>,
    /// Edges before the change, of every record looked at.
    edges_before: FxHashMap<RecordNumber, SharedEdges>,
    /// Edges as they will be.
    edges: FxHashMap<RecordNumber, SharedEdges>,
    /// Overrides as they will be.
    overrides: Arc<Overrides>,
    overrides_change: bool,
    /// Holders of keys as the index knows them.
    holders: FxHashMap<BlockingKey, Vec<RecordNumber>>,
    /// What was read before.
    known: Known,
    /// What it touches besides records.
    touches: Vec<Touch>,
    /// Review tasks that open, change or close.
    tasks: Vec<(RecordPair, TaskChange)>,
    /// Keys whose activity changes, and whether they will be inactive.
    activity: BTreeMap<BlockingKey, bool>,
    /// Records whose pairs or constraints change.
    dirty: BTreeSet<RecordNumber>,
    /// Records of whose identities another value may survive, by a steward's word.
    revalued: BTreeSet<RecordNumber>,
    /// Other records that gain or lose an edge, as a key now brings the pair or no longer does.
    rewired: BTreeSet<RecordNumber>,
    writes: Vec<Write>,
}

impl<'a> Change<'a> {
    pub(super) fn begin(
        engine: &'a Engine,
        tenant: &'a Tenant,
        state: &'a TenantState,
    ) -> Result<Self, EngineError> {
        let counters = engine.store.counters(tenant)?;
        Ok(Self {
            counters,
            ..Self::ahead(engine, tenant, state, Known::default())
        })
    }

    /// A change before its turn, with what is known of it by then: it counts nothing and cannot be committed.
    pub(super) fn ahead(
        engine: &'a Engine,
        tenant: &'a Tenant,
        state: &'a TenantState,
        known: Known,
    ) -> Self {
        Self {
            engine,
            tenant,
            state,
            counters: Counters::default(),
            anew: false,
            records: FxHashMap::default(),
            changed_records: BTreeSet::new(),
            folds: FxHashMap::default(),
            subjects: BTreeSet::new(),
            erased: None,
            comparable: FxHashMap::default(),
            edges_before: FxHashMap::default(),
            edges: FxHashMap::default(),
            overrides: state.shared.overrides.read().clone(),
            overrides_change: false,
            holders: FxHashMap::default(),
            known,
            touches: Vec::new(),
            tasks: Vec::new(),
            activity: BTreeMap::new(),
            dirty: BTreeSet::new(),
            revalued: BTreeSet::new(),
            rewired: BTreeSet::new(),
            writes: Vec::new(),
        }
    }

    /// Takes what was read for this change before it began, and is still so.
    pub(super) fn know(&mut self, known: Known) {
        self.known = known;
    }

    /// Forgets what was found of the subject before.
    pub(super) fn forget_found(&mut self) {
        self.known.forget_found();
    }

    /// Notes that what was read of this before is no longer so.
    pub(super) fn touch(&mut self, touch: Touch) {
        self.touches.push(touch);
    }

    /// The number of a record, a new one where it has none; what is known of it may be given.
    pub(super) fn number_of(
        &mut self,
        key: &RecordKey,
        known: Option<Option<RecordNumber>>,
    ) -> Result<NumberOf, EngineError> {
        let store = &self.engine.store;
        let number = known.map_or_else(|| store.record_number(self.tenant, key), Ok)?;
        if let Some(number) = number {
            return Ok(NumberOf::Known(number));
        }
        self.touch(Touch::record_key(&key.source, &key.record_id));
        self.counters.record_numbers += 1;
        let number = self.counters.record_numbers;
        self.known.give_number(number);
        self.write(Write::NewRecord(key.clone(), number));
        Ok(NumberOf::New(number))
    }

    /// Puts a record's new state in the place of the old one and finds out whose pairs change with it.
    pub(super) fn replace_record(
        &mut self,
        old: Option<&StoredRecord>,
        new: Arc<StoredRecord>,
        fold: Arc<StoredFold>,
    ) -> Result<(), EngineError> {
        self.folds.insert(new.number, fold.clone());
        self.write(Write::Fold(new.number, fold));
        let was_alive = old.is_some_and(|old| old.is_alive);
        if new.is_alive && !was_alive {
            self.counters.source_records += 1;
        } else if was_alive && !new.is_alive {
            self.counters.source_records -= 1;
        }
        self.replace_evidence(old, new)
    }

    /// Ends an identity and what is kept of its records, those included that their sources have deleted.
    pub(super) fn erase(
        &mut self,
        id: &IdentityId,
        records: &[RecordNumber],
    ) -> Result<(), EngineError> {
        self.erased = Some((*id, records.to_vec()));
        // Also of one that its source had deleted and that says nothing new now.
        (self.touches).extend(records.iter().copied().map(Touch::Record));
        // All at once: a key that several of them hold is lost by all.
        for number in records {
            if self.load(*number)? {
                self.subjects.insert(*number);
            }
        }
        for number in self.subjects.clone() {
            let old = self.records[&number].clone();
            self.counters.source_records -= u64::from(old.is_alive);
            let new = StoredRecord {
                is_alive: false,
                normalised: NormalisedRecord::default(),
                keys: Vec::new(),
                ..StoredRecord::clone(&old)
            };
            self.replace_evidence(Some(&old), Arc::new(new))?;
        }
        Ok(())
    }

    /// The records that are erased with an identity.
    pub(super) fn erased_with(&self, id: &IdentityId) -> Option<&[RecordNumber]> {
        let erased = self.erased.as_ref().filter(|(erased, _)| erased == id);
        erased.map(|(_, records)| records.as_slice())
    }

    fn is_erased(&self, number: RecordNumber) -> bool {
        let erased = self.erased.as_ref();
        erased.is_some_and(|(_, records)| records.contains(&number))
    }

    /// Writes an override down, puts it in force where it was not and out of force where it was: as it says.
    pub(super) fn set_override(&mut self, value: &StoredOverride) -> Result<(), EngineError> {
        self.overrides_change = true;
        let before = self.overrides.clone();
        if Arc::make_mut(&mut self.overrides).set(value) {
            match value.is_in_force() {
                true => self.counters.overrides += 1,
                false => self.counters.overrides -= 1,
            }
            let records = value.records().map(|(_, number)| *number);
            match &value.kind {
                OverrideKind::Persons => self.dirty.extend(records),
                OverrideKind::Pin { .. } | OverrideKind::Household => self.revalued.extend(records),
                OverrideKind::Value {
                    value, comparable, ..
                } => {
                    self.follow_mark(*value)?;
                    if before.is_junk(*comparable) != self.overrides.is_junk(*comparable) {
                        self.revalue(*value)?;
                    }
                }
            }
        }
        self.write(Write::Override(value.clone()));
        Ok(())
    }

    /// Overrides as they will be.
    pub(super) fn overrides(&self) -> Arc<Overrides> {
        self.overrides.clone()
    }

    /// Opens a review task, or changes the one that is open for the two records.
    pub(super) fn open_task(&mut self, pair: RecordPair, doubt: &Doubt, mut open: OpenTask) {
        let known = self.state.shared.open_tasks.read().get(pair);
        if let Some(known) = known {
            open.opened_at_ms = known.opened_at_ms;
        }
        if known.is_none_or(|known| (known.score, known.impact) != (open.score, open.impact)) {
            let task = doubt.task(self, open);
            match known {
                Some(_) => self.write(Write::CloseTask(task.id.clone())),
                None => self.counters.open_review_tasks += 1,
            }
            self.tasks.push((pair, TaskChange::Open(open)));
            self.write(Write::OpenTask(task));
        }
    }

    /// The records with which a record has an open review task.
    pub(super) fn open_tasks_of(&self, number: RecordNumber) -> Vec<RecordNumber> {
        self.state.shared.open_tasks.read().of_record(number)
    }

    /// Closes the review task of two records, where one is open.
    pub(super) fn close_task(&mut self, pair: RecordPair) -> Result<(), EngineError> {
        if self.state.shared.open_tasks.read().get(pair).is_none() {
            return Ok(());
        }
        self.load(pair.0)?;
        self.load(pair.1)?;
        let id = task_id(&self.record(pair.0).key, &self.record(pair.1).key);
        self.counters.open_review_tasks -= 1;
        self.tasks.push((pair, TaskChange::Close(id.clone())));
        self.write(Write::CloseTask(id));
        Ok(())
    }

    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Works out everything that follows.
    pub(super) fn settle(&mut self, cause: &Cause, now_ms: i64) -> Result<(), EngineError> {
        self.weigh_dirty()?;
        let partition = self.partition()?;
        self.decide(&partition, cause, now_ms)
    }

    fn partition(&mut self) -> Result<Partition, EngineError> {
        if let Some(members) = self.identity_that_stays()? {
            let affected: BTreeSet<RecordNumber> = members.iter().copied().collect();
            return Ok(Partition {
                connected: affected.iter().copied().collect(),
                affected,
                clusters: vec![members],
            });
        }
        let mut start = self.rewired.clone();
        let changed = self.dirty.union(&self.subjects).chain(&self.revalued);
        let changed: Vec<RecordNumber> = changed.copied().collect();
        for number in changed {
            // A steward's word may be on a record that was erased.
            if self.load(number)? {
                start.insert(number);
            }
        }
        self.partition_of(start)
    }

    fn partition_of(&mut self, start: BTreeSet<RecordNumber>) -> Result<Partition, EngineError> {
        if let Some(foreseen) = self.foreseen(&start)? {
            for number in &foreseen.affected {
                self.load(*number)?;
            }
            return Ok(foreseen);
        }
        let subject = start.first().copied();
        let subject =
            subject.filter(|_| self.is_of_one_record() && start.iter().eq(&self.subjects));
        let Some(subject) = subject else {
            return self.partition_read(start);
        };
        let mut partition = match self.partition_remembered(subject)? {
            Some(partition) => partition,
            None => {
                let partition = self.partition_read(start)?;
                self.remember_components_of(subject, &partition)?;
                partition
            }
        };
        self.leave_out_what_stays(subject, &mut partition)?;
        Ok(partition)
    }

    fn partition_read(&mut self, start: BTreeSet<RecordNumber>) -> Result<Partition, EngineError> {
        let affected = self.affected(start)?;
        let clusters = self.clusters(&affected)?;
        Ok(Partition {
            connected: affected.iter().copied().collect(),
            affected,
            clusters,
        })
    }

    /// Whether nothing but one record's pairs changes, under the model that all identities are of.
    fn is_of_one_record(&self) -> bool {
        self.activity.is_empty()
            && self.dirty.is_subset(&self.subjects)
            && self.revalued.is_empty()
            && self.subjects.len() == 1
            && !self.anew
            && !self.state.is_deciding()
    }

    /// Decides some records and everything connected with them anew; tells which these are.
    pub(super) fn decide_anew(
        &mut self,
        records: BTreeSet<RecordNumber>,
        cause: &Cause,
        now_ms: i64,
    ) -> Result<BTreeSet<RecordNumber>, EngineError> {
        self.anew = true;
        let mut known = BTreeSet::new();
        for number in records {
            if self.load(number)? {
                known.insert(number);
            }
        }
        let partition = self.partition_of(known)?;
        self.decide(&partition, cause, now_ms)?;
        Ok(partition.affected)
    }

    fn decide(
        &mut self,
        partition: &Partition,
        cause: &Cause,
        now_ms: i64,
    ) -> Result<(), EngineError> {
        let Partition {
            affected, clusters, ..
        } = partition;
        let touched = assign_identities(self, affected, clusters, cause, now_ms)?;
        settle_tasks(self, affected, touched, now_ms)
    }

    /// Whether every identity looked at is made anew.
    pub(super) fn is_anew(&self) -> bool {
        self.anew
    }

    /// The events that it makes.
    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<StoredEvent>> {
        self.writes.iter().filter_map(|write| match write {
            Write::Event(event) => Some(event),
            _ => None,
        })
    }

    /// Commits to the store and shows the index what changed.
    pub(super) fn commit(mut self) -> Result<(), EngineError> {
        let counters = Write::Counters(self.counters.clone());
        self.write(counters);
        self.commit_evidence()
    }

    /// [`Change::commit`] without counters: of a generation that is not in force yet.
    pub(super) fn commit_evidence(mut self) -> Result<(), EngineError> {
        let mut writes = std::mem::take(&mut self.writes);
        let mut staged = Vec::new();
        let mut change = self.state.last_change();
        for number in &self.changed_records {
            let record = &self.records[number];
            if !self.is_erased(*number) {
                writes.push(Write::Record(record.clone()));
            }
            if self.subjects.contains(number) {
                change += 1;
                writes.push(Write::Change(change, *number));
                staged.push((IndexDocument::of(record), change));
            }
        }
        let mut touches = std::mem::take(&mut self.touches);
        let dirty = self.dirty.iter().chain(&self.changed_records);
        touches.extend(dirty.copied().map(Touch::Record));
        for (number, edges) in &self.edges {
            if self.edges_before.get(number) != Some(edges) {
                touches.push(Touch::Record(*number));
                writes.push(Write::Edges(*number, edges.clone()));
            }
        }
        writes.extend(
            self.activity
                .iter()
                .map(|(key, inactive)| Write::KeyActivity {
                    key: *key,
                    inactive: *inactive,
                }),
        );
        if self.erased.is_some() {
            // Nothing that is written beside puts anything of them back.
            writes.sort_by_key(|write| matches!(write, Write::Erasure(_)));
        }
        let store = &self.engine.store;
        store.commit(self.tenant, self.state.generation, writes)?;
        for (document, change) in staged {
            self.state.stage(document, change);
        }
        // Under another model a record may say something new where under this one it does not.
        self.state
            .touch(self.changed_records.union(&self.subjects).copied());
        if !self.tasks.is_empty() {
            let mut open_tasks = self.state.shared.open_tasks.write();
            for (pair, change) in self.tasks {
                open_tasks.set(pair, change);
            }
            if let Some((_, records)) = &self.erased {
                open_tasks.forget_closed(records);
            }
        }
        if self.overrides_change {
            *self.state.shared.overrides.write() = self.overrides;
        }
        if !self.activity.is_empty() {
            let mut inactive = self.state.inactive.write();
            for (key, is_inactive) in &self.activity {
                if *is_inactive {
                    inactive.insert(*key)
                } else {
                    inactive.remove(key)
                };
            }
        }
        let mut lately = self.state.touched_lately.lock();
        for number in self.erased.iter().flat_map(|(_, records)| records) {
            lately.components.forget_with(*number);
        }
        lately.note(touches);
        Ok(())
    }

    /// A record as it is before the change.
    pub(super) fn record_before(
        &mut self,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredRecord>>, EngineError> {
        Ok(match self.known.records.remove(&number) {
            Some(record) => Some(record),
            None => (self.engine.store).record(self.tenant, self.state.generation, number)?,
        })
    }

    /// The identity that a record belongs to.
    pub(super) fn identity_of(
        &mut self,
        number: RecordNumber,
    ) -> Result<Option<IdentityId>, EngineError> {
        self.load(number)?;
        Ok(self
            .records
            .get(&number)
            .and_then(|record| record.identity_id))
    }

    /// Puts a record into an identity.
    pub(super) fn set_identity(&mut self, number: RecordNumber, id: &IdentityId) {
        if let Some(record) = self.records.get_mut(&number)
            && record.identity_id.as_ref() != Some(id)
        {
            Arc::make_mut(record).identity_id = Some(*id);
            self.changed_records.insert(number);
        }
    }

    /// A record that was loaded.
    pub(super) fn record(&self, number: RecordNumber) -> &StoredRecord {
        &self.records[&number]
    }

    /// What a record's source says, with what survivorship compares.
    pub(super) fn fold(&mut self, number: RecordNumber) -> Result<Arc<StoredFold>, EngineError> {
        if let Some(fold) = self.folds.get(&number) {
            return Ok(fold.clone());
        }
        let fold = self.engine.store.fold(self.tenant, number)?;
        let mut fold = fold.unwrap_or_default();
        if self.anew {
            // Other rules may compare values otherwise.
            let (.., comparables) = self.state.matcher.evidence(fold.fold.values());
            if fold.comparables != comparables {
                Arc::make_mut(&mut fold).comparables = comparables;
                self.write(Write::Fold(number, fold.clone()));
            }
        }
        self.folds.insert(number, fold.clone());
        Ok(fold)
    }

    /// Whether the change touches what a record says.
    pub(super) fn is_subject(&self, number: RecordNumber) -> bool {
        self.subjects.contains(&number)
    }

    /// Whether a golden record may become another one by a record.
    pub(super) fn says_anew(&self, number: RecordNumber) -> bool {
        self.is_subject(number) || self.revalued.contains(&number)
    }

    fn load(&mut self, number: RecordNumber) -> Result<bool, EngineError> {
        if !self.records.contains_key(&number) {
            let Some(record) = self.record_before(number)? else {
                return Ok(false);
            };
            self.records.insert(number, record);
        }
        Ok(true)
    }
}
