//! What a change has to decide anew, and the clusters that come of it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use veridem_matchers::cluster::{Link, connected_components};
use veridem_matchers::{Decision, Edge, NormalisedRecord, partition_component};

use super::Change;
use crate::resolver::error::EngineError;
use crate::store::{RecordNumber, StoredRecord};

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
        let mut affected: FxHashSet<RecordNumber> = start.into_iter().collect();
        let overrides = self.overrides.clone();
        let mut next = Vec::new();
        while let Some(number) = open.pop() {
            let (before, after) = self.all_edges(number)?;
            let is_changed = !Arc::ptr_eq(&before, &after);
            let edges = after.iter().chain(before.iter().filter(|_| is_changed));
            let matching = edges.filter(|edge| edge.score.decision == Decision::Match);
            let others = matching.map(|edge| edge.other);
            next.extend(others.chain(overrides.linked(number)));
            // While identities are still those of another model, what they hold together is not what the pairs do.
            if self.anew || self.state.is_deciding() {
                next.extend(self.members_with(number)?);
            }
            for other in next.drain(..) {
                if !affected.contains(&other) && self.load(other)? {
                    affected.insert(other);
                    open.push(other);
                }
            }
        }
        Ok(affected.into_iter().collect())
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
        let records = affected.iter().map(|number| self.record(*number));
        let mut living: Vec<&StoredRecord> = records.filter(|record| record.is_alive).collect();
        living.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        let living: Vec<RecordNumber> = living.iter().map(|record| record.number).collect();
        let edges = self.edges_between(&living)?;
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
        let components = connected_components(living.len(), joins.chain(musts));
        let mut place_of = vec![(0, 0); living.len()];
        for (component, members) in components.iter().enumerate() {
            for (place, member) in members.iter().enumerate() {
                place_of[*member] = (component, place);
            }
        }
        let inside = |left: usize, right: usize| {
            let ((component, left), (other, right)) = (place_of[left], place_of[right]);
            (component == other).then_some((component, left, right))
        };
        let mut edges_in: Vec<Vec<Edge>> = vec![Vec::new(); components.len()];
        for (left, right, score) in edges {
            if let Some((component, left, right)) = inside(left, right) {
                edges_in[component].push((left, right, score));
            }
        }
        let mut overrides_in: Vec<Vec<(usize, usize, Link)>> = vec![Vec::new(); components.len()];
        for (left, right, link, _) in overrides {
            if let Some((component, left, right)) = inside(left, right) {
                overrides_in[component].push((left, right, link));
            }
        }
        // Positions are in the order of record keys.
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        for (component, members) in components.into_iter().enumerate() {
            if members.len() == 1 {
                clusters.push(members);
                continue;
            }
            for member in &members {
                self.prepare_comparable(living[*member]);
            }
            let records: Vec<&NormalisedRecord> = members
                .iter()
                .map(|member| self.comparable(living[*member]))
                .collect();
            let parts = partition_component(
                &records,
                None,
                &edges_in[component],
                &overrides_in[component],
                &self.state.matcher.scorer,
                &self.state.memo,
            );
            let position = |place: usize| members[place];
            let parts = parts.into_iter();
            clusters.extend(parts.map(|part| part.into_iter().map(position).collect::<Vec<_>>()));
        }
        clusters.sort_unstable_by_key(|cluster| cluster[0]);
        let numbers = |cluster: Vec<usize>| cluster.into_iter().map(|member| living[member]);
        let clusters = clusters.into_iter();
        Ok(clusters.map(|cluster| numbers(cluster).collect()).collect())
    }

    /// The edges between some records as they will be, by their positions, in order.
    fn edges_between(&mut self, records: &[RecordNumber]) -> Result<Vec<Edge>, EngineError> {
        let positions = records.iter().enumerate();
        let position: FxHashMap<RecordNumber, usize> = positions
            .map(|(position, number)| (*number, position))
            .collect();
        let mut edges: Vec<Edge> = Vec::new();
        for (left, number) in records.iter().enumerate() {
            let (_, after) = self.all_edges(*number)?;
            let from = edges.len();
            edges.extend(after.iter().filter_map(|edge| {
                let right = position.get(&edge.other).copied();
                right
                    .filter(|right| *right > left)
                    .map(|right| (left, right, edge.score))
            }));
            edges[from..].sort_unstable_by_key(|(_, right, _)| *right);
        }
        Ok(edges)
    }
}
