//! Training without labels: u from random pairs, m by expectation maximisation over the pairs of several blocking rules,
//! the prior from all candidate pairs (Winkler 1988; Linacre et al. 2022, "Splink", section 3).

mod em;
mod patterns;

pub use em::{EmParameters, EmResult, maximise_expectation};
pub use patterns::{Pattern, PatternCounts};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::block::{BlockingRules, Candidates};
use crate::compare::Comparison;
use crate::model::{
    ComparisonModel, LevelParameters, MAX_COMPARISONS, MODEL_FORMAT_VERSION, Model, TermFrequencies,
};
use crate::normalise::NormalisedRecord;

/// How much is sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingOptions {
    /// Seed of the random pairs.
    pub seed: u64,
    /// Random pairs for u.
    pub random_pairs: usize,
    /// Pairs of one blocking rule for m.
    pub pairs_per_rule: usize,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            random_pairs: 2_000_000,
            pairs_per_rule: 200_000,
        }
    }
}

/// A comparison is worth a place in the model when at least this many records have its attribute.
const MIN_PRESENT_RECORDS: usize = 10;
/// A rule with fewer sampled pairs says too little of m.
const MIN_SESSION_PAIRS: usize = 20;
/// How strongly the default m holds against what is observed, in matches.
const M_PRIOR_STRENGTH: f64 = 5.0;
const ROUNDS: usize = 3;

/// Trains a model on normalised records. `may_match` tells which pairs count (false for two records of one source when
/// linking only).
pub fn train(
    records: &[NormalisedRecord],
    candidates: &Candidates,
    rules: &BlockingRules,
    options: &TrainingOptions,
    may_match: impl Fn(usize, usize) -> bool + Sync,
) -> Model {
    let comparisons = present_comparisons(records);
    let random = random_pairs(records.len(), options);
    let random: Vec<(usize, usize)> = random
        .into_iter()
        .filter(|(left, right)| may_match(*left, *right))
        .collect();
    let random_counts = PatternCounts::of_pairs(records, &comparisons, random.par_iter().copied());
    let u_random = u_of(&comparisons, &random_counts);
    let sessions: Vec<(usize, PatternCounts)> = (0..rules.0.len())
        .filter_map(|rule| {
            let pairs = candidates.sample_of_rule(rule, options.pairs_per_rule);
            let pairs: Vec<(usize, usize)> = pairs
                .into_iter()
                .filter(|(left, right)| may_match(*left, *right))
                .collect();
            (pairs.len() >= MIN_SESSION_PAIRS).then(|| {
                (
                    rule,
                    PatternCounts::of_pairs(records, &comparisons, pairs.par_iter().copied()),
                )
            })
        })
        .collect();
    let all_counts = PatternCounts::of_candidates(records, &comparisons, candidates, &may_match);
    let possible_pairs = possible_pairs(records.len(), &random, &may_match);

    let mut parameters = EmParameters {
        prior: 1e-4,
        m: default_m(&comparisons),
        u: u_random.clone(),
    };
    for _ in 0..ROUNDS {
        parameters.m = m_of_sessions(&comparisons, rules, &sessions, &parameters);
        parameters.prior = prior_of(&all_counts, possible_pairs, &parameters);
        // Random pairs hold matches too; where records have many duplicates they would pass for chance agreement.
        parameters.u = without_matches(&u_random, &parameters, &random_counts);
    }
    Model {
        format_version: MODEL_FORMAT_VERSION,
        trained_on_records: records.len() as u64,
        prior: parameters.prior,
        comparisons: comparisons
            .iter()
            .enumerate()
            .map(|(index, comparison)| ComparisonModel {
                comparison: comparison.clone(),
                levels: comparison
                    .levels()
                    .iter()
                    .enumerate()
                    .map(|(level, name)| LevelParameters {
                        level: (*name).to_owned(),
                        m: parameters.m[index][level],
                        u: parameters.u[index][level],
                    })
                    .collect(),
                term_frequencies: term_frequencies(records, comparison),
            })
            .collect(),
    }
}

fn present_comparisons(records: &[NormalisedRecord]) -> Vec<Comparison> {
    let mut comparisons = vec![
        Comparison::GivenName,
        Comparison::FamilyName,
        Comparison::MiddleName,
        Comparison::Generation,
        Comparison::BirthDate,
        Comparison::Email,
        Comparison::Phone,
        Comparison::Address,
        Comparison::Gender,
    ];
    let mut others: Vec<Comparison> = Vec::new();
    let mut seen = rustc_hash::FxHashSet::default();
    for record in records {
        for identifier in &record.identifiers {
            if seen.insert((true, identifier.scheme.as_str())) {
                others.push(Comparison::Identifier(identifier.scheme.clone()));
            }
        }
        for custom in &record.customs {
            if seen.insert((false, custom.name.as_str())) {
                others.push(Comparison::Custom(custom.name.clone()));
            }
        }
    }
    others.sort();
    comparisons.extend(others);
    let min_present = MIN_PRESENT_RECORDS.min(records.len().div_ceil(4)).max(1);
    comparisons.retain(|comparison| {
        records
            .iter()
            .filter(|record| comparison.is_present(record))
            .take(min_present)
            .count()
            == min_present
    });
    comparisons.truncate(MAX_COMPARISONS);
    comparisons
}

/// Pairs drawn from a seeded sequence (splitmix64); every pair where there are few records.
fn random_pairs(count: usize, options: &TrainingOptions) -> Vec<(usize, usize)> {
    if count < 2 {
        return Vec::new();
    }
    if count * (count - 1) / 2 <= options.random_pairs {
        return (0..count)
            .flat_map(|left| (left + 1..count).map(move |right| (left, right)))
            .collect();
    }
    let mut state = options.seed;
    let mut draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    };
    (0..options.random_pairs)
        .map(|_| (draw(), draw()))
        .filter(|(left, right)| left != right)
        .map(|(left, right)| (left.min(right), left.max(right)))
        .collect()
}

fn possible_pairs(
    count: usize,
    random: &[(usize, usize)],
    may_match: &(impl Fn(usize, usize) -> bool + Sync),
) -> f64 {
    let all = count as f64 * (count as f64 - 1.0) / 2.0;
    if random.is_empty() {
        return all.max(1.0);
    }
    let sample = random_pairs(
        count,
        &TrainingOptions {
            seed: 3,
            random_pairs: 2000,
            pairs_per_rule: 0,
        },
    );
    let allowed = sample
        .iter()
        .filter(|(left, right)| may_match(*left.min(right), *left.max(right)))
        .count();
    (all * allowed as f64 / sample.len().max(1) as f64).max(1.0)
}

fn u_of(comparisons: &[Comparison], counts: &PatternCounts) -> Vec<Vec<f64>> {
    comparisons
        .iter()
        .enumerate()
        .map(|(index, comparison)| {
            let observed = counts.level_counts(index, comparison.levels().len());
            smoothed(&observed, &vec![0.5; observed.len()])
        })
        .collect()
}

/// Relative frequencies with pseudo-counts, none of them 0 or 1.
fn smoothed(observed: &[f64], pseudo: &[f64]) -> Vec<f64> {
    let total: f64 = observed.iter().sum::<f64>() + pseudo.iter().sum::<f64>();
    observed
        .iter()
        .zip(pseudo)
        .map(|(count, pseudo)| ((count + pseudo) / total).clamp(1e-9, 1.0 - 1e-9))
        .collect()
}

fn default_m(comparisons: &[Comparison]) -> Vec<Vec<f64>> {
    comparisons
        .iter()
        .map(|comparison| default_m_of(comparison.levels().len()))
        .collect()
}

/// Before anything is seen: most matches agree, each weaker level is half as likely, some differ.
fn default_m_of(levels: usize) -> Vec<f64> {
    let mut m: Vec<f64> = (0..levels)
        .map(|level| 0.5_f64.powi(level as i32 + 1))
        .collect();
    m[0] = 0.8;
    m[levels - 1] = 0.08;
    let total: f64 = m.iter().sum();
    m.iter().map(|value| value / total).collect()
}

/// m of each comparison from the sessions whose rule does not fix it, weighed by the matches that each found.
fn m_of_sessions(
    comparisons: &[Comparison],
    rules: &BlockingRules,
    sessions: &[(usize, PatternCounts)],
    start: &EmParameters,
) -> Vec<Vec<f64>> {
    let mut sums: Vec<Vec<f64>> = comparisons
        .iter()
        .map(|comparison| vec![0.0; comparison.levels().len()])
        .collect();
    let results: Vec<(usize, EmResult)> = sessions
        .par_iter()
        .map(|(rule, counts)| {
            let free: Vec<bool> = comparisons
                .iter()
                .map(|comparison| !rules.0[*rule].fixes(comparison))
                .collect();
            (
                *rule,
                maximise_expectation(
                    counts,
                    &EmParameters {
                        prior: 0.3,
                        ..start.clone()
                    },
                    &free,
                ),
            )
        })
        .collect();
    for (rule, result) in &results {
        for (index, _) in comparisons
            .iter()
            .enumerate()
            .filter(|(_, comparison)| !rules.0[*rule].fixes(comparison))
        {
            let expected = &result.expected_levels[index];
            for (sum, expected) in sums[index].iter_mut().zip(expected) {
                *sum += expected;
            }
        }
    }
    comparisons
        .iter()
        .zip(&sums)
        .map(|(comparison, observed)| {
            let pseudo: Vec<f64> = default_m_of(comparison.levels().len())
                .iter()
                .map(|value| value * M_PRIOR_STRENGTH)
                .collect();
            smoothed(observed, &pseudo)
        })
        .collect()
}

/// The prior that explains the candidate pairs: every other pair is taken for a non-match.
fn prior_of(counts: &PatternCounts, possible_pairs: f64, parameters: &EmParameters) -> f64 {
    let mut prior = parameters.prior;
    for _ in 0..30 {
        let at = EmParameters {
            prior,
            ..parameters.clone()
        };
        let expected: f64 = counts
            .iter()
            .map(|(pattern, count)| at.match_probability(pattern, None) * count)
            .sum();
        prior = (expected / possible_pairs).clamp(1e-9, 0.5);
    }
    prior
}

/// u of random pairs less the part that matches among them have in it. Matches among the random pairs are found by the model
/// itself, so that what a block's matches have in common does not leak in.
fn without_matches(
    u_random: &[Vec<f64>],
    parameters: &EmParameters,
    random: &PatternCounts,
) -> Vec<Vec<f64>> {
    let mut kept: Vec<Vec<f64>> = u_random
        .iter()
        .map(|levels| vec![0.5; levels.len()])
        .collect();
    for (pattern, count) in random.iter() {
        let rest = count * (1.0 - parameters.match_probability(pattern, None));
        for (index, levels) in kept.iter_mut().enumerate() {
            if let Some(level) = pattern.level(index) {
                levels[level] += rest;
            }
        }
    }
    kept.iter()
        .map(|levels| smoothed(levels, &vec![0.0; levels.len()]))
        .collect()
}

fn term_frequencies(
    records: &[NormalisedRecord],
    comparison: &Comparison,
) -> Option<TermFrequencies> {
    let names = || records.iter().flat_map(|record| &record.names);
    match comparison {
        Comparison::GivenName => TermFrequencies::count(
            names()
                .map(|name| name.given.as_str())
                .filter(|given| given.len() > 1),
        ),
        Comparison::FamilyName => TermFrequencies::count(
            names()
                .map(|name| name.family.as_str())
                .filter(|family| !family.is_empty()),
        ),
        Comparison::Custom(name) => {
            let customs = records.iter().flat_map(|record| &record.customs);
            TermFrequencies::count(
                customs
                    .filter(|custom| custom.name == *name)
                    .map(|custom| custom.value.as_str()),
            )
        }
        _ => None,
    }
}
