//! Which pairs a change weighs anew, and what comes of it: keys that cross their bounds, candidates, edges.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use veridem_matchers::block::{BlockingKey, PersonalValue};
use veridem_matchers::{NormalisedRecord, PairScore};

use super::{Change, SharedEdges};
use crate::resolver::error::EngineError;
use crate::resolver::touched::Touch;
use crate::store::{RecordNumber, StoredEdge, StoredRecord};

impl Change<'_> {
    /// [`Change::replace_record`] as far as pairs go.
    pub(in crate::resolver) fn replace_evidence(
        &mut self,
        old: Option<&StoredRecord>,
        new: Arc<StoredRecord>,
    ) -> Result<(), EngineError> {
        let number = new.number;
        let was_alive = old.is_some_and(|old| old.is_alive);
        let old_keys = old.map_or(&[][..], |old| old.keys.as_slice());
        self.subjects.insert(number);
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
        // Of another generation it may say the same and be in another identity.
        if old != Some(&*new) {
            self.changed_records.insert(number);
        }
        self.records.insert(number, new);
        if old.is_none() {
            self.edges_before.insert(number, SharedEdges::default());
            self.edges.insert(number, SharedEdges::default());
        }
        if !same {
            self.dirty.insert(number);
        }
        for key in &changed_keys {
            self.follow_key(*key, number)?;
        }
        let touches = changed_keys.into_iter().map(Touch::Key);
        self.touches.extend(touches);
        Ok(())
    }

    /// A key that a record gains or loses may cross the bound of its rule, in either direction. Where it is a value that is shared
    /// from here on, or no longer, all its holders' pairs are weighed anew; any other only brings or no longer brings the pairs between
    /// them. One that too many hold already stays inactive when one more holds it.
    fn follow_key(&mut self, key: BlockingKey, subject: RecordNumber) -> Result<(), EngineError> {
        let rule = self.state.matcher.pack.blocking.rule(key);
        let bound = rule.max_records;
        let is_gained = self.records[&subject].keys.binary_search(&key).is_ok();
        let was_inactive = self.state.inactive.read().contains(&key);
        if is_gained && was_inactive {
            return Ok(());
        }
        self.holders(key)?;
        // What the index says of other subjects may be old as well.
        let holds = |holder: &&RecordNumber| {
            !self.subjects.contains(holder) || self.records[holder].keys.binary_search(&key).is_ok()
        };
        let others = self.holders[&key]
            .iter()
            .filter(|holder| **holder != subject);
        let inactive = others.filter(holds).count() + usize::from(is_gained) > bound
            || was_inactive && self.is_marked(key);
        if inactive != was_inactive {
            self.activity.insert(key, inactive);
            if rule.shared_value {
                let holders = self.holders[&key].iter().copied();
                self.dirty
                    .extend(holders.filter(|holder| *holder != subject));
            }
        }
        Ok(())
    }

    /// Whether a steward has marked the value that a key names.
    fn is_marked(&self, key: BlockingKey) -> bool {
        let blocking = &self.state.matcher.pack.blocking;
        let marked = self.overrides.marked_values().into_iter();
        let mut keys = marked.flat_map(|value| blocking.keys_of_value(value));
        keys.any(|marked| marked == key)
    }

    /// A value that a steward marks, or marks no longer, crosses the bound of each rule that names it, however many hold it.
    pub(in crate::resolver) fn follow_mark(
        &mut self,
        value: PersonalValue,
    ) -> Result<(), EngineError> {
        let blocking = &self.state.matcher.pack.blocking;
        let is_marked = self.overrides.mark_of(value).is_some();
        for key in blocking.keys_of_value(value) {
            let was_inactive = self.is_inactive(key);
            let holders = self.holders(key)?.to_vec();
            let inactive = is_marked || holders.len() > blocking.rule(key).max_records;
            if inactive != was_inactive {
                self.activity.insert(key, inactive);
                self.touches.push(Touch::Key(key));
                self.dirty.extend(holders);
            }
        }
        Ok(())
    }

    /// A value that becomes junk, or is junk no longer: whoever states it may have another golden record.
    pub(super) fn revalue(&mut self, value: PersonalValue) -> Result<(), EngineError> {
        let holders = self.state.holders_of_value(value, usize::MAX)?;
        self.revalued.extend(holders);
        Ok(())
    }

    /// The holders of a key as the index knows them: all, or more than its bound and the subjects.
    fn holders(&mut self, key: BlockingKey) -> Result<&[RecordNumber], EngineError> {
        Ok(match self.holders.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let known = self.known.holders.remove(&key);
                let subjects = self.subjects.len();
                let holders = known.map_or_else(|| self.state.holders_of(key, subjects), Ok)?;
                vacant.insert(holders)
            }
        })
    }

    /// Weighs the pairs of the records whose pairs change.
    pub(in crate::resolver) fn weigh_dirty(&mut self) -> Result<(), EngineError> {
        let dirty: Vec<RecordNumber> = self.dirty.iter().copied().collect();
        for number in &dirty {
            self.load(*number)?;
        }
        for number in &dirty {
            self.weigh_pairs(*number)?;
        }
        for (key, is_inactive) in self.activity.clone() {
            self.rewire(key, is_inactive)?;
        }
        Ok(())
    }

    /// Removes the edges that only a key brought which too many hold now, or finds those that it brings now. Where pairs are weighed
    /// anew they are right already.
    fn rewire(&mut self, key: BlockingKey, is_inactive: bool) -> Result<(), EngineError> {
        let mut holders = BTreeSet::new();
        for number in self.holders(key)?.to_vec() {
            if !self.dirty.contains(&number) && self.load(number)? {
                self.load_edges(number)?;
                holders.insert(number);
            }
        }
        for one in &holders {
            for other in holders.range(one + 1..) {
                let edges = &self.edges[one];
                let has_edge = edges.binary_search_by_key(other, |edge| edge.other).is_ok();
                if is_inactive && has_edge && !self.shares_active_key(*one, *other) {
                    self.remove_edge(*one, *other)?;
                    self.remove_edge(*other, *one)?;
                } else if !is_inactive && !has_edge && !self.shared_active_key_before(*one, *other)
                {
                    self.prepare_comparable(*one);
                    self.prepare_comparable(*other);
                    let Some(score) = self.score(*one, *other) else {
                        continue;
                    };
                    self.insert_edge(*one, *other, score)?;
                    self.insert_edge(*other, *one, score)?;
                } else {
                    continue;
                }
                self.rewired.extend([one, other]);
            }
        }
        Ok(())
    }

    /// Weighs all pairs of a record and puts the edges on both sides.
    fn weigh_pairs(&mut self, number: RecordNumber) -> Result<(), EngineError> {
        self.load_edges(number)?;
        for edge in std::mem::take(self.edges.entry(number).or_default()).iter() {
            self.remove_edge(edge.other, number)?;
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
            let score = match self.known_score(number, other) {
                Some(score) => score,
                None => self.found_score(number, other)?,
            };
            if let Some(score) = score {
                self.insert_edge(number, other, score)?;
                self.insert_edge(other, number, score)?;
            }
        }
        Ok(())
    }

    /// What [`Change::score`] says of a pair of the subject, where that was found before. Which values are shared may change with it.
    fn known_score(&self, number: RecordNumber, other: RecordNumber) -> Option<Option<PairScore>> {
        let is_known = self.is_subject(number) && self.activity.is_empty();
        is_known.then(|| self.known.scores.get(&other).copied())?
    }

    /// What [`Change::score`] says of a pair, remembered where it is the subject's.
    fn found_score(
        &mut self,
        number: RecordNumber,
        other: RecordNumber,
    ) -> Result<Option<PairScore>, EngineError> {
        let mut score = None;
        if self.load(other)? && self.records[&other].is_alive {
            self.prepare_comparable(other);
            score = self.score(number, other);
        }
        if self.is_of_one_record() {
            self.known.scores.insert(other, score);
        }
        Ok(score)
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
        // What the index says of subjects is old: their own keys decide.
        for subject in &self.subjects {
            let shared = self.shares_active_key(number, *subject);
            if shared {
                candidates.insert(*subject)
            } else {
                candidates.remove(subject)
            };
        }
        candidates.remove(&number);
        Ok(candidates)
    }

    fn shares_active_key(&self, one: RecordNumber, other: RecordNumber) -> bool {
        self.shares_key(one, other, |key| !self.is_inactive(key))
    }

    /// Whether two records share a key that was active before the change and stays so.
    fn shared_active_key_before(&self, one: RecordNumber, other: RecordNumber) -> bool {
        self.shares_key(one, other, |key| {
            !self.is_inactive(key) && !self.activity.contains_key(&key)
        })
    }

    fn shares_key(
        &self,
        one: RecordNumber,
        other: RecordNumber,
        is_meant: impl Fn(BlockingKey) -> bool,
    ) -> bool {
        let (one, other) = (&self.records[&one].keys, &self.records[&other].keys);
        one.iter()
            .any(|key| other.binary_search(key).is_ok() && is_meant(*key))
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

    fn remove_edge(
        &mut self,
        number: RecordNumber,
        other: RecordNumber,
    ) -> Result<(), EngineError> {
        self.load_edges(number)?;
        let edges = Arc::make_mut(self.edges.entry(number).or_default());
        edges.retain(|edge| edge.other != other);
        Ok(())
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

    fn load_edges(&mut self, number: RecordNumber) -> Result<(), EngineError> {
        if !self.edges.contains_key(&number) {
            let known = self.known.edges.remove(&number);
            let read = || (self.engine.store).edges(self.tenant, self.state.generation, number);
            let edges = known.map_or_else(read, Ok)?;
            self.edges_before.insert(number, edges.clone());
            self.edges.insert(number, edges);
        }
        Ok(())
    }

    /// Whether a record's pairs change, or a steward's words on them.
    pub(in crate::resolver) fn has_new_pairs(
        &mut self,
        number: RecordNumber,
    ) -> Result<bool, EngineError> {
        let (before, after) = self.all_edges(number)?;
        Ok(self.dirty.contains(&number) || before != after)
    }

    /// Edges before the change and as they will be.
    pub(in crate::resolver) fn all_edges(
        &mut self,
        number: RecordNumber,
    ) -> Result<(SharedEdges, SharedEdges), EngineError> {
        self.load_edges(number)?;
        Ok((
            self.edges_before[&number].clone(),
            self.edges[&number].clone(),
        ))
    }

    pub(super) fn is_inactive(&self, key: BlockingKey) -> bool {
        self.activity
            .get(&key)
            .copied()
            .unwrap_or_else(|| self.state.inactive.read().contains(&key))
    }

    /// Makes ready what [`Change::comparable`] gives.
    pub(super) fn prepare_comparable(&mut self, number: RecordNumber) {
        if self.comparable.contains_key(&number) {
            return;
        }
        let comparable = self.without_shared(&self.records[&number]);
        self.comparable
            .extend(comparable.map(|comparable| (number, comparable)));
    }

    /// A record without its shared values, where it holds any.
    pub(super) fn without_shared(&self, record: &StoredRecord) -> Option<NormalisedRecord> {
        let blocking = &self.state.matcher.pack.blocking;
        blocking.without_shared(&record.normalised, &record.keys, |key| {
            self.is_inactive(key)
        })
    }

    /// A record without its shared values.
    pub(super) fn comparable(&self, number: RecordNumber) -> &NormalisedRecord {
        self.comparable
            .get(&number)
            .unwrap_or_else(|| &self.records[&number].normalised)
    }
}
