//! From clusters to identities: which id survives, which are new, and the events that tell it.
//!
//! The rule: an identity's id goes with the cluster that holds most of its records (equally many: the cluster with the smallest
//! record key). A cluster that gets several ids keeps the one created first; the others merge into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use veridem_matchers::RecordKey;
use veridem_matchers::golden::golden_record_of;

use super::change::Change;
use super::engine::hash_of;
use super::error::EngineError;
use crate::store::{
    Cause, Ended, EventKind, IdentityId, RecordNumber, StoredEvent, StoredIdentity, Tenant, Write,
};

/// The id of the identity that an event creates.
pub(super) fn new_identity_id(tenant: &Tenant, sequence: u64) -> IdentityId {
    IdentityId(hash_of(
        format!("{}\0{sequence}", tenant.as_str()).as_bytes(),
    ))
}

struct Assignment {
    id: IdentityId,
    /// Ids that merge into `id`.
    merged: Vec<IdentityId>,
    is_new: bool,
}

/// Gives every cluster its identity, writes identities and events, and tells whose members or records change.
pub(super) fn assign_identities(
    change: &mut Change<'_>,
    affected: &BTreeSet<RecordNumber>,
    clusters: &[Vec<RecordNumber>],
    cause: &Cause,
    now_ms: i64,
) -> Result<BTreeSet<IdentityId>, EngineError> {
    let standing = Standing::of(change, affected);
    let mut affected = affected.clone();
    let mut changed: Vec<Vec<RecordNumber>> = Vec::new();
    for cluster in clusters {
        // Of a large component most clusters stay as they are.
        if standing.stays(change, cluster) {
            for number in cluster {
                affected.remove(number);
            }
        } else {
            changed.push(cluster.clone());
        }
    }
    let (affected, clusters) = (&affected, changed.as_slice());
    let mut identities: BTreeMap<IdentityId, Arc<StoredIdentity>> = BTreeMap::new();
    for number in affected {
        if let Some(id) = change.record(*number).identity_id
            && !identities.contains_key(&id)
            && let Some(identity) = change.engine.store.identity(change.tenant, &id)?
            && identity.ended.is_none()
        {
            identities.insert(id, identity);
        }
    }
    let before = identities.clone();
    let assignments = assign(change, clusters, &identities);
    let mut feed = Feed {
        change,
        identities,
        before,
        cause,
        now_ms,
    };
    feed.tell(affected, clusters, assignments)?;
    Ok(feed.identities.into_keys().collect())
}

/// Which of the clusters of what a change affects are identities already.
pub(super) struct Standing {
    /// So many of the affected records are in each identity.
    held: FxHashMap<IdentityId, usize>,
}

impl Standing {
    /// `affected` has every record of each identity that one of them is in.
    pub(super) fn of(change: &Change<'_>, affected: &BTreeSet<RecordNumber>) -> Self {
        let mut held = FxHashMap::default();
        for number in affected {
            let record = change.record(*number);
            // One that is deleted is in none any more; one that the change is about may be about to leave.
            if let Some(id) = record.identity_id
                && (record.is_alive || change.is_subject(*number))
            {
                *held.entry(id).or_default() += 1;
            }
        }
        Self { held }
    }

    /// Whether a cluster is an identity, and none of its records says anything new.
    pub(super) fn stays(&self, change: &Change<'_>, cluster: &[RecordNumber]) -> bool {
        let id = change.record(cluster[0]).identity_id;
        let is_in = |number: &RecordNumber| {
            change.record(*number).identity_id == id && !change.says_anew(*number)
        };
        !change.is_anew()
            && id.is_some_and(|id| self.held.get(&id) == Some(&cluster.len()))
            && cluster.iter().all(is_in)
    }
}

fn assign(
    change: &mut Change<'_>,
    clusters: &[Vec<RecordNumber>],
    identities: &BTreeMap<IdentityId, Arc<StoredIdentity>>,
) -> Vec<Assignment> {
    let mut cluster_of: FxHashMap<RecordNumber, usize> = FxHashMap::default();
    for (cluster, numbers) in clusters.iter().enumerate() {
        cluster_of.extend(numbers.iter().map(|number| (*number, cluster)));
    }
    // What becomes of an identity is for its members to say, and where all are gone for those that were.
    let mut once: FxHashMap<IdentityId, Vec<RecordNumber>> = FxHashMap::default();
    for number in cluster_of.keys() {
        if let Some(id) = change.record(*number).identity_id {
            once.entry(id).or_default().push(*number);
        }
    }
    let mut claims: Vec<Vec<IdentityId>> = vec![Vec::new(); clusters.len()];
    for (id, identity) in identities {
        let voters = if identity.members.is_empty() {
            once.get(id).map_or(&[][..], Vec::as_slice)
        } else {
            &identity.members
        };
        let mut shares: BTreeMap<usize, usize> = BTreeMap::new();
        for cluster in voters.iter().filter_map(|number| cluster_of.get(number)) {
            *shares.entry(*cluster).or_default() += 1;
        }
        // Clusters come in the order of their smallest record keys: the first of the largest.
        if let Some(largest) = shares.values().copied().max()
            && let Some(cluster) = shares
                .iter()
                .find(|(_, share)| **share == largest)
                .map(|(cluster, _)| *cluster)
        {
            claims[cluster].push(*id);
        }
    }
    let mut next_sequence = change.counters.last_sequence;
    let tenant = change.tenant;
    claims
        .into_iter()
        .map(|mut ids| {
            ids.sort_by_key(|id| (identities[id].created_at_sequence, *id));
            if ids.is_empty() {
                // Created events come first in the feed, so that the sequence number of each is known here.
                next_sequence += 1;
                return Assignment {
                    id: new_identity_id(tenant, next_sequence),
                    merged: Vec::new(),
                    is_new: true,
                };
            }
            let merged = ids.split_off(1);
            Assignment {
                id: ids.remove(0),
                merged,
                is_new: false,
            }
        })
        .collect()
}

struct Feed<'a, 'b> {
    change: &'a mut Change<'b>,
    identities: BTreeMap<IdentityId, Arc<StoredIdentity>>,
    before: BTreeMap<IdentityId, Arc<StoredIdentity>>,
    cause: &'a Cause,
    now_ms: i64,
}

impl Feed<'_, '_> {
    fn tell(
        &mut self,
        affected: &BTreeSet<RecordNumber>,
        clusters: &[Vec<RecordNumber>],
        assignments: Vec<Assignment>,
    ) -> Result<(), EngineError> {
        // Where the records of each identity went.
        let mut left: BTreeMap<IdentityId, BTreeMap<IdentityId, Vec<RecordKey>>> = BTreeMap::new();
        let mut came: BTreeMap<IdentityId, Vec<RecordKey>> = BTreeMap::new();
        for (cluster, assignment) in clusters.iter().zip(&assignments) {
            for number in cluster {
                let record = self.change.record(*number);
                let (key, old) = (record.key.clone(), record.identity_id);
                if !self.was_member(&assignment.id, *number) {
                    came.entry(assignment.id).or_default().push(key.clone());
                }
                // A deleted record that comes back was no member any more: it leaves nobody.
                if let Some(old) =
                    old.filter(|old| *old != assignment.id && self.was_member(old, *number))
                {
                    left.entry(old)
                        .or_default()
                        .entry(assignment.id)
                        .or_default()
                        .push(key);
                }
                self.change.set_identity(*number, &assignment.id);
            }
        }
        self.update_members(affected, clusters, &assignments)?;
        for assignment in assignments.iter().filter(|assignment| assignment.is_new) {
            let moved = came.get(&assignment.id).cloned().unwrap_or_default();
            self.push(
                EventKind::Created,
                &assignment.id,
                Vec::new(),
                Vec::new(),
                moved,
            );
        }
        let mut told: BTreeSet<IdentityId> = assignments
            .iter()
            .filter(|assignment| assignment.is_new)
            .map(|assignment| assignment.id)
            .collect();
        let losers: BTreeMap<&IdentityId, &IdentityId> = assignments
            .iter()
            .flat_map(|assignment| {
                assignment
                    .merged
                    .iter()
                    .map(move |merged| (merged, &assignment.id))
            })
            .collect();
        for (old, places) in &left {
            let survivor = losers.get(old).copied();
            let split_into: Vec<IdentityId> = places
                .keys()
                .filter(|place| Some(*place) != survivor)
                .cloned()
                .collect();
            if split_into.is_empty() || !self.identities.contains_key(old) {
                continue;
            }
            let moved: Vec<RecordKey> = split_into
                .iter()
                .flat_map(|place| places[place].clone())
                .collect();
            self.push(EventKind::Split, old, Vec::new(), split_into, moved);
            told.insert(*old);
        }
        for assignment in assignments
            .iter()
            .filter(|assignment| !assignment.merged.is_empty())
        {
            let moved = came.get(&assignment.id).cloned().unwrap_or_default();
            self.push(
                EventKind::Merged,
                &assignment.id,
                assignment.merged.clone(),
                Vec::new(),
                moved,
            );
            told.insert(assignment.id);
            let sequence = self.change.counters.last_sequence;
            for merged in &assignment.merged {
                let others = left
                    .get(merged)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .filter(|place| **place != assignment.id);
                let successors = std::iter::once(assignment.id)
                    .chain(others.cloned())
                    .collect();
                if let Some(identity) = self.identity_mut(merged) {
                    identity.ended = Some(Ended {
                        successors,
                        sequence,
                    });
                }
            }
        }
        let changed: Vec<IdentityId> = self
            .identities
            .keys()
            .filter(|id| !told.contains(*id) && self.has_changed(id))
            .cloned()
            .collect();
        for id in changed {
            if self.identities[&id].ended.is_some() {
                continue;
            }
            if let Some(records) = self.change.erased_with(&id) {
                let keys = records
                    .iter()
                    .map(|number| &self.change.record(*number).key);
                // The one place where their keys stay: whoever else has the records has to find them.
                let moved = keys.cloned().collect();
                self.push(EventKind::Erased, &id, Vec::new(), Vec::new(), moved);
                let sequence = self.change.counters.last_sequence;
                if let Some(identity) = self.identity_mut(&id) {
                    identity.ended = Some(Ended {
                        successors: Vec::new(),
                        sequence,
                    });
                }
            } else {
                let moved = came.get(&id).cloned().unwrap_or_default();
                self.push(EventKind::Updated, &id, Vec::new(), Vec::new(), moved);
            }
        }
        self.write();
        Ok(())
    }

    fn identity_mut(&mut self, id: &IdentityId) -> Option<&mut StoredIdentity> {
        self.identities.get_mut(id).map(Arc::make_mut)
    }

    fn was_member(&self, id: &IdentityId, number: RecordNumber) -> bool {
        self.before
            .get(id)
            .is_some_and(|identity| identity.members.contains(&number))
    }

    fn has_changed(&self, id: &IdentityId) -> bool {
        let now = &self.identities[id];
        self.change.erased_with(id).is_some()
            || self
                .before
                .get(id)
                .is_none_or(|before| before.members != now.members || before.golden != now.golden)
    }

    /// Members and golden records as they will be.
    fn update_members(
        &mut self,
        affected: &BTreeSet<RecordNumber>,
        clusters: &[Vec<RecordNumber>],
        assignments: &[Assignment],
    ) -> Result<(), EngineError> {
        for identity in self.identities.values_mut() {
            let identity = Arc::make_mut(identity);
            let members = identity
                .members
                .iter()
                .copied()
                .zip(identity.member_keys.iter().cloned());
            (identity.members, identity.member_keys) = members
                .filter(|(member, _)| !affected.contains(member))
                .unzip();
        }
        for (cluster, assignment) in clusters.iter().zip(assignments) {
            let identity = self.identities.entry(assignment.id).or_insert_with(|| {
                Arc::new(StoredIdentity {
                    id: assignment.id,
                    members: Vec::new(),
                    member_keys: Vec::new(),
                    golden: Default::default(),
                    version: 0,
                    created_at_sequence: 0,
                    changed_at_sequence: 0,
                    ended: None,
                })
            });
            let identity = Arc::make_mut(identity);
            identity.members.clone_from(cluster);
            identity.member_keys = cluster
                .iter()
                .map(|number| self.change.record(*number).key.clone())
                .collect();
        }
        let ids: Vec<IdentityId> = self.identities.keys().cloned().collect();
        for id in ids {
            let members = &self.identities[&id].members;
            let same_members = self
                .before
                .get(&id)
                .is_some_and(|before| before.members == *members);
            if same_members
                && !self.change.is_anew()
                && !members.iter().any(|member| self.change.says_anew(*member))
            {
                continue;
            }
            let mut stated = Vec::with_capacity(members.len());
            for member in members {
                stated.push((*member, self.change.fold(*member)?));
            }
            let overrides = self.change.overrides();
            let values = stated.iter().flat_map(|(member, fold)| {
                let values = fold.stated_by(&self.change.record(*member).key);
                values.map(|mut value| {
                    overrides.judge(*member, &mut value);
                    value
                })
            });
            let mut golden = golden_record_of(values, &self.change.state.matcher.pack);
            let keyed = members.iter();
            let keyed = keyed.map(|member| (*member, &self.change.record(*member).key));
            if let Some(household) = overrides.household_value(keyed) {
                golden.put(household);
            }
            if let Some(identity) = self.identity_mut(&id) {
                identity.golden = golden;
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        kind: EventKind,
        id: &IdentityId,
        merged: Vec<IdentityId>,
        split_into: Vec<IdentityId>,
        mut moved: Vec<RecordKey>,
    ) {
        let Some(identity) = self.identities.get_mut(id) else {
            return;
        };
        let identity = Arc::make_mut(identity);
        self.change.counters.last_sequence += 1;
        self.change.counters.events[kind as usize] += 1;
        let sequence = self.change.counters.last_sequence;
        let occurred_at_ms = self.now_ms.max(self.change.counters.last_event_ms);
        self.change.counters.last_event_ms = occurred_at_ms;
        identity.version += 1;
        let previous_sequence = identity.changed_at_sequence;
        identity.changed_at_sequence = sequence;
        if kind == EventKind::Created {
            identity.created_at_sequence = sequence;
        }
        moved.sort_unstable();
        let mut told = self.identities[id].clone();
        if let Some(records) = self.change.erased_with(id) {
            // By their numbers a sink finds what its consumer calls them.
            Arc::make_mut(&mut told).members = records.to_vec();
        }
        let event = StoredEvent {
            sequence,
            kind,
            occurred_at_ms,
            identity: told,
            previous_sequence,
            merged,
            split_into,
            moved,
            cause: self.cause.clone(),
        };
        self.change.write(Write::Event(Arc::new(event)));
    }

    fn write(&mut self) {
        let has_members = |identity: &Arc<StoredIdentity>| {
            u64::from(!identity.members.is_empty() && identity.ended.is_none())
        };
        let before: u64 = self.before.values().map(has_members).sum();
        let after: u64 = self.identities.values().map(has_members).sum();
        self.change.counters.identities = self.change.counters.identities + after - before;
        for (id, identity) in &self.identities {
            if self.before.get(id) != Some(identity) {
                self.change.write(Write::Identity(identity.clone()));
            }
        }
    }
}
