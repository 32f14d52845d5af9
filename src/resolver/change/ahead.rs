//! What of a change is worked out before its turn, and what of it holds when it comes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Change, Partition, SharedEdges};
use crate::resolver::error::EngineError;
use crate::resolver::identities::Standing;
use crate::resolver::prepare::{Found, Known};
use crate::store::RecordNumber;

impl Change<'_> {
    /// Works out what can be told before the change's turn, and returns what was read and found for it.
    pub(in crate::resolver) fn foresee(
        mut self,
        subject: RecordNumber,
    ) -> Result<Known, EngineError> {
        if self.is_of_one_record() {
            self.weigh_dirty()?;
            let mut partition = self.partition()?;
            self.read_ahead(subject, &partition)?;
            self.known.found = Some(Found {
                affected: std::mem::take(&mut partition.connected),
                partition,
                edges: self.all_edges(subject)?.1,
                overrides: self.overrides.clone(),
            });
        }
        let Self {
            mut known,
            mut records,
            mut edges_before,
            holders,
            ..
        } = self;
        if let Some(found) = &known.found {
            let may_change = &found.partition.affected;
            edges_before.retain(|number, _| {
                may_change.contains(number) || found.affected.binary_search(number).is_err()
            });
        }
        // What is compared and left is not asked for again.
        let may_be_asked_for =
            |other: &RecordNumber| !matches!(known.scores.get(other), Some(None));
        records.retain(|number, _| *number != subject && may_be_asked_for(number));
        known.records = records;
        known.edges = edges_before;
        known.holders = holders;
        Ok(known)
    }

    /// Takes those clusters out of a partition that are identities already, and with none of whose records the subject has or had an
    /// edge: of a large component most are.
    pub(super) fn leave_out_what_stays(
        &mut self,
        subject: RecordNumber,
        partition: &mut Partition,
    ) -> Result<(), EngineError> {
        let (before, after) = self.all_edges(subject)?;
        let has_edge = |edges: &SharedEdges, number: &RecordNumber| {
            (edges.binary_search_by_key(number, |edge| edge.other)).is_ok()
        };
        let is_near = |number: &RecordNumber| has_edge(&before, number) || has_edge(&after, number);
        let standing = Standing::of(self, &partition.affected);
        let mut changing = Vec::new();
        for cluster in std::mem::take(&mut partition.clusters) {
            if !cluster.iter().any(is_near) && standing.stays(self, &cluster) {
                for number in &cluster {
                    partition.affected.remove(number);
                    self.records.remove(number);
                }
            } else {
                changing.push(cluster);
            }
        }
        partition.clusters = changing;
        Ok(())
    }

    /// Reads what deciding will ask for: the identities there are, and of what changes what it says and what it may be confused with.
    fn read_ahead(
        &mut self,
        subject: RecordNumber,
        partition: &Partition,
    ) -> Result<(), EngineError> {
        for cluster in &partition.clusters {
            let has_subject = cluster.contains(&subject);
            for number in cluster {
                self.read_identity_of(*number)?;
                if has_subject && *number != subject {
                    self.engine.store.fold(self.tenant, *number)?;
                }
                let (_, edges) = self.all_edges(*number)?;
                for edge in edges.iter() {
                    self.load(edge.other)?;
                }
            }
        }
        Ok(())
    }

    fn read_identity_of(&mut self, number: RecordNumber) -> Result<(), EngineError> {
        // Before its turn a record may be gone that an identity still had.
        if let Some(id) = self.identity_of(number)? {
            self.engine.store.identity(self.tenant, &id)?;
        }
        Ok(())
    }

    /// What was found before, where it is of this change: what is connected with the subject is what it was then, and so are the pairs
    /// between all of them.
    pub(super) fn foreseen(
        &mut self,
        start: &BTreeSet<RecordNumber>,
    ) -> Result<Option<Partition>, EngineError> {
        let (Some(found), Some(subject)) = (self.known.found.take(), self.subjects.first()) else {
            return Ok(None);
        };
        let (_, edges) = self.all_edges(*subject)?;
        let is_so = self.is_of_one_record()
            && start.iter().eq(&self.subjects)
            && edges == found.edges
            && Arc::ptr_eq(&found.overrides, &self.overrides);
        Ok(is_so.then_some(found.partition))
    }
}
