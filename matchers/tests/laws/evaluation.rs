//! Clusters against truth, by brute force.

use proptest::prelude::*;
use veridem_matchers::{Measure, evaluate};

use crate::arbitrary::cases;

fn assert_measure(found: Measure, precision: f64, recall: f64) {
    let f1 = if precision + recall > 0.0 {
        2.0 * precision * recall / (precision + recall)
    } else {
        0.0
    };
    for (name, value, expected) in [
        ("precision", found.precision, precision),
        ("recall", found.recall, recall),
        ("f1", found.f1, f1),
    ] {
        assert!(
            (value - expected).abs() < 1e-9,
            "{name} is {value}, counted {expected}"
        );
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

fn records() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..6_u64, prop_oneof![0..6_u64, Just(u64::MAX)]), 0..30)
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn pairwise_equals_counted_pairs(records in records()) {
        let pairs = || {
            records.iter().enumerate().flat_map(|(at, left)| {
                records[at + 1..]
                    .iter()
                    .map(move |right| (left.0 == right.0, left.1 == right.1))
            })
        };
        let both = pairs().filter(|(found, truth)| *found && *truth).count();
        let found = pairs().filter(|(found, _)| *found).count();
        let truth = pairs().filter(|(_, truth)| *truth).count();
        assert_measure(
            evaluate(&records).pairwise,
            ratio(both, found),
            ratio(both, truth),
        );
    }

    #[test]
    fn b_cubed_equals_the_mean_over_records(records in records()) {
        if records.is_empty() {
            return Ok(());
        }
        let (mut precision, mut recall) = (0.0, 0.0);
        for (cluster, truth) in &records {
            let both = records
                .iter()
                .filter(|other| (other.0, other.1) == (*cluster, *truth))
                .count() as f64;
            precision += both / records.iter().filter(|other| other.0 == *cluster).count() as f64;
            recall += both / records.iter().filter(|other| other.1 == *truth).count() as f64;
        }
        assert_measure(
            evaluate(&records).b_cubed,
            precision / records.len() as f64,
            recall / records.len() as f64,
        );
    }

    #[test]
    fn exact_clusters_equal_compared_sets(records in records()) {
        let sets = |of: &dyn Fn(&(u64, u64)) -> u64| {
            let mut groups: std::collections::BTreeMap<u64, Vec<usize>> =
                std::collections::BTreeMap::new();
            for (row, record) in records.iter().enumerate() {
                groups.entry(of(record)).or_default().push(row);
            }
            groups.into_values().collect::<Vec<_>>()
        };
        let (found, truth) = (sets(&|record| record.0), sets(&|record| record.1));
        let exact = found
            .iter()
            .filter(|cluster| truth.contains(cluster))
            .count();
        let evaluation = evaluate(&records);
        assert_measure(
            evaluation.exact_cluster,
            ratio(exact, found.len()),
            ratio(exact, truth.len()),
        );
        prop_assert_eq!(
            (
                evaluation.records,
                evaluation.clusters,
                evaluation.true_clusters
            ),
            (records.len(), found.len(), truth.len())
        );
    }

    #[test]
    fn order_and_names_of_clusters_do_not_matter(records in records()) {
        let renamed: Vec<(u64, u64)> = records
            .iter()
            .rev()
            .map(|(cluster, truth)| (cluster * 1_000 + 17, truth ^ 5))
            .collect();
        let (one, other) = (evaluate(&records), evaluate(&renamed));
        for (left, right) in [
            (one.pairwise, other.pairwise),
            (one.b_cubed, other.b_cubed),
            (one.exact_cluster, other.exact_cluster),
        ] {
            assert_measure(left, right.precision, right.recall);
        }
    }

    #[test]
    fn the_truth_is_perfect(clusters in prop::collection::vec(0..9_u64, 0..30)) {
        let records: Vec<(u64, u64)> = clusters
            .iter()
            .map(|cluster| (*cluster, cluster + 100))
            .collect();
        let evaluation = evaluate(&records);
        for measure in [
            evaluation.pairwise,
            evaluation.b_cubed,
            evaluation.exact_cluster,
        ] {
            assert_measure(measure, 1.0, 1.0);
        }
    }
}

#[test]
fn known_cases() {
    // One cluster of two persons; all apart; the example of Bagga and Baldwin in small.
    let one = evaluate(&[(1, 1), (1, 1), (1, 2), (1, 2)]);
    assert_measure(one.pairwise, 2.0 / 6.0, 1.0);
    assert_measure(one.b_cubed, 0.5, 1.0);
    assert_measure(one.exact_cluster, 0.0, 0.0);
    let apart = evaluate(&[(1, 1), (2, 1), (3, 2)]);
    assert_measure(apart.pairwise, 1.0, 0.0);
    assert_measure(apart.b_cubed, 1.0, 2.0 / 3.0);
    assert_measure(apart.exact_cluster, 1.0 / 3.0, 0.5);
}
