//! Pairs counted by the levels in which they fall: training walks patterns, not pairs.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::block::Candidates;
use crate::compare::Comparison;
use crate::normalise::NormalisedRecord;

const BITS: usize = 4;
const MISSING: u128 = 0xf;

/// The levels of one pair, four bits a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(u128);

impl Pattern {
    /// The pattern of given levels, `None` for missing; at most 32.
    pub fn of_levels(levels: impl Iterator<Item = Option<usize>>) -> Self {
        Self(levels.enumerate().fold(0, |pattern, (index, level)| {
            pattern | level.map_or(MISSING, |level| level as u128) << (index * BITS)
        }))
    }

    fn of_pair(
        comparisons: &[Comparison],
        left: &NormalisedRecord,
        right: &NormalisedRecord,
    ) -> Self {
        Self::of_levels(comparisons.iter().map(|comparison| {
            comparison
                .compare(left, right)
                .map(|agreement| usize::from(agreement.level))
        }))
    }

    /// The level of a comparison, `None` for missing.
    pub fn level(self, comparison: usize) -> Option<usize> {
        let level = self.0 >> (comparison * BITS) & MISSING;
        (level != MISSING).then_some(level as usize)
    }
}

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

    pub(super) fn of_pairs(
        records: &[NormalisedRecord],
        comparisons: &[Comparison],
        pairs: impl ParallelIterator<Item = (usize, usize)>,
    ) -> Self {
        let counts = pairs
            .fold(
                FxHashMap::default,
                |mut counts: FxHashMap<Pattern, u64>, (left, right)| {
                    *counts
                        .entry(Pattern::of_pair(
                            comparisons,
                            &records[left],
                            &records[right],
                        ))
                        .or_default() += 1;
                    counts
                },
            )
            .reduce(FxHashMap::default, |mut counts, others| {
                for (pattern, count) in others {
                    *counts.entry(pattern).or_default() += count;
                }
                counts
            });
        Self::sorted(counts)
    }

    pub(super) fn of_candidates(
        records: &[NormalisedRecord],
        comparisons: &[Comparison],
        candidates: &Candidates,
        may_match: &(impl Fn(usize, usize) -> bool + Sync),
    ) -> Self {
        let patterns = candidates.map_pairs(|left, right| {
            may_match(left, right)
                .then(|| Pattern::of_pair(comparisons, &records[left], &records[right]))
        });
        Self::of_patterns(patterns.into_iter())
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
