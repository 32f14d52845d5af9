//! From a pair of records to a weight and a decision, the same function for bulk jobs and for the service.

use serde::{Deserialize, Serialize};

use crate::compare::Comparison;
use crate::model::{MAX_COMPARISONS, MatchProbability, MatchWeight, Model};
use crate::normalise::NormalisedRecord;
use crate::rules::{MISSING, MatchRule, Pack, RuleEffect};

/// The level of an absent value.
pub const MISSING_LEVEL: u8 = u8::MAX;

/// What becomes of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Two persons.
    NonMatch,
    /// A steward decides.
    Review,
    /// One person.
    Match,
}

/// A weighed pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairScore {
    /// Sum of the prior's and all comparisons' weights.
    pub weight: MatchWeight,
    /// The decision by thresholds and match rules.
    pub decision: Decision,
    /// Index of the match rule that decided, if one did.
    pub rule: Option<u16>,
    /// What that rule does.
    pub effect: Option<RuleEffect>,
}

impl PairScore {
    /// The weight as a probability.
    pub fn probability(&self) -> MatchProbability {
        self.weight.into()
    }
}

/// One comparison's part in a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonPart {
    /// What was compared.
    pub comparison: Comparison,
    /// The level's name, `missing` for an absent value.
    pub level: &'static str,
    /// Weight of the level; 0 where missing.
    pub weight: MatchWeight,
    /// What the rarity of the agreed value adds.
    pub term_adjustment: MatchWeight,
}

/// Why a pair has its weight: the prior's and all parts' weights sum to it.
#[derive(Clone, Debug, PartialEq)]
pub struct PairExplanation {
    /// The score explained.
    pub score: PairScore,
    /// The weight of the prior.
    pub prior_weight: MatchWeight,
    /// The parts, in the order of the model.
    pub parts: Vec<ComparisonPart>,
    /// The name of the match rule that decided, if one did.
    pub rule: Option<String>,
}

/// A rule whose levels are bit masks by comparison of the model: bit `level`, bit 15 for missing.
struct CompiledRule {
    effect: RuleEffect,
    conditions: Vec<(usize, u16)>,
    exceptions: Vec<(usize, u16)>,
}

const MISSING_BIT: u16 = 1 << 15;

/// Weighs pairs under a frozen model and pack.
pub struct Scorer {
    model: Model,
    weights: Vec<Vec<f64>>,
    prior_weight: MatchWeight,
    rules: Vec<(u16, CompiledRule)>,
    rule_names: Vec<String>,
    match_weight: MatchWeight,
    review_weight: MatchWeight,
}

impl Scorer {
    /// A scorer for a model and the match rules and thresholds of a pack.
    pub fn new(model: Model, pack: &Pack) -> Self {
        let weights = model
            .comparisons
            .iter()
            .map(|comparison| {
                (0..comparison.levels.len() as u8)
                    .map(|level| comparison.weight(level).0)
                    .collect()
            })
            .collect();
        let mut rules: Vec<(u16, CompiledRule)> = pack
            .rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| Some((index as u16, compile(rule, &model)?)))
            .collect();
        rules.sort_by_key(|(index, rule)| (std::cmp::Reverse(rule.effect), *index));
        Self {
            prior_weight: model.prior_weight(),
            weights,
            rules,
            rule_names: pack.rules.iter().map(|rule| rule.name.clone()).collect(),
            match_weight: MatchProbability(pack.thresholds.match_probability).into(),
            review_weight: MatchProbability(pack.thresholds.review_probability).into(),
            model,
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The weight at which a pair matches.
    pub fn match_weight(&self) -> MatchWeight {
        self.match_weight
    }

    /// The weight at which a steward is asked.
    pub fn review_weight(&self) -> MatchWeight {
        self.review_weight
    }

    /// Weighs a pair. Symmetric; depends on nothing but the two records, model and pack.
    pub fn score(&self, left: &NormalisedRecord, right: &NormalisedRecord) -> PairScore {
        let mut levels = [MISSING_LEVEL; MAX_COMPARISONS];
        let mut weight = self.prior_weight;
        for (index, comparison) in self.model.comparisons.iter().enumerate() {
            let Some(agreement) = comparison.comparison.compare(left, right) else {
                continue;
            };
            levels[index] = agreement.level;
            weight.0 += self.weights[index][usize::from(agreement.level)];
            if let Some(term) = agreement.term {
                weight += comparison.term_adjustment(agreement.level, term);
            }
        }
        self.decide(weight, &levels)
    }

    /// The names of the levels in which a pair falls, in the order of the model; `missing` where a side is absent.
    pub fn levels(&self, left: &NormalisedRecord, right: &NormalisedRecord) -> Vec<&'static str> {
        let comparisons = self.model.comparisons.iter();
        comparisons
            .map(|comparison| {
                level_name(
                    &comparison.comparison,
                    comparison
                        .comparison
                        .compare(left, right)
                        .map(|agreement| agreement.level),
                )
            })
            .collect()
    }

    /// Weighs a pair and says why.
    pub fn explain(&self, left: &NormalisedRecord, right: &NormalisedRecord) -> PairExplanation {
        let parts = self
            .model
            .comparisons
            .iter()
            .map(|comparison| {
                let agreement = comparison.comparison.compare(left, right);
                let level = agreement.map(|agreement| agreement.level);
                ComparisonPart {
                    comparison: comparison.comparison.clone(),
                    level: level_name(&comparison.comparison, level),
                    weight: level.map_or(MatchWeight(0.0), |level| comparison.weight(level)),
                    term_adjustment: agreement
                        .and_then(|agreement| {
                            Some(comparison.term_adjustment(agreement.level, agreement.term?))
                        })
                        .unwrap_or_default(),
                }
            })
            .collect();
        let score = self.score(left, right);
        PairExplanation {
            score,
            prior_weight: self.prior_weight,
            parts,
            rule: score
                .rule
                .map(|index| self.rule_names[usize::from(index)].clone()),
        }
    }

    fn decide(&self, weight: MatchWeight, levels: &[u8; MAX_COMPARISONS]) -> PairScore {
        let by_weight = if weight >= self.match_weight {
            Decision::Match
        } else if weight >= self.review_weight {
            Decision::Review
        } else {
            Decision::NonMatch
        };
        let falls_in = |(comparison, mask): &(usize, u16)| {
            let bit = if levels[*comparison] == MISSING_LEVEL {
                MISSING_BIT
            } else {
                1 << levels[*comparison]
            };
            mask & bit != 0
        };
        let held = self.rules.iter().find(|(_, rule)| {
            rule.conditions.iter().all(falls_in) && !rule.exceptions.iter().any(falls_in)
        });
        let Some((index, rule)) = held else {
            return PairScore {
                weight,
                decision: by_weight,
                rule: None,
                effect: None,
            };
        };
        let decision = match rule.effect {
            RuleEffect::MustNotMatch => Decision::NonMatch,
            RuleEffect::MustMatch => Decision::Match,
            RuleEffect::CapAtReview => by_weight.min(Decision::Review),
        };
        PairScore {
            weight,
            decision,
            rule: Some(*index),
            effect: Some(rule.effect),
        }
    }
}

fn level_name(comparison: &Comparison, level: Option<u8>) -> &'static str {
    level.map_or(MISSING, |level| comparison.levels()[usize::from(level)])
}

/// `None` where the rule asks for a present value of a comparison that the model does not have: it can never hold.
fn compile(rule: &MatchRule, model: &Model) -> Option<CompiledRule> {
    let mut conditions = Vec::new();
    for (comparison, levels) in &rule.when {
        let mask = level_mask(comparison, levels);
        match model
            .comparisons
            .iter()
            .position(|candidate| candidate.comparison == *comparison)
        {
            Some(index) => conditions.push((index, mask)),
            None if mask & MISSING_BIT != 0 => {}
            None => return None,
        }
    }
    let mut exceptions = Vec::new();
    let lacking = |comparison: &Comparison| {
        *comparison != Comparison::Identifier("*".to_owned())
            && !model
                .comparisons
                .iter()
                .any(|candidate| candidate.comparison == *comparison)
    };
    if rule.unless.iter().any(|(comparison, levels)| {
        lacking(comparison) && level_mask(comparison, levels) & MISSING_BIT != 0
    }) {
        return None;
    }
    for (comparison, levels) in &rule.unless {
        let is_meant = |candidate: &Comparison| match (comparison, candidate) {
            (Comparison::Identifier(scheme), Comparison::Identifier(_)) if scheme == "*" => true,
            _ => candidate == comparison,
        };
        let meant = model
            .comparisons
            .iter()
            .enumerate()
            .filter(|(_, candidate)| is_meant(&candidate.comparison));
        exceptions.extend(meant.map(|(index, _)| (index, level_mask(comparison, levels))));
    }
    Some(CompiledRule {
        effect: rule.effect,
        conditions,
        exceptions,
    })
}

fn level_mask(comparison: &Comparison, levels: &[String]) -> u16 {
    let known = comparison.levels();
    let bit = |level: &String| {
        if level == MISSING {
            MISSING_BIT
        } else {
            known
                .iter()
                .position(|name| name == level)
                .map_or(0, |index| 1 << index)
        }
    };
    levels.iter().fold(0, |mask, level| mask | bit(level))
}
