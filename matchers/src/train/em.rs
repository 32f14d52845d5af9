//! Expectation maximisation for m and the share of matches, u held fixed (Dempster, Laird and Rubin 1977; for record
//! linkage Winkler 1988).

use super::patterns::{Pattern, PatternCounts};

const MAX_ITERATIONS: usize = 200;
const CONVERGED: f64 = 1e-5;

/// Parameters of the mixture of matches and non-matches: m and u by comparison and level.
#[derive(Clone, Debug, PartialEq)]
pub struct EmParameters {
    /// Share of matches.
    pub prior: f64,
    /// P(level given match).
    pub m: Vec<Vec<f64>>,
    /// P(level given non-match).
    pub u: Vec<Vec<f64>>,
}

impl EmParameters {
    /// Probability that a pair with this pattern matches; with `free`, judged by those comparisons alone.
    pub fn match_probability(&self, pattern: Pattern, free: Option<&[bool]>) -> f64 {
        let mut log_odds = (self.prior / (1.0 - self.prior)).ln();
        for (index, (m, u)) in self.m.iter().zip(&self.u).enumerate() {
            if free.is_none_or(|free| free[index])
                && let Some(level) = pattern.level(index)
            {
                log_odds += (m[level] / u[level]).ln();
            }
        }
        1.0 / (1.0 + (-log_odds).exp())
    }
}

/// What a session found.
#[derive(Clone, Debug, PartialEq)]
pub struct EmResult {
    /// Share of matches among the session's pairs.
    pub prior: f64,
    /// m of the free comparisons; the others as they were.
    pub m: Vec<Vec<f64>>,
    /// Expected matches by comparison and level.
    pub expected_levels: Vec<Vec<f64>>,
}

/// Maximises the likelihood of `counts` over the prior and the m of the `free` comparisons.
pub fn maximise_expectation(
    counts: &PatternCounts,
    start: &EmParameters,
    free: &[bool],
) -> EmResult {
    let mut current = start.clone();
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    let mut expected_levels = Vec::new();
    for _ in 0..MAX_ITERATIONS {
        let mut expected_matches = 0.0;
        expected_levels = current
            .m
            .iter()
            .map(|levels| vec![0.0; levels.len()])
            .collect::<Vec<_>>();
        for (pattern, count) in counts.iter() {
            let expected = current.match_probability(pattern, Some(free)) * count;
            expected_matches += expected;
            for (index, levels) in expected_levels.iter_mut().enumerate() {
                if let Some(level) = pattern.level(index) {
                    levels[level] += expected;
                }
            }
        }
        let prior = (expected_matches / total.max(1.0)).clamp(1e-9, 1.0 - 1e-9);
        let mut change = (prior - current.prior).abs();
        for (index, levels) in expected_levels
            .iter()
            .enumerate()
            .filter(|(index, _)| free[*index])
        {
            let sum: f64 = levels.iter().sum();
            if sum < 1e-9 {
                continue;
            }
            for (level, value) in levels.iter().enumerate() {
                let m = (value / sum).clamp(1e-9, 1.0 - 1e-9);
                change = change.max((m - current.m[index][level]).abs());
                current.m[index][level] = m;
            }
        }
        current.prior = prior;
        if change < CONVERGED {
            break;
        }
    }
    EmResult {
        prior: current.prior,
        m: current.m,
        expected_levels,
    }
}
