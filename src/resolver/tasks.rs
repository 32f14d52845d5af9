//! Review tasks: one for each pair of identities that have a doubtful or a contested pair between them, unless a steward has
//! said that they are two persons. A pure function of edges, identities and overrides.

use std::collections::{BTreeMap, BTreeSet};

use veridem_matchers::{Decision, RecordKey};

use super::change::Change;
use super::engine::hash_of;
use super::error::EngineError;
use crate::store::{
    IdentityId, OverrideDecision, RecordNumber, ReviewReason, StoredReviewTask, Write,
};

type IdentityPair = (IdentityId, IdentityId);

/// Opens and closes the tasks of the affected records' pairs.
pub(super) fn settle_tasks(
    change: &mut Change<'_>,
    affected: &BTreeSet<RecordNumber>,
) -> Result<(), EngineError> {
    let mut looked_at: BTreeSet<String> = BTreeSet::new();
    let mut wanted: BTreeMap<IdentityPair, StoredReviewTask> = BTreeMap::new();
    let mut apart: BTreeSet<IdentityPair> = BTreeSet::new();
    for number in affected {
        let Some(own) = change.identity_of(*number)? else {
            continue;
        };
        let (before, after) = change.all_edges(*number)?;
        for edge in before.iter().chain(&after) {
            if change.identity_of(edge.other)?.is_some() {
                looked_at.insert(task_id(
                    &change.record(*number).key,
                    &change.record(edge.other).key,
                ));
            }
        }
        for edge in &after {
            let Some(other) = change
                .identity_of(edge.other)?
                .filter(|other| *other != own)
            else {
                continue;
            };
            let task = task_of(change, *number, edge.other, edge.score);
            let strongest = wanted
                .entry(pair(&own, &other))
                .or_insert_with(|| task.clone());
            let is_stronger = |left: &StoredReviewTask, right: &StoredReviewTask| {
                (left.score.weight.0, &right.left, &right.right)
                    > (right.score.weight.0, &left.left, &left.right)
            };
            if is_stronger(&task, strongest) {
                *strongest = task;
            }
        }
        let words = change.overrides_of(*number)?.to_vec();
        for (other, _) in words
            .into_iter()
            .filter(|(_, decision)| *decision == OverrideDecision::DifferentPersons)
        {
            if let Some(other) = change.identity_of(other)? {
                apart.insert(pair(&own, &other));
            }
        }
    }
    let wanted: BTreeMap<String, StoredReviewTask> = wanted
        .into_iter()
        .filter(|(pair, _)| !apart.contains(pair))
        .map(|(_, task)| (task.id.clone(), task))
        .collect();
    for id in looked_at.iter().filter(|id| !wanted.contains_key(*id)) {
        if change
            .engine
            .store
            .review_task(change.tenant, id)?
            .is_some()
        {
            change.counters.open_review_tasks -= 1;
            change.write(Write::CloseTask(id.clone()));
        }
    }
    for (id, task) in wanted {
        let known = change.engine.store.review_task(change.tenant, &id)?;
        if known.as_ref() != Some(&task) {
            change.counters.open_review_tasks += u64::from(known.is_none());
            change.write(Write::OpenTask(task));
        }
    }
    Ok(())
}

fn pair(one: &IdentityId, other: &IdentityId) -> IdentityPair {
    (one.min(other).clone(), one.max(other).clone())
}

fn task_of(
    change: &Change<'_>,
    one: RecordNumber,
    other: RecordNumber,
    score: veridem_matchers::PairScore,
) -> StoredReviewTask {
    let (left, right) = if change.record(one).key <= change.record(other).key {
        (one, other)
    } else {
        (other, one)
    };
    let (left_key, right_key) = (
        change.record(left).key.clone(),
        change.record(right).key.clone(),
    );
    let reason = if score.decision == Decision::Match {
        ReviewReason::Conflict
    } else {
        ReviewReason::Uncertain
    };
    StoredReviewTask {
        id: task_id(&left_key, &right_key),
        left: left_key,
        right: right_key,
        records: (left, right),
        reason,
        score,
    }
}

/// The id of the task of two records, in either order.
fn task_id(one: &RecordKey, other: &RecordKey) -> String {
    let (left, right) = (one.min(other), one.max(other));
    let text = [
        &left.source,
        &left.record_id,
        &right.source,
        &right.record_id,
    ]
    .map(String::as_str)
    .join("\0");
    hex::encode(hash_of(text.as_bytes()))
}
