//! Clusters against truth: pairwise, B-cubed (Bagga and Baldwin 1998) and exact-cluster measures.

use rustc_hash::FxHashMap;
use serde::Serialize;

/// Precision, recall and their harmonic mean, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measure {
    /// Of what was found, how much is true.
    pub precision: f64,
    /// Of what is true, how much was found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

impl Measure {
    fn new(both: f64, found: f64, true_count: f64) -> Self {
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        Self::of(ratio(both, found), ratio(both, true_count))
    }

    fn of(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self {
            precision,
            recall,
            f1: if sum > 0.0 {
                2.0 * precision * recall / sum
            } else {
                0.0
            },
        }
    }
}

/// How well clusters agree with the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Records judged.
    pub records: usize,
    /// Clusters found.
    pub clusters: usize,
    /// Clusters in the truth.
    pub true_clusters: usize,
    /// Pairs of records within a cluster.
    pub pairwise: Measure,
    /// B-cubed: averaged over records.
    pub b_cubed: Measure,
    /// Clusters found exactly.
    pub exact_cluster: Measure,
}

/// Evaluates one (cluster, true cluster) couple a record.
///
/// ```
/// let evaluation = veridem_matchers::evaluate(&[(1, 1), (1, 1), (1, 2)]);
/// assert_eq!(evaluation.pairwise.recall, 1.0);
/// assert!((evaluation.pairwise.precision - 1.0 / 3.0).abs() < 1e-12);
/// ```
pub fn evaluate(records: &[(u64, u64)]) -> Evaluation {
    let mut found: FxHashMap<u64, u64> = FxHashMap::default();
    let mut truth: FxHashMap<u64, u64> = FxHashMap::default();
    let mut both: FxHashMap<(u64, u64), u64> = FxHashMap::default();
    for (cluster, true_cluster) in records {
        *found.entry(*cluster).or_default() += 1;
        *truth.entry(*true_cluster).or_default() += 1;
        *both.entry((*cluster, *true_cluster)).or_default() += 1;
    }
    let pairs = |size: &u64| (size * (size - 1) / 2) as f64;
    let pairwise = Measure::new(
        both.values().map(pairs).sum(),
        found.values().map(pairs).sum(),
        truth.values().map(pairs).sum(),
    );
    let mut cells: Vec<(&(u64, u64), &u64)> = both.iter().collect();
    cells.sort_unstable();
    let mean = |size_of: &dyn Fn(&(u64, u64)) -> u64| {
        let sum: f64 = cells
            .iter()
            .map(|(cell, count)| (**count * **count) as f64 / size_of(cell) as f64)
            .sum();
        if records.is_empty() {
            1.0
        } else {
            sum / records.len() as f64
        }
    };
    let b_cubed = Measure::of(mean(&|cell| found[&cell.0]), mean(&|cell| truth[&cell.1]));
    let exact = both
        .iter()
        .filter(|(cell, count)| found[&cell.0] == **count && truth[&cell.1] == **count)
        .count();
    Evaluation {
        records: records.len(),
        clusters: found.len(),
        true_clusters: truth.len(),
        pairwise,
        b_cubed,
        exact_cluster: Measure::new(exact as f64, found.len() as f64, truth.len() as f64),
    }
}
