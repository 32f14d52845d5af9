//! What people said of pairs, where they did. The m of labelled persons corrects what was learnt without them. To correct the prior by
//! labelled pairs as well was tried: better on one set, worse on two, since whole clusters are judged, not pairs.

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

/// Corrects the m of every comparison by how labelled matches compare. These must be a fair sample of all matches, as all pairs of
/// some persons are, not pairs chosen because they are hard.
pub fn learn_m(model: &mut Model, table: &Table, matches: &[LabelledPair]) {
    for comparison in &mut model.comparisons {
        let counts = level_counts(&comparison.comparison, table, matches);
        let total = counts.iter().sum::<f64>() + UNLABELLED_STRENGTH;
        for (level, count) in comparison.levels.iter_mut().zip(counts) {
            let m = (level.m * UNLABELLED_STRENGTH + count) / total;
            level.m = m.clamp(1e-9, 1.0 - 1e-9);
        }
    }
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
