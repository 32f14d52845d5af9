//! All candidate pairs of a set of records: keys sorted, one run of equal keys after the other; pairs are walked, never
//! held as a whole.

use rayon::prelude::*;
use rustc_hash::FxHashSet;
use serde::Serialize;

use super::{BlockingKey, BlockingRules, rule_of};
use crate::normalise::NormalisedRecord;

/// What one blocking rule brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleStatistics {
    /// The rule's name.
    pub rule: String,
    /// Candidate pairs that share a key of this rule.
    pub pairs: u64,
    /// Records in its largest active block.
    pub largest_block: usize,
    /// Keys held by more records than the rule allows.
    pub inactive_keys: usize,
}

/// The blocks of a set of records. Rows are indices into that set.
pub struct Candidates {
    rows: Vec<u32>,
    /// One active block: its key and where its rows lie in `rows`.
    blocks: Vec<(BlockingKey, u32, u32)>,
    /// The active keys of each row, sorted: `row_keys[row_starts[row]..row_starts[row + 1]]`.
    row_keys: Vec<BlockingKey>,
    row_starts: Vec<usize>,
    inactive: FxHashSet<BlockingKey>,
    statistics: Vec<RuleStatistics>,
}

impl Candidates {
    /// Blocks `records` under `rules`. At most `u32::MAX` records.
    pub fn new(records: &[NormalisedRecord], rules: &BlockingRules) -> Self {
        let keys: Vec<Vec<BlockingKey>> = records
            .par_iter()
            .map(|record| rules.keys(record))
            .collect();
        let mut entries: Vec<(BlockingKey, u32)> =
            Vec::with_capacity(keys.iter().map(Vec::len).sum());
        for (row, row_keys) in keys.iter().enumerate() {
            entries.extend(row_keys.iter().map(|key| (*key, row as u32)));
        }
        entries.par_sort_unstable();
        let mut statistics: Vec<RuleStatistics> = rules
            .0
            .iter()
            .map(|rule| RuleStatistics {
                rule: rule.name.clone(),
                ..RuleStatistics::default()
            })
            .collect();
        let mut inactive = FxHashSet::default();
        let mut rows = Vec::new();
        let mut blocks = Vec::new();
        for block in entries
            .chunk_by(|left, right| left.0 == right.0)
            .filter(|block| block.len() > 1)
        {
            let key = block[0].0;
            let statistic = &mut statistics[rule_of(key)];
            if block.len() > rules.rule(key).max_records {
                inactive.insert(key);
                statistic.inactive_keys += 1;
                continue;
            }
            statistic.pairs += (block.len() * (block.len() - 1) / 2) as u64;
            statistic.largest_block = statistic.largest_block.max(block.len());
            let start = rows.len() as u32;
            rows.extend(block.iter().map(|(_, row)| *row));
            blocks.push((key, start, rows.len() as u32));
        }
        drop(entries);
        let active: FxHashSet<BlockingKey> = blocks.iter().map(|(key, ..)| *key).collect();
        let mut row_keys = Vec::new();
        let mut row_starts = Vec::with_capacity(records.len() + 1);
        row_starts.push(0);
        for keys_of_row in keys {
            row_keys.extend(keys_of_row.into_iter().filter(|key| active.contains(key)));
            row_starts.push(row_keys.len());
        }
        Self {
            rows,
            blocks,
            row_keys,
            row_starts,
            inactive,
            statistics,
        }
    }

    /// Whether a key is held by more records than its rule allows.
    pub fn is_inactive(&self, key: BlockingKey) -> bool {
        self.inactive.contains(&key)
    }

    /// What each rule brings, in the order of the rules.
    pub fn statistics(&self) -> &[RuleStatistics] {
        &self.statistics
    }

    /// Evaluates each candidate pair once, `left < right`, on all cores; the results come in a fixed order.
    pub fn map_pairs<T: Send>(
        &self,
        evaluate: impl Fn(usize, usize) -> Option<T> + Sync,
    ) -> Vec<T> {
        let chunks: Vec<Vec<T>> = self
            .blocks
            .par_chunks(1024)
            .map(|blocks| {
                let mut found = Vec::new();
                for (key, start, end) in blocks {
                    let rows = &self.rows[*start as usize..*end as usize];
                    for (position, left) in rows.iter().enumerate() {
                        for right in &rows[position + 1..] {
                            if self.first_common_key(*left, *right) == Some(*key) {
                                found.extend(evaluate(*left as usize, *right as usize));
                            }
                        }
                    }
                }
                found
            })
            .collect();
        chunks.into_iter().flatten().collect()
    }

    /// Pairs of one rule, at most about `limit`. Keys are hashes, so the first blocks are a random sample that repeats.
    pub fn sample_of_rule(&self, rule_index: usize, limit: usize) -> Vec<(usize, usize)> {
        let start = self
            .blocks
            .partition_point(|(key, ..)| rule_of(*key) < rule_index);
        let mut pairs = Vec::new();
        for (_, first, end) in self.blocks[start..]
            .iter()
            .take_while(|(key, ..)| rule_of(*key) == rule_index)
        {
            let rows = &self.rows[*first as usize..*end as usize];
            for (position, left) in rows.iter().enumerate() {
                pairs.extend(
                    rows[position + 1..]
                        .iter()
                        .map(|right| (*left as usize, *right as usize)),
                );
            }
            if pairs.len() >= limit {
                break;
            }
        }
        pairs
    }

    /// The smallest key that both rows hold: a pair is evaluated in the block of this key alone.
    fn first_common_key(&self, left: u32, right: u32) -> Option<BlockingKey> {
        let keys_of = |row: u32| {
            &self.row_keys[self.row_starts[row as usize]..self.row_starts[row as usize + 1]]
        };
        let (left, right) = (keys_of(left), keys_of(right));
        let (mut left_index, mut right_index) = (0, 0);
        while left_index < left.len() && right_index < right.len() {
            match left[left_index].cmp(&right[right_index]) {
                std::cmp::Ordering::Equal => return Some(left[left_index]),
                std::cmp::Ordering::Less => left_index += 1,
                std::cmp::Ordering::Greater => right_index += 1,
            }
        }
        None
    }
}
