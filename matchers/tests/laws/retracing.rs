//! A run that goes on from another one comes to what a run from the beginning comes to, to the last bit.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

use proptest::prelude::*;
use rustc_hash::FxBuildHasher;
use veridem_matchers::cluster::{ComparedPair, Component, Evidence, Link, Trace};

use crate::arbitrary::cases;

/// Evidence whose weight is between the mean and the highest: sums depend on the order of adding.
#[derive(Clone)]
struct Weighed {
    sum: f64,
    pairs: f64,
    highest: f64,
}

impl Evidence for Weighed {
    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.pairs += other.pairs;
        self.highest = self.highest.max(other.highest);
    }
}

/// Members by a key that orders them, each with what it says, and the pairs that blocking brings.
#[derive(Debug)]
struct Known {
    members: BTreeSet<u16>,
    pairs: BTreeSet<(u16, u16)>,
}

/// How members say what: some keys say the same, persons come in groups, groups share names.
#[derive(Clone, Copy, Debug)]
struct World {
    seed: u64,
    /// One in so many pairs is as strong as all others like it.
    tied: u64,
    rules: bool,
}

impl World {
    fn said_by(key: u16) -> u64 {
        u64::from(key) % 150
    }

    fn weigh(self, left: u16, right: u16) -> (f64, Option<Link>) {
        let (one, other) = (Self::said_by(left), Self::said_by(right));
        let drawn = FxBuildHasher.hash_one((self.seed, one.min(other), one.max(other)));
        let fraction = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        let same_person = one % 31 == other % 31;
        let weight = match (same_person, drawn.is_multiple_of(self.tied)) {
            (true, true) => 2.0,
            (true, false) => fraction * 10.0 - 2.0,
            (false, true) => 1.0,
            (false, false) => fraction * 12.0 - 10.0,
        };
        let is_forbidden = self.rules && !same_person && drawn % 17 == 3;
        (weight, is_forbidden.then_some(Link::Cannot))
    }

    /// Runs from the beginning and on from `before`; tells how many pairs each compared.
    fn run(self, known: &Known, before: Option<&Trace>) -> Run {
        let members: Vec<u16> = known.members.iter().copied().collect();
        let names: Vec<u128> = members
            .iter()
            .map(|key| Self::said_by(*key).into())
            .collect();
        let place = |key: u16| members.binary_search(&key).ok();
        let weigh = |evidence: &Weighed| {
            let mean = evidence.sum / evidence.pairs;
            0.7 * mean + 0.3 * evidence.highest
        };
        let compared = Cell::new(0);
        let compare = |left: usize, right: usize| {
            compared.set(compared.get() + 1);
            let (weight, link) = self.weigh(members[left], members[right]);
            let evidence = Weighed {
                sum: weight,
                pairs: 1.0,
                highest: weight,
            };
            (evidence, link)
        };
        let pairs = known.pairs.iter().filter_map(|(left, right)| {
            let (left, right) = (place(*left)?, place(*right)?);
            let (evidence, link) = compare(left, right);
            let weight = weigh(&evidence);
            Some(ComparedPair {
                left,
                right,
                weight,
                link,
            })
        });
        let component = Component {
            members: members.len(),
            pairs: pairs.collect(),
            links: Vec::new(),
            compare: &compare,
            weigh: &weigh,
        };
        compared.set(0);
        let from_the_beginning = component.clusters();
        let in_full = compared.replace(0);
        let (clusters, trace) = component.clusters_after(before, &names);
        Run {
            from_the_beginning,
            in_full,
            clusters,
            again: compared.get(),
            trace,
        }
    }

    /// Whether blocking brings a pair.
    fn is_brought(self, left: u16, right: u16) -> bool {
        let same_person = Self::said_by(left) % 31 == Self::said_by(right) % 31;
        let drawn = FxBuildHasher.hash_one((self.seed, left, right)) % 100;
        drawn < if same_person { 80 } else { 12 }
    }

    fn known(self, members: BTreeSet<u16>) -> Known {
        let pairs = members.iter().flat_map(|left| {
            let rights = members.range(left + 1..);
            rights.map(move |right| (*left, *right))
        });
        let pairs = pairs.filter(|(left, right)| self.is_brought(*left, *right));
        Known {
            pairs: pairs.collect(),
            members,
        }
    }
}

struct Run {
    from_the_beginning: Vec<Vec<usize>>,
    in_full: usize,
    clusters: Vec<Vec<usize>>,
    again: usize,
    trace: Option<Trace>,
}

fn world() -> impl Strategy<Value = World> {
    (any::<u64>(), 2..20_u64, any::<bool>()).prop_map(|(seed, tied, rules)| World {
        seed,
        tied,
        rules,
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn going_on_comes_to_what_beginning_comes_to(
        world in world(),
        members in prop::collection::btree_set(0..300_u16, 31..90),
        changes in prop::collection::vec(
            (prop::collection::vec(0..300_u16, 0..4), prop::collection::vec((0..90_usize, 0..90_usize), 0..2)),
            1..6,
        ),
    ) {
        let mut known = world.known(members);
        let mut trace = world.run(&known, None).trace;
        for (moved, pairs) in changes {
            for key in moved {
                if !known.members.remove(&key) {
                    known.members.insert(key);
                }
            }
            known = world.known(known.members);
            // Keys that become active or inactive bring pairs or take them away.
            for (left, right) in pairs {
                let at = |place: usize| *known.members.iter().nth(place % known.members.len()).expect("a member");
                let (left, right) = (at(left), at(right));
                let pair = (left.min(right), left.max(right));
                if left != right && !known.pairs.remove(&pair) {
                    known.pairs.insert(pair);
                }
            }
            let run = world.run(&known, trace.as_ref());
            prop_assert_eq!(run.clusters, run.from_the_beginning);
            trace = run.trace;
        }
    }
}

#[test]
fn only_what_a_change_reaches_is_looked_at_again() {
    let (mut again, mut in_full) = (0, 0);
    for seed in 0..20 {
        let world = World {
            seed,
            tied: 1_000,
            rules: false,
        };
        let members: BTreeSet<u16> = (0..130).filter(|key| key % 13 != 5).collect();
        let before = world.run(&world.known(members.clone()), None).trace;
        let one_more = members.into_iter().chain([70]).collect();
        let run = world.run(&world.known(one_more), before.as_ref());
        assert_eq!(run.clusters, run.from_the_beginning);
        again += run.again;
        in_full += run.in_full;
    }
    assert!(
        again * 3 < in_full,
        "{again} pairs of {in_full} compared again"
    );
}
