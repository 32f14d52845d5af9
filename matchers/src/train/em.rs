//! Expectation maximisation over three kinds of pairs, u held fixed (Dempster, Laird and Rubin 1977; for record linkage
//! Winkler 1988; a third class for relatives after Larsen and Rubin 2001): matches, two persons of one household, strangers.

use super::patterns::PatternCounts;
use crate::compare::Pattern;

const MAX_ITERATIONS: usize = 100;
const CONVERGED: f64 = 1e-4;

/// Parameters of the mixture: m, household and u probabilities by comparison and level.
#[derive(Clone, Debug, PartialEq)]
pub struct EmParameters {
    /// Share of matches.
    pub prior: f64,
    /// Share of pairs of two persons of one household; 0 where the class is not used.
    pub household_prior: f64,
    /// P(level given match).
    pub m: Vec<Vec<f64>>,
    /// P(level given two persons of one household).
    pub household: Vec<Vec<f64>>,
    /// P(level given strangers).
    pub u: Vec<Vec<f64>>,
}

/// How probable each kind of pair is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Posterior {
    /// A match.
    pub matching: f64,
    /// Two persons of one household.
    pub household: f64,
}

impl EmParameters {
    /// What a pair with this pattern is; with `free`, judged by those comparisons alone.
    pub fn posterior(&self, pattern: Pattern, free: Option<&[bool]>) -> Posterior {
        let (mut matching, mut household) = (self.prior, self.household_prior);
        let mut stranger = 1.0 - self.prior - self.household_prior;
        for index in 0..self.m.len() {
            if free.is_none_or(|free| free[index])
                && let Some(level) = pattern.level(index)
            {
                matching *= self.m[index][level];
                household *= self.household[index][level];
                stranger *= self.u[index][level];
            }
        }
        let total = matching + household + stranger;
        if total > 0.0 {
            Posterior {
                matching: matching / total,
                household: household / total,
            }
        } else {
            Posterior::default()
        }
    }
}

/// Which comparisons a session may learn of.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    /// Comparisons that the session's blocking rule does not fix: their m is learned, and they tell the classes apart.
    pub free: Vec<bool>,
    /// Comparisons whose household probabilities are learned where they are free; those of the others stay.
    pub household: Vec<bool>,
}

/// What a session found.
#[derive(Clone, Debug, PartialEq)]
pub struct EmResult {
    /// The parameters, those of the session's own shares of classes among them.
    pub parameters: EmParameters,
    /// Expected matches by comparison and level.
    pub expected_matches: Vec<Vec<f64>>,
    /// Expected pairs of one household by comparison and level.
    pub expected_households: Vec<Vec<f64>>,
}

/// Maximises the likelihood of `counts` over the shares of the classes and the m and household probabilities that `learning`
/// frees.
pub fn maximise_expectation(
    counts: &PatternCounts,
    start: &EmParameters,
    learning: &Learning,
) -> EmResult {
    let mut current = start.clone();
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    let zeros = || -> Vec<Vec<f64>> {
        let levels = start.m.iter().map(Vec::len);
        levels.map(|levels| vec![0.0; levels]).collect()
    };
    let (mut expected_matches, mut expected_households) = (zeros(), zeros());
    for _ in 0..MAX_ITERATIONS {
        let (mut matches, mut households) = (0.0, 0.0);
        (expected_matches, expected_households) = (zeros(), zeros());
        for (pattern, count) in counts.iter() {
            let posterior = current.posterior(pattern, Some(&learning.free));
            let (matching, household) = (posterior.matching * count, posterior.household * count);
            matches += matching;
            households += household;
            for index in 0..start.m.len() {
                if let Some(level) = pattern.level(index) {
                    expected_matches[index][level] += matching;
                    expected_households[index][level] += household;
                }
            }
        }
        let share = |expected: f64| (expected / total.max(1.0)).clamp(1e-9, 0.999);
        let before = (current.prior, current.household_prior);
        current.prior = share(matches);
        if current.household_prior > 0.0 {
            current.household_prior = share(households).min(1.0 - 1e-9 - current.prior);
        }
        let mut change = (current.prior - before.0)
            .abs()
            .max((current.household_prior - before.1).abs());
        for index in (0..start.m.len()).filter(|index| learning.free[*index]) {
            change = change.max(renew(&mut current.m[index], &expected_matches[index]));
            if learning.household[index] {
                renew(&mut current.household[index], &expected_households[index]);
            }
        }
        if change < CONVERGED {
            break;
        }
    }
    EmResult {
        parameters: current,
        expected_matches,
        expected_households,
    }
}

/// Puts relative frequencies in the place of probabilities; returns the largest change.
fn renew(probabilities: &mut [f64], expected: &[f64]) -> f64 {
    let sum: f64 = expected.iter().sum();
    if sum < 1e-9 {
        return 0.0;
    }
    let mut change = 0.0_f64;
    for (probability, expected) in probabilities.iter_mut().zip(expected) {
        let renewed = (expected / sum).clamp(1e-9, 1.0 - 1e-9);
        change = change.max((renewed - *probability).abs());
        *probability = renewed;
    }
    change
}
