//! Deterministic rules over the levels of a pair.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::Comparison;

/// The word for an absent value among the levels of a rule.
pub(crate) const MISSING: &str = "missing";

/// What a rule that holds does to the decision. Among several the strongest holds: must not match, then must match, then cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// At most `Review`.
    CapAtReview,
    /// `Match`, whatever the weight.
    MustMatch,
    /// `NonMatch`, whatever the weight, and the two never join one identity through others.
    MustNotMatch,
}

/// A rule: the effect holds when every comparison of `when` falls in one of its levels and none of `unless` does. The
/// comparison `identifier.*` in `unless` stands for every identifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchRule {
    /// Name in explanations.
    pub name: String,
    /// What it does.
    pub effect: RuleEffect,
    /// Allowed levels by comparison; `missing` is the level of an absent value.
    pub when: BTreeMap<Comparison, Vec<String>>,
    /// Exceptions by comparison.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unless: BTreeMap<Comparison, Vec<String>>,
}

impl MatchRule {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.when.is_empty() {
            return Err("when is empty: the rule would hold for every pair".to_owned());
        }
        if self
            .when
            .contains_key(&Comparison::Identifier("*".to_owned()))
        {
            return Err("identifier.* may stand in unless only; name the scheme".to_owned());
        }
        for (comparison, levels) in self.when.iter().chain(&self.unless) {
            if !comparison.is_spelled_out() {
                return Err(format!("unknown comparison {comparison}"));
            }
            let known = comparison.levels();
            if let Some(level) = levels
                .iter()
                .find(|level| *level != MISSING && !known.contains(&level.as_str()))
            {
                return Err(format!(
                    "comparison {comparison} has no level {level}; it has {}, {MISSING}",
                    known.join(", ")
                ));
            }
        }
        Ok(())
    }
}
