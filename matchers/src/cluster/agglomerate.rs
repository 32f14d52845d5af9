//! Constrained agglomeration: clusters join, the strongest evidence first, while everything that is known between them, taken
//! together, speaks for one person, so that a chain of lucky pairs does not pull strangers together (agglomerative linkage after
//! Sokal and Michener 1958, with the cannot-link constraints of Davidson and Ravi 2005).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

/// A word on a pair that no evidence outweighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// They are one person.
    Must,
    /// They are not.
    Cannot,
}

/// What the pairs between two clusters say, taken together.
pub trait Evidence: Clone {
    /// Adds what further pairs say.
    fn add(&mut self, other: &Self);
}

/// Members up to which every pair is compared beforehand. In larger components a pair that blocking did not bring says nothing
/// until the clusters of its members are about to join.
const MAX_MEMBERS_COMPARED_IN_FULL: usize = 30;

/// A connected component of records. Members are indices in an order that does not depend on arrival (by record key).
pub struct Component<'a, E> {
    /// Number of members.
    pub members: usize,
    /// The pairs that blocking brought, `left < right`.
    pub pairs: Vec<(usize, usize)>,
    /// Words on pairs, `left < right`; they win over those of `compare`.
    pub links: Vec<(usize, usize, Link)>,
    /// What a pair says, and a rule's word on it.
    pub compare: &'a dyn Fn(usize, usize) -> (E, Option<Link>),
    /// The weight of evidence: from 0 on two clusters join.
    pub weigh: &'a dyn Fn(&E) -> f64,
}

#[derive(Clone)]
struct Between<E> {
    evidence: E,
    /// What the evidence weighs.
    weight: f64,
    pairs: usize,
    cannot: bool,
}

struct Proposal {
    weight: f64,
    left: usize,
    right: usize,
    /// Sizes at the time of the proposal: when one has changed, the proposal is stale.
    sizes: (usize, usize),
}

impl<E: Evidence> Component<'_, E> {
    /// The clusters: each sorted, in the order of their smallest member. A pure function of the component.
    pub fn clusters(&self) -> Vec<Vec<usize>> {
        if self.members <= 1 {
            return (0..self.members).map(|member| vec![member]).collect();
        }
        let mut state = State::new(self);
        state.join_must_links();
        state.join_by_weight();
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

struct State<'a, E> {
    component: &'a Component<'a, E>,
    links: FxHashMap<(usize, usize), Link>,
    clusters: Vec<Vec<usize>>,
    /// What is known towards other clusters, by cluster; kept on the side of the smaller index.
    between: Vec<FxHashMap<usize, Between<E>>>,
    /// The other clusters of which something is known.
    neighbours: Vec<FxHashSet<usize>>,
    /// Pairs of members that are compared, kept where not all are.
    known: Option<FxHashSet<(usize, usize)>>,
    must: Vec<(usize, usize)>,
    /// Single members that fit two clusters equally well which are not one: they join neither.
    contested: FxHashSet<usize>,
}

/// Weights that differ by less are equal: rounding makes as much.
const EQUAL_WEIGHTS: f64 = 1e-9;

impl<'a, E: Evidence> State<'a, E> {
    fn new(component: &'a Component<'a, E>) -> Self {
        let count = component.members;
        let in_full = count <= MAX_MEMBERS_COMPARED_IN_FULL;
        let mut state = Self {
            component,
            links: component
                .links
                .iter()
                .map(|(left, right, link)| ((*left, *right), *link))
                .collect(),
            clusters: (0..count).map(|member| vec![member]).collect(),
            between: (0..count).map(|_| FxHashMap::default()).collect(),
            neighbours: vec![FxHashSet::default(); count],
            known: (!in_full).then(FxHashSet::default),
            must: Vec::new(),
            contested: FxHashSet::default(),
        };
        let mut compare = |left: usize, right: usize| {
            let between = state.compare(left, right);
            state.neighbours[left].insert(right);
            state.neighbours[right].insert(left);
            state.between[left].insert(right, between);
            if let Some(known) = &mut state.known {
                known.insert((left, right));
            }
        };
        if in_full {
            for left in 0..count {
                for right in left + 1..count {
                    compare(left, right);
                }
            }
        } else {
            let links = component
                .links
                .iter()
                .map(|(left, right, _)| (*left, *right));
            let mut pairs: Vec<_> = component.pairs.iter().copied().chain(links).collect();
            pairs.sort_unstable();
            pairs.dedup();
            for (left, right) in pairs {
                compare(left, right);
            }
        }
        state.must.sort_unstable();
        state
    }

    fn compare(&mut self, left: usize, right: usize) -> Between<E> {
        let (evidence, by_rule) = (self.component.compare)(left, right);
        let link = self.links.get(&(left, right)).copied().or(by_rule);
        if link == Some(Link::Must) {
            self.must.push((left, right));
        }
        Between {
            weight: (self.component.weigh)(&evidence),
            evidence,
            pairs: 1,
            cannot: link == Some(Link::Cannot),
        }
    }

    /// Joins what must be joined, in the order of members; a must-link across a cannot-link is left to a steward.
    fn join_must_links(&mut self) {
        for (left, right) in std::mem::take(&mut self.must) {
            let (left, right) = (self.cluster_of(left), self.cluster_of(right));
            let (left, right) = (left.min(right), left.max(right));
            let cannot = self.between[left]
                .get(&right)
                .is_some_and(|between| between.cannot);
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

    /// Compares the pairs between two clusters that nothing was known of: whether they join is never decided by a part.
    fn compare_unseen(&mut self, left: usize, right: usize) {
        let mut known = self.known.take().unwrap_or_default();
        let unseen: Vec<(usize, usize)> = self.clusters[left]
            .iter()
            .flat_map(|one| {
                self.clusters[right]
                    .iter()
                    .map(move |other| (*one.min(other), *one.max(other)))
            })
            .filter(|pair| !known.contains(pair))
            .collect();
        let found: Vec<Between<E>> = unseen
            .iter()
            .map(|(one, other)| self.compare(*one, *other))
            .collect();
        known.extend(unseen);
        self.known = Some(known);
        if let Some(between) = self.between[left].get_mut(&right) {
            for further in &found {
                between.evidence.add(&further.evidence);
                between.pairs += 1;
                between.cannot |= further.cannot;
            }
            between.weight = (self.component.weigh)(&between.evidence);
        }
    }

    fn join_by_weight(&mut self) {
        let mut proposals = BinaryHeap::new();
        for left in 0..self.clusters.len() {
            for right in self.between[left].keys() {
                self.propose(left, *right, &mut proposals);
            }
        }
        while let Some(proposal) = proposals.pop() {
            let (left, right) = (proposal.left, proposal.right);
            let sizes = (self.clusters[left].len(), self.clusters[right].len());
            if sizes != proposal.sizes
                || self.contested.contains(&left)
                || self.contested.contains(&right)
            {
                continue;
            }
            let compared = self.between[left]
                .get(&right)
                .map_or(0, |between| between.pairs);
            if compared < sizes.0 * sizes.1 {
                self.compare_unseen(left, right);
                self.propose(left, right, &mut proposals);
                continue;
            }
            if let Some(contested) = self.contested_by(left, right, proposal.weight) {
                self.contested.insert(contested);
                continue;
            }
            self.join(left, right);
            for other in &self.neighbours[left] {
                self.propose(left.min(*other), left.max(*other), &mut proposals);
            }
        }
    }

    /// Which of two clusters that are about to join is a single member that another cluster wants as much, while the two that want it
    /// speak against each other.
    fn contested_by(&mut self, left: usize, right: usize, weight: f64) -> Option<usize> {
        for (member, by) in [(right, left), (left, right)] {
            if self.clusters[member].len() > 1 {
                continue;
            }
            let mut rivals: Vec<usize> = self.neighbours[member].iter().copied().collect();
            rivals.sort_unstable();
            for rival in rivals {
                if rival != by
                    && !self.contested.contains(&rival)
                    && self
                        .weight_between(member, rival)
                        .is_some_and(|rival| (rival - weight).abs() < EQUAL_WEIGHTS)
                    && self
                        .weight_between(by, rival)
                        .is_none_or(|between| between < 0.0)
                {
                    return Some(member);
                }
            }
        }
        None
    }

    /// The weight between two clusters, all their pairs compared; none where nothing is known of them or they cannot be one.
    fn weight_between(&mut self, one: usize, other: usize) -> Option<f64> {
        let (left, right) = (one.min(other), one.max(other));
        let all_pairs = self.clusters[left].len() * self.clusters[right].len();
        if self.between[left].get(&right)?.pairs < all_pairs {
            self.compare_unseen(left, right);
        }
        let between = self.between[left].get(&right)?;
        (!between.cannot).then_some(between.weight)
    }

    fn propose(&self, left: usize, right: usize, proposals: &mut BinaryHeap<Proposal>) {
        let Some(between) = self.between[left].get(&right) else {
            return;
        };
        let weight = between.weight;
        if weight >= 0.0 && !between.cannot {
            proposals.push(Proposal {
                weight,
                left,
                right,
                sizes: (self.clusters[left].len(), self.clusters[right].len()),
            });
        }
    }

    /// Puts `right` into `left`, the smaller index; a cluster keeps the index of its smallest member.
    fn join(&mut self, left: usize, right: usize) {
        let moved = std::mem::take(&mut self.clusters[right]);
        self.clusters[left].extend(moved);
        self.between[left].remove(&right);
        self.neighbours[left].remove(&right);
        let mut others: Vec<usize> = std::mem::take(&mut self.neighbours[right])
            .into_iter()
            .filter(|other| *other != left)
            .collect();
        others.sort_unstable();
        for other in others {
            let Some(further) = self.between[right.min(other)].remove(&right.max(other)) else {
                continue;
            };
            self.neighbours[other].remove(&right);
            self.neighbours[other].insert(left);
            self.neighbours[left].insert(other);
            match self.between[left.min(other)].entry(left.max(other)) {
                std::collections::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(further);
                }
                std::collections::hash_map::Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.evidence.add(&further.evidence);
                    known.pairs += further.pairs;
                    known.cannot |= further.cannot;
                    known.weight = (self.component.weigh)(&known.evidence);
                }
            }
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
    /// The strongest evidence first, then the smallest members.
    fn cmp(&self, other: &Self) -> Ordering {
        self.weight
            .total_cmp(&other.weight)
            .then_with(|| (other.left, other.right).cmp(&(self.left, self.right)))
    }
}
