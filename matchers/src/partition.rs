//! From weighed pairs to persons, the same function for a bulk job's components and for the few records that a signal
//! touches.

use std::borrow::Cow;

use crate::cluster::{ComparedPair, Component, Link};
use crate::memo::{Form, PartitionMemo};
use crate::normalise::NormalisedRecord;
use crate::rules::RuleEffect;
use crate::score::{Decision, PairEvidence, PairScore, Scorer, TableScorer};

/// From so many members on what pairs say is remembered: a customer of hundreds of receipts says the same on most of them, and who
/// comes to a large component finds most of it as it was.
const MEMBERS_WORTH_REMEMBERING: usize = 8;
/// From so many members on a run goes on from the one before.
const MEMBERS_WORTH_TRACING: usize = 64;

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
/// brought and that match; `overrides` are stewards' words, the latest first, and win over scores. `memo` is of the same scorer; the
/// members' forms by it are given where they are known.
pub fn partition_component(
    members: &[&NormalisedRecord],
    forms: Option<&[Form]>,
    edges: &[Edge],
    overrides: &[(usize, usize, Link)],
    scorer: &Scorer,
    memo: &PartitionMemo,
) -> Vec<Vec<usize>> {
    let count = members.len();
    let forms_of = || members.iter().map(|record| memo.form_of(record)).collect();
    let forms: Option<Cow<'_, [Form]>> = (count >= MEMBERS_WORTH_REMEMBERING)
        .then(|| forms.map_or_else(|| Cow::Owned(forms_of()), Cow::Borrowed));
    let evidence = |left: usize, right: usize| {
        let find = || scorer.evidence(members[left], members[right]);
        match &forms {
            Some(forms) => memo.get(forms[left], forms[right], find),
            None => find(),
        }
    };
    let clusters_of = |component: &Component<'_, PairEvidence>| match &forms {
        Some(forms) if count >= MEMBERS_WORTH_TRACING => memo.clusters_of(component, forms),
        _ => component.clusters(),
    };
    partition(
        count,
        edges,
        overrides,
        &|_, _| true,
        scorer,
        &evidence,
        clusters_of,
    )
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
        |component| component.clusters(),
    )
}

fn partition(
    members: usize,
    edges: &[Edge],
    overrides: &[(usize, usize, Link)],
    may_match: &dyn Fn(usize, usize) -> bool,
    scorer: &Scorer,
    evidence: &dyn Fn(usize, usize) -> (PairEvidence, PairScore),
    clusters_of: impl FnOnce(&Component<'_, PairEvidence>) -> Vec<Vec<usize>>,
) -> Vec<Vec<usize>> {
    if members == 2
        && overrides.is_empty()
        && edges
            .iter()
            .any(|(.., score)| score.decision == Decision::Match)
    {
        return vec![vec![0, 1]];
    }
    let word_on = |left: usize, right: usize, score: &PairScore| {
        if may_match(left, right) {
            link_of(score)
        } else {
            Some(Link::Cannot)
        }
    };
    let compare = |left: usize, right: usize| {
        let (evidence, score) = evidence(left, right);
        let link = word_on(left, right, &score);
        (evidence, link)
    };
    let pair_of = |(left, right, score): &Edge| ComparedPair {
        left: *left,
        right: *right,
        weight: scorer.join_weight_of_pair(score),
        link: word_on(*left, *right, score),
    };
    clusters_of(&Component {
        members,
        pairs: edges.iter().map(pair_of).collect(),
        links: overrides.to_vec(),
        compare: &compare,
        weigh: &|evidence| scorer.join_weight(evidence),
    })
}
