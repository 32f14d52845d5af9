//! What becomes of a large component that is remembered: only what has changed of it is read.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use veridem_matchers::{Decision, NormalisedRecord, partition_component};

use super::{Change, Partition, SharedEdges};
use crate::resolver::components::{Component, Found, Fresh, Member};
use crate::resolver::error::EngineError;
use crate::store::{RecordNumber, StoredEdge, StoredRecord};

/// A record and its edges.
type Read = Option<(Arc<StoredRecord>, SharedEdges)>;

fn matching(edges: &SharedEdges) -> impl Iterator<Item = RecordNumber> {
    let edges = edges.iter();
    let matching = edges.filter(|edge: &&StoredEdge| edge.score.decision == Decision::Match);
    matching.map(|edge| edge.other)
}

impl Change<'_> {
    /// What becomes of everything connected with the one record that changes, where that is a component that is remembered and does not
    /// come apart.
    pub(super) fn partition_remembered(
        &mut self,
        subject: RecordNumber,
    ) -> Result<Option<Partition>, EngineError> {
        let (before, after) = self.all_edges(subject)?;
        let matches: FxHashSet<RecordNumber> = matching(&after).collect();
        if !matching(&before).all(|other| matches.contains(&other)) {
            return Ok(None);
        }
        let (moment, found) = {
            let mut lately = self.state.touched_lately.lock();
            let found = (lately.components).find(matches.iter().copied(), &self.overrides);
            (lately.now(), found)
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let component = self.read_again(found, moment)?;
        let component =
            component.filter(|component| matches.iter().any(|it| component.contains(*it)));
        let Some(component) = component else {
            return Ok(None);
        };
        let as_it_will_be = |change: &mut Self, number| {
            change.load(number)?;
            let record = change.records.get(&number).cloned();
            let edges = change.all_edges(number)?.1;
            Ok(record.map(|record| (record, edges)))
        };
        let fresh = self.with_what_they_lead_to(vec![subject], &component, as_it_will_be)?;
        let Some(component) = fresh.and_then(|fresh| component.with(fresh)) else {
            return Ok(None);
        };
        let members = component.members();
        let records: Vec<&NormalisedRecord> =
            members.iter().map(|member| member.comparable()).collect();
        let parts = partition_component(
            &records,
            Some(component.forms()),
            component.edges(),
            &[],
            &self.state.matcher.scorer,
            &self.state.memo,
        );
        let number = |place: usize| members[place].record.number;
        let parts = parts.into_iter();
        let clusters = parts.map(|part| part.into_iter().map(number).collect());
        let clusters = clusters.collect();
        for member in members {
            let record = self.records.entry(member.record.number);
            record.or_insert_with(|| member.record.clone());
        }
        let mut connected: Vec<RecordNumber> = component.numbers().collect();
        connected.sort_unstable();
        Ok(Some(Partition {
            affected: connected.iter().copied().collect(),
            connected,
            clusters,
        }))
    }

    /// Remembers the large ones among the components that a record is about to come to, as the store has them.
    pub(super) fn remember_components_of(
        &mut self,
        subject: RecordNumber,
        partition: &Partition,
    ) -> Result<(), EngineError> {
        let moment = {
            let lately = self.state.touched_lately.lock();
            if partition.connected.len() < lately.components.from {
                return Ok(());
            }
            lately.now()
        };
        let (_, after) = self.all_edges(subject)?;
        let mut open: FxHashSet<RecordNumber> = matching(&after).collect();
        while let Some(number) = open.iter().next().copied() {
            open.remove(&number);
            let nothing = Component::default();
            let fresh = self.with_what_they_lead_to(vec![number], &nothing, Self::as_it_is)?;
            let Some(component) = fresh.and_then(|fresh| nothing.with(fresh)) else {
                continue;
            };
            open.retain(|number| !component.contains(*number));
            let mut lately = self.state.touched_lately.lock();
            lately.remember(None, &Arc::new(component), &self.overrides, moment);
        }
        Ok(())
    }

    /// A component that was found, what changes have touched since read again; none where it may have come apart.
    fn read_again(
        &mut self,
        found: Found,
        moment: u64,
    ) -> Result<Option<Arc<Component>>, EngineError> {
        if found.stale.is_empty() {
            return Ok(Some(found.component));
        }
        let stale = found.stale.clone();
        let fresh = self.with_what_they_lead_to(stale, &found.component, Self::as_it_is)?;
        let component = fresh.and_then(|fresh| found.component.with(fresh));
        let component = component.map(Arc::new);
        let mut lately = self.state.touched_lately.lock();
        match &component {
            Some(component) => lately.remember(Some(&found), component, &self.overrides, moment),
            None => lately.components.forget(found.id),
        }
        Ok(component)
    }

    /// Reads some records, and those outside of a component that they lead to; none where one of them is gone or a steward has had a word
    /// on it.
    fn with_what_they_lead_to(
        &mut self,
        mut open: Vec<RecordNumber>,
        component: &Component,
        mut read: impl FnMut(&mut Self, RecordNumber) -> Result<Read, EngineError>,
    ) -> Result<Option<Vec<Fresh>>, EngineError> {
        let mut seen: FxHashSet<RecordNumber> = open.iter().copied().collect();
        let mut fresh = Vec::new();
        while let Some(number) = open.pop() {
            let known = read(self, number)?.filter(|(record, _)| record.is_alive);
            let Some((record, edges)) = known.filter(|_| !self.overrides.name(number)) else {
                return Ok(None);
            };
            for other in matching(&edges) {
                if !component.contains(other) && seen.insert(other) {
                    open.push(other);
                }
            }
            let comparable = self.without_shared(&record);
            let form_of = |record: &NormalisedRecord| self.state.memo.form_of(record);
            fresh.push((Arc::new(Member::new(record, comparable, form_of)), edges));
        }
        Ok(Some(fresh))
    }

    /// A record and its edges as the store has them.
    fn as_it_is(&mut self, number: RecordNumber) -> Result<Read, EngineError> {
        let (store, generation) = (&self.engine.store, self.state.generation);
        let Some(record) = store.record(self.tenant, generation, number)? else {
            return Ok(None);
        };
        let edges = store.edges(self.tenant, generation, number)?;
        Ok(Some((record, edges)))
    }
}
