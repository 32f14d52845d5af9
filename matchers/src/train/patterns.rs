//! Pairs counted by the levels in which they fall: training walks patterns, not pairs.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::compare::Pattern;
use crate::table::{Plan, Table};

/// Pairs that one thread counts at once.
const PAIRS_AT_ONCE: usize = 16_384;

/// How many pairs have each pattern, sorted by pattern.
#[derive(Clone, Debug, Default)]
pub struct PatternCounts(Vec<(Pattern, f64)>);

impl PatternCounts {
    /// Counts given patterns.
    pub fn of_patterns(patterns: impl Iterator<Item = Pattern>) -> Self {
        let mut counts: FxHashMap<Pattern, u64> = FxHashMap::default();
        for pattern in patterns {
            *counts.entry(pattern).or_default() += 1;
        }
        Self::sorted(counts)
    }

    pub(super) fn of_pairs(table: &Table, plans: &[Plan], pairs: &[(u32, u32)]) -> Self {
        let counts = pairs
            .par_chunks(PAIRS_AT_ONCE)
            .map(|pairs| {
                let mut counts: FxHashMap<Pattern, u64> = FxHashMap::default();
                table.for_each_pair(pairs, |left, right| {
                    let pattern = of_pair(table, plans, left, right);
                    *counts.entry(pattern).or_default() += 1;
                });
                counts
            })
            .reduce(FxHashMap::default, |counts, others| {
                let (mut counts, others) = if counts.len() >= others.len() {
                    (counts, others)
                } else {
                    (others, counts)
                };
                for (pattern, count) in others {
                    *counts.entry(pattern).or_default() += count;
                }
                counts
            });
        Self::sorted(counts)
    }

    /// The counts as if there were so many times as many pairs.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        for (_, count) in &mut self.0 {
            *count *= factor;
        }
        self
    }

    fn sorted(counts: FxHashMap<Pattern, u64>) -> Self {
        let mut counts: Vec<(Pattern, f64)> = counts
            .into_iter()
            .map(|(pattern, count)| (pattern, count as f64))
            .collect();
        counts.sort_unstable_by_key(|(pattern, _)| *pattern);
        Self(counts)
    }

    /// Patterns with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Pattern, f64)> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn level_counts(&self, comparison: usize, levels: usize) -> Vec<f64> {
        let mut counts = vec![0.0; levels];
        for (pattern, count) in self.iter() {
            if let Some(level) = pattern.level(comparison) {
                counts[level] += count;
            }
        }
        counts
    }
}

fn of_pair(table: &Table, plans: &[Plan], left: usize, right: usize) -> Pattern {
    Pattern::of_levels(plans.iter().map(|plan| {
        let found = table.compare(*plan, left, right);
        found.map(|found| usize::from(found.level))
    }))
}
