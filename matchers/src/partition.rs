//! From weighed pairs to persons, the same function for a bulk job's components and for the few records that a signal
//! touches.

use crate::cluster::{Component, Link};
use crate::normalise::NormalisedRecord;
use crate::rules::RuleEffect;
use crate::score::{Decision, PairScore, Scorer};

/// A scored pair of members, `left < right`.
pub type Edge = (usize, usize, PairScore);

/// What a score says to the clustering.
pub fn link_of(score: &PairScore, scorer: &Scorer) -> Link {
    match score.effect {
        Some(RuleEffect::MustNotMatch) => Link::Cannot,
        Some(RuleEffect::MustMatch) => Link::Must,
        // Below the join weight of 0 also where both thresholds are one: capped evidence alone joins nobody.
        Some(RuleEffect::CapAtReview) => Link::Weight(
            (score.weight.0.min(scorer.review_weight().0) - scorer.match_weight().0)
                .min(-f64::MIN_POSITIVE),
        ),
        None => Link::Weight(score.weight.0 - scorer.match_weight().0),
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
    if members.len() == 2
        && overrides.is_empty()
        && edges
            .iter()
            .any(|(.., score)| score.decision == Decision::Match)
    {
        return vec![vec![0, 1]];
    }
    let overridden = |left: usize, right: usize| {
        overrides
            .iter()
            .any(|(one, other, _)| (*one, *other) == (left, right))
    };
    let mut links: Vec<(usize, usize, Link)> = overrides.to_vec();
    links.extend(
        edges
            .iter()
            .filter(|(left, right, _)| !overridden(*left, *right))
            .map(|(left, right, score)| (*left, *right, link_of(score, scorer))),
    );
    let weigh = |left: usize, right: usize| {
        if may_match(left, right) {
            link_of(&scorer.score(members[left], members[right]), scorer)
        } else {
            Link::Cannot
        }
    };
    Component {
        members: members.len(),
        links,
        weigh: &weigh,
        join_weight: 0.0,
    }
    .clusters()
}
