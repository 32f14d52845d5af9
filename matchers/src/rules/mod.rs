//! Packs: everything that people decide and training does not: blocking rules, match rules, survivorship, thresholds.
//! A TOML file; [`Pack::retail`] is the one that ships.

mod match_rule;

pub(crate) use match_rule::MISSING;
pub use match_rule::{MatchRule, RuleEffect};

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::block::{BlockingRules, Element, MAX_RULES};
use crate::golden::SurvivorshipRules;
use crate::normalise::{Region, phone_region};

/// The pack format that this version reads.
pub const PACK_FORMAT_VERSION: u32 = 1;

/// Why a pack is refused.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Not a pack: the text names the line and the key.
    #[error("{0}")]
    Malformed(#[from] toml::de::Error),
    /// A setting that cannot be.
    #[error("{setting}: {problem}")]
    Invalid {
        /// Where in the pack.
        setting: String,
        /// What is wrong and what may stand there.
        problem: String,
    },
}

/// Probabilities at which decisions change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// At or above: the pair matches.
    pub match_probability: f64,
    /// At or above, below the first: a steward decides.
    pub review_probability: f64,
}

/// How identifiers of certain schemes behave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentifierSettings {
    /// Schemes of which a customer gathers many (orders, receipts, payment tokens): a new one does not replace the old ones.
    pub accumulating: Vec<String>,
}

/// What is known of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Trust rank for survivorship; higher wins.
    pub trust: u32,
}

/// A pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// [`PACK_FORMAT_VERSION`].
    pub format_version: u32,
    /// ISO 3166 code of the country in which phone numbers without a country code are dialled.
    pub default_region: String,
    /// When a pair matches, and when a steward decides.
    pub thresholds: Thresholds,
    /// Identifier schemes.
    #[serde(default)]
    pub identifiers: IdentifierSettings,
    /// Sources by name.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceSettings>,
    /// Blocking rules.
    pub blocking: BlockingRules,
    /// Match rules, evaluated beside the weights.
    #[serde(default)]
    pub rules: Vec<MatchRule>,
    /// How surviving values are chosen.
    #[serde(default)]
    pub survivorship: SurvivorshipRules,
}

impl Pack {
    /// The pack that ships for retailers.
    pub fn retail() -> Self {
        Self::from_toml(include_str!("../../packs/retail.toml"))
            .expect("the shipped pack is read in a test")
    }

    /// Reads and checks a pack.
    pub fn from_toml(text: &str) -> Result<Self, PackError> {
        let pack: Self = toml::from_str(text)?;
        pack.validate()?;
        Ok(pack)
    }

    /// The region for phone numbers.
    pub fn region(&self) -> Region {
        // Checked when the pack was read.
        Region::from_code(&self.default_region).unwrap_or(Region::US)
    }

    /// The trust rank of a source; 0 for one that the pack does not name.
    pub fn trust(&self, source: &str) -> u32 {
        self.sources
            .get(source)
            .map_or(0, |settings| settings.trust)
    }

    fn validate(&self) -> Result<(), PackError> {
        let invalid = |setting: String, problem: String| PackError::Invalid { setting, problem };
        if self.format_version != PACK_FORMAT_VERSION {
            return Err(invalid(
                "format_version".into(),
                format!(
                    "is {}, this version reads {PACK_FORMAT_VERSION}",
                    self.format_version
                ),
            ));
        }
        if phone_region(&self.default_region).is_none() {
            return Err(invalid(
                "default_region".into(),
                "must be an ISO 3166 code of two letters, for example US".into(),
            ));
        }
        let Thresholds {
            match_probability,
            review_probability,
        } = self.thresholds;
        if !(0.0 < review_probability
            && review_probability <= match_probability
            && match_probability < 1.0)
        {
            return Err(invalid(
                "thresholds".into(),
                "need 0 < review_probability <= match_probability < 1".into(),
            ));
        }
        if self.blocking.0.is_empty() || self.blocking.0.len() > MAX_RULES {
            return Err(invalid(
                "blocking".into(),
                format!("needs 1 to {MAX_RULES} rules"),
            ));
        }
        for rule in &self.blocking.0 {
            let setting = format!("blocking rule {}", rule.name);
            if rule.key.is_empty() {
                return Err(invalid(setting, "key is empty".into()));
            }
            if rule.max_records < 2 {
                return Err(invalid(setting, "max_records must be at least 2".into()));
            }
            if rule.shared_value
                && !matches!(
                    rule.key.as_slice(),
                    [Element::Email | Element::Phone | Element::Identifier]
                )
            {
                return Err(invalid(
                    setting,
                    "shared_value needs the key [\"email\"], [\"phone\"] or [\"identifier\"]"
                        .into(),
                ));
            }
        }
        for rule in &self.rules {
            rule.validate()
                .map_err(|problem| invalid(format!("rule {}", rule.name), problem))?;
        }
        Ok(())
    }
}

impl FromStr for Pack {
    type Err = PackError;

    fn from_str(text: &str) -> Result<Self, PackError> {
        Self::from_toml(text)
    }
}
