//! What would come of another model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::bulk::{BulkResult, golden_record_of_rows};
use super::engine::Engine;
use super::error::EngineError;
use super::matcher::Matcher;
use super::model_change::LivingRecords;
use crate::store::{IdentityId, StoredIdentity, Tenant};

/// Changes that a preview lists.
const MAX_LISTED: usize = 20;

/// What would become of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityChange {
    /// The identity.
    pub id: IdentityId,
    /// Its records now.
    pub records_before: usize,
    /// Its records afterwards; none where it goes into another.
    pub records_after: usize,
    /// Identities that would go into it.
    pub merged: Vec<IdentityId>,
    /// Identities, new ones among them, that its records would go to.
    pub split_into: usize,
}

/// What would come of another model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelChangePreview {
    /// Identities with records now.
    pub identities: u64,
    /// Identities with records afterwards.
    pub identities_after: u64,
    /// Identities that others go into.
    pub identities_merged: u64,
    /// Identities whose id ends in another.
    pub identities_ended: u64,
    /// Identities that records leave.
    pub identities_split: u64,
    /// Identities of which only the golden record or the members change.
    pub identities_updated: u64,
    /// Identities that are new.
    pub identities_created: u64,
    /// Records that come to another identity.
    pub records_moved: u64,
    /// Events that would tell it.
    pub events: u64,
    /// The largest changes, by records before and after.
    pub largest: Vec<IdentityChange>,
}

impl ModelChangePreview {
    /// Identities that are joined or split.
    pub fn changed_identities(&self) -> u64 {
        self.identities_ended + self.identities_split
    }

    /// The share of them.
    pub fn changed_share(&self) -> f64 {
        self.changed_identities() as f64 / (self.identities as f64).max(1.0)
    }
}

/// Follows the rule of `identities`: an id goes with most of its records, the id created first survives.
pub(super) fn preview_of(
    engine: &Engine,
    tenant: &Tenant,
    matcher: &Matcher,
    living: &LivingRecords,
    result: &BulkResult,
) -> Result<ModelChangePreview, EngineError> {
    let mut rows_of: BTreeMap<IdentityId, Vec<usize>> = BTreeMap::new();
    for (row, (_, id)) in living.rows.iter().enumerate() {
        if let Some(id) = id {
            rows_of.entry(*id).or_default().push(row);
        }
    }
    let mut cluster_of = vec![0_u32; living.rows.len()];
    for (number, cluster) in (0..).zip(&result.clusters) {
        for row in cluster {
            cluster_of[*row] = number;
        }
    }
    let mut known: FxHashMap<IdentityId, Arc<StoredIdentity>> = FxHashMap::default();
    let mut claims: Vec<Vec<IdentityId>> = vec![Vec::new(); result.clusters.len()];
    for (id, rows) in &rows_of {
        let mut shares: BTreeMap<u32, usize> = BTreeMap::new();
        for row in rows {
            *shares.entry(cluster_of[*row]).or_default() += 1;
        }
        let largest = shares.values().copied().max().unwrap_or_default();
        let first = shares.iter().find(|(_, share)| **share == largest);
        if let Some((cluster, _)) = first {
            claims[*cluster as usize].push(*id);
        }
        if let Some(identity) = engine.store().identity(tenant, id)? {
            known.insert(*id, identity);
        }
    }
    let created_at = |id: &IdentityId| known.get(id).map_or(0, |known| known.created_at_sequence);
    for ids in &mut claims {
        ids.sort_by_key(|id| (created_at(id), *id));
    }
    let survivor = |cluster: u32| claims[cluster as usize].first();
    let mut preview = ModelChangePreview {
        identities: rows_of.len() as u64,
        identities_after: result.clusters.len() as u64,
        ..Default::default()
    };
    let mut told: BTreeSet<IdentityId> = BTreeSet::new();
    let mut ends_in: FxHashMap<IdentityId, IdentityId> = FxHashMap::default();
    let mut changes: BTreeMap<IdentityId, IdentityChange> = BTreeMap::new();
    let before = |id: &IdentityId| rows_of.get(id).map_or(0, Vec::len);
    let new_change = |id: IdentityId, after: usize| IdentityChange {
        id,
        records_before: before(&id),
        records_after: after,
        merged: Vec::new(),
        split_into: 0,
    };
    for (ids, cluster) in claims.iter().zip(&result.clusters) {
        match ids.split_first() {
            None => preview.identities_created += 1,
            Some((_, [])) => {}
            Some((id, merged)) => {
                preview.identities_merged += 1;
                preview.identities_ended += merged.len() as u64;
                ends_in.extend(merged.iter().map(|merged| (*merged, *id)));
                let change = changes.entry(*id);
                let change = change.or_insert_with(|| new_change(*id, cluster.len()));
                change.merged = merged.to_vec();
                told.insert(*id);
                told.extend(merged);
            }
        }
    }
    for (id, rows) in &rows_of {
        let mut places: BTreeSet<u32> = BTreeSet::new();
        for row in rows {
            let cluster = cluster_of[*row];
            if survivor(cluster) != Some(id) {
                preview.records_moved += 1;
                let end = ends_in.get(id);
                if end.is_none() || survivor(cluster) != end {
                    places.insert(cluster);
                }
            }
        }
        if !places.is_empty() {
            preview.identities_split += 1;
            let after = rows
                .iter()
                .map(|row| cluster_of[*row])
                .find(|cluster| survivor(*cluster) == Some(id))
                .map_or(0, |cluster| result.clusters[cluster as usize].len());
            let change = changes.entry(*id);
            let change = change.or_insert_with(|| new_change(*id, after));
            change.split_into = places.len();
            told.insert(*id);
        }
    }
    let overrides = engine.tenant(tenant)?.shared.overrides.read().clone();
    let is_updated = |(ids, cluster): (&Vec<IdentityId>, &Vec<usize>)| {
        let Some(known) = ids
            .first()
            .filter(|id| !told.contains(*id))
            .and_then(|id| known.get(id))
        else {
            return false;
        };
        let mut members = cluster.iter().map(|row| living.rows[*row].0);
        let same = known.members.len() == cluster.len()
            && known
                .members
                .iter()
                .all(|member| members.next() == Some(*member));
        let golden = || {
            let mut golden = golden_record_of_rows(
                &living.records,
                &result.comparables,
                cluster,
                &matcher.pack,
                |row, value| overrides.judge(living.rows[row].0, value),
            );
            let keys: Vec<_> = cluster
                .iter()
                .map(|row| living.records.get(*row).key)
                .collect();
            let members = cluster.iter().map(|row| living.rows[*row].0).zip(&keys);
            if let Some(household) = overrides.household_value(members) {
                golden.put(household);
            }
            golden
        };
        !same || known.golden != golden()
    };
    preview.identities_updated = claims
        .par_iter()
        .zip(&result.clusters)
        .filter(|pair| is_updated((pair.0, pair.1)))
        .count() as u64;
    preview.events = preview.identities_created
        + preview.identities_split
        + preview.identities_merged
        + preview.identities_updated;
    let mut largest: Vec<IdentityChange> = changes.into_values().collect();
    largest.sort_by_key(|change| {
        let records = change.records_before.max(change.records_after);
        (std::cmp::Reverse(records), change.id)
    });
    largest.truncate(MAX_LISTED);
    preview.largest = largest;
    Ok(preview)
}
