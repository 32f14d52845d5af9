//! Review tasks: one for each pair of identities that have a doubtful or a contested pair between them, unless a steward has
//! said that they are two persons. A pure function of edges, identities and overrides.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;
use veridem_matchers::cluster::Link;
use veridem_matchers::{Decision, PairScore, RecordKey};

use super::change::Change;
use super::engine::hash_of;
use super::error::EngineError;
use crate::store::{
    IdentityId, RecordNumber, ReviewReason, StoredReviewTask, impact_of, priority_of,
};

type IdentityPair = (IdentityId, IdentityId);
/// The smaller number first.
pub(super) type RecordPair = (RecordNumber, RecordNumber);

/// What is known of an open review task without reading it.
#[derive(Clone, Copy)]
pub(super) struct OpenTask {
    pub(super) score: PairScore,
    pub(super) impact: u8,
    pub(super) opened_at_ms: i64,
}

impl OpenTask {
    pub(super) fn of(task: &StoredReviewTask) -> Self {
        Self {
            score: task.score,
            impact: task.impact,
            opened_at_ms: task.opened_at_ms,
        }
    }
}

/// What becomes of a task.
pub(super) enum TaskChange {
    /// It opens, or changes.
    Open(OpenTask),
    /// It closes; its id.
    Close(String),
}

/// Closed tasks that are remembered, so that whoever still looks at one learns what became of it.
const CLOSED_TASKS: usize = 10_000;

/// The open review tasks of a tenant: what is doubtful, by their records.
#[derive(Default)]
pub(super) struct OpenTasks {
    tasks: FxHashMap<RecordPair, OpenTask>,
    of_record: FxHashMap<RecordNumber, Vec<RecordNumber>>,
    /// The last ones that closed, the latest last.
    closed: VecDeque<(String, RecordPair)>,
}

impl OpenTasks {
    /// The task of two records, where one is open.
    pub(super) fn get(&self, pair: RecordPair) -> Option<OpenTask> {
        self.tasks.get(&pair).copied()
    }

    /// The records of a task that closed lately.
    pub(super) fn closed(&self, id: &str) -> Option<RecordPair> {
        let mut latest = self.closed.iter().rev();
        let (_, pair) = latest.find(|(closed, _)| closed == id)?;
        Some(*pair)
    }

    /// The other records of the tasks of a record.
    pub(super) fn of_record(&self, number: RecordNumber) -> Vec<RecordNumber> {
        self.of_record.get(&number).cloned().unwrap_or_default()
    }

    /// Remembers none of the closed tasks of some records, which are sorted.
    pub(super) fn forget_closed(&mut self, records: &[RecordNumber]) {
        let names = |number: &RecordNumber| records.binary_search(number).is_ok();
        self.closed
            .retain(|(_, (one, other))| !names(one) && !names(other));
    }

    /// Opens a task, changes it, or closes it.
    pub(super) fn set(&mut self, pair: RecordPair, change: TaskChange) {
        let sides = [(pair.0, pair.1), (pair.1, pair.0)];
        match change {
            TaskChange::Open(task) => {
                if self.tasks.insert(pair, task).is_none() {
                    for (one, other) in sides {
                        self.of_record.entry(one).or_default().push(other);
                    }
                }
            }
            TaskChange::Close(id) => {
                if self.closed.len() == CLOSED_TASKS {
                    self.closed.pop_front();
                }
                self.closed.push_back((id, pair));
                self.tasks.remove(&pair);
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
    now_ms: i64,
) -> Result<(), EngineError> {
    for number in affected {
        if change.has_new_pairs(*number)? {
            touched.extend(change.identity_of(*number)?);
        }
    }
    let overrides = change.overrides();
    let mut looked_at: BTreeSet<RecordPair> = BTreeSet::new();
    let mut wanted: BTreeMap<IdentityPair, Doubt> = BTreeMap::new();
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
            let (left, right) = ordered(change, *number, edge.other);
            let doubt = Doubt {
                left,
                right,
                score: edge.score,
            };
            match wanted.entry(pair(&own, &other)) {
                Entry::Vacant(none) => drop(none.insert(doubt)),
                Entry::Occupied(mut known) => {
                    if doubt.is_stronger_than(known.get(), change) {
                        known.insert(doubt);
                    }
                }
            }
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
    let wanted: BTreeMap<RecordPair, (Doubt, IdentityPair)> = wanted
        .into_iter()
        .filter(|(pair, _)| !apart.contains(pair))
        .map(|(pair, doubt)| (record_pair(doubt.left, doubt.right), (doubt, pair)))
        .collect();
    for pair in looked_at {
        if !wanted.contains_key(&pair) {
            change.close_task(pair)?;
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let sizes = Sizes::of(change, affected)?;
    for (pair, (doubt, (one, other))) in wanted {
        let impact = impact_of(sizes.get(change, &one)? + sizes.get(change, &other)?);
        let task = OpenTask {
            score: doubt.score,
            impact,
            opened_at_ms: now_ms,
        };
        change.open_task(pair, &doubt, task);
    }
    Ok(())
}

/// How many records identities have.
struct Sizes(FxHashMap<IdentityId, usize>);

impl Sizes {
    /// `affected` has every record of each identity that one of them is in.
    fn of(change: &mut Change<'_>, affected: &BTreeSet<RecordNumber>) -> Result<Self, EngineError> {
        let mut sizes = FxHashMap::default();
        for number in affected {
            // One that is deleted still says in which identity it was.
            if let Some(id) = change.identity_of(*number)?
                && change.record(*number).is_alive
            {
                *sizes.entry(id).or_default() += 1;
            }
        }
        Ok(Self(sizes))
    }

    /// Those that nothing happens to are as the store has them.
    fn get(&self, change: &Change<'_>, id: &IdentityId) -> Result<usize, EngineError> {
        if let Some(size) = self.0.get(id) {
            return Ok(*size);
        }
        let identity = change.engine.store.identity(change.tenant, id)?;
        Ok(identity.map_or(1, |identity| identity.members.len()))
    }
}

/// A pair that a review task is to be about, in the order of their record keys.
pub(super) struct Doubt {
    left: RecordNumber,
    right: RecordNumber,
    score: PairScore,
}

impl Doubt {
    /// Of the pairs between two identities the one of the most weight, then of the smallest keys.
    fn is_stronger_than(&self, other: &Self, change: &Change<'_>) -> bool {
        let keys = |doubt: &Self| {
            let key = |number| &change.record(number).key;
            (key(doubt.left), key(doubt.right))
        };
        let (weight, than) = (self.score.weight.0, other.score.weight.0);
        weight > than || weight == than && keys(self) < keys(other)
    }

    pub(super) fn task(&self, change: &Change<'_>, open: OpenTask) -> StoredReviewTask {
        let side = |number: RecordNumber| (change.record(number).key.clone(), number);
        review_task(side(self.left), side(self.right), open)
    }
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

/// The task of two records that come in the order of their keys.
pub(super) fn review_task(
    (left, left_number): (RecordKey, RecordNumber),
    (right, right_number): (RecordKey, RecordNumber),
    open: OpenTask,
) -> StoredReviewTask {
    let reason = if open.score.decision == Decision::Match {
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
        score: open.score,
        impact: open.impact,
        priority: priority_of(reason, &open.score, open.impact),
        opened_at_ms: open.opened_at_ms,
    }
}

/// The id of the task of two records, in either order.
pub fn task_id(one: &RecordKey, other: &RecordKey) -> String {
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
