//! What blocking loses, estimated without labels by capture and recapture: each rule is a trap, each match is caught by some of
//! them, and how many were caught once and twice tells how many were never caught.

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::Candidates;

/// How many matches the rules bring, and how many none of them brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlockingRecall {
    /// Matches that some rule brings.
    pub matches: u64,
    /// Those that exactly one rule brings.
    pub by_one_rule: u64,
    /// Those that exactly two rules bring.
    pub by_two_rules: u64,
    /// Matches that no rule brings, estimated: a lower bound, above all where rules resemble each other.
    pub missed: f64,
    /// Share of all matches that blocking brings at most; `None` where there was no match.
    pub recall: Option<f64>,
}

impl BlockingRecall {
    /// From how many matches were brought by exactly each set of rules (a bit a rule).
    ///
    /// The estimate is the bias-corrected lower bound of Chao ("Estimating the population size for capture-recapture data with
    /// unequal catchability", Biometrics 1987): `(k - 1) / k * f1 (f1 - 1) / (2 (f2 + 1))` for `k` rules, `f1` matches brought by
    /// one rule and `f2` by two.
    ///
    /// ```
    /// use veridem_matchers::block::BlockingRecall;
    /// // Two rules: 40 matches by both, 10 by the first alone, 10 by the second alone.
    /// let recall = BlockingRecall::of_counts(2, [(0b11, 40), (0b01, 10), (0b10, 10)]);
    /// assert_eq!((recall.matches, recall.by_one_rule, recall.by_two_rules), (60, 20, 40));
    /// assert!((recall.missed - 0.5 * 20.0 * 19.0 / 82.0).abs() < 1e-12);
    /// ```
    pub fn of_counts(rules: usize, counts: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut found = Self::default();
        for (brought_by, count) in counts {
            let number = brought_by.count_ones();
            found.matches += count;
            found.by_one_rule += if number == 1 { count } else { 0 };
            found.by_two_rules += if number == 2 { count } else { 0 };
        }
        let (once, twice) = (found.by_one_rule as f64, found.by_two_rules as f64);
        let rules = rules.max(1) as f64;
        found.missed = (rules - 1.0) / rules * once * (once - 1.0).max(0.0) / (2.0 * (twice + 1.0));
        let matches = found.matches as f64;
        found.recall = (found.matches > 0).then(|| matches / (matches + found.missed));
        found
    }
}

impl Candidates {
    /// Notes which rules bring the matches among the candidate pairs, and estimates how many matches none of them brings.
    pub fn recall(&mut self, matches: &[(u32, u32)]) -> BlockingRecall {
        let count = |pairs: &[(u32, u32)]| {
            let mut counts = Counts::default();
            for (left, right) in pairs {
                *counts.entry(self.rules_of(*left, *right)).or_default() += 1;
            }
            counts
        };
        let union = |mut counts: Counts, others: Counts| {
            for (rules, count) in others {
                *counts.entry(rules).or_default() += count;
            }
            counts
        };
        let chunks = matches.par_chunks(16_384).map(count);
        let counts = chunks.reduce(Counts::default, union);
        let statistics = self.statistics_mut();
        for (index, rule) in statistics.iter_mut().enumerate() {
            for (brought_by, count) in counts.iter().filter(|(rules, _)| *rules >> index & 1 == 1) {
                rule.matches += count;
                rule.matches_alone += if brought_by.count_ones() == 1 {
                    *count
                } else {
                    0
                };
            }
        }
        BlockingRecall::of_counts(statistics.len(), counts)
    }
}

/// Matches by the set of rules that bring them, a bit a rule.
type Counts = FxHashMap<u64, u64>;
