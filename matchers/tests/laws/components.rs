//! Connected components against a naive oracle.

use std::collections::BTreeSet;

use proptest::prelude::*;
use veridem_matchers::cluster::connected_components;

use crate::arbitrary::cases;

/// Spreads the smallest label along the edges until nothing changes.
pub fn components_by_labels(count: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut labels: Vec<usize> = (0..count).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for (left, right) in edges {
            let label = labels[*left].min(labels[*right]);
            changed |= labels[*left] != label || labels[*right] != label;
            labels[*left] = label;
            labels[*right] = label;
        }
    }
    let distinct: BTreeSet<usize> = labels.iter().copied().collect();
    distinct
        .iter()
        .map(|label| {
            (0..count)
                .filter(|member| labels[*member] == *label)
                .collect()
        })
        .collect()
}

fn graph() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    (1..40_usize).prop_flat_map(|count| {
        (
            Just(count),
            prop::collection::vec((0..count, 0..count), 0..50),
        )
    })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn components_equal_the_oracle((count, edges) in graph()) {
        prop_assert_eq!(
            connected_components(count, edges.iter().copied()),
            components_by_labels(count, &edges)
        );
    }

    #[test]
    fn order_and_direction_of_edges_do_not_matter((count, edges) in graph()) {
        let turned = edges.iter().rev().map(|(left, right)| (*right, *left));
        prop_assert_eq!(
            connected_components(count, turned),
            connected_components(count, edges.iter().copied())
        );
    }
}

#[test]
fn no_members_and_long_chains() {
    assert!(connected_components(0, std::iter::empty()).is_empty());
    let chain = 200_000;
    let backwards = (1..chain).rev().map(|member| (member, member - 1));
    assert_eq!(
        connected_components(chain, backwards),
        vec![(0..chain).collect::<Vec<_>>()]
    );
}
