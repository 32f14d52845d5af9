//! The model: what each level of each comparison weighs. Fellegi and Sunter, "A Theory for Record Linkage" (JASA 1969);
//! term frequency adjustment after Winkler. A versioned, reviewable JSON file.

mod splink;
mod term_frequency;
mod weight;

pub use splink::{ComparedValue, SplinkImport, SplinkImportError, SplinkNote, import_splink};
pub use term_frequency::TermFrequencies;
pub use weight::{MatchProbability, MatchWeight};

use serde::{Deserialize, Serialize};

use crate::compare::Comparison;

/// The format of model files that this version writes and reads.
pub const MODEL_FORMAT_VERSION: u32 = 2;
/// Comparisons that a model may have.
pub const MAX_COMPARISONS: usize = 32;

/// Why a model file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Not a model file: the text names line and column.
    #[error("not a model file: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a later version.
    #[error(
        "format_version is {found}, this version reads {MODEL_FORMAT_VERSION}; use the version of veridem that wrote the model, or train anew"
    )]
    UnknownVersion {
        /// What the file says.
        found: u32,
    },
    /// A value that no training can yield.
    #[error("comparison {comparison}: {problem}")]
    Invalid {
        /// The comparison at fault.
        comparison: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// One level of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelParameters {
    /// The level's name.
    pub level: String,
    /// Probability of the level given a match, among pairs where both sides are present.
    pub m: f64,
    /// Probability of the level given two persons of one household, among pairs where both sides are present.
    pub household: f64,
    /// Probability of the level given strangers, among pairs where both sides are present.
    pub u: f64,
    /// Harmonic mean, over strangers at this level, of the frequency of the rarer of the two values: what rarer values add to
    /// the weight is measured from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_frequency: Option<f64>,
}

/// A comparison with its trained parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonModel {
    /// What is compared.
    pub comparison: Comparison,
    /// Its levels, strongest first, as [`Comparison::levels`] has them.
    pub levels: Vec<LevelParameters>,
    /// How frequent the values are that pairs may agree on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_frequencies: Option<TermFrequencies>,
}

impl ComparisonModel {
    /// The weight of a level, without term frequency adjustment.
    pub fn weight(&self, level: u8) -> MatchWeight {
        let parameters = &self.levels[usize::from(level)];
        MatchWeight((parameters.m / parameters.u).log2())
    }

    /// What the rarity of the compared values adds to the weight of their level: log2 of the level's mean frequency over that of
    /// the rarer value. For equal values this is Winkler's adjustment, log2 of u over the frequency; values that are merely alike
    /// are a typing error where one of them is rare, and a coincidence where both are frequent.
    pub fn term_adjustment(&self, level: u8, terms: (&str, &str)) -> MatchWeight {
        let mean = self.levels[usize::from(level)].term_frequency;
        let adjustment = |frequencies: &TermFrequencies| {
            let rarer = frequencies.of(terms.0).min(frequencies.of(terms.1));
            Some(mean?.log2() - rarer.log2())
        };
        MatchWeight(
            self.term_frequencies
                .as_ref()
                .and_then(adjustment)
                .unwrap_or_default(),
        )
    }
}

/// A trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// [`MODEL_FORMAT_VERSION`].
    pub format_version: u32,
    /// Source records that it was trained on; 0 for a model taken over from elsewhere.
    pub trained_on_records: u64,
    /// Probability that two random records match.
    pub prior: f64,
    /// Probability that two random records are of two persons of one household; 0 where no comparison tells them apart.
    pub household_prior: f64,
    /// The comparisons.
    pub comparisons: Vec<ComparisonModel>,
}

impl Model {
    /// The model that ships for retailers, trained on generated records.
    pub fn retail() -> Self {
        Self::from_json(include_str!("../../packs/retail-model.json"))
            .expect("the shipped model is read in a test")
    }

    /// Reads a model file.
    pub fn from_json(json: &str) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        if let Ok(Version {
            format_version: found,
        }) = serde_json::from_str(json)
            && found != MODEL_FORMAT_VERSION
        {
            return Err(ModelError::UnknownVersion { found });
        }
        let model: Self = serde_json::from_str(json)?;
        model.validate()?;
        Ok(model)
    }

    /// The model as the text of a model file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a model has string keys and finite numbers only")
            + "\n"
    }

    /// The weight of the prior alone.
    pub fn prior_weight(&self) -> MatchWeight {
        MatchWeight((self.prior / (1.0 - self.prior - self.household_prior)).log2())
    }

    /// How much more usual pairs of strangers are than pairs of one household, as a weight; `None` where the model knows no
    /// households.
    pub fn household_weight(&self) -> Option<MatchWeight> {
        (self.household_prior > 0.0).then(|| {
            let strangers = 1.0 - self.prior - self.household_prior;
            MatchWeight((self.household_prior / strangers).log2())
        })
    }

    fn validate(&self) -> Result<(), ModelError> {
        if self.format_version != MODEL_FORMAT_VERSION {
            return Err(ModelError::UnknownVersion {
                found: self.format_version,
            });
        }
        let invalid = |comparison: &str, problem: String| ModelError::Invalid {
            comparison: comparison.to_owned(),
            problem,
        };
        let is_probability = |value: f64| value > 0.0 && value < 1.0;
        if !is_probability(self.prior) {
            return Err(invalid(
                "(model)",
                "prior must lie between 0 and 1".to_owned(),
            ));
        }
        if !(0.0..0.5).contains(&self.household_prior) || self.prior + self.household_prior >= 1.0 {
            return Err(invalid(
                "(model)",
                "household_prior must lie between 0 and 0.5, and with prior below 1".to_owned(),
            ));
        }
        if self.comparisons.len() > MAX_COMPARISONS {
            return Err(invalid(
                "(model)",
                format!("at most {MAX_COMPARISONS} comparisons"),
            ));
        }
        for comparison in &self.comparisons {
            let name = comparison.comparison.to_string();
            if self
                .comparisons
                .iter()
                .filter(|other| other.comparison == comparison.comparison)
                .count()
                > 1
            {
                return Err(invalid(&name, "stands here twice".to_owned()));
            }
            let expected = comparison.comparison.levels();
            if !comparison
                .levels
                .iter()
                .map(|level| level.level.as_str())
                .eq(expected.iter().copied())
            {
                return Err(invalid(
                    &name,
                    format!("levels must be {}", expected.join(", ")),
                ));
            }
            if let Some(level) = comparison.levels.iter().find(|level| {
                ![level.m, level.household, level.u]
                    .into_iter()
                    .all(is_probability)
            }) {
                return Err(invalid(
                    &name,
                    format!(
                        "level {}: m, household and u must lie between 0 and 1",
                        level.level
                    ),
                ));
            }
            if comparison.levels.iter().any(|level| {
                level
                    .term_frequency
                    .is_some_and(|mean| !is_probability(mean))
            }) {
                return Err(invalid(
                    &name,
                    "term_frequency of a level must lie between 0 and 1".to_owned(),
                ));
            }
            if comparison
                .term_frequencies
                .as_ref()
                .is_some_and(|frequencies| !frequencies.is_valid())
            {
                return Err(invalid(
                    &name,
                    "term frequencies must lie between 0 and 1".to_owned(),
                ));
            }
        }
        Ok(())
    }
}
