//! From a pair of records to a weight and a decision, the same function for bulk jobs and for the service.

mod rows;

pub use rows::TableScorer;

use std::hash::Hasher;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHasher};
use serde::{Deserialize, Serialize};

use crate::cluster::Evidence;
use crate::compare::{Agreement, CanAgree, Comparison, Pattern};
use crate::model::{ComparisonModel, MAX_COMPARISONS, MatchProbability, MatchWeight, Model};
use crate::normalise::NormalisedRecord;
use crate::rules::{MISSING, MatchRule, Pack, RuleEffect};

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
    /// What it takes off that the pair may be two persons of one household; at most 0.
    pub household_adjustment: MatchWeight,
    /// The name of the match rule that decided, if one did.
    pub rule: Option<String>,
}

/// How much the mean of all pairs counts beside the closest pair, in what a person has one of (a birth date) and in what a person
/// may have several of (addresses). Chosen on a wide plateau: every set of the quality run changes by less than one point
/// of F1 between 0.75 and 1, and between 0 and 0.5.
const MEAN_SHARE_OF_ONE: f64 = 0.8;
const MEAN_SHARE_OF_SEVERAL: f64 = 0.3;

/// What the pairs between two clusters say of one comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct EvidencePart {
    /// Its place in the order in which comparisons are summed.
    place: u32,
    pairs: u32,
    sum: Sum,
    best: Sum,
}

impl EvidencePart {
    fn between_best_and_mean(self, share: f64) -> Sum {
        let pairs = f64::from(self.pairs);
        let between = |best: f64, sum: f64| best + share * (sum / pairs - best);
        Sum {
            matching: between(self.best.matching, self.sum.matching),
            household: between(self.best.household, self.sum.household),
        }
    }
}

/// What the pairs between two clusters say, comparison by comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct PairEvidence {
    /// Of the comparisons that found something, in the order in which they are summed. Shared: what a pair says is looked up far
    /// more often than anything is added to it.
    parts: Arc<Vec<EvidencePart>>,
    /// A rule caps every pair at review.
    capped: bool,
}

impl PairEvidence {
    /// A hash of what it says.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = FxHasher::default();
        for part in self.parts.iter() {
            hasher.write_u32(part.place);
            hasher.write_u64(part.sum.matching.to_bits());
        }
        hasher.finish()
    }
}

impl Evidence for PairEvidence {
    fn add(&mut self, other: &Self) {
        let parts = Arc::make_mut(&mut self.parts);
        let mut at = 0;
        for further in other.parts.iter() {
            while (parts.get(at)).is_some_and(|part| part.place < further.place) {
                at += 1;
            }
            match parts.get_mut(at) {
                Some(part) if part.place == further.place => {
                    part.sum.add(further.sum);
                    if further.best.matching > part.best.matching {
                        part.best = further.best;
                    }
                    part.pairs += further.pairs;
                }
                _ => parts.insert(at, *further),
            }
            at += 1;
        }
        self.capped &= other.capped;
    }
}

/// A rule whose levels are bit masks by comparison of the model: bit `level`, bit 15 for missing.
struct CompiledRule {
    effect: RuleEffect,
    conditions: Vec<(usize, u16)>,
    exceptions: Vec<(usize, u16)>,
}

const MISSING_BIT: u16 = 1 << 15;

/// log2 odds of a match and of one household against strangers, as they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    matching: f64,
    household: f64,
}

impl Sum {
    fn add(&mut self, part: Self) {
        self.matching += part.matching;
        self.household += part.household;
    }

    /// Adds what the rarity of the compared values says. Two persons of one household have the rare surname in common, not the rare
    /// given name.
    fn add_rarity(&mut self, adjustment: f64, is_shared_in_household: bool) {
        self.matching += adjustment;
        if is_shared_in_household {
            self.household += adjustment;
        }
    }
}

/// What the rarity of compared values adds: [`ComparisonModel::term_adjustment`] with all logarithms taken.
///
/// [`ComparisonModel::term_adjustment`]: crate::model::ComparisonModel::term_adjustment
struct Rarity {
    /// log2 of the mean term frequency by level, where rarity matters.
    means: Vec<Option<f64>>,
    /// log2 of the frequency of each listed value.
    listed: FxHashMap<Box<str>, f64>,
    unlisted: f64,
}

impl Rarity {
    fn of(comparison: &ComparisonModel) -> Option<Self> {
        let frequencies = comparison.term_frequencies.as_ref()?;
        let levels = comparison.levels.iter();
        let listed = frequencies.listed.iter();
        Some(Self {
            means: levels
                .map(|level| level.term_frequency.map(f64::log2))
                .collect(),
            listed: listed
                .map(|(value, frequency)| (value.as_str().into(), frequency.log2()))
                .collect(),
            unlisted: frequencies.unlisted.log2(),
        })
    }

    /// The most that rarity adds on a level.
    fn most(&self, level: usize) -> f64 {
        let rarest = self.listed.values().copied().fold(self.unlisted, f64::min);
        self.means[level].map_or(0.0, |mean| (mean - rarest).max(0.0))
    }

    fn adjustment(&self, level: u8, (one, other): (&str, &str)) -> Option<f64> {
        let of = |value: &str| self.listed.get(value).copied().unwrap_or(self.unlisted);
        Some(self.means[usize::from(level)]? - of(one).min(of(other)))
    }
}

/// More than rounding can make of a sum of weights.
const ROUNDING: f64 = 1e-6;

/// Weighs pairs under a frozen model and pack.
pub struct Scorer {
    model: Model,
    /// The comparisons in the order in which they are made and summed.
    order: Vec<usize>,
    weights: Vec<Vec<f64>>,
    /// log2 of household over u by comparison and level.
    household_weights: Vec<Vec<f64>>,
    /// How much the mean of all pairs counts between clusters, in the order in which comparisons are summed.
    mean_shares: Vec<f64>,
    /// By comparison, where its term frequencies are known.
    rarities: Vec<Option<Rarity>>,
    /// The most that a comparison can add, by comparison: at any level, and below the strongest.
    at_best: Vec<(f64, f64)>,
    prior_weight: MatchWeight,
    household_prior: Option<MatchWeight>,
    rules: Vec<(u16, CompiledRule)>,
    rule_names: Vec<String>,
    match_weight: MatchWeight,
    review_weight: MatchWeight,
}

impl Scorer {
    /// A scorer for a model and the match rules and thresholds of a pack.
    pub fn new(model: Model, pack: &Pack) -> Self {
        let match_weight = MatchProbability(pack.thresholds.match_probability).into();
        let review_weight = MatchProbability(pack.thresholds.review_probability).into();
        Self::of(model, &pack.rules, match_weight, review_weight)
    }

    /// A scorer that only weighs: no rule decides, and every pair is worth keeping.
    pub(crate) fn without_rules(model: Model) -> Self {
        let any = MatchWeight(f64::NEG_INFINITY);
        Self::of(model, &[], any, any)
    }

    fn of(
        model: Model,
        match_rules: &[MatchRule],
        match_weight: MatchWeight,
        review_weight: MatchWeight,
    ) -> Self {
        let weights = model
            .comparisons
            .iter()
            .map(|comparison| {
                (0..comparison.levels.len() as u8)
                    .map(|level| comparison.weight(level).0)
                    .collect()
            })
            .collect();
        let household_weights = model
            .comparisons
            .iter()
            .map(|comparison| {
                let levels = comparison.levels.iter();
                levels
                    .map(|level| (level.household / level.u).log2())
                    .collect()
            })
            .collect();
        let mut rules: Vec<(u16, CompiledRule)> = match_rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| Some((index as u16, compile(rule, &model)?)))
            .collect();
        rules.sort_by_key(|(index, rule)| (std::cmp::Reverse(rule.effect), *index));
        let mut order: Vec<usize> = (0..model.comparisons.len()).collect();
        order.sort_by_key(|index| model.comparisons[*index].comparison.rank());
        let rarities: Vec<Option<Rarity>> = model.comparisons.iter().map(Rarity::of).collect();
        let at_best = rarities.iter().zip(&weights).map(|(rarity, weights)| {
            let weights: &Vec<f64> = weights;
            let levels = weights.iter().enumerate().map(|(level, weight)| {
                let rarest = rarity.as_ref().map_or(0.0, |rarity| rarity.most(level));
                weight + rarest
            });
            let most = |levels: &mut dyn Iterator<Item = f64>| levels.fold(0.0, f64::max);
            (most(&mut levels.clone()), most(&mut levels.skip(1)))
        });
        let mean_shares = order.iter().map(|index| {
            let comparison = &model.comparisons[*index].comparison;
            if comparison.is_shared_in_household() {
                MEAN_SHARE_OF_SEVERAL
            } else {
                MEAN_SHARE_OF_ONE
            }
        });
        let mean_shares = mean_shares.collect();
        Self {
            order,
            mean_shares,
            prior_weight: model.prior_weight(),
            household_prior: model.household_weight(),
            at_best: at_best.collect(),
            rarities,
            weights,
            household_weights,
            rules,
            rule_names: match_rules.iter().map(|rule| rule.name.clone()).collect(),
            match_weight,
            review_weight,
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
        let mut levels = Pattern::MISSING;
        let mut sum = self.sum();
        for index in &self.order {
            let comparison = &self.model.comparisons[*index].comparison;
            if let Some(agreement) = comparison.compare(left, right) {
                levels.set(*index, agreement.level);
                sum.add(self.part(*index, agreement));
            }
        }
        self.decide(self.weight_of(sum), levels)
    }

    /// [`Scorer::score`] of a pair that is a match or for review, `None` of any other: comparisons are left out as soon as the rest
    /// of them cannot lift the pair to the review threshold.
    pub fn score_close(
        &self,
        left: &NormalisedRecord,
        right: &NormalisedRecord,
    ) -> Option<PairScore> {
        // A match rule may decide whatever the pair weighs.
        let least = if self.rules.is_empty() {
            self.review_weight.0 - ROUNDING
        } else {
            f64::NEG_INFINITY
        };
        let hope_of = |index: usize| {
            let (any, unequal) = self.at_best[index];
            let comparison = &self.model.comparisons[index].comparison;
            match comparison.can_agree(left, right) {
                CanAgree::No => 0.0,
                CanAgree::Partly => unequal,
                CanAgree::Fully => any,
            }
        };
        let mut hopes = [0.0; MAX_COMPARISONS];
        for index in &self.order {
            hopes[*index] = hope_of(*index);
        }
        let mut hope: f64 = hopes.iter().sum();
        let mut levels = Pattern::MISSING;
        let mut sum = self.sum();
        for index in &self.order {
            if sum.matching + hope < least {
                return None;
            }
            hope -= hopes[*index];
            let comparison = &self.model.comparisons[*index].comparison;
            if let Some(agreement) = comparison.compare(left, right) {
                levels.set(*index, agreement.level);
                sum.add(self.part(*index, agreement));
            }
        }
        let score = self.decide(self.weight_of(sum), levels);
        (score.decision != Decision::NonMatch).then_some(score)
    }

    /// What a pair says, comparison by comparison, to be taken together with what other pairs say.
    pub fn evidence(
        &self,
        left: &NormalisedRecord,
        right: &NormalisedRecord,
    ) -> (PairEvidence, PairScore) {
        self.evidence_of(|index| {
            let comparison = &self.model.comparisons[index].comparison;
            let agreement = comparison.compare(left, right)?;
            Some((agreement.level, self.part(index, agreement)))
        })
    }

    fn evidence_of(&self, found: impl Fn(usize) -> Option<(u8, Sum)>) -> (PairEvidence, PairScore) {
        let mut levels = Pattern::MISSING;
        let mut total = self.sum();
        let mut parts = Vec::with_capacity(self.order.len());
        for (place, index) in (0..).zip(&self.order) {
            let Some((level, sum)) = found(*index) else {
                continue;
            };
            levels.set(*index, level);
            total.add(sum);
            parts.push(EvidencePart {
                place,
                pairs: 1,
                sum,
                best: sum,
            });
        }
        parts.shrink_to_fit();
        let score = self.decide(self.weight_of(total), levels);
        let capped = score.effect == Some(RuleEffect::CapAtReview);
        let parts = Arc::new(parts);
        (PairEvidence { parts, capped }, score)
    }

    /// The weight of everything that is known between two clusters, less the weight at which they are one person. Of what a
    /// person has one of, all pairs are heard; of what a person may have several of (addresses, phones), most of all the closest.
    pub fn join_weight(&self, evidence: &PairEvidence) -> f64 {
        let mut total = self.sum();
        for part in evidence.parts.iter() {
            let share = self.mean_shares[part.place as usize];
            total.add(part.between_best_and_mean(share));
        }
        self.over_match(self.weight_of(total), evidence.capped)
    }

    /// [`Scorer::join_weight`] of a single pair, to the last bit.
    pub fn join_weight_of_pair(&self, score: &PairScore) -> f64 {
        let capped = score.effect == Some(RuleEffect::CapAtReview);
        self.over_match(score.weight, capped)
    }

    /// By how much a weight is over that of a match.
    fn over_match(&self, weight: MatchWeight, capped: bool) -> f64 {
        let weight = weight.0 - self.match_weight.0;
        if capped {
            weight.min(-f64::MIN_POSITIVE)
        } else {
            weight
        }
    }

    fn sum(&self) -> Sum {
        Sum {
            matching: self.prior_weight.0,
            household: self.household_prior.unwrap_or_default().0,
        }
    }

    /// What one comparison adds.
    fn part(&self, index: usize, agreement: Agreement<'_>) -> Sum {
        let rarity = self.rarities[index].as_ref();
        let adjustment = agreement
            .terms
            .and_then(|terms| rarity?.adjustment(agreement.level, terms));
        self.part_of_level(index, agreement.level, adjustment)
    }

    fn part_of_level(&self, index: usize, level: u8, adjustment: Option<f64>) -> Sum {
        let level = usize::from(level);
        let mut part = Sum {
            matching: self.weights[index][level],
            household: self.household_weights[index][level],
        };
        if let Some(adjustment) = adjustment {
            let comparison = &self.model.comparisons[index].comparison;
            part.add_rarity(adjustment, comparison.is_shared_in_household());
        }
        part
    }

    fn weight_of(&self, sum: Sum) -> MatchWeight {
        MatchWeight(sum.matching) + self.household_adjustment(sum)
    }

    fn household_adjustment(&self, sum: Sum) -> MatchWeight {
        match self.household_prior {
            Some(_) => MatchWeight(-sum.household.exp2().ln_1p() / std::f64::consts::LN_2),
            None => MatchWeight(0.0),
        }
    }

    /// The levels in which a pair falls.
    pub fn levels(&self, left: &NormalisedRecord, right: &NormalisedRecord) -> Pattern {
        let comparisons = self.model.comparisons.iter();
        Pattern::of_levels(comparisons.map(|comparison| {
            let agreement = comparison.comparison.compare(left, right);
            agreement.map(|agreement| usize::from(agreement.level))
        }))
    }

    /// The names of levels, in the order of the model; `missing` where a side is absent.
    pub fn level_names(&self, levels: Pattern) -> impl Iterator<Item = &'static str> {
        let comparisons = self.model.comparisons.iter().enumerate();
        comparisons
            .map(move |(index, comparison)| level_name(&comparison.comparison, levels.level(index)))
    }

    /// Weighs a pair and says why.
    pub fn explain(&self, left: &NormalisedRecord, right: &NormalisedRecord) -> PairExplanation {
        let mut sum = self.sum();
        let mut parts = Vec::with_capacity(self.model.comparisons.len());
        for (index, comparison) in self.model.comparisons.iter().enumerate() {
            let agreement = comparison.comparison.compare(left, right);
            let level = agreement.map(|agreement| agreement.level);
            if let Some(agreement) = agreement {
                sum.add(self.part(index, agreement));
            }
            parts.push(ComparisonPart {
                comparison: comparison.comparison.clone(),
                level: level_name(&comparison.comparison, level.map(usize::from)),
                weight: level.map_or(MatchWeight(0.0), |level| comparison.weight(level)),
                term_adjustment: agreement
                    .and_then(|agreement| {
                        Some(comparison.term_adjustment(agreement.level, agreement.terms?))
                    })
                    .unwrap_or_default(),
            });
        }
        let score = self.score(left, right);
        PairExplanation {
            score,
            prior_weight: self.prior_weight,
            parts,
            household_adjustment: self.household_adjustment(sum),
            rule: score
                .rule
                .map(|index| self.rule_names[usize::from(index)].clone()),
        }
    }

    fn decide(&self, weight: MatchWeight, levels: Pattern) -> PairScore {
        let by_weight = if weight >= self.match_weight {
            Decision::Match
        } else if weight >= self.review_weight {
            Decision::Review
        } else {
            Decision::NonMatch
        };
        let falls_in = |(comparison, mask): &(usize, u16)| mask & levels.mask(*comparison) != 0;
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

fn level_name(comparison: &Comparison, level: Option<usize>) -> &'static str {
    level.map_or(MISSING, |level| comparison.levels()[level])
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
