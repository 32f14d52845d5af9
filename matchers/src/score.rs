//! From a pair of records to a weight and a decision, the same function for bulk jobs and for the service.

use serde::{Deserialize, Serialize};

use crate::cluster::Evidence;
use crate::compare::{Agreement, Comparison, Pattern};
use crate::model::{MAX_COMPARISONS, MatchProbability, MatchWeight, Model};
use crate::normalise::NormalisedRecord;
use crate::rules::{MISSING, MatchRule, Pack, RuleEffect};
use crate::table::{Plan, Presence, Table};

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
    sum: Sum,
    best: Sum,
    pairs: u32,
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
    parts: Vec<EvidencePart>,
    /// A rule caps every pair at review.
    capped: bool,
}

impl Evidence for PairEvidence {
    fn add(&mut self, other: &Self) {
        for (part, further) in self.parts.iter_mut().zip(&other.parts) {
            if further.pairs == 0 {
                continue;
            }
            part.sum.add(further.sum);
            if part.pairs == 0 || further.best.matching > part.best.matching {
                part.best = further.best;
            }
            part.pairs += further.pairs;
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
}

/// Weighs pairs under a frozen model and pack.
pub struct Scorer {
    model: Model,
    /// The comparisons in the order in which they are made and summed.
    order: Vec<usize>,
    weights: Vec<Vec<f64>>,
    /// log2 of household over u by comparison and level.
    household_weights: Vec<Vec<f64>>,
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
        Self {
            order,
            prior_weight: model.prior_weight(),
            household_prior: model.household_weight(),
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
        let mut parts = vec![EvidencePart::default(); self.order.len()];
        for index in &self.order {
            let Some((level, part)) = found(*index) else {
                continue;
            };
            levels.set(*index, level);
            total.add(part);
            parts[*index] = EvidencePart {
                sum: part,
                best: part,
                pairs: 1,
            };
        }
        let score = self.decide(self.weight_of(total), levels);
        let capped = score.effect == Some(RuleEffect::CapAtReview);
        (PairEvidence { parts, capped }, score)
    }

    /// The weight of everything that is known between two clusters, less the weight at which they are one person. Of what a
    /// person has one of, all pairs are heard; of what a person may have several of (addresses, phones), most of all the closest.
    pub fn join_weight(&self, evidence: &PairEvidence) -> f64 {
        let mut total = self.sum();
        for (comparison, part) in self.model.comparisons.iter().zip(&evidence.parts) {
            if part.pairs > 0 {
                let share = if comparison.comparison.is_shared_in_household() {
                    MEAN_SHARE_OF_SEVERAL
                } else {
                    MEAN_SHARE_OF_ONE
                };
                total.add(part.between_best_and_mean(share));
            }
        }
        let weight = self.weight_of(total).0 - self.match_weight.0;
        if evidence.capped {
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
        let adjustment = agreement.terms.map(|terms| {
            let comparison = &self.model.comparisons[index];
            comparison.term_adjustment(agreement.level, terms).0
        });
        self.part_of_level(index, agreement.level, adjustment)
    }

    fn part_of_level(&self, index: usize, level: u8, adjustment: Option<f64>) -> Sum {
        let level = usize::from(level);
        let mut part = Sum {
            matching: self.weights[index][level],
            household: self.household_weights[index][level],
        };
        if let Some(adjustment) = adjustment {
            part.matching += adjustment;
            // Two persons of one household have the rare surname in common, not the rare given name.
            if self.model.comparisons[index]
                .comparison
                .is_shared_in_household()
            {
                part.household += adjustment;
            }
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
        comparisons.map(move |(index, comparison)| {
            let level = levels.level(index);
            level.map_or(MISSING, |level| comparison.comparison.levels()[level])
        })
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
                level: level_name(&comparison.comparison, level),
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

/// Weighs pairs of a table's rows, as [`Scorer`] weighs the records that they were made of.
pub struct TableScorer<'a> {
    scorer: &'a Scorer,
    table: &'a Table,
    /// In the order in which they are made.
    steps: Vec<Step>,
}

/// Levels that a comparison has at most.
const MAX_LEVELS: usize = 16;

/// A comparison to be made.
struct Step {
    comparison: usize,
    plan: Plan,
    /// The bit without which it finds nothing.
    bit: u32,
    /// What each level adds.
    parts: [Sum; MAX_LEVELS],
    /// log2 of the mean term frequency of each level; not a number where rarity does not matter.
    means: [f64; MAX_LEVELS],
    /// log2 of the frequency of each term.
    frequencies: Vec<f64>,
    /// A household has the rare value in common.
    is_shared_in_household: bool,
    /// The most that it can add: nothing where a side has no value, and less where the values are not the same.
    at_best: [f64; 4],
}

impl Step {
    fn new(scorer: &Scorer, table: &Table, index: usize) -> Self {
        let model = &scorer.model.comparisons[index];
        let plan = table.plan(&model.comparison);
        let term_frequencies = model.term_frequencies.iter();
        let frequencies: Vec<f64> = term_frequencies
            .flat_map(|frequencies| {
                let terms = 0..table.term_count(plan) as u32;
                terms.map(|id| frequencies.of(table.term(plan, id)).log2())
            })
            .collect();
        let rarest = frequencies.iter().copied().fold(0.0, f64::min);
        let mut parts = [Sum::default(); MAX_LEVELS];
        let mut means = [f64::NAN; MAX_LEVELS];
        let mut most = [0.0; MAX_LEVELS];
        for (level, parameters) in model.levels.iter().enumerate() {
            parts[level] = scorer.part_of_level(index, level as u8, None);
            most[level] = parts[level].matching;
            if let Some(mean) = parameters.term_frequency
                && !frequencies.is_empty()
            {
                means[level] = mean.log2();
                most[level] += (means[level] - rarest).max(0.0);
            }
        }
        let at_best = |levels: &[f64]| levels.iter().copied().fold(0.0, f64::max);
        let (any, unequal) = (at_best(&most), at_best(&most[1..]));
        Self {
            comparison: index,
            plan,
            bit: table.presence_bit(plan),
            parts,
            means,
            frequencies,
            is_shared_in_household: model.comparison.is_shared_in_household(),
            at_best: [0.0, any, 0.0, unequal],
        }
    }

    fn hope(&self, present: Presence, unequal: Presence) -> f64 {
        let bit = |of: Presence| (of >> self.bit & 1) as usize;
        self.at_best[bit(present) | bit(unequal) << 1]
    }

    fn found(&self, table: &Table, left: usize, right: usize) -> Option<(u8, Sum)> {
        let found = table.compare(self.plan, left, right)?;
        let level = usize::from(found.level) % MAX_LEVELS;
        let mut part = self.parts[level];
        let (one, other) = found.terms;
        if one != 0 && !self.means[level].is_nan() {
            let rarer = self.frequencies[one as usize].min(self.frequencies[other as usize]);
            let adjustment = self.means[level] - rarer;
            part.matching += adjustment;
            if self.is_shared_in_household {
                part.household += adjustment;
            }
        }
        Some((found.level, part))
    }
}

/// More than rounding can make of a sum of weights.
const ROUNDING: f64 = 1e-6;

impl<'a> TableScorer<'a> {
    /// A scorer for a table.
    pub fn new(scorer: &'a Scorer, table: &'a Table) -> Self {
        let order = scorer.order.iter();
        Self {
            steps: order
                .map(|index| Step::new(scorer, table, *index))
                .collect(),
            scorer,
            table,
        }
    }

    /// Weighs a pair, and the levels in which it falls; `None` where it is no match and none for review. Comparisons are left out
    /// as soon as the rest of them cannot lift the pair to the review threshold.
    pub fn score(&self, left: usize, right: usize) -> Option<(PairScore, Pattern)> {
        let scorer = self.scorer;
        let (present, unequal) = self.table.presence(left, right);
        // A match rule may decide whatever the pair weighs.
        let least = if scorer.rules.is_empty() {
            scorer.review_weight.0 - ROUNDING
        } else {
            f64::NEG_INFINITY
        };
        // What the comparisons still to come add if they go as well as they can. A household takes something off, never adds.
        let mut hope: f64 = self
            .steps
            .iter()
            .map(|step| step.hope(present, unequal))
            .sum();
        let mut total = scorer.sum();
        let mut levels = Pattern::MISSING;
        for step in &self.steps {
            if present >> step.bit & 1 == 0 {
                continue;
            }
            if total.matching + hope < least {
                return None;
            }
            hope -= step.hope(present, unequal);
            if let Some((level, part)) = step.found(self.table, left, right) {
                levels.set(step.comparison, level);
                total.add(part);
            }
        }
        if total.matching < least {
            return None;
        }
        let score = scorer.decide(scorer.weight_of(total), levels);
        (score.decision != Decision::NonMatch).then_some((score, levels))
    }

    /// Brings rows near that are about to be compared.
    pub(crate) fn look_at(&self, rows: &[usize]) {
        self.table.look_at(rows.iter().copied());
    }

    /// [`Scorer::evidence`] of two rows.
    pub fn evidence(&self, left: usize, right: usize) -> (PairEvidence, PairScore) {
        let mut found = [None; MAX_COMPARISONS];
        for step in &self.steps {
            found[step.comparison] = step.found(self.table, left, right);
        }
        self.scorer.evidence_of(|index| found[index])
    }

    /// The scorer.
    pub fn scorer(&self) -> &'a Scorer {
        self.scorer
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
