//! One change of a tenant's state: which pairs, clusters, identities and tasks follow from a record's new state or from an
//! override. Worked out in memory; nothing is visible before [`Change::commit`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use veridem_matchers::block::BlockingKey;
use veridem_matchers::cluster::Link;
use veridem_matchers::cluster::connected_components;
use veridem_matchers::{Decision, NormalisedRecord, PairScore, RecordKey, partition_component};

use super::engine::{Engine, TenantState};
use super::error::EngineError;
use super::identities::assign_identities;
use super::overrides::Overrides;
use super::tasks::{RecordPair, content_of, settle_tasks, task_id};
use crate::index::IndexDocument;
use crate::store::{
    Cause, Counters, IdentityId, RecordNumber, StoredEdge, StoredEvent, StoredFold, StoredOverride,
    StoredRecord, StoredReviewTask, Tenant, Write,
};

type SharedEdges = Arc<Vec<StoredEdge>>;

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
    /// The record whose own values change, if one does: the index does not know them yet.
    subject: Option<RecordNumber>,
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
    /// Review tasks that open, with their content, and that close.
    tasks: Vec<(RecordPair, Option<u64>)>,
    /// Keys whose activity changes, and whether they will be inactive.
    activity: BTreeMap<BlockingKey, bool>,
    /// Records whose pairs or constraints change.
    dirty: BTreeSet<RecordNumber>,
    writes: Vec<Write>,
}

impl<'a> Change<'a> {
    pub(super) fn begin(
        engine: &'a Engine,
        tenant: &'a Tenant,
        state: &'a TenantState,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            engine,
            tenant,
            state,
            counters: engine.store.counters(tenant)?,
            anew: false,
            records: FxHashMap::default(),
            changed_records: BTreeSet::new(),
            folds: FxHashMap::default(),
            subject: None,
            comparable: FxHashMap::default(),
            edges_before: FxHashMap::default(),
            edges: FxHashMap::default(),
            overrides: state.shared.overrides.read().clone(),
            overrides_change: false,
            holders: FxHashMap::default(),
            tasks: Vec::new(),
            activity: BTreeMap::new(),
            dirty: BTreeSet::new(),
            writes: Vec::new(),
        })
    }

    /// The number of a record, a new one where it has none.
    pub(super) fn number_of(&mut self, key: &RecordKey) -> Result<RecordNumber, EngineError> {
        if let Some(number) = self.engine.store.record_number(self.tenant, key)? {
            return Ok(number);
        }
        self.counters.record_numbers += 1;
        let number = self.counters.record_numbers;
        self.write(Write::NewRecord(key.clone(), number));
        Ok(number)
    }

    /// Puts a record's new state in the place of the old one and finds out whose pairs change with it.
    pub(super) fn replace_record(
        &mut self,
        old: Option<&StoredRecord>,
        new: StoredRecord,
        fold: StoredFold,
    ) -> Result<(), EngineError> {
        let fold = Arc::new(fold);
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

    /// [`Change::replace_record`] as far as pairs go.
    pub(super) fn replace_evidence(
        &mut self,
        old: Option<&StoredRecord>,
        new: StoredRecord,
    ) -> Result<(), EngineError> {
        let number = new.number;
        let was_alive = old.is_some_and(|old| old.is_alive);
        let old_keys = old.map_or(&[][..], |old| old.keys.as_slice());
        self.subject = Some(number);
        let changed_keys: Vec<BlockingKey> = {
            let (before, after): (FxHashSet<_>, FxHashSet<_>) = (
                old_keys.iter().copied().collect(),
                new.keys.iter().copied().collect(),
            );
            let mut changed: Vec<BlockingKey> =
                before.symmetric_difference(&after).copied().collect();
            changed.sort_unstable();
            changed
        };
        let same =
            old.is_some_and(|old| old.normalised == new.normalised && was_alive == new.is_alive);
        self.changed_records.insert(number);
        self.records.insert(number, Arc::new(new));
        if !same {
            self.dirty.insert(number);
        }
        for key in changed_keys {
            self.follow_key(key, number)?;
        }
        Ok(())
    }

    /// A key that a record gains or loses may cross the bound of its rule, in either direction; then all its holders' pairs
    /// are weighed anew. One that too many hold already stays inactive when one more holds it.
    fn follow_key(&mut self, key: BlockingKey, subject: RecordNumber) -> Result<(), EngineError> {
        let bound = self.state.matcher.pack.blocking.rule(key).max_records;
        let is_gained = self.records[&subject].keys.binary_search(&key).is_ok();
        let was_inactive = self.state.inactive.read().contains(&key);
        if is_gained && was_inactive {
            return Ok(());
        }
        let holders = self.holders(key)?;
        let others = holders.iter().filter(|holder| **holder != subject);
        let inactive = others.count() + usize::from(is_gained) > bound;
        if inactive != was_inactive {
            self.activity.insert(key, inactive);
            let holders = self.holders[&key].iter().copied();
            self.dirty
                .extend(holders.filter(|holder| *holder != subject));
        }
        Ok(())
    }

    /// The holders of a key as the index knows them: all, or more than its bound and the subject.
    fn holders(&mut self, key: BlockingKey) -> Result<&[RecordNumber], EngineError> {
        Ok(match self.holders.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let bound = self.state.matcher.pack.blocking.rule(key).max_records;
                vacant.insert(self.state.index.holders(key, bound + 2)?)
            }
        })
    }

    /// Puts an override in force, or out of force where it is undone.
    pub(super) fn set_override(&mut self, value: &StoredOverride) {
        let overrides = Arc::make_mut(&mut self.overrides);
        if value.undone.is_none() {
            overrides.add(value);
            self.counters.overrides += 1;
        } else {
            overrides.remove(value.number);
            self.counters.overrides -= 1;
        }
        self.overrides_change = true;
        self.dirty
            .extend(value.records().map(|(_, number)| *number));
        self.write(Write::Override(value.clone()));
    }

    /// Overrides as they will be.
    pub(super) fn overrides(&self) -> Arc<Overrides> {
        self.overrides.clone()
    }

    /// Opens a review task, or changes the one that is open for the two records.
    pub(super) fn open_task(&mut self, pair: RecordPair, task: StoredReviewTask) {
        let content = content_of(&task);
        let known = self.state.shared.open_tasks.read().content(pair);
        if known != Some(content) {
            self.counters.open_review_tasks += u64::from(known.is_none());
            self.tasks.push((pair, Some(content)));
            self.write(Write::OpenTask(task));
        }
    }

    /// The records with which a record has an open review task.
    pub(super) fn open_tasks_of(&self, number: RecordNumber) -> Vec<RecordNumber> {
        self.state.shared.open_tasks.read().of_record(number)
    }

    /// Closes the review task of two records, where one is open.
    pub(super) fn close_task(&mut self, pair: RecordPair) -> Result<(), EngineError> {
        if self.state.shared.open_tasks.read().content(pair).is_none() {
            return Ok(());
        }
        self.load(pair.0)?;
        self.load(pair.1)?;
        let id = task_id(&self.record(pair.0).key, &self.record(pair.1).key);
        self.counters.open_review_tasks -= 1;
        self.tasks.push((pair, None));
        self.write(Write::CloseTask(id));
        Ok(())
    }

    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Works out everything that follows.
    pub(super) fn settle(&mut self, cause: &Cause, now_ms: i64) -> Result<(), EngineError> {
        self.weigh_dirty()?;
        if let Some(members) = self.identity_that_stays()? {
            let affected = members.iter().copied().collect();
            return self.decide(&affected, &[members], cause, now_ms);
        }
        let start = self.dirty.iter().copied().chain(self.subject).collect();
        let affected = self.affected(start)?;
        let clusters = self.clusters(&affected)?;
        self.decide(&affected, &clusters, cause, now_ms)
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
        let affected = self.affected(known)?;
        let clusters = self.clusters(&affected)?;
        self.decide(&affected, &clusters, cause, now_ms)?;
        Ok(affected)
    }

    fn decide(
        &mut self,
        affected: &BTreeSet<RecordNumber>,
        clusters: &[Vec<RecordNumber>],
        cause: &Cause,
        now_ms: i64,
    ) -> Result<(), EngineError> {
        let touched = assign_identities(self, affected, clusters, cause, now_ms)?;
        settle_tasks(self, affected, touched)
    }

    /// Weighs the pairs of the records whose pairs change.
    pub(super) fn weigh_dirty(&mut self) -> Result<(), EngineError> {
        let dirty: Vec<RecordNumber> = self.dirty.iter().copied().collect();
        for number in &dirty {
            self.load(*number)?;
        }
        for number in &dirty {
            self.weigh_pairs(*number)?;
        }
        Ok(())
    }

    /// Whether every identity looked at is made anew.
    pub(super) fn is_anew(&self) -> bool {
        self.anew
    }

    /// The members of the subject's identity, where no pair changes: it stays as it is but for its golden record.
    fn identity_that_stays(&mut self) -> Result<Option<Vec<RecordNumber>>, EngineError> {
        let Some(subject) = self.subject.filter(|_| self.dirty.is_empty()) else {
            return Ok(None);
        };
        let record = self.record(subject);
        let Some(id) = record.identity_id.filter(|_| record.is_alive) else {
            return Ok(None);
        };
        let identity = self.engine.store.identity(self.tenant, &id)?;
        let Some(identity) = identity.filter(|identity| identity.members.contains(&subject)) else {
            return Ok(None);
        };
        for member in &identity.members {
            self.load(*member)?;
        }
        Ok(Some(identity.members.clone()))
    }

    /// The events that it makes.
    pub(super) fn events(&self) -> impl Iterator<Item = &StoredEvent> {
        self.writes.iter().filter_map(|write| match write {
            Write::Event(event) => Some(event.as_ref()),
            _ => None,
        })
    }

    /// Commits to the store and shows the index what changed.
    pub(super) fn commit(mut self) -> Result<(), EngineError> {
        let counters = Write::Counters(self.counters.clone());
        self.write(counters);
        if !self.state.model_is_stored() {
            let model = self.state.matcher.stored();
            self.write(Write::Model(Box::new(model)));
        }
        let state = self.state;
        self.commit_evidence()?;
        state.has_stored_model();
        Ok(())
    }

    /// [`Change::commit`] without counters: of a generation that is not in force yet.
    pub(super) fn commit_evidence(mut self) -> Result<(), EngineError> {
        let mut writes = std::mem::take(&mut self.writes);
        let mut staged = None;
        let change = self.state.last_change() + 1;
        for number in &self.changed_records {
            let record = &self.records[number];
            writes.push(Write::Record(record.clone()));
            if self.subject == Some(*number) {
                writes.push(Write::Change(change, *number));
                staged = Some(IndexDocument::of(record));
            }
        }
        for (number, edges) in &self.edges {
            if self.edges_before.get(number) != Some(edges) {
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
        let store = &self.engine.store;
        store.commit(self.tenant, self.state.generation, writes)?;
        if let Some(document) = staged {
            self.state.stage(document, change);
        }
        self.state.touch(&self.changed_records);
        if !self.tasks.is_empty() {
            let mut open_tasks = self.state.shared.open_tasks.write();
            for (pair, content) in self.tasks {
                open_tasks.set(pair, content);
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
        Ok(())
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
            let (.., comparables) = self.state.matcher.evidence(&fold.fold.attributes());
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
        self.subject == Some(number)
    }

    fn load(&mut self, number: RecordNumber) -> Result<bool, EngineError> {
        if !self.records.contains_key(&number) {
            let store = &self.engine.store;
            let record = store.record(self.tenant, self.state.generation, number)?;
            let Some(record) = record else {
                return Ok(false);
            };
            self.records.insert(number, record);
        }
        Ok(true)
    }

    fn load_edges(&mut self, number: RecordNumber) -> Result<(), EngineError> {
        if !self.edges.contains_key(&number) {
            let store = &self.engine.store;
            let edges = store.edges(self.tenant, self.state.generation, number)?;
            self.edges_before.insert(number, edges.clone());
            self.edges.insert(number, edges);
        }
        Ok(())
    }

    /// Whether a record's pairs change, or a steward's words on them.
    pub(super) fn has_new_pairs(&mut self, number: RecordNumber) -> Result<bool, EngineError> {
        let (before, after) = self.all_edges(number)?;
        Ok(self.dirty.contains(&number) || before != after)
    }

    /// Edges before the change and as they will be.
    pub(super) fn all_edges(
        &mut self,
        number: RecordNumber,
    ) -> Result<(SharedEdges, SharedEdges), EngineError> {
        self.load_edges(number)?;
        Ok((
            self.edges_before[&number].clone(),
            self.edges[&number].clone(),
        ))
    }

    fn is_inactive(&self, key: BlockingKey) -> bool {
        self.activity
            .get(&key)
            .copied()
            .unwrap_or_else(|| self.state.inactive.read().contains(&key))
    }

    /// Makes ready what [`Change::comparable`] gives.
    fn prepare_comparable(&mut self, number: RecordNumber) {
        if self.comparable.contains_key(&number) {
            return;
        }
        let record = &self.records[&number];
        let comparable = (self.state.matcher.pack.blocking).without_shared(
            &record.normalised,
            &record.keys,
            |key| self.is_inactive(key),
        );
        self.comparable
            .extend(comparable.map(|comparable| (number, comparable)));
    }

    /// A record without its shared values.
    fn comparable(&self, number: RecordNumber) -> &NormalisedRecord {
        self.comparable
            .get(&number)
            .unwrap_or_else(|| &self.records[&number].normalised)
    }

    fn candidates_of(
        &mut self,
        number: RecordNumber,
    ) -> Result<BTreeSet<RecordNumber>, EngineError> {
        let record = self.records[&number].clone();
        let mut candidates = BTreeSet::new();
        for key in &record.keys {
            if !self.is_inactive(*key) {
                candidates.extend(self.holders(*key)?);
            }
        }
        // What the index says of the subject is old: its own keys decide.
        if let Some(subject) = self.subject.filter(|subject| *subject != number) {
            let shared = self.shares_active_key(number, subject);
            if shared {
                candidates.insert(subject)
            } else {
                candidates.remove(&subject)
            };
        }
        candidates.remove(&number);
        Ok(candidates)
    }

    fn shares_active_key(&self, one: RecordNumber, other: RecordNumber) -> bool {
        let (one, other) = (&self.records[&one].keys, &self.records[&other].keys);
        one.iter()
            .any(|key| other.binary_search(key).is_ok() && !self.is_inactive(*key))
    }

    /// Weighs all pairs of a record and puts the edges on both sides.
    fn weigh_pairs(&mut self, number: RecordNumber) -> Result<(), EngineError> {
        self.load_edges(number)?;
        for edge in std::mem::take(self.edges.entry(number).or_default()).iter() {
            self.load_edges(edge.other)?;
            let back = self.edges.entry(edge.other).or_default();
            Arc::make_mut(back).retain(|back| back.other != number);
        }
        if !self
            .records
            .get(&number)
            .is_some_and(|record| record.is_alive)
        {
            return Ok(());
        }
        self.prepare_comparable(number);
        for other in self.candidates_of(number)? {
            if !self.load(other)? || !self.records[&other].is_alive {
                continue;
            }
            self.prepare_comparable(other);
            if let Some(score) = self.score(number, other) {
                self.insert_edge(number, other, score)?;
                self.insert_edge(other, number, score)?;
            }
        }
        Ok(())
    }

    /// Scores a pair as a bulk job does: the smaller record key first. `None` where it is no match and none for review.
    fn score(&self, one: RecordNumber, other: RecordNumber) -> Option<PairScore> {
        let (left, right) = if self.records[&one].key <= self.records[&other].key {
            (one, other)
        } else {
            (other, one)
        };
        self.state
            .matcher
            .scorer
            .score_close(self.comparable(left), self.comparable(right))
    }

    fn insert_edge(
        &mut self,
        number: RecordNumber,
        other: RecordNumber,
        score: PairScore,
    ) -> Result<(), EngineError> {
        self.load_edges(number)?;
        let edges = Arc::make_mut(self.edges.entry(number).or_default());
        let at = edges.partition_point(|edge| edge.other < other);
        edges.insert(at, StoredEdge { other, score });
        Ok(())
    }

    /// Everything connected with the records that change, before or after the change, sorted by number. Dead records are in it.
    fn affected(
        &mut self,
        start: BTreeSet<RecordNumber>,
    ) -> Result<BTreeSet<RecordNumber>, EngineError> {
        let mut open: Vec<RecordNumber> = start.iter().copied().collect();
        let mut affected = start;
        let overrides = self.overrides.clone();
        while let Some(number) = open.pop() {
            let (before, after) = self.all_edges(number)?;
            let matching = before
                .iter()
                .chain(after.iter())
                .filter(|edge| edge.score.decision == Decision::Match)
                .map(|edge| edge.other);
            let must = overrides.linked(number);
            let mut next: Vec<RecordNumber> = matching.chain(must).collect();
            // While identities are still those of another model, what they hold together is not what the pairs do.
            if self.anew || self.state.is_deciding() {
                next.extend(self.members_with(number)?);
            }
            for other in next {
                if self.load(other)? && affected.insert(other) {
                    open.push(other);
                }
            }
        }
        Ok(affected)
    }

    /// The members of the identity that a record is in.
    fn members_with(&mut self, number: RecordNumber) -> Result<Vec<RecordNumber>, EngineError> {
        let Some(id) = self.identity_of(number)? else {
            return Ok(Vec::new());
        };
        let identity = self.engine.store.identity(self.tenant, &id)?;
        Ok(identity.map_or_else(Vec::new, |identity| identity.members.clone()))
    }

    /// The clusters of the living affected records, each in the order of record keys, in the order of their first keys.
    fn clusters(
        &mut self,
        affected: &BTreeSet<RecordNumber>,
    ) -> Result<Vec<Vec<RecordNumber>>, EngineError> {
        let mut living: Vec<RecordNumber> = affected
            .iter()
            .copied()
            .filter(|number| self.records[number].is_alive)
            .collect();
        living.sort_unstable_by(|left, right| self.records[left].key.cmp(&self.records[right].key));
        let position: FxHashMap<RecordNumber, usize> = living
            .iter()
            .enumerate()
            .map(|(position, number)| (*number, position))
            .collect();
        let mut edges: Vec<(usize, usize, PairScore)> = Vec::new();
        for (left, number) in living.iter().enumerate() {
            let (_, after) = self.all_edges(*number)?;
            let later =
                |other: &RecordNumber| position.get(other).copied().filter(|right| *right > left);
            edges.extend(
                after
                    .iter()
                    .filter_map(|edge| Some((left, later(&edge.other)?, edge.score))),
            );
        }
        edges.sort_unstable_by_key(|(left, right, _)| (*left, *right));
        let overrides = self.overrides.links(&living);
        let joins = edges
            .iter()
            .filter(|(.., score)| score.decision == Decision::Match)
            .map(|(left, right, _)| (*left, *right));
        let musts = overrides
            .iter()
            .filter(|(.., link)| *link == Link::Must)
            .map(|(left, right, _)| (*left, *right));
        let mut clusters = Vec::new();
        for component in connected_components(living.len(), joins.chain(musts)) {
            if component.len() == 1 {
                clusters.push(vec![living[component[0]]]);
                continue;
            }
            for member in &component {
                self.prepare_comparable(living[*member]);
            }
            let records: Vec<&NormalisedRecord> = component
                .iter()
                .map(|member| self.comparable(living[*member]))
                .collect();
            let inside = |left: &usize, right: &usize| {
                Some((
                    component.binary_search(left).ok()?,
                    component.binary_search(right).ok()?,
                ))
            };
            let edges: Vec<_> = edges
                .iter()
                .filter_map(|(left, right, score)| {
                    inside(left, right).map(|(left, right)| (left, right, *score))
                })
                .collect();
            let overrides: Vec<_> = overrides
                .iter()
                .filter_map(|(left, right, link)| {
                    inside(left, right).map(|(left, right)| (left, right, *link))
                })
                .collect();
            let parts = partition_component(
                &records,
                &edges,
                &overrides,
                &|_, _| true,
                &self.state.matcher.scorer,
            );
            clusters.extend(parts.into_iter().map(|part| {
                part.into_iter()
                    .map(|member| living[component[member]])
                    .collect()
            }));
        }
        clusters.sort_unstable_by(|left: &Vec<RecordNumber>, right| {
            self.records[&left[0]].key.cmp(&self.records[&right[0]].key)
        });
        Ok(clusters)
    }
}
