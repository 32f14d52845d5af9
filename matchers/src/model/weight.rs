//! The two scales of evidence.

use serde::{Deserialize, Serialize};

/// A match weight: log2 of a Bayes factor or of odds. Weights of independent evidence add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MatchWeight(pub f64);

/// A match probability, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MatchProbability(pub f64);

impl From<MatchWeight> for MatchProbability {
    fn from(weight: MatchWeight) -> Self {
        Self(1.0 / (1.0 + (-weight.0).exp2()))
    }
}

impl From<MatchProbability> for MatchWeight {
    fn from(probability: MatchProbability) -> Self {
        Self((probability.0 / (1.0 - probability.0)).log2())
    }
}

impl std::ops::Add for MatchWeight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::AddAssign for MatchWeight {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}
