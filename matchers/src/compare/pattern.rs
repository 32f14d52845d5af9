//! The levels of a pair, packed.

/// The levels in which one pair falls, four bits a comparison, in the order of a model's comparisons; at most 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern([u64; 2]);

const BITS: usize = 4;
const IN_A_WORD: usize = u64::BITS as usize / BITS;
/// Four bits that stand for a missing value.
const MISSING: u64 = 0xf;

impl Pattern {
    /// Nothing compared, every value missing.
    pub const MISSING: Self = Self([u64::MAX; 2]);

    /// The pattern of given levels, `None` for missing.
    pub fn of_levels(levels: impl Iterator<Item = Option<usize>>) -> Self {
        let mut pattern = Self::MISSING;
        for (comparison, level) in levels.enumerate() {
            if let Some(level) = level {
                pattern.set(comparison, level as u8);
            }
        }
        pattern
    }

    /// Notes the level of a comparison that was missing.
    pub(crate) fn set(&mut self, comparison: usize, level: u8) {
        let shift = comparison % IN_A_WORD * BITS;
        self.0[comparison / IN_A_WORD] ^= (MISSING ^ u64::from(level)) << shift;
    }

    /// The level of a comparison, `None` for missing.
    pub fn level(self, comparison: usize) -> Option<usize> {
        let level = self.bits(comparison);
        (level != MISSING).then_some(level as usize)
    }

    /// The level as a bit of a mask: bit 15 for missing.
    pub(crate) fn mask(self, comparison: usize) -> u16 {
        1 << self.bits(comparison)
    }

    fn bits(self, comparison: usize) -> u64 {
        let shift = comparison % IN_A_WORD * BITS;
        self.0[comparison / IN_A_WORD] >> shift & MISSING
    }
}
