//! Large components, remembered from one signal to the next: who comes to a thousand records need not have all of them read, put in order
//! and connected again. What is remembered is what the store has; who reads it makes anew what changes have touched since.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use veridem_matchers::{Decision, Edge, Form, NormalisedRecord};

use super::overrides::Overrides;
use crate::store::{RecordNumber, StoredEdge, StoredRecord};

/// From so many members on a component is remembered.
pub(super) const MEMBERS_WORTH_REMEMBERING: usize = 32;
/// Members of all that are remembered, at most. One takes some two kilobytes, and what connects it.
const MAX_REMEMBERED_MEMBERS: usize = 50_000;

/// A living record of a component.
pub(super) struct Member {
    pub(super) record: Arc<StoredRecord>,
    /// The record without its shared values, where it holds any.
    comparable: Option<NormalisedRecord>,
    form: Form,
}

impl Member {
    /// `form_of` tells the form of what is compared.
    pub(super) fn new(
        record: Arc<StoredRecord>,
        comparable: Option<NormalisedRecord>,
        form_of: impl FnOnce(&NormalisedRecord) -> Form,
    ) -> Self {
        Self {
            form: form_of(comparable.as_ref().unwrap_or(&record.normalised)),
            record,
            comparable,
        }
    }

    /// The record as it is compared.
    pub(super) fn comparable(&self) -> &NormalisedRecord {
        self.comparable.as_ref().unwrap_or(&self.record.normalised)
    }
}

/// A member as it is now, with its edges.
pub(super) type Fresh = (Arc<Member>, Arc<Vec<StoredEdge>>);

/// Living records that pairs which match connect.
#[derive(Default)]
pub(super) struct Component {
    /// In the order of record keys.
    members: Vec<Arc<Member>>,
    forms: Vec<Form>,
    /// Where each record stands among the members.
    places: FxHashMap<RecordNumber, usize>,
    /// The edges between members, by their places, in order.
    edges: Vec<Edge>,
}

impl Component {
    pub(super) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    pub(super) fn forms(&self) -> &[Form] {
        &self.forms
    }

    pub(super) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The numbers of the members.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RecordNumber> {
        self.places.keys().copied()
    }

    pub(super) fn contains(&self, number: RecordNumber) -> bool {
        self.places.contains_key(&number)
    }

    /// The component with some members as they are now, and with further ones; none where it may have come apart, as a pair matches no
    /// longer.
    pub(super) fn with(&self, mut fresh: Vec<Fresh>) -> Option<Self> {
        fresh.sort_unstable_by(|(one, _), (other, _)| one.record.key.cmp(&other.record.key));
        let mut is_replaced = vec![false; self.members.len()];
        for (member, _) in &fresh {
            if let Some(place) = self.places.get(&member.record.number) {
                is_replaced[*place] = true;
            }
        }
        let order = self.order_with(&fresh, &is_replaced);
        let numbers = order.members.iter().map(|member| member.record.number);
        let places: FxHashMap<RecordNumber, usize> = numbers.zip(0..).collect();
        let edges = self.edges_with(&fresh, &is_replaced, &order, &places);
        self.is_connected_by(&edges, &is_replaced, &places)
            .then(|| Self {
                forms: order.members.iter().map(|member| member.form).collect(),
                members: order.members,
                places,
                edges,
            })
    }

    /// Fresh members take their places among those that stay.
    fn order_with(&self, fresh: &[Fresh], is_replaced: &[bool]) -> Order {
        let mut order = Order {
            members: Vec::with_capacity(self.members.len() + fresh.len()),
            known_at: Vec::with_capacity(self.members.len()),
            fresh_at: Vec::with_capacity(fresh.len()),
        };
        let joins_at = |(member, _): &Fresh| {
            let before = |known: &Arc<Member>| known.record.key < member.record.key;
            self.members.partition_point(before)
        };
        let joining = fresh.iter().map(|joins| (joins_at(joins), joins));
        let mut joining = joining.peekable();
        for (place, known) in self.members.iter().enumerate() {
            while let Some((_, joins)) = joining.next_if(|(at, _)| *at == place) {
                order.join(joins);
            }
            order.known_at.push(order.members.len());
            if !is_replaced[place] {
                order.members.push(known.clone());
            }
        }
        joining.for_each(|(_, joins)| order.join(joins));
        order
    }

    /// The edges between those that stay, and those of fresh members.
    fn edges_with(
        &self,
        fresh: &[Fresh],
        is_replaced: &[bool],
        order: &Order,
        places: &FxHashMap<RecordNumber, usize>,
    ) -> Vec<Edge> {
        let mut further: Vec<Edge> = Vec::new();
        for (at, (_, edges)) in order.fresh_at.iter().zip(fresh) {
            for edge in edges.iter() {
                if let Some(other) = places.get(&edge.other)
                    // Of two that are fresh both tell it.
                    && (at < other || order.fresh_at.binary_search(other).is_err())
                {
                    further.push((*at.min(other), *at.max(other), edge.score));
                }
            }
        }
        further.sort_unstable_by_key(pair_of);
        let mut edges: Vec<Edge> = Vec::with_capacity(self.edges.len() + further.len());
        let mut further = further.into_iter().peekable();
        for (left, right, score) in &self.edges {
            if is_replaced[*left] || is_replaced[*right] {
                continue;
            }
            let edge = (order.known_at[*left], order.known_at[*right], *score);
            while let Some(earlier) = further.next_if(|further| pair_of(further) < pair_of(&edge)) {
                edges.push(earlier);
            }
            edges.push(edge);
        }
        edges.extend(further);
        edges
    }

    /// Whether each pair that matched does so yet.
    fn is_connected_by(
        &self,
        edges: &[Edge],
        is_replaced: &[bool],
        places: &FxHashMap<RecordNumber, usize>,
    ) -> bool {
        let still_matches = |(left, right, _): &Edge| {
            let place = |old: usize| places[&self.members[old].record.number];
            let (left, right) = (place(*left), place(*right));
            let pair = (left.min(right), left.max(right));
            let found = edges.binary_search_by_key(&pair, pair_of);
            found.is_ok_and(|at| edges[at].2.decision == Decision::Match)
        };
        let may_be_gone = |(left, right, _): &&Edge| is_replaced[*left] || is_replaced[*right];
        let matched = |(.., score): &&Edge| score.decision == Decision::Match;
        let mut in_doubt = self.edges.iter().filter(may_be_gone).filter(matched);
        in_doubt.all(still_matches)
    }
}

/// The members of a component that is made of another one.
struct Order {
    members: Vec<Arc<Member>>,
    /// Where each of the other one's stands; where it is replaced, whoever is behind it.
    known_at: Vec<usize>,
    /// Where each stands that is fresh.
    fresh_at: Vec<usize>,
}

impl Order {
    fn join(&mut self, (member, _): &Fresh) {
        self.fresh_at.push(self.members.len());
        self.members.push(member.clone());
    }
}

fn pair_of((left, right, _): &Edge) -> (usize, usize) {
    (*left, *right)
}

/// A component that is remembered, and what of it has to be read again.
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) component: Arc<Component>,
    pub(super) stale: Vec<RecordNumber>,
}

struct Remembered {
    component: Arc<Component>,
    /// The overrides under which it was read: none names a member.
    overrides: Arc<Overrides>,
    stale: FxHashSet<RecordNumber>,
    /// When it was last asked for.
    asked: u64,
}

/// The components that are remembered.
#[derive(Default)]
pub(super) struct Components {
    /// From so many members on one is remembered.
    pub(super) from: usize,
    /// The component of each member.
    ids: FxHashMap<RecordNumber, u64>,
    known: FxHashMap<u64, Remembered>,
    last_id: u64,
    asked: u64,
}

impl Components {
    /// None yet; those of so many members on are to be remembered.
    pub(super) fn from(from: usize) -> Self {
        Self {
            from,
            ..Self::default()
        }
    }

    /// Notes that a record is not as it was.
    pub(super) fn touch(&mut self, number: RecordNumber) {
        if let Some(id) = self.ids.get(&number)
            && let Some(remembered) = self.known.get_mut(id)
        {
            remembered.stale.insert(number);
        }
    }

    /// The largest component of some records.
    pub(super) fn find(
        &mut self,
        numbers: impl Iterator<Item = RecordNumber>,
        overrides: &Arc<Overrides>,
    ) -> Option<Found> {
        let ids: FxHashSet<u64> = numbers
            .filter_map(|number| self.ids.get(&number).copied())
            .collect();
        let id = ids.into_iter().max_by_key(|id| {
            let known = self.known.get(id);
            (known.map(|known| known.component.members.len()), *id)
        })?;
        let remembered = self.known.get_mut(&id)?;
        if !Arc::ptr_eq(&remembered.overrides, overrides) {
            self.forget(id);
            return None;
        }
        self.asked += 1;
        remembered.asked = self.asked;
        Some(Found {
            id,
            component: remembered.component.clone(),
            stale: remembered.stale.iter().copied().collect(),
        })
    }

    /// Remembers a component in the place of the one that was found, with those of its members that are not any more as they were read.
    pub(super) fn put(
        &mut self,
        found: Option<&Found>,
        component: Arc<Component>,
        overrides: Arc<Overrides>,
        stale: FxHashSet<RecordNumber>,
    ) {
        if component.members.len() < self.from {
            return;
        }
        let id = found.map_or(self.last_id + 1, |found| found.id);
        self.last_id = self.last_id.max(id);
        for number in component.numbers() {
            if let Some(other) = self.ids.insert(number, id)
                && other != id
            {
                // Two have become one.
                self.forget(other);
            }
        }
        self.asked += 1;
        let remembered = Remembered {
            component,
            overrides,
            stale,
            asked: self.asked,
        };
        if let Some(before) = self.known.insert(id, remembered) {
            // Of two that read a component at once the later may not have found who came in between.
            let component = &self.known[&id].component;
            for number in before.component.numbers() {
                if !component.contains(number) {
                    self.ids.remove(&number);
                }
            }
        }
        self.make_room();
    }

    /// Forgets a component.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(gone) = self.known.remove(&id) {
            for number in gone.component.numbers() {
                if self.ids.get(&number) == Some(&id) {
                    self.ids.remove(&number);
                }
            }
        }
    }

    /// Forgets the component of a record.
    pub(super) fn forget_with(&mut self, number: RecordNumber) {
        if let Some(id) = self.ids.get(&number) {
            self.forget(*id);
        }
    }

    /// Forgets those that nobody has asked for the longest.
    fn make_room(&mut self) {
        while self.ids.len() > MAX_REMEMBERED_MEMBERS && self.known.len() > 1 {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.asked);
            let Some(id) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.forget(id);
        }
    }
}
