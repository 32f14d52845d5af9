//! From weighed pairs to persons, the same function for a bulk job's components and for the few records that a signal
//! touches.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

use crate::cluster::{ComparedPair, Component, Link};
use crate::normalise::NormalisedRecord;
use crate::rules::RuleEffect;
use crate::score::{Decision, PairEvidence, PairScore, Scorer, TableScorer};

/// From so many members on what pairs say is remembered: a customer of hundreds of receipts says the same on most of them, and who
/// comes to a large component finds most of it as it was.
const MEMBERS_WORTH_REMEMBERING: usize = 8;
/// Pairs that are remembered at once; twice as many are at most. One takes some 70 bytes.
const REMEMBERED_PAIRS: usize = 500_000;
/// What they say, each once, as many at once; twice as many are at most. One takes some 400 bytes.
const REMEMBERED_SAYINGS: usize = 50_000;

/// What pairs of records say under one scorer, remembered from component to component. A pair is known by what its records say, not by
/// whose they are: there is nothing to forget when a record changes.
pub struct PairMemo {
    seed: u64,
    found: Mutex<FoundPairs>,
}

/// What a pair says: strangers of one name say the same by the thousand.
type Said = Arc<(PairEvidence, PairScore)>;

#[derive(Default)]
struct FoundPairs {
    /// Found lately.
    young: FxHashMap<u128, Said>,
    /// Found before `young` was full for the last time.
    old: FxHashMap<u128, Said>,
    /// What those of `young` say, each once.
    said: FxHashMap<u64, Said>,
}

impl Default for PairMemo {
    fn default() -> Self {
        Self {
            // Nobody can choose two records that are taken for one.
            seed: RandomState::new().hash_one(0),
            found: Mutex::default(),
        }
    }
}

impl PairMemo {
    fn form_of(&self, record: &NormalisedRecord) -> u128 {
        let mut hasher = Xxh3::with_seed(self.seed);
        record.hash(&mut hasher);
        hasher.digest128()
    }

    fn get(
        &self,
        left: u128,
        right: u128,
        find: impl FnOnce() -> (PairEvidence, PairScore),
    ) -> (PairEvidence, PairScore) {
        let mut forms = [0; 32];
        forms[..16].copy_from_slice(&left.min(right).to_le_bytes());
        forms[16..].copy_from_slice(&left.max(right).to_le_bytes());
        let pair = xxh3_128_with_seed(&forms, self.seed);
        let known = self.lock().get(pair);
        let said = known.unwrap_or_else(|| {
            let found = find();
            self.lock().insert(pair, found)
        });
        Said::unwrap_or_clone(said)
    }

    fn lock(&self) -> MutexGuard<'_, FoundPairs> {
        // What was found stays true whoever panicked.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FoundPairs {
    fn get(&mut self, pair: u128) -> Option<Said> {
        if let Some(said) = self.young.get(&pair) {
            return Some(said.clone());
        }
        let said = self.old.remove(&pair)?;
        self.put(pair, said.clone());
        Some(said)
    }

    fn insert(&mut self, pair: u128, found: (PairEvidence, PairScore)) -> Said {
        let said = self.said.entry(found.0.digest());
        let said = said.or_insert_with(|| found.clone().into());
        let said = match **said == found {
            true => said.clone(),
            false => found.into(),
        };
        self.put(pair, said.clone());
        said
    }

    fn put(&mut self, pair: u128, said: Said) {
        if self.young.len() >= REMEMBERED_PAIRS || self.said.len() >= REMEMBERED_SAYINGS {
            self.old = std::mem::take(&mut self.young);
            self.said.clear();
        }
        self.young.insert(pair, said);
    }
}

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
/// brought and that match; `overrides` are stewards' words, the latest first, and win over scores. `memo` is of the same scorer.
pub fn partition_component(
    members: &[&NormalisedRecord],
    edges: &[Edge],
    overrides: &[(usize, usize, Link)],
    may_match: &dyn Fn(usize, usize) -> bool,
    scorer: &Scorer,
    memo: &PairMemo,
) -> Vec<Vec<usize>> {
    let partition = |evidence: &dyn Fn(usize, usize) -> (PairEvidence, PairScore)| {
        partition(members.len(), edges, overrides, may_match, scorer, evidence)
    };
    let evidence = |left: usize, right: usize| scorer.evidence(members[left], members[right]);
    if members.len() < MEMBERS_WORTH_REMEMBERING {
        return partition(&evidence);
    }
    let forms: Vec<u128> = members.iter().map(|record| memo.form_of(record)).collect();
    partition(&|left, right| {
        let find = || evidence(left, right);
        memo.get(forms[left], forms[right], find)
    })
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
    Component {
        members,
        pairs: edges.iter().map(pair_of).collect(),
        links: overrides.to_vec(),
        compare: &compare,
        weigh: &|evidence| scorer.join_weight(evidence),
    }
    .clusters()
}
