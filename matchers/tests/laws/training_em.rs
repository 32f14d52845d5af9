//! Expectation maximisation on patterns drawn from known parameters.

use proptest::prelude::*;
use veridem_matchers::compare::Pattern;
use veridem_matchers::train::{
    EmParameters, EmResult, Learning, PatternCounts, maximise_expectation,
};

use crate::arbitrary::cases;
use crate::population::Chance;

fn truth() -> EmParameters {
    EmParameters {
        prior: 0.2,
        household_prior: 0.15,
        // Shared: the second and the fourth comparison.
        household: vec![
            vec![0.03, 0.08, 0.89],
            vec![0.95, 0.05],
            vec![0.02, 0.04, 0.15, 0.79],
            vec![0.7, 0.3],
        ],
        m: vec![
            vec![0.85, 0.1, 0.05],
            vec![0.9, 0.1],
            vec![0.7, 0.15, 0.1, 0.05],
            vec![0.8, 0.2],
        ],
        u: vec![
            vec![0.02, 0.08, 0.9],
            vec![0.1, 0.9],
            vec![0.01, 0.04, 0.15, 0.8],
            vec![0.05, 0.95],
        ],
    }
}

/// Patterns drawn from `parameters`, a level missing with probability `missing`.
fn draw(parameters: &EmParameters, count: usize, missing: f64, seed: u64) -> PatternCounts {
    let mut chance = Chance(seed);
    let patterns: Vec<Pattern> = (0..count)
        .map(|_| {
            let others = 1.0 - parameters.prior - parameters.household_prior;
            let of = [&parameters.m, &parameters.household, &parameters.u]
                [chance.by_weight(&[parameters.prior, parameters.household_prior, others])];
            Pattern::of_levels(
                of.iter()
                    .map(|levels| (!chance.happens(missing)).then(|| chance.by_weight(levels)))
                    .collect::<Vec<_>>()
                    .into_iter(),
            )
        })
        .collect();
    PatternCounts::of_patterns(patterns.into_iter())
}

fn even(levels: usize) -> Vec<f64> {
    let mut m = vec![0.3 / (levels - 1) as f64; levels];
    m[0] = 0.7;
    m
}

/// Learns m of the `free` comparisons and the household probabilities of the shared ones among them.
fn learn(counts: &PatternCounts, start: &EmParameters, free: [bool; 4]) -> EmResult {
    let learning = Learning {
        free: free.to_vec(),
        household: vec![false, true, false, true],
    };
    maximise_expectation(counts, start, &learning)
}

/// A start that knows u, and what households are strangers in, but nothing of what is to be learned.
fn blank(prior: f64, household_prior: f64) -> EmParameters {
    let truth = truth();
    let even_all = || truth.m.iter().map(|levels| even(levels.len())).collect();
    let mut household: Vec<Vec<f64>> = even_all();
    household[0] = truth.household[0].clone();
    household[2] = truth.household[2].clone();
    EmParameters {
        prior,
        household_prior,
        m: even_all(),
        household,
        u: truth.u,
    }
}

fn assert_near(found: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (level, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance,
                "comparison {index}, level {level}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn known_parameters_are_recovered() {
    for (missing, seed) in [(0.0, 1), (0.2, 2), (0.4, 3)] {
        let truth = truth();
        let counts = draw(&truth, 40_000, missing, seed);
        let result = learn(&counts, &blank(0.4, 0.1), [true; 4]);
        let found = &result.parameters;
        assert!(
            (found.prior - truth.prior).abs() < 0.02
                && (found.household_prior - truth.household_prior).abs() < 0.03,
            "priors {} and {} with {missing} missing",
            found.prior,
            found.household_prior
        );
        assert_near(&found.m, &truth.m, 0.04);
        assert_near(&found.household, &truth.household, 0.08);
    }
}

#[test]
fn without_households_it_is_a_mixture_of_two() {
    let mut truth = truth();
    truth.household_prior = 0.0;
    let counts = draw(&truth, 40_000, 0.1, 4);
    let found = learn(&counts, &blank(0.5, 0.0), [true; 4]).parameters;
    assert_eq!(
        found.household_prior, 0.0,
        "a class that is not used stays so"
    );
    assert!(
        (found.prior - truth.prior).abs() < 0.015,
        "prior {}",
        found.prior
    );
    assert_near(&found.m, &truth.m, 0.03);
}

#[test]
fn the_start_does_not_matter() {
    let counts = draw(&truth(), 30_000, 0.1, 11);
    let from = |prior, household| learn(&counts, &blank(prior, household), [true; 4]).parameters;
    let (low, high) = (from(0.05, 0.3), from(0.6, 0.05));
    assert!(
        (low.prior - high.prior).abs() < 0.01,
        "{} {}",
        low.prior,
        high.prior
    );
    assert_near(&low.m, &high.m, 0.02);
}

/// What a blocking rule fixes says nothing: it neither judges the pairs nor is it judged.
#[test]
fn fixed_comparisons_stay_as_they_were_and_say_nothing() {
    let truth = truth();
    let mut blocked = truth.clone();
    blocked.m[1] = vec![1.0, 0.0];
    blocked.u[1] = vec![1.0, 0.0];
    blocked.household[1] = vec![1.0, 0.0];
    let counts = draw(&blocked, 40_000, 0.1, 5);
    let mut start = blank(0.4, 0.1);
    start.m[1] = vec![0.6, 0.4];
    let result = learn(&counts, &start, [true, false, true, true]).parameters;
    assert_eq!(result.m[1], start.m[1]);
    assert_eq!(result.household[1], start.household[1]);
    assert!(
        (result.prior - truth.prior).abs() < 0.03,
        "prior {}",
        result.prior
    );
    let without_fixed = |m: &[Vec<f64>]| vec![m[0].clone(), m[2].clone(), m[3].clone()];
    assert_near(&without_fixed(&result.m), &without_fixed(&truth.m), 0.04);
}

#[test]
fn expected_levels_are_the_matches_found() {
    let truth = truth();
    let counts = draw(&truth, 20_000, 0.0, 9);
    let result = learn(&counts, &truth, [true; 4]);
    let of_share = |expected: &[Vec<f64>], share: f64| {
        for levels in expected {
            let found: f64 = levels.iter().sum();
            assert!(
                (found / 20_000.0 - share).abs() < 1e-3,
                "{found} of 20000, share {share}"
            );
        }
    };
    of_share(&result.expected_matches, result.parameters.prior);
    of_share(
        &result.expected_households,
        result.parameters.household_prior,
    );
}

#[test]
fn nothing_to_learn_from_changes_nothing_much() {
    let start = truth();
    let result = learn(&PatternCounts::default(), &start, [true; 4]).parameters;
    assert_eq!(result.m, start.m);
    let missing =
        PatternCounts::of_patterns((0..50).map(|_| Pattern::of_levels([None; 4].into_iter())));
    let result = learn(&missing, &start, [true; 4]).parameters;
    assert_eq!(result.m, start.m);
    assert!(
        (result.prior - start.prior).abs() < 1e-4,
        "missing is not different"
    );
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_pattern_reads_back(
        levels in prop::collection::vec(prop::option::of(0..15_usize), 0..=32),
    ) {
        let pattern = Pattern::of_levels(levels.iter().copied());
        for (index, level) in levels.iter().enumerate() {
            prop_assert_eq!(pattern.level(index), *level);
        }
    }

    #[test]
    fn counts_count(
        levels in prop::collection::vec((0..3_usize, prop::option::of(0..2_usize)), 0..60),
    ) {
        let pattern = |(one, other): &(usize, Option<usize>)| {
            Pattern::of_levels([Some(*one), *other].into_iter())
        };
        let counts = PatternCounts::of_patterns(levels.iter().map(pattern));
        prop_assert!(
            counts
                .iter()
                .collect::<Vec<_>>()
                .is_sorted_by(|left, right| left.0 < right.0)
        );
        for (counted, count) in counts.iter() {
            prop_assert_eq!(
                levels
                    .iter()
                    .filter(|levels| pattern(levels) == counted)
                    .count() as f64,
                count
            );
        }
        prop_assert_eq!(
            counts.iter().map(|(_, count)| count).sum::<f64>(),
            levels.len() as f64
        );
    }

    #[test]
    fn bayes_by_hand(levels in (0..3_usize, 0..2_usize, prop::option::of(0..4_usize))) {
        let parameters = truth();
        let (first, second, third) = levels;
        let pattern = Pattern::of_levels([Some(first), Some(second), third, None].into_iter());
        let likelihood = |of: &[Vec<f64>]| {
            of[0][first] * of[1][second] * third.map_or(1.0, |level| of[2][level])
        };
        let weighed = [
            (parameters.prior, &parameters.m),
            (parameters.household_prior, &parameters.household),
            (
                1.0 - parameters.prior - parameters.household_prior,
                &parameters.u,
            ),
        ]
        .map(|(share, of)| (share * likelihood(of), share * of[0][first]));
        let total: f64 = weighed.iter().map(|(all, _)| all).sum();
        let posterior = parameters.posterior(pattern, None);
        prop_assert!((posterior.matching - weighed[0].0 / total).abs() < 1e-9);
        prop_assert!((posterior.household - weighed[1].0 / total).abs() < 1e-9);
        let by_the_first = parameters.posterior(pattern, Some(&[true, false, false, false]));
        let total: f64 = weighed.iter().map(|(_, one)| one).sum();
        prop_assert!((by_the_first.matching - weighed[0].1 / total).abs() < 1e-9);
    }
}
