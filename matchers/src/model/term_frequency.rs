//! How frequent values are: two Smiths agree on less than two Zylberbergs.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Values held by fewer records than this are not listed: a model file names no single customer.
const MIN_LISTED_COUNT: u32 = 5;
const MAX_LISTED: usize = 20_000;

/// Relative frequencies of the frequent values; the others share one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermFrequencies {
    /// Mean relative frequency of a value that is not listed.
    pub unlisted: f64,
    /// Relative frequency by value.
    pub listed: BTreeMap<String, f64>,
}

impl TermFrequencies {
    /// Counts values; `None` where there is nothing to count.
    pub fn count<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut counts: FxHashMap<&str, u32> = FxHashMap::default();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        Self::of_counts(counts.into_iter())
    }

    /// From values with their counts, each value once; `None` where there is none.
    pub fn of_counts<'a>(counts: impl Iterator<Item = (&'a str, u32)>) -> Option<Self> {
        let (mut total, mut values) = (0_u64, 0);
        let mut frequent: Vec<(&str, u32)> = counts
            .inspect(|(_, count)| {
                total += u64::from(*count);
                values += 1;
            })
            .filter(|(_, count)| *count >= MIN_LISTED_COUNT)
            .collect();
        frequent.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        frequent.truncate(MAX_LISTED);
        let listed_count: u64 = frequent.iter().map(|(_, count)| u64::from(*count)).sum();
        let unlisted_values = (values - frequent.len()).max(1);
        let unlisted_count = (total - listed_count).max(1);
        (total > 0).then(|| Self {
            unlisted: unlisted_count as f64 / unlisted_values as f64 / (total + 1) as f64,
            listed: frequent
                .into_iter()
                .map(|(value, count)| (value.to_owned(), f64::from(count) / (total + 1) as f64))
                .collect(),
        })
    }

    /// The relative frequency of a value.
    pub fn of(&self, value: &str) -> f64 {
        self.listed.get(value).copied().unwrap_or(self.unlisted)
    }

    pub(super) fn is_valid(&self) -> bool {
        let is_frequency = |value: f64| value > 0.0 && value < 1.0;
        is_frequency(self.unlisted) && self.listed.values().all(|value| is_frequency(*value))
    }
}
