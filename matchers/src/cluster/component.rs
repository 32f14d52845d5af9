//! A component to be clustered, and the two ways to it: from the beginning, and on from a run over nearly the same component.

use std::borrow::Cow;

use super::agglomerate::{NotLookedAt, State};
use super::trace::{Retaken, Trace};

/// A word on a pair that no evidence outweighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// They are one person.
    Must,
    /// They are not.
    Cannot,
}

/// What the pairs between two clusters say, taken together.
pub trait Evidence {
    /// Adds what further pairs say.
    fn add(&mut self, other: &Self);
}

/// Members up to which every pair is compared beforehand. In larger components a pair that blocking did not bring says nothing
/// until the clusters of its members are about to join.
const MAX_MEMBERS_COMPARED_IN_FULL: usize = 30;

/// So often a run finds one cluster more that it has to look at again, before all of them are.
const MOST_ATTEMPTS: usize = 16;

/// A pair of members that was compared, `left < right`.
#[derive(Clone, Copy, Debug)]
pub struct ComparedPair {
    /// The earlier member.
    pub left: usize,
    /// The later one.
    pub right: usize,
    /// What [`Component::weigh`] says of its evidence.
    pub weight: f64,
    /// What [`Component::compare`] says is a rule's word on it.
    pub link: Option<Link>,
}

impl ComparedPair {
    /// The weight; infinitely little where a rule's word is that the two are not one.
    pub(super) fn weight_or_word(&self) -> f64 {
        match self.link {
            Some(Link::Cannot) => f64::NEG_INFINITY,
            _ => self.weight,
        }
    }
}

/// A connected component of records. Members are indices in an order that does not depend on arrival (by record key).
pub struct Component<'a, E> {
    /// Number of members.
    pub members: usize,
    /// The pairs that blocking brought. What they say in detail is asked for where clusters join.
    pub pairs: Vec<ComparedPair>,
    /// Words on pairs, `left < right`; they win over those of `compare`, and an earlier one over a later one where two that must be one
    /// person cannot both be.
    pub links: Vec<(usize, usize, Link)>,
    /// What a pair says, and a rule's word on it.
    pub compare: &'a dyn Fn(usize, usize) -> (E, Option<Link>),
    /// The weight of evidence: from 0 on two clusters join.
    pub weigh: &'a dyn Fn(&E) -> f64,
}

impl<E: Evidence> Component<'_, E> {
    /// The clusters: each sorted, in the order of their smallest member. A pure function of the component.
    pub fn clusters(&self) -> Vec<Vec<usize>> {
        self.run(&self.pairs_in_order()).into_clusters()
    }

    /// The clusters, and what the run did. Where `before` is of a run over nearly the same component, only what has changed and what that
    /// reaches is looked at again, with the same result to the last bit. `names` name the members: two of one name say the same of
    /// everybody, in `before` as well.
    pub fn clusters_after(
        &self,
        before: Option<&Trace>,
        names: &[u128],
    ) -> (Vec<Vec<usize>>, Option<Trace>) {
        let pairs = self.pairs_in_order();
        let retaken = before.and_then(|before| self.run_again(&pairs, before, names));
        let mut state = retaken.unwrap_or_else(|| self.run(&pairs));
        let is_retraceable = self.is_retraceable() && !state.has_must_links;
        let trace = is_retraceable.then(|| state.take_trace(names, &pairs));
        (state.into_clusters(), trace)
    }

    pub(super) fn is_compared_in_full(&self) -> bool {
        self.members <= MAX_MEMBERS_COMPARED_IN_FULL
    }

    /// Whether steps can be taken over from one run to another: not where words bind members, or every pair is known beforehand.
    fn is_retraceable(&self) -> bool {
        self.links.is_empty() && !self.is_compared_in_full()
    }

    fn pairs_in_order(&self) -> Cow<'_, [ComparedPair]> {
        let place = |pair: &ComparedPair| (pair.left, pair.right);
        if self
            .pairs
            .is_sorted_by(|one, next| place(one) < place(next))
        {
            return Cow::Borrowed(&self.pairs);
        }
        let mut pairs = self.pairs.clone();
        pairs.sort_unstable_by_key(place);
        pairs.dedup_by_key(|pair| place(pair));
        Cow::Owned(pairs)
    }

    fn run(&self, pairs: &[ComparedPair]) -> State<'_, E> {
        let mut state = State::new(self, pairs, None);
        state.join_must_links();
        let everything_is_looked_at = state.join_by_weight(std::iter::empty());
        debug_assert!(everything_is_looked_at.is_ok());
        state
    }

    /// A run that looks again only at what is not as it was before; none where that is most of the component, or where steps cannot be taken
    /// over.
    fn run_again(
        &self,
        pairs: &[ComparedPair],
        before: &Trace,
        names: &[u128],
    ) -> Option<State<'_, E>> {
        if !self.is_retraceable() {
            return None;
        }
        let mut retaken = Retaken::new(before, names, pairs);
        for _ in 0..MOST_ATTEMPTS {
            let again = retaken.members_looked_at_again();
            let count = again.iter().filter(|is_again| **is_again).count();
            if count > self.members / 2 {
                return None;
            }
            let mut state = State::new(self, pairs, Some(again));
            if state.has_must_links {
                return None;
            }
            match state.join_by_weight(retaken.steps()) {
                Ok(()) => return Some(state),
                Err(NotLookedAt(member)) => retaken.look_again_at(member),
            }
        }
        None
    }
}
