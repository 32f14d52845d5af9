//! Review tasks: one for each pair of identities that have a doubtful or a contested pair between them, unless a steward has
//! said that they are two persons. A pure function of edges, identities and overrides.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use veridem_matchers::cluster::Link;
use veridem_matchers::{Decision, PairScore, RecordKey};

use super::change::Change;
use super::engine::{hash_of, postcard_bytes};
use super::error::EngineError;
use crate::store::{IdentityId, RecordNumber, ReviewReason, StoredReviewTask};

type IdentityPair = (IdentityId, IdentityId);
/// The smaller number first.
pub(super) type RecordPair = (RecordNumber, RecordNumber);

/// The open review tasks of a tenant: hashes of what they say, by their records.
#[derive(Default)]
pub(super) struct OpenTasks {
    content: FxHashMap<RecordPair, u64>,
    of_record: FxHashMap<RecordNumber, Vec<RecordNumber>>,
}

impl OpenTasks {
    /// The hash of what a task says, where one is open.
    pub(super) fn content(&self, pair: RecordPair) -> Option<u64> {
        self.content.get(&pair).copied()
    }

    /// The other records of the tasks of a record.
    pub(super) fn of_record(&self, number: RecordNumber) -> Vec<RecordNumber> {
        self.of_record.get(&number).cloned().unwrap_or_default()
    }

    /// Opens a task, changes it, or closes it.
    pub(super) fn set(&mut self, pair: RecordPair, content: Option<u64>) {
        let sides = [(pair.0, pair.1), (pair.1, pair.0)];
        match content {
            Some(content) => {
                if self.content.insert(pair, content).is_none() {
                    for (one, other) in sides {
                        self.of_record.entry(one).or_default().push(other);
                    }
                }
            }
            None => {
                self.content.remove(&pair);
                for (one, other) in sides {
                    if let Some(others) = self.of_record.get_mut(&one) {
                        others.retain(|known| *known != other);
                        if others.is_empty() {
                            self.of_record.remove(&one);
                        }
                    }
                }
            }
        }
    }
}

/// Opens and closes the tasks of the affected records' pairs. Between two identities of which neither is `touched`, nor has a record
/// with new pairs or a new word on them, all stays as it is.
pub(super) fn settle_tasks(
    change: &mut Change<'_>,
    affected: &BTreeSet<RecordNumber>,
    mut touched: BTreeSet<IdentityId>,
) -> Result<(), EngineError> {
    for number in affected {
        if change.has_new_pairs(*number)? {
            touched.extend(change.identity_of(*number)?);
        }
    }
    let overrides = change.overrides();
    let mut looked_at: BTreeSet<RecordPair> = BTreeSet::new();
    let mut wanted: BTreeMap<IdentityPair, StoredReviewTask> = BTreeMap::new();
    let mut apart: BTreeSet<IdentityPair> = BTreeSet::new();
    for number in affected {
        let own = change.identity_of(*number)?;
        let Some(own) = own.filter(|own| touched.contains(own)) else {
            continue;
        };
        let (_, after) = change.all_edges(*number)?;
        let open = change.open_tasks_of(*number).into_iter();
        looked_at.extend(open.map(|other| record_pair(*number, other)));
        for edge in after.iter() {
            let Some(other) = change
                .identity_of(edge.other)?
                .filter(|other| *other != own)
            else {
                continue;
            };
            let stronger = |known: &StoredReviewTask| {
                let task = task_of(change, *number, edge.other, edge.score);
                (task.score.weight.0, &known.left, &known.right)
                    > (known.score.weight.0, &task.left, &task.right)
            };
            let between = wanted.entry(pair(&own, &other));
            if let Entry::Occupied(known) = &between
                && (known.get().records == ordered(change, *number, edge.other)
                    || !stronger(known.get()))
            {
                continue;
            }
            let task = task_of(change, *number, edge.other, edge.score);
            between.insert_entry(task);
        }
        for other in overrides.others(*number) {
            // A record that is deleted speaks no more for the identity that it was in.
            if overrides.word(*number, other) == Some(Link::Cannot)
                && let Some(id) = change.identity_of(other)?
                && change.record(*number).is_alive
                && change.record(other).is_alive
            {
                apart.insert(pair(&own, &id));
            }
        }
    }
    let wanted: BTreeMap<RecordPair, StoredReviewTask> = wanted
        .into_iter()
        .filter(|(pair, _)| !apart.contains(pair))
        .map(|(_, task)| (record_pair(task.records.0, task.records.1), task))
        .collect();
    for pair in looked_at {
        if !wanted.contains_key(&pair) {
            change.close_task(pair)?;
        }
    }
    for (pair, task) in wanted {
        change.open_task(pair, task);
    }
    Ok(())
}

fn pair(one: &IdentityId, other: &IdentityId) -> IdentityPair {
    (*one.min(other), *one.max(other))
}

/// Two records in the order of their numbers.
pub(super) fn record_pair(one: RecordNumber, other: RecordNumber) -> RecordPair {
    (one.min(other), one.max(other))
}

/// The two in the order of their record keys.
fn ordered(
    change: &Change<'_>,
    one: RecordNumber,
    other: RecordNumber,
) -> (RecordNumber, RecordNumber) {
    if change.record(one).key <= change.record(other).key {
        (one, other)
    } else {
        (other, one)
    }
}

fn task_of(
    change: &Change<'_>,
    one: RecordNumber,
    other: RecordNumber,
    score: PairScore,
) -> StoredReviewTask {
    let (left, right) = ordered(change, one, other);
    let side = |number: RecordNumber| (change.record(number).key.clone(), number);
    review_task(side(left), side(right), score)
}

/// The task of two records that come in the order of their keys.
pub(super) fn review_task(
    (left, left_number): (RecordKey, RecordNumber),
    (right, right_number): (RecordKey, RecordNumber),
    score: PairScore,
) -> StoredReviewTask {
    let reason = if score.decision == Decision::Match {
        ReviewReason::Conflict
    } else {
        ReviewReason::Uncertain
    };
    StoredReviewTask {
        id: task_id(&left, &right),
        left,
        right,
        records: (left_number, right_number),
        reason,
        score,
    }
}

/// The id of the task of two records, in either order.
pub(super) fn task_id(one: &RecordKey, other: &RecordKey) -> String {
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

/// A hash of everything that a task says.
pub(super) fn content_of(task: &StoredReviewTask) -> u64 {
    let hash = hash_of(&postcard_bytes(task));
    u64::from_le_bytes(hash[..8].try_into().expect("a hash has 16 bytes"))
}
