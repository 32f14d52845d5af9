//! Training without labels: u from random pairs, m by expectation maximisation over the pairs of several blocking rules,
//! the prior from all candidate pairs (Winkler 1988; Linacre et al. 2022, "Splink", section 3).

mod em;
mod labels;
mod patterns;

pub use em::{EmParameters, EmResult, Learning, Posterior, maximise_expectation};
pub use labels::{LabelledPair, learn_m, weigh};
pub use patterns::PatternCounts;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::block::{BlockingRules, Candidates};
use crate::compare::Comparison;
use crate::model::{
    ComparisonModel, LevelParameters, MAX_COMPARISONS, MODEL_FORMAT_VERSION, Model, TermFrequencies,
};
use crate::table::{Plan, Table};

/// How much is sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingOptions {
    /// Seed of the random pairs.
    pub seed: u64,
    /// Random pairs for u.
    pub random_pairs: usize,
    /// Pairs of one blocking rule for m.
    pub pairs_per_rule: usize,
    /// Candidate pairs for the priors.
    pub candidate_pairs: usize,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            random_pairs: 2_000_000,
            pairs_per_rule: 100_000,
            candidate_pairs: 1_000_000,
        }
    }
}

/// A comparison is worth a place in the model when at least this many records have its attribute.
const MIN_PRESENT_RECORDS: usize = 10;
/// A rule with fewer sampled pairs says too little of m.
const MIN_SESSION_PAIRS: usize = 20;
/// How strongly the default m holds against what is observed, in matches.
const M_PRIOR_STRENGTH: f64 = 5.0;
/// Random pairs from which on a level's term frequency is known.
const MIN_TERM_PAIRS: f64 = 30.0;
const ROUNDS: usize = 3;

/// Trains a model on a table of records. `may_match` tells which pairs count (false for two records of one source when
/// linking only).
pub fn train(
    table: &Table,
    candidates: &Candidates,
    rules: &BlockingRules,
    options: &TrainingOptions,
    may_match: impl Fn(usize, usize) -> bool + Sync,
) -> Model {
    let comparisons = present_comparisons(table);
    let plans: Vec<Plan> = comparisons
        .iter()
        .map(|comparison| table.plan(comparison))
        .collect();
    let allowed = |pair: &(u32, u32)| may_match(pair.0 as usize, pair.1 as usize);
    let mut random = random_pairs(table.len(), options);
    random.retain(allowed);
    let random_counts = PatternCounts::of_pairs(table, &plans, &random);
    let u_random = u_of(&comparisons, &random_counts);
    let sessions: Vec<(usize, PatternCounts)> = (0..rules.0.len())
        .filter_map(|rule| {
            let mut pairs = candidates.sample_of_rule(rule, options.pairs_per_rule);
            pairs.retain(allowed);
            (pairs.len() >= MIN_SESSION_PAIRS)
                .then(|| (rule, PatternCounts::of_pairs(table, &plans, &pairs)))
        })
        .collect();
    let (mut all, share) = candidates.sample(options.candidate_pairs);
    all.retain(allowed);
    let all_counts = PatternCounts::of_pairs(table, &plans, &all).scaled(1.0 / share);
    drop(all);
    let possible_pairs = possible_pairs(table.len(), &random, &may_match);

    let household = household_of(&comparisons, &u_random);
    let tells_persons_apart = comparisons
        .iter()
        .any(|comparison| !comparison.is_shared_in_household());
    let mut parameters = EmParameters {
        prior: 1e-4,
        household_prior: if tells_persons_apart { 1e-5 } else { 0.0 },
        m: default_m(&comparisons),
        household,
        u: u_random.clone(),
    };
    // Where most random pairs agree in everything, they are the matches: chance tells nothing, so start from a guess of it.
    if !comparisons.is_empty() && u_random.iter().all(|levels| levels[0] > 0.5) {
        parameters.prior = 0.3;
        for levels in &mut parameters.u {
            let rest = levels.len() - 1;
            *levels = vec![0.1 / rest as f64; rest + 1];
            levels[rest] = 0.9;
        }
        parameters.household = household_of(&comparisons, &parameters.u);
    }
    let mut shares = vec![None; sessions.len()];
    for _ in 0..ROUNDS {
        learn_from_sessions(&comparisons, rules, &sessions, &mut shares, &mut parameters);
        learn_priors(&all_counts, possible_pairs, &mut parameters);
        // Random pairs hold matches too; where records have many duplicates they would pass for chance agreement.
        parameters.u = of_strangers(&u_random, &parameters, &random_counts);
    }
    let models = comparisons.iter().enumerate().map(|(index, comparison)| {
        let levels = comparison.levels().iter().enumerate();
        ComparisonModel {
            comparison: comparison.clone(),
            levels: levels
                .map(|(level, name)| LevelParameters {
                    level: (*name).to_owned(),
                    m: parameters.m[index][level],
                    household: parameters.household[index][level],
                    u: parameters.u[index][level],
                    term_frequency: None,
                })
                .collect(),
            term_frequencies: None,
        }
    });
    let mut model = Model {
        format_version: MODEL_FORMAT_VERSION,
        trained_on_records: table.len() as u64,
        prior: parameters.prior,
        household_prior: parameters.household_prior,
        comparisons: models.collect(),
    };
    put_term_frequencies(model.comparisons.iter_mut().collect(), table, &random);
    model
}

/// Counts on a table how frequent the values of these comparisons are, for a model that was trained elsewhere.
pub fn count_term_frequencies(
    model: &mut Model,
    comparisons: &[Comparison],
    table: &Table,
    options: &TrainingOptions,
) {
    let random = random_pairs(table.len(), options);
    let counted = model.comparisons.iter_mut();
    let counted = counted.filter(|model| comparisons.contains(&model.comparison));
    put_term_frequencies(counted.collect(), table, &random);
}

fn put_term_frequencies(models: Vec<&mut ComparisonModel>, table: &Table, random: &[(u32, u32)]) {
    let comparisons: Vec<&Comparison> = models.iter().map(|model| &model.comparison).collect();
    let rarities = rarities(table, &comparisons, random);
    for (model, rarity) in models.into_iter().zip(rarities) {
        let Some((frequencies, means)) = rarity else {
            continue;
        };
        for (level, mean) in model.levels.iter_mut().zip(means) {
            level.term_frequency = mean;
        }
        model.term_frequencies = Some(frequencies);
    }
}

/// The term frequencies of each comparison in which rarity matters, with the harmonic mean, by level, of the frequency of the rarer
/// of two values over random pairs; `None` for a level that too few of them fall in.
fn rarities(
    table: &Table,
    comparisons: &[&Comparison],
    random: &[(u32, u32)],
) -> Vec<Option<(TermFrequencies, Vec<Option<f64>>)>> {
    struct Terms {
        plan: Plan,
        frequencies: Vec<f64>,
        levels: usize,
    }
    let frequencies: Vec<Option<TermFrequencies>> = comparisons
        .iter()
        .map(|comparison| term_frequencies(table, comparison))
        .collect();
    let compared: Vec<Terms> = comparisons
        .iter()
        .zip(&frequencies)
        .filter_map(|(comparison, frequencies)| {
            let (plan, frequencies) = (table.plan(comparison), frequencies.as_ref()?);
            let terms = 0..table.term_count(plan) as u32;
            Some(Terms {
                plan,
                frequencies: terms
                    .map(|id| frequencies.of(table.term(plan, id)))
                    .collect(),
                levels: comparison.levels().len(),
            })
        })
        .collect();
    let sums_of = |pairs: &[(u32, u32)]| {
        // Pairs and the sum of their inverse frequencies, by level.
        let mut sums: Vec<Vec<(f64, f64)>> = compared
            .iter()
            .map(|terms| vec![(0.0, 0.0); terms.levels])
            .collect();
        table.for_each_pair(pairs, |left, right| {
            for (terms, sums) in compared.iter().zip(&mut sums) {
                let Some(found) = table.compare(terms.plan, left, right) else {
                    continue;
                };
                let (one, other) = found.terms;
                if one != 0 {
                    let frequency = |id: u32| terms.frequencies[id as usize];
                    let sum = &mut sums[usize::from(found.level)];
                    sum.0 += 1.0;
                    sum.1 += 1.0 / frequency(one).min(frequency(other));
                }
            }
        });
        sums
    };
    let chunks: Vec<_> = random.par_chunks(8192).map(sums_of).collect();
    let mut means = (0..compared.len()).map(|index| {
        let levels = 0..compared[index].levels;
        let mean = |level: usize| {
            let (count, inverse) = chunks.iter().fold((0.0, 0.0), |total, sums| {
                let sum = sums[index][level];
                (total.0 + sum.0, total.1 + sum.1)
            });
            (count >= MIN_TERM_PAIRS).then(|| count / inverse)
        };
        levels.map(mean).collect()
    });
    frequencies
        .into_iter()
        .map(|frequencies| Some((frequencies?, means.next()?)))
        .collect()
}

fn present_comparisons(table: &Table) -> Vec<Comparison> {
    let mut comparisons = Comparison::UNNAMED.to_vec();
    let mut others: Vec<Comparison> = table.named_comparisons().collect();
    others.sort();
    comparisons.extend(others);
    let min_present = MIN_PRESENT_RECORDS.min(table.len().div_ceil(4)).max(1);
    comparisons.retain(|comparison| {
        let plan = table.plan(comparison);
        let present = (0..table.len()).filter(|row| table.is_present(plan, *row));
        present.take(min_present).count() == min_present
    });
    comparisons.truncate(MAX_COMPARISONS);
    comparisons
}

/// Pairs drawn from a seeded sequence (splitmix64); every pair where there are few records.
fn random_pairs(count: usize, options: &TrainingOptions) -> Vec<(u32, u32)> {
    if count < 2 {
        return Vec::new();
    }
    if count * (count - 1) / 2 <= options.random_pairs {
        let count = count as u32;
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
        ((mixed ^ (mixed >> 31)) % count as u64) as u32
    };
    let mut pairs: Vec<(u32, u32)> = (0..options.random_pairs)
        .map(|_| (draw(), draw()))
        .filter(|(left, right)| left != right)
        .map(|(left, right)| (left.min(right), left.max(right)))
        .collect();
    // One row of each pair then comes in the order of memory.
    pairs.par_sort_unstable();
    pairs
}

fn possible_pairs(
    count: usize,
    random: &[(u32, u32)],
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
            ..TrainingOptions::default()
        },
    );
    let allowed = sample
        .iter()
        .filter(|(left, right)| may_match(*left as usize, *right as usize))
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

/// How two persons of one household compare before anything is seen: they share what a household shares; in what is a person's
/// own they are strangers, but for namesakes (father and son) and twins.
fn household_of(comparisons: &[Comparison], u: &[Vec<f64>]) -> Vec<Vec<f64>> {
    comparisons
        .iter()
        .zip(u)
        .map(|(comparison, u)| {
            if comparison.is_shared_in_household() {
                return default_m_of(u.len());
            }
            let alike = comparison.alike_in_household();
            let mut household: Vec<f64> = u.iter().map(|u| u * (1.0 - alike)).collect();
            household[0] += alike;
            household
        })
        .collect()
}

/// m and household probabilities of each comparison from the sessions whose rule does not fix it, weighed by the pairs that each
/// found.
fn learn_from_sessions(
    comparisons: &[Comparison],
    rules: &BlockingRules,
    sessions: &[(usize, PatternCounts)],
    shares: &mut [Option<(f64, f64)>],
    parameters: &mut EmParameters,
) {
    let is_free = |rule: usize, comparison: &Comparison| !rules.0[rule].fixes(comparison);
    let knows_households = parameters.household_prior > 0.0;
    let results: Vec<(usize, EmResult)> = sessions
        .par_iter()
        .zip(&*shares)
        .map(|((rule, counts), share)| {
            // A later round goes on from where the session was.
            let (prior, household) = share.unwrap_or((0.3, 0.1));
            let start = EmParameters {
                prior,
                household_prior: if knows_households { household } else { 0.0 },
                ..parameters.clone()
            };
            let learning = Learning {
                free: comparisons
                    .iter()
                    .map(|comparison| is_free(*rule, comparison))
                    .collect(),
                household: comparisons
                    .iter()
                    .map(Comparison::is_shared_in_household)
                    .collect(),
            };
            (*rule, maximise_expectation(counts, &start, &learning))
        })
        .collect();
    for (share, (_, result)) in shares.iter_mut().zip(&results) {
        *share = Some((result.parameters.prior, result.parameters.household_prior));
    }
    for (index, comparison) in comparisons.iter().enumerate() {
        let sum_of = |expected: &dyn Fn(&EmResult) -> Vec<f64>| {
            let mut sums = vec![0.0; comparison.levels().len()];
            for (_, result) in results
                .iter()
                .filter(|(rule, _)| is_free(*rule, comparison))
            {
                for (sum, expected) in sums.iter_mut().zip(expected(result)) {
                    *sum += expected;
                }
            }
            let pseudo: Vec<f64> = default_m_of(sums.len())
                .iter()
                .map(|value| value * M_PRIOR_STRENGTH)
                .collect();
            smoothed(&sums, &pseudo)
        };
        parameters.m[index] = sum_of(&|result| result.expected_matches[index].clone());
        if comparison.is_shared_in_household() {
            parameters.household[index] =
                sum_of(&|result| result.expected_households[index].clone());
        }
    }
}

/// The priors that explain the candidate pairs: every other pair is taken for two strangers.
fn learn_priors(counts: &PatternCounts, possible_pairs: f64, parameters: &mut EmParameters) {
    for _ in 0..30 {
        let (mut matches, mut households) = (0.0, 0.0);
        for (pattern, count) in counts.iter() {
            let posterior = parameters.posterior(pattern, None);
            matches += posterior.matching * count;
            households += posterior.household * count;
        }
        parameters.prior = (matches / possible_pairs).clamp(1e-9, 0.5);
        if parameters.household_prior > 0.0 {
            parameters.household_prior = (households / possible_pairs).clamp(1e-9, 0.4);
        }
    }
}

/// u of random pairs less the part that matches and households among them have in it. These are found by the model itself, so
/// that what a block's matches have in common does not leak in.
fn of_strangers(
    u_random: &[Vec<f64>],
    parameters: &EmParameters,
    random: &PatternCounts,
) -> Vec<Vec<f64>> {
    let mut kept: Vec<Vec<f64>> = u_random
        .iter()
        .map(|levels| vec![0.5; levels.len()])
        .collect();
    for (pattern, count) in random.iter() {
        let posterior = parameters.posterior(pattern, None);
        let rest = count * (1.0 - posterior.matching - posterior.household);
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

fn term_frequencies(table: &Table, comparison: &Comparison) -> Option<TermFrequencies> {
    let plan = table.plan(comparison);
    let counts = table.term_counts(plan)?;
    let counted = counts.iter().enumerate();
    TermFrequencies::of_counts(
        counted
            .filter(|(_, count)| **count > 0)
            .map(|(id, count)| (table.term(plan, id as u32), *count))
            // An initial is no value that two could agree on.
            .filter(|(term, _)| *comparison != Comparison::GivenName || term.len() > 1),
    )
}
