//! Constrained agglomeration: clusters join, the strongest evidence first, while everything that is known between them, taken
//! together, speaks for one person, so that a chain of lucky pairs does not pull strangers together (agglomerative linkage after
//! Sokal and Michener 1958, with the cannot-link constraints of Davidson and Ravi 2005).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::component::{ComparedPair, Component, Evidence, Link};
use super::trace::{Outcome, Step, Trace, number};

/// What is known between two clusters.
struct Between<E> {
    /// The first of their pairs that was known.
    first: (usize, usize),
    /// What all of them say; of a pair alone most are never asked.
    evidence: Option<E>,
    pairs: usize,
    cannot: bool,
}

/// Where in [`State::between`] stands what is known towards another cluster.
#[derive(Clone, Copy)]
struct Neighbour {
    cluster: usize,
    between: usize,
}

/// That two clusters join, `left < right`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) weight: f64,
    pub(super) left: usize,
    pub(super) right: usize,
}

/// A run met a cluster that it knows of another run only: the smallest of its members.
pub(super) struct NotLookedAt(pub(super) usize);

/// A run in the making.
pub(super) struct State<'a, E> {
    component: &'a Component<'a, E>,
    /// The members that are looked at; all where there is none. Between two others nothing is known: their clusters join by the steps of
    /// another run.
    looked_at: Option<Vec<bool>>,
    /// A word binds two members.
    pub(super) has_must_links: bool,
    steps: Vec<Step>,
    links: FxHashMap<(usize, usize), Link>,
    clusters: Vec<Vec<usize>>,
    /// The cluster of each member.
    cluster_of: Vec<usize>,
    /// The other clusters of which something is known, by cluster, sorted.
    neighbours: Vec<Vec<Neighbour>>,
    between: Vec<Between<E>>,
    /// What `between` weighs; infinitely little across a cannot-link.
    weights: Vec<f64>,
    /// Pairs of members that are compared, kept where not all are.
    known: Option<FxHashSet<(usize, usize)>>,
    must: Vec<(usize, usize)>,
    /// Single members that fit two clusters equally well which are not one: they join neither.
    contested: Vec<bool>,
    /// Of each cluster the strongest proposal towards a later one, or a stronger one that has gone stale.
    best: Vec<Option<Proposal>>,
    proposals: BinaryHeap<Proposal>,
}

/// Weights that differ by less are equal: rounding makes as much.
const EQUAL_WEIGHTS: f64 = 1e-9;

impl<'a, E: Evidence> State<'a, E> {
    pub(super) fn new(
        component: &'a Component<'a, E>,
        compared: &[ComparedPair],
        looked_at: Option<Vec<bool>>,
    ) -> Self {
        let count = component.members;
        let in_full = component.is_compared_in_full();
        let is_looked_at = |pair: &&ComparedPair| {
            (looked_at.as_ref()).is_none_or(|members| members[pair.left] || members[pair.right])
        };
        let compared = compared.iter().filter(is_looked_at);
        let mut pairs: Vec<(usize, usize)> = if in_full {
            let rights = |left: usize| (left + 1..count).map(move |right| (left, right));
            (0..count).flat_map(rights).collect()
        } else {
            let links = component.links.iter();
            let links = links.map(|(left, right, _)| (*left, *right));
            let compared = compared.clone().map(|pair| (pair.left, pair.right));
            compared.chain(links).collect()
        };
        pairs.sort_unstable();
        pairs.dedup();
        let mut state = Self {
            component,
            has_must_links: false,
            steps: Vec::new(),
            links: component
                .links
                .iter()
                .map(|(left, right, link)| ((*left, *right), *link))
                .collect(),
            clusters: (0..count).map(|member| vec![member]).collect(),
            cluster_of: (0..count).collect(),
            neighbours: vec![Vec::new(); count],
            between: Vec::with_capacity(pairs.len()),
            weights: Vec::with_capacity(pairs.len()),
            known: (!in_full).then(|| pairs.iter().copied().collect()),
            must: Vec::new(),
            contested: vec![false; count],
            best: vec![None; count],
            proposals: BinaryHeap::new(),
            looked_at: None,
        };
        // In the order of pairs every list of neighbours comes out sorted.
        let mut compared = compared.peekable();
        for (left, right) in pairs {
            let known = compared.next_if(|pair| (pair.left, pair.right) == (left, right));
            let (between, weight) = match known {
                Some(pair) => state.known_between(pair),
                None => {
                    let mut between = state.compare(left, right);
                    let weight = between.weight(component);
                    (between, weight)
                }
            };
            let slot = state.between.len();
            state.weights.push(weight);
            state.between.push(between);
            for (cluster, other) in [(left, right), (right, left)] {
                state.neighbours[cluster].push(Neighbour {
                    cluster: other,
                    between: slot,
                });
            }
        }
        state.has_must_links = !state.must.is_empty();
        state.looked_at = looked_at;
        state
    }

    /// What the run did. `pairs` are those of the component in order.
    pub(super) fn take_trace(&mut self, names: &[u128], pairs: &[ComparedPair]) -> Trace {
        let cluster_of = self.cluster_of.iter().map(|cluster| number(*cluster));
        let steps = std::mem::take(&mut self.steps);
        Trace::new(names, pairs, steps, cluster_of.collect())
    }

    pub(super) fn into_clusters(self) -> Vec<Vec<usize>> {
        let mut clusters = self.clusters;
        clusters.retain(|cluster| !cluster.is_empty());
        for cluster in &mut clusters {
            cluster.sort_unstable();
        }
        clusters.sort_unstable();
        clusters
    }

    fn is_looked_at(&self, cluster: usize) -> bool {
        (self.looked_at.as_ref()).is_none_or(|members| members[cluster])
    }

    fn compare(&mut self, left: usize, right: usize) -> Between<E> {
        let (evidence, by_rule) = (self.component.compare)(left, right);
        Between {
            first: (left, right),
            evidence: Some(evidence),
            pairs: 1,
            cannot: self.hear(left, right, by_rule),
        }
    }

    fn known_between(&mut self, pair: &ComparedPair) -> (Between<E>, f64) {
        let cannot = self.hear(pair.left, pair.right, pair.link);
        let between = Between {
            first: (pair.left, pair.right),
            evidence: None,
            pairs: 1,
            cannot,
        };
        let weight = if cannot {
            f64::NEG_INFINITY
        } else {
            pair.weight
        };
        (between, weight)
    }

    /// Hears the word on a pair; tells whether the two cannot be one.
    fn hear(&mut self, left: usize, right: usize, by_rule: Option<Link>) -> bool {
        let link = self.links.get(&(left, right)).copied().or(by_rule);
        if link == Some(Link::Must) {
            self.must.push((left, right));
        }
        link == Some(Link::Cannot)
    }

    fn between(&self, one: usize, other: usize) -> Option<usize> {
        let neighbours = &self.neighbours[one];
        let at = neighbours.binary_search_by_key(&other, |neighbour| neighbour.cluster);
        at.ok().map(|at| neighbours[at].between)
    }

    /// Joins what must be joined: by words in their order, then by rules in the order of members. A must-link across a cannot-link is left
    /// to a steward.
    pub(super) fn join_must_links(&mut self) {
        let mut by_rule = std::mem::take(&mut self.must);
        by_rule.sort_unstable();
        let words = self.component.links.iter();
        let by_word = words
            .filter(|(.., link)| *link == Link::Must)
            .map(|(left, right, _)| (*left, *right));
        for (left, right) in by_word.chain(by_rule) {
            let (left, right) = (self.cluster_of[left], self.cluster_of[right]);
            let cannot = self
                .between(left, right)
                .is_some_and(|between| self.between[between].cannot);
            if left != right && !cannot {
                self.join(left.min(right), left.max(right));
            }
        }
    }

    /// Compares the pairs between two clusters that nothing was known of: whether they join is never decided by a part.
    fn compare_unseen(&mut self, left: usize, right: usize, between: usize) {
        let mut known = self.known.take().unwrap_or_default();
        let rights = &self.clusters[right];
        let unseen: Vec<(usize, usize)> = self.clusters[left]
            .iter()
            .flat_map(|one| {
                rights
                    .iter()
                    .map(move |other| (*one.min(other), *one.max(other)))
            })
            .filter(|pair| known.insert(*pair))
            .collect();
        self.known = Some(known);
        for (one, other) in unseen {
            let mut further = self.compare(one, other);
            self.between[between].add(&mut further, self.component);
        }
        self.weights[between] = self.between[between].weight(self.component);
        self.propose(left, right, self.weights[between]);
    }

    /// Joins the strongest first. `earlier` are steps of another run between clusters that are not looked at; each comes in its place.
    pub(super) fn join_by_weight(
        &mut self,
        earlier: impl Iterator<Item = Step>,
    ) -> Result<(), NotLookedAt> {
        for cluster in 0..self.clusters.len() {
            self.propose_best_of(cluster);
        }
        let mut earlier = earlier.peekable();
        loop {
            let strongest = self.strongest();
            let is_stronger =
                |step: &Step| strongest.is_none_or(|(proposal, _)| step.proposal() > proposal);
            let step = if let Some(step) = earlier.next_if(is_stronger) {
                self.look_for_rivals(step)?;
                step
            } else if let Some((proposal, between)) = strongest {
                Step::new(proposal, self.outcome(proposal, between)?)
            } else {
                return Ok(());
            };
            self.take(step);
        }
    }

    /// The strongest proposal that holds, and what is known between its two.
    fn strongest(&mut self) -> Option<(Proposal, usize)> {
        while let Some(proposal) = self.proposals.peek().copied() {
            let (left, right) = (proposal.left, proposal.right);
            if self.best[left] == Some(proposal) {
                let between = self
                    .between(left, right)
                    .filter(|between| self.weights[*between] == proposal.weight)
                    .filter(|_| !self.contested[left] && !self.contested[right]);
                if let Some(between) = between {
                    return Some((proposal, between));
                }
                self.proposals.pop();
                self.propose_best_of(left);
            } else {
                self.proposals.pop();
            }
        }
        None
    }

    /// What becomes of the strongest proposal.
    fn outcome(&mut self, proposal: Proposal, between: usize) -> Result<Outcome, NotLookedAt> {
        let (left, right) = (proposal.left, proposal.right);
        if self.between[between].pairs < self.pairs_between(left, right) {
            self.compare_unseen(left, right, between);
            if self.weights[between] != proposal.weight {
                return Ok(Outcome::Compared);
            }
        }
        if let Some(other) = [left, right].into_iter().find(|it| !self.is_looked_at(*it)) {
            return Err(NotLookedAt(other));
        }
        Ok(match self.contested_by(left, right, proposal.weight) {
            Some((member, rival)) => Outcome::Contested {
                member: number(member),
                rival: number(rival),
            },
            None => Outcome::Joined,
        })
    }

    fn take(&mut self, step: Step) {
        let (left, right) = (step.left as usize, step.right as usize);
        match step.outcome {
            Outcome::Compared => {}
            Outcome::Contested { member, .. } => self.contested[member as usize] = true,
            Outcome::Joined => {
                self.join(left, right);
                for at in 0..self.neighbours[left].len() {
                    let Neighbour { cluster, between } = self.neighbours[left][at];
                    if cluster < left {
                        self.propose(cluster, left, self.weights[between]);
                    }
                }
            }
        }
        self.propose_best_of(left);
        self.steps.push(step);
    }

    fn pairs_between(&self, left: usize, right: usize) -> usize {
        self.clusters[left].len() * self.clusters[right].len()
    }

    /// Which of two clusters that are about to join is a single member that another cluster wants as much, while the two that want it
    /// speak against each other; and which that other is.
    fn contested_by(&mut self, left: usize, right: usize, weight: f64) -> Option<(usize, usize)> {
        for (member, by) in [(right, left), (left, right)] {
            let mut neighbours = 0;
            let everybody = usize::MAX;
            while let Some(rival) =
                self.next_rival(&mut neighbours, (member, by), everybody, weight)
            {
                if self
                    .weight_between(by, rival)
                    .is_none_or(|between| between < 0.0)
                {
                    return Some((member, rival));
                }
            }
        }
        None
    }

    /// Who wants a single member as much as the one that it is about to join, from a place among its neighbours on.
    fn next_rival(
        &mut self,
        place: &mut usize,
        (member, by): (usize, usize),
        until: usize,
        weight: f64,
    ) -> Option<usize> {
        if self.clusters[member].len() > 1 {
            return None;
        }
        while let Some(neighbour) = self.neighbours[member].get(*place) {
            let rival = neighbour.cluster;
            if rival >= until {
                return None;
            }
            *place += 1;
            if rival != by
                && !self.contested[rival]
                && self
                    .weight_between(member, rival)
                    .is_some_and(|rival| (rival - weight).abs() < EQUAL_WEIGHTS)
            {
                return Some(rival);
            }
        }
        None
    }

    /// Looks for rivals of a step of another run among the clusters that are looked at; where there is one, so has the step's member
    /// to be.
    fn look_for_rivals(&mut self, step: Step) -> Result<(), NotLookedAt> {
        let (left, right) = (step.left as usize, step.right as usize);
        let found = match step.outcome {
            Outcome::Compared => return Ok(()),
            Outcome::Contested { member, rival } => Some((member as usize, rival as usize)),
            Outcome::Joined => None,
        };
        for (member, by) in [(right, left), (left, right)] {
            let found = found.and_then(|(contested, rival)| (contested == member).then_some(rival));
            // Behind the rival that was found, nobody was heard any more.
            let until = found.unwrap_or(usize::MAX);
            if (self.next_rival(&mut 0, (member, by), until, step.weight)).is_some() {
                return Err(NotLookedAt(member));
            }
            if found.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The weight between two clusters, all their pairs compared; none where nothing is known of them.
    fn weight_between(&mut self, one: usize, other: usize) -> Option<f64> {
        let between = self.between(one, other)?;
        let (left, right) = (one.min(other), one.max(other));
        if self.between[between].pairs < self.pairs_between(left, right) {
            self.compare_unseen(left, right, between);
        }
        Some(self.weights[between])
    }

    /// Proposes to join two clusters, where the earlier one has no stronger proposal.
    fn propose(&mut self, left: usize, right: usize, weight: f64) {
        let proposal = Proposal {
            weight,
            left,
            right,
        };
        if weight >= 0.0 && self.best[left].is_none_or(|best| proposal > best) {
            self.best[left] = Some(proposal);
            self.proposals.push(proposal);
        }
    }

    /// Proposes the strongest of what a cluster knows towards later ones.
    fn propose_best_of(&mut self, left: usize) {
        let neighbours = &self.neighbours[left];
        let later = neighbours.partition_point(|neighbour| neighbour.cluster < left);
        let best = neighbours[later..]
            .iter()
            .filter(|neighbour| !self.contested[neighbour.cluster])
            .map(|neighbour| Proposal {
                weight: self.weights[neighbour.between],
                left,
                right: neighbour.cluster,
            })
            .filter(|proposal| proposal.weight >= 0.0 && !self.contested[left])
            .max();
        self.best[left] = best;
        self.proposals.extend(best);
    }

    /// Puts `right` into `left`, the smaller index; a cluster keeps the index of its smallest member.
    fn join(&mut self, left: usize, right: usize) {
        let moved = std::mem::take(&mut self.clusters[right]);
        for member in &moved {
            self.cluster_of[*member] = left;
        }
        self.clusters[left].extend(moved);
        let known = std::mem::take(&mut self.neighbours[left]);
        let further = std::mem::take(&mut self.neighbours[right]);
        let mut joined = Vec::with_capacity(known.len() + further.len());
        let mut known = known
            .into_iter()
            .filter(|neighbour| neighbour.cluster != right)
            .peekable();
        for neighbour in further {
            let other = neighbour.cluster;
            if other == left {
                continue;
            }
            while let Some(earlier) = known.next_if(|known| known.cluster < other) {
                joined.push(earlier);
            }
            let backward = &mut self.neighbours[other];
            let from = backward.partition_point(|back| back.cluster < right);
            if let Some(both) = known.next_if(|known| known.cluster == other) {
                backward.remove(from);
                if let Ok([known, further]) =
                    (self.between).get_disjoint_mut([both.between, neighbour.between])
                {
                    known.add(further, self.component);
                    self.weights[both.between] = known.weight(self.component);
                }
                joined.push(both);
            } else {
                let to = backward.partition_point(|back| back.cluster < left);
                backward[from].cluster = left;
                backward[to..=from].rotate_right(1);
                joined.push(neighbour);
            }
        }
        joined.extend(known);
        self.neighbours[left] = joined;
    }
}

impl<E: Evidence> Between<E> {
    fn evidence(&mut self, component: &Component<'_, E>) -> &mut E {
        let (left, right) = self.first;
        (self.evidence).get_or_insert_with(|| (component.compare)(left, right).0)
    }

    fn weight(&mut self, component: &Component<'_, E>) -> f64 {
        if self.cannot {
            f64::NEG_INFINITY
        } else {
            (component.weigh)(self.evidence(component))
        }
    }

    fn add(&mut self, further: &mut Self, component: &Component<'_, E>) {
        let evidence = self.evidence(component);
        evidence.add(further.evidence(component));
        self.pairs += further.pairs;
        self.cannot |= further.cannot;
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
