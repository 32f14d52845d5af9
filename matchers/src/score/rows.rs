//! Pairs of a table's rows weighed, with what can be worked out once for all of them, and given up as soon as they are hopeless.

use super::{Decision, PairEvidence, PairScore, ROUNDING, Scorer, Sum};
use crate::compare::Pattern;
use crate::model::MAX_COMPARISONS;
use crate::table::{Plan, Presence, Table};

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
            part.add_rarity(self.means[level] - rarer, self.is_shared_in_household);
        }
        Some((found.level, part))
    }
}

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
