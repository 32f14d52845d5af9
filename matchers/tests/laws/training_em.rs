//! Expectation maximisation on patterns drawn from known parameters.

use proptest::prelude::*;
use veridem_matchers::train::{EmParameters, Pattern, PatternCounts, maximise_expectation};

use crate::arbitrary::cases;
use crate::population::Chance;

fn truth() -> EmParameters {
    EmParameters {
        prior: 0.2,
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
            let of = if chance.happens(parameters.prior) {
                &parameters.m
            } else {
                &parameters.u
            };
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
        let start = EmParameters {
            prior: 0.5,
            m: truth.m.iter().map(|levels| even(levels.len())).collect(),
            u: truth.u.clone(),
        };
        let result = maximise_expectation(&counts, &start, &[true; 4]);
        assert!(
            (result.prior - truth.prior).abs() < 0.015,
            "prior {} with {missing} missing",
            result.prior
        );
        assert_near(&result.m, &truth.m, 0.03);
    }
}

#[test]
fn the_start_does_not_matter() {
    let truth = truth();
    let counts = draw(&truth, 30_000, 0.1, 11);
    let from = |prior: f64| {
        let start = EmParameters {
            prior,
            m: truth.m.iter().map(|levels| even(levels.len())).collect(),
            u: truth.u.clone(),
        };
        maximise_expectation(&counts, &start, &[true; 4])
    };
    let (low, high) = (from(0.01), from(0.9));
    assert!(
        (low.prior - high.prior).abs() < 0.005,
        "{} {}",
        low.prior,
        high.prior
    );
    assert_near(&low.m, &high.m, 0.01);
}

/// What a blocking rule fixes says nothing: it neither judges the pairs nor is it judged.
#[test]
fn fixed_comparisons_stay_as_they_were_and_say_nothing() {
    let truth = truth();
    let mut blocked = truth.clone();
    blocked.m[1] = vec![1.0, 0.0];
    blocked.u[1] = vec![1.0, 0.0];
    let counts = draw(&blocked, 40_000, 0.1, 5);
    let mut start = EmParameters {
        prior: 0.5,
        m: truth.m.iter().map(|levels| even(levels.len())).collect(),
        u: truth.u.clone(),
    };
    start.m[1] = vec![0.6, 0.4];
    let result = maximise_expectation(&counts, &start, &[true, false, true, true]);
    assert_eq!(result.m[1], start.m[1]);
    assert!(
        (result.prior - truth.prior).abs() < 0.02,
        "prior {}",
        result.prior
    );
    let without_fixed = |m: &[Vec<f64>]| vec![m[0].clone(), m[2].clone(), m[3].clone()];
    assert_near(&without_fixed(&result.m), &without_fixed(&truth.m), 0.03);
}

#[test]
fn expected_levels_are_the_matches_found() {
    let truth = truth();
    let counts = draw(&truth, 20_000, 0.0, 9);
    let result = maximise_expectation(&counts, &truth, &[true; 4]);
    for levels in &result.expected_levels {
        let matches: f64 = levels.iter().sum();
        assert!(
            (matches / 20_000.0 - result.prior).abs() < 1e-3,
            "{matches} matches of 20000, prior {}",
            result.prior
        );
    }
}

#[test]
fn nothing_to_learn_from_changes_nothing_much() {
    let start = truth();
    let result = maximise_expectation(&PatternCounts::default(), &start, &[true; 4]);
    assert_eq!(result.m, start.m);
    let missing =
        PatternCounts::of_patterns((0..50).map(|_| Pattern::of_levels([None; 4].into_iter())));
    let result = maximise_expectation(&missing, &start, &[true; 4]);
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
        let (matching, different) = (
            parameters.prior * likelihood(&parameters.m),
            (1.0 - parameters.prior) * likelihood(&parameters.u),
        );
        let expected = matching / (matching + different);
        prop_assert!((parameters.match_probability(pattern, None) - expected).abs() < 1e-9);
        let by_the_first =
            parameters.match_probability(pattern, Some(&[true, false, false, false]));
        let alone = parameters.prior * parameters.m[0][first]
            / (parameters.prior * parameters.m[0][first]
                + (1.0 - parameters.prior) * parameters.u[0][first]);
        prop_assert!((by_the_first - alone).abs() < 1e-9);
    }
}
