//! What a bulk job's result is in the store: edges and the activity of keys.

use std::collections::BTreeSet;

use rayon::prelude::*;
use veridem_matchers::Pack;
use veridem_matchers::block::{BlockingKey, PersonalValue};

use super::bulk::{BulkResult, ScoredPair};
use crate::store::{RecordNumber, StoredEdge, Write};

/// The pairs of a bulk job by both of their rows.
pub(super) struct Evidence<'a> {
    result: &'a BulkResult,
    /// Pairs by their right row, sorted; those by their left row are sorted as they are.
    by_right: Vec<u32>,
    number_of: &'a (dyn Fn(usize) -> RecordNumber + Sync),
}

impl<'a> Evidence<'a> {
    pub(super) fn new(
        result: &'a BulkResult,
        number_of: &'a (dyn Fn(usize) -> RecordNumber + Sync),
    ) -> Self {
        let mut by_right: Vec<u32> = (0..result.pairs.len() as u32).collect();
        by_right.par_sort_unstable_by_key(|index| {
            let pair = &result.pairs[*index as usize];
            (pair.right, pair.left)
        });
        Self {
            result,
            by_right,
            number_of,
        }
    }

    /// The edges of a row, where it has any.
    pub(super) fn edges(&self, row: usize) -> Option<Write> {
        let pairs = &self.result.pairs;
        let pair = |index: &u32| &pairs[*index as usize];
        let before = self
            .by_right
            .partition_point(|index| (pair(index).right as usize) < row);
        let to_smaller = self.by_right[before..]
            .iter()
            .map(pair)
            .take_while(|pair| pair.right as usize == row);
        let first = pairs.partition_point(|pair| (pair.left as usize) < row);
        let to_larger = pairs[first..]
            .iter()
            .take_while(|pair| pair.left as usize == row);
        let edge = |other: u32, pair: &ScoredPair| StoredEdge {
            other: (self.number_of)(other as usize),
            score: pair.score,
        };
        let mut edges: Vec<StoredEdge> = to_smaller
            .map(|pair| edge(pair.left, pair))
            .chain(to_larger.map(|pair| edge(pair.right, pair)))
            .collect();
        edges.sort_unstable_by_key(|edge| edge.other);
        let number = (self.number_of)(row);
        (!edges.is_empty()).then(|| Write::Edges(number, edges.into()))
    }

    /// The keys that more records hold than their rule allows, and those of values that stewards have marked.
    pub(super) fn activity(
        &self,
        mut keys: Vec<BlockingKey>,
        pack: &Pack,
        marked: &BTreeSet<PersonalValue>,
    ) -> Vec<Write> {
        keys.par_sort_unstable();
        let by_holders = keys.chunk_by(PartialEq::eq);
        let by_holders = by_holders
            .filter(|holders| holders.len() > pack.blocking.rule(holders[0]).max_records)
            .map(|holders| holders[0]);
        let marked = marked.iter();
        let marked = marked.flat_map(|value| pack.blocking.keys_of_value(*value));
        let inactive: BTreeSet<BlockingKey> = by_holders.chain(marked).collect();
        let write = |key| Write::KeyActivity {
            key,
            inactive: true,
        };
        inactive.into_iter().map(write).collect()
    }
}
