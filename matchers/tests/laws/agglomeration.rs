//! Constrained average linkage against a brute-force oracle of the rule in its documentation.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use veridem_matchers::cluster::{ComparedPair, Component, Evidence, Link};

use crate::arbitrary::cases;

/// What is known of a pair in these tests: a weight or a word.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Weight(f64),
    Must,
    Cannot,
}

/// Evidence whose weight is the mean of all pairs.
#[derive(Clone)]
struct Mean {
    sum: f64,
    pairs: f64,
}

impl Evidence for Mean {
    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.pairs += other.pairs;
    }
}

type Links = Vec<(usize, usize, Known)>;
type Clusters = Vec<Vec<usize>>;

/// Clusters of the real thing: weights come when a pair is compared, words are known beforehand.
fn clusters_of(members: usize, links: &Links, weigh: &dyn Fn(usize, usize) -> Known) -> Clusters {
    let known = by_pair(links);
    let compare = |left: usize, right: usize| {
        let known = known.get(&(left, right)).copied();
        let (weight, link) = match known.unwrap_or_else(|| weigh(left, right)) {
            Known::Weight(weight) => (weight.clamp(-12.0, 12.0), None),
            Known::Must => (12.0, Some(Link::Must)),
            Known::Cannot => (-12.0, Some(Link::Cannot)),
        };
        let evidence = Mean {
            sum: weight,
            pairs: 1.0,
        };
        (evidence, link)
    };
    let weigh = |evidence: &Mean| evidence.sum / evidence.pairs;
    let pair_of = |(left, right, _): &(usize, usize, Known)| {
        let (evidence, link) = compare(*left, *right);
        ComparedPair {
            left: *left,
            right: *right,
            weight: weigh(&evidence),
            link,
        }
    };
    Component {
        members,
        pairs: links.iter().map(pair_of).collect(),
        links: Vec::new(),
        compare: &compare,
        weigh: &weigh,
    }
    .clusters()
}

/// The documented rule, computed anew in every step: must-links first, in the order of members, unless a cannot-link is in
/// the way; then the two clusters with the highest mean of all pairs join, the smallest members first among equals.
fn clusters_by_oracle(
    members: usize,
    links: &BTreeMap<(usize, usize), Known>,
    unseen: Option<f64>,
) -> Clusters {
    let bounded = |link: Option<&Known>| match link {
        Some(Known::Weight(weight)) => weight.clamp(-12.0, 12.0),
        Some(Known::Must) => 12.0,
        Some(Known::Cannot) => -12.0,
        None => unseen.expect("every pair is known"),
    };
    let pairs = |left: &[usize], right: &[usize]| -> Vec<Option<&Known>> {
        left.iter()
            .flat_map(|one| {
                right
                    .iter()
                    .map(|other| links.get(&(*one.min(other), *one.max(other))))
            })
            .collect()
    };
    let mut clusters: Clusters = (0..members).map(|member| vec![member]).collect();
    let join = |clusters: &mut Clusters, left: usize, right: usize| {
        let moved = clusters.remove(right);
        clusters[left].extend(moved);
        clusters[left].sort_unstable();
        clusters.sort_unstable();
    };
    for ((one, other), _) in links.iter().filter(|(_, link)| **link == Known::Must) {
        let place = |member: &usize| {
            clusters
                .iter()
                .position(|cluster| cluster.contains(member))
                .expect("a cluster")
        };
        let (left, right) = (place(one).min(place(other)), place(one).max(place(other)));
        if left != right
            && !pairs(&clusters[left], &clusters[right]).contains(&Some(&Known::Cannot))
        {
            join(&mut clusters, left, right);
        }
    }
    let mut contested: Vec<usize> = Vec::new();
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for left in 0..clusters.len() {
            for right in left + 1..clusters.len() {
                let between = pairs(&clusters[left], &clusters[right]);
                let forbidden =
                    between.contains(&Some(&Known::Cannot)) || between.iter().all(Option::is_none);
                let mean =
                    between.iter().map(|link| bounded(*link)).sum::<f64>() / between.len() as f64;
                let is_contested = |cluster: &Vec<usize>| contested.contains(&cluster[0]);
                let forbidden =
                    forbidden || is_contested(&clusters[left]) || is_contested(&clusters[right]);
                if !forbidden && mean >= 0.0 && best.is_none_or(|(highest, ..)| mean > highest) {
                    best = Some((mean, left, right));
                }
            }
        }
        let Some((highest, left, right)) = best else {
            return clusters;
        };
        // A single member that another cluster wants as much, which speaks against this one, joins neither.
        let mean = |one: usize, other: usize| -> Option<f64> {
            let between = pairs(&clusters[one.min(other)], &clusters[one.max(other)]);
            let forbidden =
                between.contains(&Some(&Known::Cannot)) || between.iter().all(Option::is_none);
            let sum: f64 = (!forbidden).then(|| between.iter().map(|link| bounded(*link)).sum())?;
            Some(sum / between.len() as f64)
        };
        let wanted_elsewhere = |member: usize, by: usize| {
            clusters[member].len() == 1
                && (0..clusters.len()).any(|rival| {
                    rival != by
                        && rival != member
                        && !contested.contains(&clusters[rival][0])
                        && mean(member, rival) == Some(highest)
                        && mean(by, rival).is_none_or(|mean| mean < 0.0)
                })
        };
        if let Some((member, _)) = [(right, left), (left, right)]
            .into_iter()
            .find(|(member, by)| wanted_elsewhere(*member, *by))
        {
            contested.push(clusters[member][0]);
            continue;
        }
        join(&mut clusters, left, right);
    }
}

/// Whole weights, so that sums are exact in any order and ties are real ties.
fn any_known() -> impl Strategy<Value = Known> {
    prop_oneof![8 => (-15..16_i32).prop_map(|weight| Known::Weight(f64::from(weight))), 1 => Just(Known::Must), 1 => Just(Known::Cannot)]
}

/// At most so many members and a link for every pair.
fn component(most: usize) -> impl Strategy<Value = (usize, Links)> {
    component_of(1..=most)
}

fn component_of(members: RangeInclusive<usize>) -> impl Strategy<Value = (usize, Links)> {
    members.prop_flat_map(|members| {
        let pairs: Vec<(usize, usize)> = (0..members)
            .flat_map(|left| (left + 1..members).map(move |right| (left, right)))
            .collect();
        let count = pairs.len();
        prop::collection::vec(any_known(), count).prop_map(move |links| {
            (
                members,
                pairs
                    .iter()
                    .zip(links)
                    .map(|((left, right), link)| (*left, *right, link))
                    .collect(),
            )
        })
    })
}

/// Ten members with weights whose sums depend on the order of adding.
fn fractional() -> impl Strategy<Value = (usize, Links)> {
    prop::collection::vec(-12.0..12.0_f64, 45).prop_map(|weights| {
        let pairs = (0..10).flat_map(|left| (left + 1..10).map(move |right| (left, right)));
        let weigh = |((left, right), weight)| (left, right, Known::Weight(weight));
        (10, pairs.zip(weights).map(weigh).collect())
    })
}

fn in_two_orders(
    components: impl Strategy<Value = (usize, Links)>,
) -> impl Strategy<Value = (usize, Links, Links)> {
    components.prop_flat_map(|(members, links)| {
        (
            Just(members),
            Just(links.clone()),
            Just(links).prop_shuffle(),
        )
    })
}

fn by_pair(links: &Links) -> BTreeMap<(usize, usize), Known> {
    links
        .iter()
        .map(|(left, right, link)| ((*left, *right), *link))
        .collect()
}

fn together(clusters: &Clusters, left: usize, right: usize) -> bool {
    clusters
        .iter()
        .any(|cluster| cluster.contains(&left) && cluster.contains(&right))
}

fn never(_: usize, _: usize) -> Known {
    panic!("every pair is known")
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn equals_the_oracle((members, links) in prop_oneof![component(7), component(12)]) {
        prop_assert_eq!(
            clusters_of(members, &links, &never),
            clusters_by_oracle(members, &by_pair(&links), None)
        );
    }

    #[test]
    fn clusters_divide_the_members((members, links) in component(10)) {
        let clusters = clusters_of(members, &links, &never);
        prop_assert!(
            clusters
                .iter()
                .all(|cluster| !cluster.is_empty() && cluster.is_sorted())
        );
        prop_assert!(clusters.is_sorted());
        let mut all: Vec<usize> = clusters.into_iter().flatten().collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..members).collect::<Vec<_>>());
    }

    #[test]
    fn cannot_links_hold_and_must_links_unless_one_is_in_the_way(
        (members, links) in component(10),
    ) {
        let clusters = clusters_of(members, &links, &never);
        let cannot: Vec<(usize, usize)> = links
            .iter()
            .filter(|(.., link)| *link == Known::Cannot)
            .map(|(left, right, _)| (*left, *right))
            .collect();
        for (left, right, link) in &links {
            match link {
                Known::Cannot => prop_assert!(
                    !together(&clusters, *left, *right),
                    "{left} and {right} cannot"
                ),
                Known::Must if !together(&clusters, *left, *right) => {
                    let united: Vec<usize> = clusters
                        .iter()
                        .filter(|cluster| cluster.contains(left) || cluster.contains(right))
                        .flatten()
                        .copied()
                        .collect();
                    let in_the_way = cannot
                        .iter()
                        .any(|(one, other)| united.contains(one) && united.contains(other));
                    prop_assert!(
                        in_the_way,
                        "{left} and {right} must, and nothing is in the way"
                    );
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_pair_need_not_be_named_to_be_weighed(
        (members, links) in component(9),
        hidden in any::<u64>(),
    ) {
        let all = by_pair(&links);
        let must_or_drawn =
            |index: usize, link: Known| link == Known::Must || hidden >> (index % 64) & 1 == 0;
        let named: Links = links
            .iter()
            .enumerate()
            .filter(|(index, (.., link))| must_or_drawn(*index, *link))
            .map(|(_, link)| *link)
            .collect();
        let weigh = |left: usize, right: usize| all[&(left, right)];
        prop_assert_eq!(
            clusters_of(members, &named, &weigh),
            clusters_of(members, &links, &never)
        );
    }

    #[test]
    fn the_order_of_links_does_not_matter((members, links, shuffled) in in_two_orders(component(10))) {
        prop_assert_eq!(clusters_of(members, &shuffled, &never), clusters_of(members, &links, &never));
    }

    #[test]
    fn the_order_of_fractional_weights_does_not_matter((members, links, shuffled) in in_two_orders(fractional())) {
        prop_assert_eq!(clusters_of(members, &shuffled, &never), clusters_of(members, &links, &never));
    }

    /// Groups that agree within and disagree without are found as they are; one group alone is the connected component.
    #[test]
    fn agreeing_groups_are_the_clusters(
        groups in prop::collection::vec(0..4_usize, 1..12),
        weights in prop::collection::vec(0.1..12.0_f64, 66),
    ) {
        let members = groups.len();
        let weight = |left: usize, right: usize| weights[(left * 7 + right) % weights.len()];
        let weigh = |left: usize, right: usize| {
            Known::Weight(if groups[left] == groups[right] {
                weight(left, right)
            } else {
                -weight(left, right)
            })
        };
        let edges: Vec<(usize, usize)> = (0..members)
            .flat_map(|left| (left + 1..members).map(move |right| (left, right)))
            .filter(|(left, right)| groups[*left] == groups[*right])
            .collect();
        prop_assert_eq!(
            clusters_of(members, &Vec::new(), &weigh),
            crate::components::components_by_labels(members, &edges)
        );
        let all_agree = |left: usize, right: usize| Known::Weight(weight(left, right));
        prop_assert_eq!(
            clusters_of(members, &Vec::new(), &all_agree),
            vec![(0..members).collect::<Vec<_>>()]
        );
    }
}

proptest! {
    #![proptest_config(cases(30))]

    /// As many members as are not compared in full, every pair named all the same.
    #[test]
    fn large_components_of_named_pairs_equal_the_oracle((members, links) in component_of(31..=36)) {
        prop_assert_eq!(
            clusters_of(members, &links, &never),
            clusters_by_oracle(members, &by_pair(&links), None)
        );
    }
}

proptest! {
    #![proptest_config(cases(6))]

    /// Beyond 30 members a pair that is not named is compared when the clusters of its members are about to join.
    #[test]
    fn large_components_equal_the_oracle(
        links in prop::collection::btree_map((0..40_usize, 0..40_usize), any_known(), 1..80),
        unseen in -12..12_i32,
    ) {
        let members = 401;
        let links: Links = links
            .into_iter()
            .filter(|((left, right), _)| left < right)
            .map(|((left, right), link)| (left * 10, right * 10, link))
            .collect();
        let unseen = f64::from(unseen);
        let clusters = clusters_of(members, &links, &|_, _| Known::Weight(unseen));
        let known = by_pair(&links);
        for cluster in &clusters {
            for (place, left) in cluster.iter().enumerate() {
                for right in &cluster[place + 1..] {
                    prop_assert_ne!(known.get(&(*left, *right)), Some(&Known::Cannot));
                }
            }
        }
        // Where what was not named speaks against, two that join have been named and heard as one.
        if unseen < 0.0 {
            for cluster in clusters.iter().filter(|cluster| cluster.len() == 2) {
                let named = known.get(&(cluster[0], cluster[1]));
                prop_assert!(matches!(named, Some(Known::Must)) || matches!(named, Some(Known::Weight(weight)) if *weight >= 0.0));
            }
        }
    }
}

#[test]
fn a_chain_of_lucky_pairs_does_not_pull_strangers_together() {
    let chain = |strangers: f64| {
        vec![
            (0, 1, Known::Weight(9.0)),
            (1, 2, Known::Weight(8.0)),
            (0, 2, Known::Weight(strangers)),
        ]
    };
    assert_eq!(clusters_of(3, &chain(-12.0), &never), [vec![0, 1], vec![2]]);
    assert_eq!(clusters_of(3, &chain(-1.0), &never), [vec![0, 1, 2]]);
    let cannot = vec![
        (0, 1, Known::Weight(9.0)),
        (1, 2, Known::Weight(8.0)),
        (0, 2, Known::Cannot),
    ];
    assert_eq!(clusters_of(3, &cannot, &never), [vec![0, 1], vec![2]]);
    let must = vec![
        (0, 1, Known::Must),
        (1, 2, Known::Must),
        (0, 2, Known::Weight(-90.0)),
    ];
    assert_eq!(clusters_of(3, &must, &never), [vec![0, 1, 2]]);
    let contradiction = vec![
        (0, 1, Known::Must),
        (1, 2, Known::Must),
        (0, 2, Known::Cannot),
    ];
    assert_eq!(
        clusters_of(3, &contradiction, &never),
        [vec![0, 1], vec![2]]
    );
}

#[test]
fn of_words_that_contradict_each_other_the_earlier_wins() {
    let clusters_of = |links: &[(usize, usize, Link)]| {
        Component {
            members: 3,
            pairs: Vec::new(),
            links: links.to_vec(),
            compare: &|_, _| {
                let nothing = Mean {
                    sum: -1.0,
                    pairs: 1.0,
                };
                (nothing, None)
            },
            weigh: &|evidence: &Mean| evidence.sum / evidence.pairs,
        }
        .clusters()
    };
    let apart = (0, 2, Link::Cannot);
    let (first, last) = ((0, 1, Link::Must), (1, 2, Link::Must));
    assert_eq!(clusters_of(&[first, last, apart]), [vec![0, 1], vec![2]]);
    assert_eq!(clusters_of(&[last, first, apart]), [vec![0], vec![1, 2]]);
}

#[test]
fn one_pair_does_not_outvote_the_others() {
    let links = vec![
        (0, 1, Known::Weight(11.0)),
        (1, 2, Known::Weight(1_000.0)),
        (0, 2, Known::Weight(-11.0)),
    ];
    assert_eq!(
        clusters_of(3, &links, &never),
        [vec![0, 1, 2]],
        "the strongest is bounded to 12 and joins; the mean of the others is 0"
    );
    let links = vec![
        (0, 1, Known::Must),
        (1, 2, Known::Weight(1_000.0)),
        (0, 2, Known::Cannot),
    ];
    assert_eq!(clusters_of(3, &links, &never), [vec![0, 1], vec![2]]);
}

#[test]
fn a_member_that_fits_two_clusters_equally_joins_neither() {
    let links = |to_second: f64, between: f64| {
        vec![
            (0, 1, Known::Weight(9.0)),
            (2, 3, Known::Weight(9.0)),
            (0, 4, Known::Weight(5.0)),
            (1, 4, Known::Weight(5.0)),
            (2, 4, Known::Weight(to_second)),
            (3, 4, Known::Weight(to_second)),
            (0, 2, Known::Weight(between)),
            (0, 3, Known::Weight(between)),
            (1, 2, Known::Weight(between)),
            (1, 3, Known::Weight(between)),
        ]
    };
    assert_eq!(
        clusters_of(5, &links(5.0, -8.0), &never),
        [vec![0, 1], vec![2, 3], vec![4]],
        "contested"
    );
    assert_eq!(
        clusters_of(5, &links(5.5, -8.0), &never),
        [vec![0, 1], vec![2, 3, 4]],
        "one fits better"
    );
    assert_eq!(
        clusters_of(5, &links(5.0, 1.0), &never),
        [vec![0, 1, 2, 3, 4]],
        "the two are one person"
    );
}

#[test]
fn clusters_join_from_a_weight_of_0_on() {
    let joined =
        |weight: f64| clusters_of(2, &vec![(0, 1, Known::Weight(weight))], &never).len() == 1;
    assert!(joined(0.1) && joined(0.0) && !joined(-0.1));
}

#[test]
fn no_members_one_member_and_each_pair_weighed_once() {
    assert!(clusters_of(0, &Vec::new(), &never).is_empty());
    assert_eq!(clusters_of(1, &Vec::new(), &never), [vec![0]]);
    let weighed = Cell::new(0);
    let weigh = |left: usize, right: usize| {
        assert!(left < right);
        weighed.set(weighed.get() + 1);
        Known::Weight(-1.0)
    };
    assert_eq!(
        clusters_of(30, &vec![(3, 4, Known::Must)], &weigh).len(),
        29
    );
    assert_eq!(
        weighed.get(),
        30 * 29 / 2 - 1,
        "a known link is not weighed again"
    );
}
