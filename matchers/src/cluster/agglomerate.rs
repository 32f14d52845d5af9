//! Constrained average linkage: clusters join, strongest first, while the mean weight of *all* pairs between them speaks for
//! one person, so that a chain of lucky pairs does not pull strangers together (Sokal and Michener 1958, with the cannot-link
//! constraints of Davidson and Ravi 2005).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

/// What is known of a pair of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Link {
    /// Evidence for (positive) or against (negative) one person: the match weight.
    Weight(f64),
    /// A steward's or a rule's word that they are one person.
    Must,
    /// A steward's or a rule's word that they are not.
    Cannot,
}

/// A weight beyond which more evidence does not outvote the others in a mean.
const WEIGHT_BOUND: f64 = 12.0;
/// Members up to which every pair is weighed beforehand. In larger components a pair that no blocking rule brings counts as
/// [`UNSEEN_WEIGHT`] until the clusters of its members are about to join.
const MAX_MEMBERS_WEIGHED_IN_FULL: usize = 400;
/// A pair that shares no blocking key is rather not a match.
const UNSEEN_WEIGHT: f64 = -3.0;

/// A connected component of records. Members are indices in an order that does not depend on arrival (by record key).
pub struct Component<'a> {
    /// Number of members.
    pub members: usize,
    /// Known links, `left < right`.
    pub links: Vec<(usize, usize, Link)>,
    /// Weighs a pair that no known link names.
    pub weigh: &'a dyn Fn(usize, usize) -> Link,
    /// The mean weight from which on two clusters join.
    pub join_weight: f64,
}

#[derive(Clone, Copy)]
struct Sum {
    weight: f64,
    pairs: u32,
    cannot: bool,
}

impl Sum {
    fn of(link: Link) -> Self {
        let (weight, cannot) = match link {
            Link::Weight(weight) => (weight.clamp(-WEIGHT_BOUND, WEIGHT_BOUND), false),
            Link::Must => (WEIGHT_BOUND, false),
            Link::Cannot => (-WEIGHT_BOUND, true),
        };
        Self {
            weight,
            pairs: 1,
            cannot,
        }
    }

    fn add(&mut self, other: Self) {
        self.weight += other.weight;
        self.pairs += other.pairs;
        self.cannot |= other.cannot;
    }
}

struct Proposal {
    mean: f64,
    left: usize,
    right: usize,
    /// Sizes at the time of the proposal: when one has changed, the proposal is stale.
    sizes: (usize, usize),
}

impl Component<'_> {
    /// The clusters: each sorted, in the order of their smallest member. A pure function of the component.
    pub fn clusters(&self) -> Vec<Vec<usize>> {
        if self.members <= 1 {
            return (0..self.members).map(|member| vec![member]).collect();
        }
        let mut state = State::new(self);
        state.join_must_links(&self.links);
        state.join_by_mean(self.join_weight, self);
        let mut clusters: Vec<Vec<usize>> = state
            .clusters
            .into_iter()
            .filter(|cluster| !cluster.is_empty())
            .collect();
        for cluster in &mut clusters {
            cluster.sort_unstable();
        }
        clusters.sort_unstable();
        clusters
    }
}

struct State {
    clusters: Vec<Vec<usize>>,
    /// Sums towards other clusters, by cluster; kept on both sides.
    sums: Vec<FxHashMap<usize, Sum>>,
    /// Pairs of members that are weighed.
    known: FxHashSet<(usize, usize)>,
}

impl State {
    fn new(component: &Component<'_>) -> Self {
        let count = component.members;
        let mut sums: Vec<FxHashMap<usize, Sum>> = vec![FxHashMap::default(); count];
        let mut known: FxHashSet<(usize, usize)> = FxHashSet::default();
        let mut insert = |left: usize, right: usize, link: Link| {
            known.insert((left, right));
            sums[left].insert(right, Sum::of(link));
            sums[right].insert(left, Sum::of(link));
        };
        for (left, right, link) in &component.links {
            insert(*left, *right, *link);
        }
        if count <= MAX_MEMBERS_WEIGHED_IN_FULL {
            let linked: FxHashSet<(usize, usize)> = component
                .links
                .iter()
                .map(|(left, right, _)| (*left, *right))
                .collect();
            for left in 0..count {
                for right in left + 1..count {
                    if !linked.contains(&(left, right)) {
                        insert(left, right, (component.weigh)(left, right));
                    }
                }
            }
        }
        Self {
            clusters: (0..count).map(|member| vec![member]).collect(),
            sums,
            known,
        }
    }

    /// Joins what must be joined, in the order of members; a must-link across a cannot-link is left to a steward.
    fn join_must_links(&mut self, links: &[(usize, usize, Link)]) {
        let mut must: Vec<(usize, usize)> = links
            .iter()
            .filter(|(.., link)| *link == Link::Must)
            .map(|(left, right, _)| (*left, *right))
            .collect();
        must.sort_unstable();
        for (left, right) in must {
            let (left, right) = (self.cluster_of(left), self.cluster_of(right));
            let cannot = self.sums[left].get(&right).is_some_and(|sum| sum.cannot);
            if left != right && !cannot {
                self.join(left, right);
            }
        }
    }

    fn cluster_of(&self, member: usize) -> usize {
        self.clusters
            .iter()
            .position(|cluster| cluster.contains(&member))
            .unwrap_or(member)
    }

    /// Weighs the pairs between two clusters that nothing was known of: whether they join is never decided by a guess.
    fn weigh_unseen(&mut self, left: usize, right: usize, component: &Component<'_>) {
        let pairs: Vec<(usize, usize)> = self.clusters[left]
            .iter()
            .flat_map(|one| {
                self.clusters[right]
                    .iter()
                    .map(move |other| (*one.min(other), *one.max(other)))
            })
            .filter(|pair| !self.known.contains(pair))
            .collect();
        let Some(mut sum) = self.sums[left].get(&right).copied() else {
            return;
        };
        for (one, other) in pairs {
            sum.add(Sum::of((component.weigh)(one, other)));
            self.known.insert((one, other));
        }
        self.sums[left].insert(right, sum);
        self.sums[right].insert(left, sum);
    }

    fn join_by_mean(&mut self, join_weight: f64, component: &Component<'_>) {
        let mut proposals = BinaryHeap::new();
        for left in 0..self.clusters.len() {
            self.propose(left, join_weight, &mut proposals, |right| right > left);
        }
        while let Some(proposal) = proposals.pop() {
            let (left, right) = (proposal.left, proposal.right);
            if (self.clusters[left].len(), self.clusters[right].len()) != proposal.sizes {
                continue;
            }
            let pairs = self.clusters[left].len() * self.clusters[right].len();
            if self.sums[left]
                .get(&right)
                .is_some_and(|sum| (sum.pairs as usize) < pairs)
            {
                self.weigh_unseen(left, right, component);
                self.propose(left, join_weight, &mut proposals, |other| other == right);
                continue;
            }
            self.join(left, right);
            self.propose(left, join_weight, &mut proposals, |_| true);
        }
    }

    fn propose(
        &self,
        cluster: usize,
        join_weight: f64,
        proposals: &mut BinaryHeap<Proposal>,
        wanted: impl Fn(usize) -> bool,
    ) {
        for (other, sum) in self.sums[cluster]
            .iter()
            .filter(|(other, sum)| wanted(**other) && !sum.cannot)
        {
            let (left, right) = (cluster.min(*other), cluster.max(*other));
            let sizes = (self.clusters[left].len(), self.clusters[right].len());
            let unseen = (sizes.0 * sizes.1) as f64 - f64::from(sum.pairs);
            let mean = (sum.weight + unseen * UNSEEN_WEIGHT) / (sizes.0 * sizes.1) as f64;
            if mean >= join_weight {
                proposals.push(Proposal {
                    mean,
                    left,
                    right,
                    sizes,
                });
            }
        }
    }

    /// Puts `right` into `left`; a cluster keeps the index of its smallest member.
    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (left.min(right), left.max(right));
        let moved = std::mem::take(&mut self.clusters[right]);
        self.clusters[left].extend(moved);
        let mut taken: Vec<(usize, Sum)> =
            std::mem::take(&mut self.sums[right]).into_iter().collect();
        taken.sort_unstable_by_key(|(other, _)| *other);
        self.sums[left].remove(&right);
        for (other, sum) in taken {
            self.sums[other].remove(&right);
            if other == left {
                continue;
            }
            let known = self.sums[left].entry(other).or_insert(Sum {
                weight: 0.0,
                pairs: 0,
                cannot: false,
            });
            known.add(sum);
            let joined = *known;
            self.sums[other].insert(left, joined);
        }
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Proposal {}

impl PartialOrd for Proposal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Proposal {
    /// The strongest mean first, then the smallest members.
    fn cmp(&self, other: &Self) -> Ordering {
        self.mean
            .total_cmp(&other.mean)
            .then_with(|| (other.left, other.right).cmp(&(self.left, self.right)))
    }
}
