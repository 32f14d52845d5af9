//! What the latest changes touched: whether what was read a moment ago is still so.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};
use veridem_matchers::block::BlockingKey;

use super::components::{Component, Components, Found};
use super::overrides::Overrides;
use crate::store::RecordNumber;

/// What a change may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Touch {
    /// Who holds a key, or whether it is active.
    Key(BlockingKey),
    /// A record, its edges, or which of its values are shared.
    Record(RecordNumber),
    /// A hash of what was not known before: of a record's key or of a signal's. Two that are taken for one are only read again.
    Name(u64),
}

impl Touch {
    /// That a record has a number.
    pub(super) fn record_key(source: &str, record_id: &str) -> Self {
        Self::Name(FxBuildHasher.hash_one(("record", source, record_id)))
    }

    /// That a signal was accepted.
    pub(super) fn signal(source: &str, signal_id: &str) -> Self {
        Self::Name(FxBuildHasher.hash_one(("signal", source, signal_id)))
    }
}

/// Changes that are remembered: more than come between a signal's preparation and its turn.
const MAX_REMEMBERED: usize = 640;

/// What the latest changes touched.
#[derive(Default)]
pub(super) struct Touched {
    /// How many changes there were.
    change: u64,
    /// What the latest of them touched.
    remembered: VecDeque<Vec<Touch>>,
    /// The last change that touched something, of those that are remembered.
    last: FxHashMap<Touch, u64>,
    /// Components that were read before, which changes touch since.
    pub(super) components: Components,
}

impl Touched {
    /// The moment of reading: to be asked for before what is read.
    pub(super) fn now(&self) -> u64 {
        self.change
    }

    /// Notes what a change touched, once readers find it changed.
    pub(super) fn note(&mut self, touched: Vec<Touch>) {
        self.change += 1;
        for touch in &touched {
            self.last.insert(*touch, self.change);
            if let Touch::Record(number) = touch {
                self.components.touch(*number);
            }
        }
        self.remembered.push_back(touched);
        if self.remembered.len() > MAX_REMEMBERED
            && let Some(oldest) = self.remembered.pop_front()
        {
            let forgotten = self.change - MAX_REMEMBERED as u64;
            for touch in oldest {
                if self.last.get(&touch) == Some(&forgotten) {
                    self.last.remove(&touch);
                }
            }
        }
    }

    /// Remembers a component that was read at a moment, in the place of the one that was found.
    pub(super) fn remember(
        &mut self,
        found: Option<&Found>,
        component: &Arc<Component>,
        overrides: &Arc<Overrides>,
        moment: u64,
    ) {
        if moment + (MAX_REMEMBERED as u64) < self.change {
            return;
        }
        let stays = |number: &RecordNumber| self.stays_since(Touch::Record(*number), moment);
        let stale = component
            .numbers()
            .filter(|number| !stays(number))
            .collect();
        self.components
            .put(found, component.clone(), overrides.clone(), stale);
    }

    /// Whether what was read at a moment is still so, as far as is remembered.
    pub(super) fn stays_since(&self, touch: Touch, moment: u64) -> bool {
        moment + MAX_REMEMBERED as u64 >= self.change
            && self.last.get(&touch).is_none_or(|last| *last <= moment)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_REMEMBERED, Touch, Touched};

    proptest! {
        #[test]
        fn what_a_change_touched_is_not_taken_for_what_it_was(
            changes in prop::collection::vec(prop::collection::vec(0_u64..40, 0..3), 1..900),
            key in 0_u64..40,
        ) {
            let mut touched = Touched::default();
            for keys in &changes {
                touched.note(keys.iter().copied().map(Touch::Key).collect());
            }
            prop_assert_eq!(touched.now(), changes.len() as u64);
            for moment in 0..=changes.len() {
                let stays = !changes[moment..].iter().flatten().any(|other| *other == key);
                let is_remembered = changes.len() - moment <= MAX_REMEMBERED;
                let told = touched.stays_since(Touch::Key(key), moment as u64);
                prop_assert_eq!(told, stays && is_remembered);
            }
        }
    }
}
