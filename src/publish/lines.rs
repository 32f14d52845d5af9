//! Which events may be delivered now: those that touch one identity one after the other, the others beside them.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::store::IdentityId;

/// Events that are not done, by sequence number. Each stands in the line of every identity that it touches.
#[derive(Default)]
pub(super) struct Lines {
    events: BTreeMap<u64, InLine>,
    of_identity: FxHashMap<IdentityId, BTreeSet<u64>>,
    /// Those that wait and have nobody before them, by the moment from which they may go.
    heads: BTreeSet<(Instant, u64)>,
    /// Those that only the outbox keeps: the cursor must not pass them.
    unstored: BTreeSet<u64>,
    dead: usize,
}

struct InLine {
    identities: Vec<IdentityId>,
    due: Instant,
    attempts: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    OnItsWay,
    Dead,
}

impl Lines {
    /// Puts an event at the end of its lines. Sequence numbers rise. One that comes behind a stored event is stored too, so that
    /// whatever holds that one up does not hold up the cursor; whether it is.
    pub(super) fn enter(
        &mut self,
        sequence: u64,
        identities: Vec<IdentityId>,
        due: Instant,
    ) -> bool {
        let is_behind_stored = (identities.iter())
            .filter_map(|identity| self.of_identity.get(identity)?.last())
            .any(|before| !self.unstored.contains(before));
        self.insert(sequence, identities, due, 0, State::Waiting);
        if !is_behind_stored {
            self.unstored.insert(sequence);
        }
        is_behind_stored
    }

    /// Puts an event that is stored in its lines. Sequence numbers rise.
    pub(super) fn enter_stored(
        &mut self,
        sequence: u64,
        identities: Vec<IdentityId>,
        due: Instant,
        attempts: u32,
        is_dead: bool,
    ) {
        let state = if is_dead { State::Dead } else { State::Waiting };
        self.dead += usize::from(is_dead);
        self.insert(sequence, identities, due, attempts, state);
    }

    /// Puts an event that was done before in its lines again, before whatever came later; it is stored. None of its identities may be
    /// held up. Which of those behind it were not stored before; none where it is in line already.
    pub(super) fn enter_again(
        &mut self,
        sequence: u64,
        identities: Vec<IdentityId>,
        due: Instant,
    ) -> Option<Vec<u64>> {
        if self.events.contains_key(&sequence) {
            return None;
        }
        let behind: BTreeSet<u64> = (identities.iter())
            .filter_map(|identity| self.of_identity.get(identity))
            .flat_map(|line| line.range(sequence..).copied())
            .collect();
        self.insert(sequence, identities, due, 0, State::Waiting);
        let mut newly = Vec::new();
        for later in behind {
            self.heads.remove(&(self.events[&later].due, later));
            newly.extend(self.store(later));
        }
        Some(newly)
    }

    /// Whether an event of an identity is on its way, or given up: what comes behind it does not follow at once.
    pub(super) fn is_held_up(&self, identity: &IdentityId) -> bool {
        let mut line = self.of_identity.get(identity).into_iter().flatten();
        line.any(|sequence| self.events[sequence].state != State::Waiting)
    }

    /// Whether an event waits, for its turn or to be tried again.
    pub(super) fn waits(&self, sequence: u64) -> bool {
        let event = self.events.get(&sequence);
        event.is_some_and(|event| event.state == State::Waiting)
    }

    fn insert(
        &mut self,
        sequence: u64,
        mut identities: Vec<IdentityId>,
        due: Instant,
        attempts: u32,
        state: State,
    ) {
        identities.sort_unstable();
        identities.dedup();
        for identity in &identities {
            let line = self.of_identity.entry(*identity).or_default();
            line.insert(sequence);
        }
        let event = InLine {
            identities,
            due,
            attempts,
            state,
        };
        self.events.insert(sequence, event);
        self.note_head(sequence);
    }

    fn is_first(&self, event: &InLine, sequence: u64) -> bool {
        let mut lines = event.identities.iter();
        lines.all(|identity| self.of_identity[identity].first() == Some(&sequence))
    }

    /// Lists an event among the heads where it is one.
    fn note_head(&mut self, sequence: u64) {
        if let Some(event) = self.events.get(&sequence)
            && event.state == State::Waiting
            && self.is_first(event, sequence)
        {
            self.heads.insert((event.due, sequence));
        }
    }

    /// When the next event may go; none where all are on their way, or behind others.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heads.first().map(|(due, _)| *due)
    }

    /// Takes at most so many events that may be delivered together, in this order; they are on their way now. One that has failed
    /// goes alone, so that it alone fails again. With `disjoint` no two of them touch the same identity.
    pub(super) fn take(&mut self, now: Instant, limit: usize, disjoint: bool) -> Vec<u64> {
        let mut taken = BTreeSet::new();
        let mut behind = BTreeSet::new();
        while taken.len() < limit {
            // Those right behind what was taken come before other heads: the order of one line is also that of the parcel.
            let next = behind.pop_first().or_else(|| {
                let (due, sequence) = *self.heads.first()?;
                (due <= now).then_some(sequence)
            });
            let Some(sequence) = next else { break };
            let has_failed = self.events[&sequence].attempts > 0;
            if has_failed && !taken.is_empty() {
                break;
            }
            self.begin(sequence);
            taken.insert(sequence);
            if has_failed {
                break;
            }
            // No two heads touch the same identity.
            if disjoint {
                continue;
            }
            behind.extend(self.followers(sequence, &taken, now));
        }
        taken.into_iter().collect()
    }

    fn begin(&mut self, sequence: u64) {
        let Some(event) = self.events.get_mut(&sequence) else {
            return;
        };
        event.state = State::OnItsWay;
        self.heads.remove(&(event.due, sequence));
    }

    /// Those right behind an event that only wait for what is taken.
    fn followers(&self, sequence: u64, taken: &BTreeSet<u64>, now: Instant) -> Vec<u64> {
        let event = &self.events[&sequence];
        let next = event.identities.iter().filter_map(|identity| {
            let mut later = self.of_identity[identity].range(sequence + 1..);
            later.next().copied()
        });
        next.filter(|next| {
            let follower = &self.events[next];
            let is_clear = |identity: &IdentityId| {
                let mut before = self.of_identity[identity].range(..*next);
                before.next_back().is_none_or(|last| taken.contains(last))
            };
            follower.state == State::Waiting
                && follower.attempts == 0
                && follower.due <= now
                && follower.identities.iter().all(is_clear)
        })
        .collect()
    }

    /// An event is delivered or given up: whoever stood behind it moves up. Whether it was stored.
    pub(super) fn done(&mut self, sequence: u64) -> bool {
        let Some(event) = self.events.remove(&sequence) else {
            return false;
        };
        self.heads.remove(&(event.due, sequence));
        self.dead -= usize::from(event.state == State::Dead);
        for identity in &event.identities {
            let Some(line) = self.of_identity.get_mut(identity) else {
                continue;
            };
            line.remove(&sequence);
            let first = line.first().copied();
            match first {
                Some(first) => self.note_head(first),
                None => drop(self.of_identity.remove(identity)),
            }
        }
        !self.unstored.remove(&sequence)
    }

    /// An event was not delivered and waits until `due`; `counts` where that is held against it. The attempts so far.
    pub(super) fn failed(&mut self, sequence: u64, due: Instant, counts: bool) -> u32 {
        let Some(event) = self.events.get_mut(&sequence) else {
            return 0;
        };
        event.state = State::Waiting;
        event.due = due;
        event.attempts += u32::from(counts);
        let attempts = event.attempts;
        self.note_head(sequence);
        attempts
    }

    /// Whatever waits for a later moment may go now.
    pub(super) fn hurry(&mut self, now: Instant) {
        for (due, sequence) in self.heads.split_off(&(now, 0)) {
            let due = due.min(now);
            if let Some(event) = self.events.get_mut(&sequence) {
                event.due = due;
            }
            self.heads.insert((due, sequence));
        }
    }

    /// The attempts that count against an event.
    pub(super) fn attempts(&self, sequence: u64) -> u32 {
        self.events.get(&sequence).map_or(0, |event| event.attempts)
    }

    /// An event is stored, and whatever stands behind it: which of them were not before.
    pub(super) fn store(&mut self, sequence: u64) -> Vec<u64> {
        let mut stored = Vec::new();
        let mut open = vec![sequence];
        while let Some(sequence) = open.pop() {
            if !self.unstored.remove(&sequence) {
                continue;
            }
            stored.push(sequence);
            for identity in &self.events[&sequence].identities {
                open.extend(self.of_identity[identity].range(sequence + 1..));
            }
        }
        stored.sort_unstable();
        stored
    }

    /// Gives an event up: it stays first in its lines until it is sent again or discarded.
    pub(super) fn bury(&mut self, sequence: u64) {
        if let Some(event) = self.events.get_mut(&sequence)
            && event.state != State::Dead
        {
            self.heads.remove(&(event.due, sequence));
            event.state = State::Dead;
            self.dead += 1;
        }
    }

    /// Lets an event that was given up wait again, as if it had never failed.
    pub(super) fn revive(&mut self, sequence: u64, due: Instant) {
        if let Some(event) = self.events.get_mut(&sequence)
            && event.state == State::Dead
        {
            (event.state, event.due, event.attempts) = (State::Waiting, due, 0);
            self.dead -= 1;
            self.note_head(sequence);
        }
    }

    /// Whether an event is given up.
    pub(super) fn is_dead(&self, sequence: u64) -> bool {
        let event = self.events.get(&sequence);
        event.is_some_and(|event| event.state == State::Dead)
    }

    /// Those that are given up.
    pub(super) fn dead_letters(&self) -> Vec<u64> {
        let dead =
            |(sequence, event): (&u64, &InLine)| (event.state == State::Dead).then_some(*sequence);
        self.events.iter().filter_map(dead).collect()
    }

    /// How many are given up.
    pub(super) fn dead(&self) -> usize {
        self.dead
    }

    /// How many are stored, those given up among them.
    pub(super) fn stored(&self) -> usize {
        self.events.len() - self.unstored.len()
    }

    /// How many only the outbox keeps.
    pub(super) fn unstored(&self) -> usize {
        self.unstored.len()
    }

    /// The first event that is not done.
    pub(super) fn first(&self) -> Option<u64> {
        self.events.keys().next().copied()
    }

    /// The last event up to which all that were read are done or stored.
    pub(super) fn cursor(&self, last_read: u64) -> u64 {
        self.unstored.first().map_or(last_read, |first| first - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn id(number: u8) -> IdentityId {
        IdentityId([number; 16])
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(Vec<u8>),
        /// At most so many, disjoint or not.
        Take(usize, bool),
        /// What becomes of the parcel that was taken at this place, counted around.
        Deliver(usize),
        Fail(usize, bool),
        Reject(usize),
        Wait(u64),
        Revive,
        /// An event that was delivered goes out once more.
        EnterAgain(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop::collection::vec(0_u8..5, 1..4).prop_map(Step::Enter),
            4 => (1_usize..5, any::<bool>()).prop_map(|(limit, disjoint)| Step::Take(limit, disjoint)),
            3 => any::<usize>().prop_map(Step::Deliver),
            1 => (any::<usize>(), any::<bool>()).prop_map(|(at, counts)| Step::Fail(at, counts)),
            1 => any::<usize>().prop_map(Step::Reject),
            1 => (0_u64..40).prop_map(Step::Wait),
            1 => Just(Step::Revive),
            1 => any::<usize>().prop_map(Step::EnterAgain),
        ]
    }

    proptest! {
        #[test]
        fn each_identity_sees_its_events_in_order_and_none_is_lost(steps in prop::collection::vec(step(), 1..120)) {
            let mut lines = Lines::default();
            let mut now = clock::instant();
            let mut identities: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            let mut delivered: Vec<u64> = Vec::new();
            let mut stored: BTreeSet<u64> = BTreeSet::new();
            let mut on_their_way: Vec<Vec<u64>> = Vec::new();
            let mut entered_again: BTreeSet<u8> = BTreeSet::new();
            let mut last = 0;
            let settle = [Step::Revive, Step::Wait(1_000)].into_iter()
                .chain((0..400).flat_map(|_| [Step::Take(3, false), Step::Deliver(0)]));
            for step in steps.into_iter().chain(settle) {
                let pick = |on_their_way: &mut Vec<Vec<u64>>, at: usize| {
                    let length = on_their_way.len();
                    (length > 0).then(|| on_their_way.remove(at % length))
                };
                match step {
                    Step::Enter(touched) => {
                        last += 1;
                        let ids = touched.iter().map(|number| id(*number)).collect();
                        if lines.enter(last, ids, now) {
                            stored.insert(last);
                        }
                        identities.insert(last, touched);
                    }
                    Step::Take(limit, disjoint) => {
                        let parcel = lines.take(now, limit, disjoint);
                        prop_assert!(parcel.len() <= limit && parcel.is_sorted());
                        // Whoever touches the same identity and came before is done, or before it in the parcel.
                        for (place, sequence) in parcel.iter().enumerate() {
                            for (before, touched) in identities.range(..*sequence) {
                                let shares = touched.iter().any(|one| identities[sequence].contains(one));
                                let is_ahead = !disjoint && parcel[..place].contains(before);
                                let is_clear = delivered.contains(before) || is_ahead;
                                prop_assert!(!shares || is_clear, "{} before {}", sequence, before);
                            }
                        }
                        if !parcel.is_empty() {
                            on_their_way.push(parcel);
                        }
                    }
                    Step::Deliver(at) => for sequence in pick(&mut on_their_way, at).unwrap_or_default() {
                        prop_assert_eq!(lines.done(sequence), stored.contains(&sequence));
                        stored.remove(&sequence);
                        delivered.push(sequence);
                    },
                    Step::Fail(at, counts) => for sequence in pick(&mut on_their_way, at).unwrap_or_default() {
                        lines.failed(sequence, now + Duration::from_millis(7), counts);
                    },
                    Step::Reject(at) => for sequence in pick(&mut on_their_way, at).unwrap_or_default() {
                        lines.failed(sequence, now, true);
                        for newly in lines.store(sequence) {
                            prop_assert!(stored.insert(newly));
                        }
                        lines.bury(sequence);
                    },
                    Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                    Step::Revive => for sequence in lines.dead_letters() {
                        lines.revive(sequence, now);
                    },
                    Step::EnterAgain(at) if !delivered.is_empty() => {
                        let place = at % delivered.len();
                        let sequence = delivered[place];
                        let touched = identities[&sequence].clone();
                        let ids = touched.iter().map(|number| id(*number)).collect();
                        let held_up = on_their_way.iter().flatten().copied().chain(lines.dead_letters());
                        let is_held_up = held_up.into_iter()
                            .any(|one| touched.iter().any(|touched| identities[&one].contains(touched)));
                        prop_assert_eq!(touched.iter().any(|one| lines.is_held_up(&id(*one))), is_held_up);
                        if !is_held_up {
                            delivered.remove(place);
                            stored.insert(sequence);
                            for newly in lines.enter_again(sequence, ids, now).expect("it is not in line") {
                                prop_assert!(stored.insert(newly));
                            }
                            entered_again.extend(touched);
                        }
                    }
                    Step::EnterAgain(_) => {}
                }
                let cursor = lines.cursor(last);
                let open = (1..=last).filter(|one| !delivered.contains(one) && !stored.contains(one));
                prop_assert_eq!(cursor, open.min().map_or(last, |first| first - 1));
                prop_assert_eq!(lines.stored(), stored.len());
                prop_assert_eq!(lines.dead(), lines.dead_letters().len());
            }
            prop_assert_eq!(delivered.len() as u64, last, "everything arrives in the end");
            for one in (0..5).filter(|one| !entered_again.contains(one)) {
                let of_one: Vec<u64> = (delivered.iter()).filter(|it| identities[it].contains(&one)).copied().collect();
                prop_assert!(of_one.is_sorted(), "{:?}", of_one);
            }
        }
    }
}
