//! From weighed pairs to persons, the same function for a bulk job's components and for the few records that a signal
//! touches.

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use crate::cluster::{Component, Link};
use crate::normalise::NormalisedRecord;
use crate::rules::RuleEffect;
use crate::score::{Decision, PairEvidence, PairScore, Scorer, TableScorer};
use crate::table::Table;

/// From so many members on making a table costs less than it saves: every pair is compared.
const MEMBERS_WORTH_A_TABLE: usize = 8;

/// A scored pair of members, `left < right`.
pub type Edge = (usize, usize, PairScore);

/// A match rule's word on a pair.
fn link_of(score: &PairScore) -> Option<Link> {
    match score.effect {
        Some(RuleEffect::MustNotMatch) => Some(Link::Cannot),
        Some(RuleEffect::MustMatch) => Some(Link::Must),
        Some(RuleEffect::CapAtReview) | None => None,
    }
}

/// The clusters of one component. `members` come in the order of their record keys; `edges` are the pairs that blocking
/// brought and that match; `overrides` are a steward's words and win over scores.
pub fn partition_component(
    members: &[&NormalisedRecord],
    edges: &[Edge],
    overrides: &[(usize, usize, Link)],
    may_match: &dyn Fn(usize, usize) -> bool,
    scorer: &Scorer,
) -> Vec<Vec<usize>> {
    let partition = |evidence: &dyn Fn(usize, usize) -> (PairEvidence, PairScore)| {
        partition(members.len(), edges, overrides, may_match, scorer, evidence)
    };
    if members.len() < MEMBERS_WORTH_A_TABLE {
        partition(&|left, right| scorer.evidence(members[left], members[right]))
    } else {
        // A customer of hundreds of receipts says the same on most of them: what two records say of each other is worked out once
        // for all that say the same.
        let mut forms: FxHashMap<&NormalisedRecord, usize> = FxHashMap::default();
        let mut distinct: Vec<NormalisedRecord> = Vec::new();
        let form_of: Vec<usize> = members
            .iter()
            .map(|record| {
                *forms.entry(record).or_insert_with(|| {
                    distinct.push((*record).clone());
                    distinct.len() - 1
                })
            })
            .collect();
        let table = Table::new(&distinct);
        let scorer = TableScorer::new(scorer, &table);
        if distinct.len() == members.len() {
            return partition(&|left, right| scorer.evidence(left, right));
        }
        let known: RefCell<FxHashMap<(usize, usize), (PairEvidence, PairScore)>> =
            RefCell::default();
        partition(&|left, right| {
            let (left, right) = (form_of[left], form_of[right]);
            let pair = (left.min(right), left.max(right));
            let mut known = known.borrow_mut();
            let found = known.entry(pair);
            found
                .or_insert_with(|| scorer.evidence(pair.0, pair.1))
                .clone()
        })
    }
}

/// [`partition_component`] of rows of a table.
pub fn partition_rows(
    rows: &[usize],
    edges: &[Edge],
    overrides: &[(usize, usize, Link)],
    may_match: &dyn Fn(usize, usize) -> bool,
    scorer: &TableScorer<'_>,
) -> Vec<Vec<usize>> {
    scorer.look_at(rows);
    let evidence = |left: usize, right: usize| scorer.evidence(rows[left], rows[right]);
    partition(
        rows.len(),
        edges,
        overrides,
        may_match,
        scorer.scorer(),
        &evidence,
    )
}

fn partition(
    members: usize,
    edges: &[Edge],
    overrides: &[(usize, usize, Link)],
    may_match: &dyn Fn(usize, usize) -> bool,
    scorer: &Scorer,
    evidence: &dyn Fn(usize, usize) -> (PairEvidence, PairScore),
) -> Vec<Vec<usize>> {
    if members == 2
        && overrides.is_empty()
        && edges
            .iter()
            .any(|(.., score)| score.decision == Decision::Match)
    {
        return vec![vec![0, 1]];
    }
    let compare = |left: usize, right: usize| {
        let (evidence, score) = evidence(left, right);
        let link = if may_match(left, right) {
            link_of(&score)
        } else {
            Some(Link::Cannot)
        };
        (evidence, link)
    };
    Component {
        members,
        pairs: edges
            .iter()
            .map(|(left, right, _)| (*left, *right))
            .collect(),
        links: overrides.to_vec(),
        compare: &compare,
        weigh: &|evidence| scorer.join_weight(evidence),
    }
    .clusters()
}
