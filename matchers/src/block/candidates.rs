//! All candidate pairs of a set of records: keys sorted, one run of equal keys after the other; pairs are walked, never
//! held as a whole.

use rayon::prelude::*;
use rustc_hash::FxHashSet;
use serde::Serialize;

use super::{BlockingKey, BlockingRule, BlockingRules, KeyScratch, PersonalValue, rule_of};
use crate::table::{Table, TableHashes};

/// What one blocking rule brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleStatistics {
    /// The rule's name.
    pub rule: String,
    /// Candidate pairs that share a key of this rule.
    pub pairs: u64,
    /// Records in its largest active block.
    pub largest_block: usize,
    /// Keys held by more records than the rule allows, or known to be shared, of those that two records hold.
    pub inactive_keys: usize,
    /// Matches that it brings; see [`Candidates::recall`].
    pub matches: u64,
    /// Matches that it alone brings.
    pub matches_alone: u64,
}

/// The blocks of a table's rows.
pub struct Candidates {
    rows: Vec<u32>,
    /// One active block: its key and where its rows lie in `rows`.
    blocks: Vec<(BlockingKey, u32, u32)>,
    /// The active blocks of each row, sorted: `row_blocks[row_starts[row]..row_starts[row + 1]]`.
    row_blocks: Vec<u32>,
    row_starts: Vec<u32>,
    inactive: FxHashSet<BlockingKey>,
    statistics: Vec<RuleStatistics>,
}

/// Rows whose keys are worked out at once.
const ROWS_AT_ONCE: usize = 16_384;
/// Blocks whose rows are looked at before the first of their pairs, and the most rows of them.
const BLOCKS_AHEAD: usize = 16;
const ROWS_AHEAD: usize = 256;
/// Blocks that one thread walks at once.
const BLOCKS_AT_ONCE: usize = 4_096;

impl Candidates {
    /// Blocks the rows of a table under `rules`, one rule after the other, so that only one rule's keys are held at a time.
    pub fn new(table: &Table, rules: &BlockingRules) -> Self {
        Self::with_shared(table, rules, &[])
    }

    /// The same where some values are known to be shared, however few hold them.
    pub fn with_shared(table: &Table, rules: &BlockingRules, shared: &[PersonalValue]) -> Self {
        let hashes = TableHashes::new(table, rules);
        let mut statistics = Vec::with_capacity(rules.0.len());
        let known = shared.iter().flat_map(|value| rules.keys_of_value(*value));
        let mut inactive: FxHashSet<BlockingKey> = known.collect();
        let mut rows: Vec<u32> = Vec::new();
        let mut blocks = Vec::new();
        for (index, rule) in rules.0.iter().enumerate() {
            let mut statistic = RuleStatistics {
                rule: rule.name.clone(),
                ..RuleStatistics::default()
            };
            let entries = keys_of_rule(table, &hashes, rule, index);
            for block in entries
                .chunk_by(|left, right| left.0 == right.0)
                .filter(|block| block.len() > 1)
            {
                let key = block[0].0;
                if block.len() > rule.max_records || inactive.contains(&key) {
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
            statistics.push(statistic);
        }
        drop(hashes);
        let mut row_starts = vec![0_u32; table.len() + 1];
        for row in &rows {
            row_starts[*row as usize + 1] += 1;
        }
        for row in 0..table.len() {
            row_starts[row + 1] += row_starts[row];
        }
        let mut row_blocks = vec![0_u32; rows.len()];
        let mut next = row_starts.clone();
        for (block, (_, start, end)) in blocks.iter().enumerate() {
            for row in &rows[*start as usize..*end as usize] {
                let place = &mut next[*row as usize];
                row_blocks[*place as usize] = block as u32;
                *place += 1;
            }
        }
        Self {
            rows,
            blocks,
            row_blocks,
            row_starts,
            inactive,
            statistics,
        }
    }

    /// Whether a key is held by more records than its rule allows, or names a value that is known to be shared.
    pub fn is_inactive(&self, key: BlockingKey) -> bool {
        self.inactive.contains(&key)
    }

    /// What each rule brings, in the order of the rules.
    pub fn statistics(&self) -> &[RuleStatistics] {
        &self.statistics
    }

    pub(super) fn statistics_mut(&mut self) -> &mut [RuleStatistics] {
        &mut self.statistics
    }

    /// Evaluates each candidate pair once, `left < right`, on all cores; the results come in a fixed order. `table` is the
    /// one that was blocked.
    pub fn map_pairs<T: Send>(
        &self,
        table: &Table,
        evaluate: impl Fn(usize, usize) -> Option<T> + Sync,
    ) -> Vec<T> {
        let chunks: Vec<Vec<T>> = self
            .blocks
            .par_chunks(BLOCKS_AT_ONCE)
            .enumerate()
            .map(|(chunk, blocks)| {
                let mut found = Vec::new();
                for (index, (_, start, _)) in blocks.iter().enumerate() {
                    if index % BLOCKS_AHEAD == 0 {
                        let last = blocks[(index + BLOCKS_AHEAD).min(blocks.len()) - 1];
                        let rows = &self.rows[*start as usize..last.2 as usize];
                        let rows = &rows[..rows.len().min(ROWS_AHEAD)];
                        table.look_at(rows.iter().map(|row| *row as usize));
                        self.look_at_blocks(rows);
                    }
                    for (left, right) in self.pairs_first_in(chunk * BLOCKS_AT_ONCE + index) {
                        found.extend(evaluate(left as usize, right as usize));
                    }
                }
                found
            })
            .collect();
        let mut all = Vec::with_capacity(chunks.iter().map(Vec::len).sum());
        all.extend(chunks.into_iter().flatten());
        all
    }

    /// Pairs of one rule, at most about `limit`. Keys are hashes, so the first blocks are a random sample that repeats.
    pub fn sample_of_rule(&self, rule_index: usize, limit: usize) -> Vec<(u32, u32)> {
        let start = self
            .blocks
            .partition_point(|(key, ..)| rule_of(*key) < rule_index);
        let mut pairs = Vec::new();
        let end = self
            .blocks
            .partition_point(|(key, ..)| rule_of(*key) <= rule_index);
        for block in start..end {
            pairs.extend(self.pairs_in(block));
            if pairs.len() >= limit {
                break;
            }
        }
        pairs
    }

    /// About `limit` of all candidate pairs, each once, and which share of all of them that is. Blocks are drawn by their number;
    /// keys are hashes, so that is a random sample that repeats.
    pub fn sample(&self, limit: usize) -> (Vec<(u32, u32)>, f64) {
        let all: u64 = self.statistics.iter().map(|rule| rule.pairs).sum();
        let every = all.div_ceil(limit as u64).max(1) as usize;
        let chunks: Vec<Vec<(u32, u32)>> = (0..self.blocks.len())
            .into_par_iter()
            .step_by(every)
            .with_min_len(1024)
            .map(|block| self.pairs_first_in(block).collect())
            .collect();
        (chunks.concat(), 1.0 / every as f64)
    }

    /// The pairs of a block that no earlier block brings, `left < right`: over all blocks, each candidate pair once.
    fn pairs_first_in(&self, block: usize) -> impl Iterator<Item = (u32, u32)> {
        self.pairs_in(block).filter(move |(left, right)| {
            self.first_common_block(*left, *right) == Some(block as u32)
        })
    }

    /// The pairs of a block, `left < right`.
    fn pairs_in(&self, block: usize) -> impl Iterator<Item = (u32, u32)> {
        let (_, start, end) = self.blocks[block];
        let rows = &self.rows[start as usize..end as usize];
        rows.iter().enumerate().flat_map(move |(position, left)| {
            rows[position + 1..]
                .iter()
                .map(move |right| (*left, *right))
        })
    }

    /// Brings what [`Self::first_common_block`] reads of some rows near, as [`Table::look_at`] does for what their pairs need.
    fn look_at_blocks(&self, rows: &[u32]) {
        let seen = rows.iter().fold(0, |seen, row| {
            seen ^ self.row_blocks[self.row_starts[*row as usize] as usize]
        });
        std::hint::black_box(seen);
    }

    /// The first block that both rows are in.
    fn first_common_block(&self, left: u32, right: u32) -> Option<u32> {
        self.common_blocks(left, right).next()
    }

    /// The rules whose active blocks both rows are in, a bit each.
    pub(super) fn rules_of(&self, left: u32, right: u32) -> u64 {
        self.common_blocks(left, right).fold(0, |rules, block| {
            rules | 1 << rule_of(self.blocks[block as usize].0)
        })
    }

    /// The blocks that both rows are in, ascending.
    fn common_blocks(&self, left: u32, right: u32) -> impl Iterator<Item = u32> {
        let blocks_of = |row: u32| {
            let (start, end) = (
                self.row_starts[row as usize],
                self.row_starts[row as usize + 1],
            );
            &self.row_blocks[start as usize..end as usize]
        };
        let (mut left, mut right) = (blocks_of(left), blocks_of(right));
        std::iter::from_fn(move || {
            while let ([first, left_rest @ ..], [other, right_rest @ ..]) = (left, right) {
                match first.cmp(other) {
                    std::cmp::Ordering::Equal => {
                        (left, right) = (left_rest, right_rest);
                        return Some(*first);
                    }
                    std::cmp::Ordering::Less => left = left_rest,
                    std::cmp::Ordering::Greater => right = right_rest,
                }
            }
            None
        })
    }
}

/// The keys that one rule yields, with their rows, sorted.
fn keys_of_rule(
    table: &Table,
    hashes: &TableHashes<'_>,
    rule: &BlockingRule,
    index: usize,
) -> Vec<(BlockingKey, u32)> {
    let rows: Vec<u32> = (0..table.len() as u32).collect();
    let mut entries: Vec<(BlockingKey, u32)> = rows
        .par_chunks(ROWS_AT_ONCE)
        .flat_map_iter(|rows| {
            let mut entries = Vec::with_capacity(rows.len());
            let (mut scratch, mut keys) = (KeyScratch::default(), Vec::new());
            for row in rows {
                keys.clear();
                let mut hashes_of =
                    |element, values: &mut Vec<u64>| hashes.push(element, *row as usize, values);
                rule.push_keys(index, &mut hashes_of, &mut scratch, &mut |key| {
                    keys.push(key)
                });
                // Two combinations of values may hash alike.
                keys.sort_unstable();
                keys.dedup();
                entries.extend(keys.iter().map(|key| (*key, *row)));
            }
            entries
        })
        .collect();
    entries.par_sort_unstable();
    entries
}
