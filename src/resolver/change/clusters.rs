//! What a change has to decide anew, and the clusters that come of it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use veridem_matchers::cluster::{Link, connected_components};
use veridem_matchers::{Decision, NormalisedRecord, PairScore, partition_component};

use super::Change;
use crate::resolver::error::EngineError;
use crate::store::RecordNumber;

impl Change<'_> {
    /// The members of the subject's identity, where no pair changes: it stays as it is but for its golden record.
    pub(super) fn identity_that_stays(&mut self) -> Result<Option<Vec<RecordNumber>>, EngineError> {
        let mut subjects = self.subjects.iter().copied();
        let (Some(subject), None, true) = (subjects.next(), subjects.next(), self.dirty.is_empty())
        else {
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

    /// Everything connected with the records that change, before or after the change, sorted by number. Dead records are in it.
    pub(super) fn affected(
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
    pub(super) fn clusters(
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
        let mut overrides = self.overrides.links(&living);
        overrides.sort_by_key(|(.., number)| Reverse(*number));
        let joins = edges
            .iter()
            .filter(|(.., score)| score.decision == Decision::Match)
            .map(|(left, right, _)| (*left, *right));
        let musts = overrides
            .iter()
            .filter(|(_, _, link, _)| *link == Link::Must)
            .map(|(left, right, ..)| (*left, *right));
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
                .filter_map(|(left, right, link, _)| {
                    inside(left, right).map(|(left, right)| (left, right, *link))
                })
                .collect();
            let parts = partition_component(
                &records,
                &edges,
                &overrides,
                &self.state.matcher.scorer,
                &self.state.memo,
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
