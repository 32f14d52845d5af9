//! Repeatable chance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a sequence of draws is for; sequences of one seed and number never overlap between purposes.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// A household with everything that its members did.
    Household = 1,
    /// What the households of a neighbourhood have in common.
    Neighbourhood = 2,
}

/// A sequence of draws that depends on its seed, purpose and number only.
///
/// Works on the raw words of ChaCha8 and leaves `rand`'s distributions alone: their algorithms may change between
/// releases, and the same seed must give the same bytes for as long as the generator's version stays.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The sequence of one seed, purpose and number.
    pub(super) fn new(seed: u64, purpose: Purpose, number: u64) -> Self {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        key[16] = purpose as u8;
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number below `bound`. Precondition: `bound` is at least 1 and fits 32 bits.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound >= 1 && u32::try_from(bound).is_ok());
        let word = u64::from(self.0.next_u32());
        ((word * bound as u64) >> 32) as usize
    }

    /// A number below `bound` with low ones more frequent.
    pub(super) fn low_below(&mut self, bound: usize) -> usize {
        self.below(bound).min(self.below(bound))
    }

    /// A number from `low` to `high`, both included; `low` where the range is empty.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let Some(span) = high.checked_sub(low).filter(|span| *span > 0) else {
            return low;
        };
        let offset = (u128::from(self.0.next_u64()) * (span as u128 + 1)) >> 64;
        low + offset as i64
    }

    /// True with the given probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        f64::from(self.0.next_u32()) < probability * 4_294_967_296.0
    }

    /// One of the items. Precondition: there is one.
    pub(super) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// An index, as frequent as its weight. Precondition: the weights' sum is at least 1.
    pub(super) fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u32 = weights.iter().sum();
        let mut rest = self.below(total as usize) as u32;
        for (index, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return index;
            }
            rest -= weight;
        }
        weights.len() - 1
    }

    /// A lower-case letter.
    pub(super) fn letter(&mut self) -> char {
        char::from(b'a' + self.below(26) as u8)
    }

    /// A digit.
    pub(super) fn digit(&mut self) -> char {
        char::from(b'0' + self.below(10) as u8)
    }
}
