//! What stewards have said of pairs of records: labels to train a model on, and to judge one by.

use veridem_matchers::cluster::Link;
use veridem_matchers::{PairScore, RecordKey};

use super::engine::Engine;
use super::error::EngineError;
use crate::store::{RecordNumber, StoredOverride, Tenant};

/// Pairs of one override at most: one of 1,000 records has half a million.
const MAX_PAIRS: usize = 100;

/// What a steward says of two records, and what the model in force says.
#[derive(Clone, Debug)]
pub struct DecidedPair {
    /// The two, in the order of their keys.
    pub records: (RecordKey, RecordKey),
    /// They are one person.
    pub is_match: bool,
    /// The override that says it.
    pub override_number: u64,
    /// The score of the two, whether or not they share a blocking key.
    pub score: PairScore,
}

impl Engine {
    /// What the overrides after a number that are in force say of pairs of living records; `limit` overrides are looked at. Also gives the
    /// number of the last one; none where no more follow.
    pub fn decided_pairs(
        &self,
        tenant: &Tenant,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<DecidedPair>, Option<u64>), EngineError> {
        let overrides = self.store.overrides(tenant, after, limit)?;
        let last = overrides.last().filter(|_| overrides.len() == limit);
        let last = last.map(|value| value.number);
        let mut pairs = Vec::new();
        for value in overrides.iter().filter(|value| value.is_in_force()) {
            self.pairs_of(tenant, value, &mut pairs)?;
        }
        Ok((pairs, last))
    }

    fn pairs_of(
        &self,
        tenant: &Tenant,
        value: &StoredOverride,
        pairs: &mut Vec<DecidedPair>,
    ) -> Result<(), EngineError> {
        let state = self.tenant(tenant)?;
        let overrides = state.shared.overrides.read().clone();
        let numbers: Vec<RecordNumber> = value.records().map(|(_, number)| *number).collect();
        let all = numbers.iter().enumerate();
        let all =
            all.flat_map(|(at, one)| numbers[at + 1..].iter().map(move |other| (*one, *other)));
        for (one, other) in all.take(MAX_PAIRS) {
            // Of two overrides on the same two records the later counts.
            let word = overrides.word_of(one, other);
            let Some((_, link)) = word.filter(|(number, _)| *number == value.number) else {
                continue;
            };
            let read = |number| self.store.record(tenant, state.generation, number);
            let (Some(one), Some(other)) = (read(one)?, read(other)?) else {
                continue;
            };
            if !one.is_alive || !other.is_alive {
                continue;
            }
            let (left, right) = match one.key <= other.key {
                true => (one, other),
                false => (other, one),
            };
            let score = state.matcher.scorer.score(
                &state.comparable(&left.normalised, &left.keys),
                &state.comparable(&right.normalised, &right.keys),
            );
            pairs.push(DecidedPair {
                records: (left.key.clone(), right.key.clone()),
                is_match: link == Link::Must,
                override_number: value.number,
                score,
            });
        }
        Ok(())
    }
}
