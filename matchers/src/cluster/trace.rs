//! What a run of the agglomeration did, so that the next one over nearly the same component need not do all of it again.
//!
//! A step looks at the strongest proposal there is and changes the two clusters that it names and nothing else. So a run over the
//! changed component takes the same steps between clusters that no change has reached. [`Retaken`] tells which those are: the clusters
//! of all members that are as they were, less those that the run over the others meets on its way.

use rustc_hash::FxHashMap;

use super::agglomerate::Proposal;
use super::component::ComparedPair;

/// What became of a proposal. Clusters are named by their smallest member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All pairs between the two are known now, and weigh something else.
    Compared,
    /// One of the two is a single member that a rival wants as much.
    Contested { member: u32, rival: u32 },
    /// They are one.
    Joined,
}

/// A proposal that was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) weight: f64,
    pub(super) outcome: Outcome,
}

impl Step {
    pub(super) fn new(proposal: Proposal, outcome: Outcome) -> Self {
        Self {
            left: number(proposal.left),
            right: number(proposal.right),
            weight: proposal.weight,
            outcome,
        }
    }

    pub(super) fn proposal(self) -> Proposal {
        Proposal {
            weight: self.weight,
            left: self.left as usize,
            right: self.right as usize,
        }
    }
}

/// Members are counted by 32 bits: a component of more would not fit into memory.
pub(super) fn number(member: usize) -> u32 {
    u32::try_from(member).unwrap_or(u32::MAX)
}

/// A run over a component: what it was of, the proposals that it looked at, in their order, and what came of it.
pub struct Trace {
    /// A name of each member: two of one name say the same of everybody.
    names: Vec<u128>,
    /// The first member of each name.
    places: FxHashMap<u128, u32>,
    /// What blocking brought, in order, and what it weighs.
    pairs: Vec<(u32, u32, f64)>,
    steps: Vec<Step>,
    /// The smallest member of each member's cluster.
    cluster_of: Vec<u32>,
}

impl Trace {
    pub(super) fn new(
        names: &[u128],
        pairs: &[ComparedPair],
        steps: Vec<Step>,
        cluster_of: Vec<u32>,
    ) -> Self {
        // The first of a name is what stays.
        let places = names.iter().enumerate().rev();
        Self {
            names: names.to_vec(),
            places: places.map(|(place, name)| (*name, number(place))).collect(),
            pairs: pairs.iter().map(weighed).collect(),
            steps,
            cluster_of,
        }
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let a_member = size_of::<u128>() + size_of::<(u128, u32)>() * 2 + size_of::<u32>();
        self.names.len() * a_member
            + size_of_val(&*self.pairs)
            + self.steps.capacity() * size_of::<Step>()
    }
}

fn weighed(pair: &ComparedPair) -> (u32, u32, f64) {
    (number(pair.left), number(pair.right), pair.weight_or_word())
}

/// Which members of a component a run before has seen as they are, and which of them have to be looked at again.
pub(super) struct Retaken<'a> {
    trace: &'a Trace,
    /// Where each member stood in the run before.
    old_of: Vec<Option<u32>>,
    /// Where each member of the run before stands now.
    new_of: Vec<Option<u32>>,
    /// Clusters of the run before, by their smallest member, that are looked at again.
    again: Vec<bool>,
}

impl<'a> Retaken<'a> {
    /// Compares a component with the one of a run before. `pairs` are in order.
    pub(super) fn new(trace: &'a Trace, names: &[u128], pairs: &[ComparedPair]) -> Self {
        let mut retaken = Self {
            trace,
            old_of: Vec::with_capacity(names.len()),
            new_of: vec![None; trace.names.len()],
            again: vec![false; trace.names.len()],
        };
        let mut next = 0;
        for name in names {
            let place = match trace.names.get(next) {
                Some(expected) if expected == name => Some(next),
                // Members keep their order: who stands further on than the next few is another one of the same name.
                _ => (trace.places.get(name).map(|place| *place as usize))
                    .filter(|place| (next..next + MOST_GONE_AT_ONCE).contains(place)),
            };
            if let Some(place) = place {
                retaken.new_of[place] = Some(number(retaken.old_of.len()));
                next = place + 1;
            }
            retaken.old_of.push(place.map(number));
        }
        for old in 0..trace.names.len() {
            if retaken.new_of[old].is_none() {
                retaken.again[trace.cluster_of[old] as usize] = true;
            }
        }
        retaken.compare_pairs(pairs);
        retaken
    }

    /// Members with pairs that the other run had not, or weighed otherwise, are looked at again.
    fn compare_pairs(&mut self, pairs: &[ComparedPair]) {
        let trace = self.trace;
        let old_pairs = trace.pairs.iter().filter_map(|(left, right, weight)| {
            let (left, right) = (self.new_of[*left as usize]?, self.new_of[*right as usize]?);
            Some((left, right, weight.to_bits()))
        });
        let is_old = |member: u32| self.old_of[member as usize].is_some();
        let new_pairs = (pairs.iter().map(weighed))
            .filter(|(left, right, _)| is_old(*left) && is_old(*right))
            .map(|(left, right, weight)| (left, right, weight.to_bits()));
        let mut changed = Vec::new();
        let (mut old_pairs, mut new_pairs) = (old_pairs.peekable(), new_pairs.peekable());
        loop {
            let pair = match (old_pairs.peek(), new_pairs.peek()) {
                (Some(old), Some(new)) if old == new => {
                    old_pairs.next();
                    new_pairs.next();
                    continue;
                }
                (Some(old), Some(new)) if new < old => new_pairs.next(),
                (Some(_), _) => old_pairs.next(),
                (None, _) => new_pairs.next(),
            };
            match pair {
                Some((left, right, _)) => changed.extend([left, right]),
                None => break,
            }
        }
        for member in changed {
            self.look_again_at(member as usize);
        }
    }

    /// Has the cluster that a member was in looked at again.
    pub(super) fn look_again_at(&mut self, member: usize) {
        if let Some(old) = self.old_of[member] {
            self.again[self.trace.cluster_of[old as usize] as usize] = true;
        }
    }

    /// Which members are looked at again. Who was contested by, or contested for, one of them is as well.
    pub(super) fn members_looked_at_again(&mut self) -> Vec<bool> {
        let cluster_of = |member: u32| self.trace.cluster_of[member as usize] as usize;
        let mut grows = true;
        while grows {
            grows = false;
            for step in &self.trace.steps {
                let Outcome::Contested { rival, .. } = step.outcome else {
                    continue;
                };
                let (left, right) = (cluster_of(step.left), cluster_of(step.right));
                let (left_again, right_again) = (self.again[left], self.again[right]);
                let rival_again = self.again[cluster_of(rival)];
                if (left_again || right_again || rival_again) && !(left_again && right_again) {
                    self.again[left] = true;
                    self.again[right] = true;
                    grows = true;
                }
            }
        }
        let is_again = |old: &Option<u32>| old.is_none_or(|old| self.again[cluster_of(old)]);
        self.old_of.iter().map(is_again).collect()
    }

    /// The steps between clusters that are not looked at again, as steps of this run.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        let stays = |member: u32| !self.again[self.trace.cluster_of[member as usize] as usize];
        let now = |member: u32| self.new_of[member as usize];
        let steps = self.trace.steps.iter();
        let between_others = steps.filter(move |step| stays(step.left) && stays(step.right));
        between_others.filter_map(move |step| {
            let outcome = match step.outcome {
                Outcome::Contested { member, rival } => Outcome::Contested {
                    member: now(member)?,
                    rival: now(rival)?,
                },
                outcome => outcome,
            };
            Some(Step {
                left: now(step.left)?,
                right: now(step.right)?,
                outcome,
                ..*step
            })
        })
    }
}

/// So many members one after the other may be gone; if more are, what follows counts as new.
const MOST_GONE_AT_ONCE: usize = 64;
