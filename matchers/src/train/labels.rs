//! What people said of pairs, where they did: it corrects what was learnt without them.

use rayon::prelude::*;

use crate::compare::Comparison;
use crate::model::Model;
use crate::score::{Scorer, TableScorer};
use crate::table::Table;

/// A pair of rows of which somebody said whether it is one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelledPair {
    /// The smaller row.
    pub left: u32,
    /// The other row.
    pub right: u32,
    /// Whether both are one person.
    pub is_match: bool,
}

/// How many labelled matches weigh as much as what was learnt without labels.
const UNLABELLED_STRENGTH: f64 = 100.0;
/// Standard deviation of the prior's correction, in bits, before any label is seen.
const CORRECTION_DEVIATION: f64 = 2.0;

/// Corrects a model by labelled pairs: the m of every comparison by how the matches among them compare, then the prior, so that the
/// probabilities of the pairs sum to the matches among them (logistic calibration of the intercept; Platt 1999).
pub fn learn_from_labels(model: &mut Model, table: &Table, labels: &[LabelledPair]) {
    for comparison in &mut model.comparisons {
        let counts = level_counts(&comparison.comparison, table, labels);
        let total = counts.iter().sum::<f64>() + UNLABELLED_STRENGTH;
        for (level, count) in comparison.levels.iter_mut().zip(counts) {
            let m = (level.m * UNLABELLED_STRENGTH + count) / total;
            level.m = m.clamp(1e-9, 1.0 - 1e-9);
        }
    }
    let weighed: Vec<(f64, f64)> = weigh(model, table, labels)
        .into_iter()
        .map(|(weight, is_match)| (weight, if is_match { 1.0 } else { 0.0 }))
        .collect();
    let odds = model.prior / (1.0 - model.prior) * correction(&weighed).exp2();
    model.prior = (odds / (1.0 + odds)).clamp(1e-12, 0.5);
}

/// How the labelled pairs weigh, beside what was said of them.
pub fn weigh(model: &Model, table: &Table, labels: &[LabelledPair]) -> Vec<(f64, bool)> {
    let scorer = Scorer::without_rules(model.clone());
    let scorer = TableScorer::new(&scorer, table);
    labels
        .par_iter()
        .with_min_len(1024)
        .map(|label| {
            let (_, score) = scorer.evidence(label.left as usize, label.right as usize);
            (score.weight.0, label.is_match)
        })
        .collect()
}

fn level_counts(comparison: &Comparison, table: &Table, labels: &[LabelledPair]) -> Vec<f64> {
    let plan = table.plan(comparison);
    let mut counts = vec![0.0; comparison.levels().len()];
    for label in labels.iter().filter(|label| label.is_match) {
        if let Some(found) = table.compare(plan, label.left as usize, label.right as usize) {
            counts[usize::from(found.level)] += 1.0;
        }
    }
    counts
}

/// What to add to every weight so that the probabilities agree best with what was said: Newton's method on the log posterior.
fn correction(weighed: &[(f64, f64)]) -> f64 {
    let ln_2 = std::f64::consts::LN_2;
    let variance = CORRECTION_DEVIATION * CORRECTION_DEVIATION;
    let mut correction = 0.0;
    for _ in 0..50 {
        let (mut slope, mut curvature) = (-correction / variance, 1.0 / variance);
        for (weight, is_match) in weighed {
            let probability = 1.0 / (1.0 + (-(weight + correction)).exp2());
            slope += (is_match - probability) * ln_2;
            curvature += probability * (1.0 - probability) * ln_2 * ln_2;
        }
        let step = (slope / curvature).clamp(-1.0, 1.0);
        correction += step;
        if step.abs() < 1e-9 {
            break;
        }
    }
    correction
}
