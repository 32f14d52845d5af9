//! What can be worked out of a signal before its turn: it is the writer that bounds how many signals come in, so that what does not
//! need the state of its very moment is made ready beside it, and what it will read is in memory when it comes to it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use veridem_matchers::block::BlockingKey;
use veridem_matchers::{Comparable, Decision, NormalisedRecord};

use super::engine::{Engine, TenantState, hash_of, postcard_bytes};
use super::error::EngineError;
use super::fold::Fold;
use super::signal::Signal;
use crate::store::{RecordNumber, StoredFold, Tenant};

/// What a record says once a signal has come.
pub(super) struct Statement {
    pub(super) fold: Fold,
    pub(super) normalised: NormalisedRecord,
    pub(super) keys: Vec<BlockingKey>,
    pub(super) comparables: Vec<Option<Comparable>>,
}

/// A signal that was made ready.
pub struct Prepared {
    pub(super) content_hash: [u8; 16],
    /// None where the signal was accepted before.
    foreseen: Option<Foreseen>,
}

struct Foreseen {
    state: Arc<TenantState>,
    before: Option<Arc<StoredFold>>,
    statement: Statement,
    holders: Holders,
}

/// Who held some keys right after a change, or later: to be trusted where no later change touched the key.
#[derive(Default)]
pub(super) struct Holders {
    change: u64,
    of_keys: FxHashMap<BlockingKey, Vec<RecordNumber>>,
}

impl Holders {
    /// Who holds a key, if that is known for sure.
    pub(super) fn take(
        &mut self,
        key: BlockingKey,
        touched: &TouchedKeys,
    ) -> Option<Vec<RecordNumber>> {
        let holders = self.of_keys.remove(&key)?;
        touched.stays_since(key, self.change).then_some(holders)
    }
}

/// Which keys the latest changes gave to records or took from them.
#[derive(Default)]
pub(super) struct TouchedKeys {
    changes: VecDeque<(u64, Vec<BlockingKey>)>,
    /// The last change that touched a key, of those in `changes`.
    last: FxHashMap<BlockingKey, u64>,
    /// The last change that is forgotten.
    forgotten: Option<u64>,
}

/// Changes that are remembered: more than come between a signal's preparation and its turn.
const MAX_REMEMBERED: usize = 640;

impl TouchedKeys {
    /// Notes which keys a change touched. Changes come in order.
    pub(super) fn note(&mut self, change: u64, keys: Vec<BlockingKey>) {
        // What came before the first that is noted is not known.
        self.forgotten.get_or_insert(change.saturating_sub(1));
        for key in &keys {
            self.last.insert(*key, change);
        }
        self.changes.push_back((change, keys));
        if self.changes.len() > MAX_REMEMBERED
            && let Some((oldest, keys)) = self.changes.pop_front()
        {
            self.forgotten = Some(oldest);
            for key in keys {
                if self.last.get(&key) == Some(&oldest) {
                    self.last.remove(&key);
                }
            }
        }
    }

    /// Whether no change after this one touched a key.
    fn stays_since(&self, key: BlockingKey, change: u64) -> bool {
        self.forgotten.is_none_or(|forgotten| change >= forgotten)
            && self.last.get(&key).is_none_or(|last| *last <= change)
    }
}

impl Prepared {
    /// The statement that was foreseen, where what it was made of is still so, and who held keys.
    pub(super) fn foreseen(
        self,
        state: &Arc<TenantState>,
        before: Option<&Arc<StoredFold>>,
    ) -> (Option<Statement>, Holders) {
        let Some(foreseen) = self.foreseen.filter(|it| Arc::ptr_eq(&it.state, state)) else {
            return (None, Holders::default());
        };
        let is_same = match (&foreseen.before, before) {
            (Some(foreseen), Some(before)) => Arc::ptr_eq(foreseen, before),
            (None, None) => true,
            _ => false,
        };
        (is_same.then_some(foreseen.statement), foreseen.holders)
    }
}

impl Engine {
    /// Makes a signal ready for [`Engine::submit_prepared`]. It may stay ready for as long as it likes: what has changed meanwhile
    /// is worked out again.
    pub fn prepare(&self, tenant: &Tenant, signal: &Signal) -> Result<Prepared, EngineError> {
        let content_hash = hash_of(&postcard_bytes(signal));
        let receipt = (self.store).receipt(tenant, &signal.source, &signal.signal_id)?;
        let foreseen = match receipt {
            Some(_) => None,
            None => Some(self.foresee(tenant, signal)?),
        };
        Ok(Prepared {
            content_hash,
            foreseen,
        })
    }

    fn foresee(&self, tenant: &Tenant, signal: &Signal) -> Result<Foreseen, EngineError> {
        let state = self.tenant(tenant)?;
        let before = match self.store.record_number(tenant, &signal.record_key())? {
            Some(number) => self.store.fold(tenant, number)?,
            None => None,
        };
        let statement = state.statement(before.as_deref(), signal);
        let holders = state.holders(&statement.keys)?;
        self.read_neighbourhood(tenant, &state, &statement, &holders)?;
        Ok(Foreseen {
            state,
            before,
            statement,
            holders,
        })
    }

    /// Reads what a statement will be compared with, and what is connected with what it matches, so that the store has it at hand.
    fn read_neighbourhood(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        statement: &Statement,
        holders: &Holders,
    ) -> Result<(), EngineError> {
        let asked = state.comparable(&statement.normalised, &statement.keys);
        let mut open = Vec::new();
        let candidates: BTreeSet<_> = holders.of_keys.values().flatten().copied().collect();
        for number in candidates {
            let Some(record) = self.store.record(tenant, state.generation, number)? else {
                continue;
            };
            let comparable = state.comparable(&record.normalised, &record.keys);
            let score = state.matcher.scorer.score_close(&asked, &comparable);
            if score.is_some_and(|score| score.decision == Decision::Match) {
                open.push(number);
            }
        }
        let mut seen: FxHashSet<RecordNumber> = open.iter().copied().collect();
        while let Some(number) = open.pop() {
            let edges = self.store.edges(tenant, state.generation, number)?;
            let matching = edges
                .iter()
                .filter(|edge| edge.score.decision == Decision::Match);
            for edge in matching {
                if seen.insert(edge.other) {
                    self.store.record(tenant, state.generation, edge.other)?;
                    open.push(edge.other);
                }
            }
        }
        Ok(())
    }
}

impl TenantState {
    /// What a record says once a signal has come.
    pub(super) fn statement(&self, before: Option<&StoredFold>, signal: &Signal) -> Statement {
        let mut fold = before.map_or_else(Fold::default, |before| before.fold.clone());
        fold.apply(signal, &self.matcher.pack);
        let (normalised, keys, comparables) = self.matcher.evidence(&fold.attributes());
        Statement {
            fold,
            normalised,
            keys,
            comparables,
        }
    }

    /// Who holds those of some keys that are active.
    fn holders(&self, keys: &[BlockingKey]) -> Result<Holders, EngineError> {
        let change = self.last_change();
        let mut of_keys = FxHashMap::default();
        for key in keys {
            if !self.inactive.read().contains(key) {
                of_keys.insert(*key, self.holders_of(*key)?);
            }
        }
        Ok(Holders { change, of_keys })
    }

    /// Who holds a key, as the index knows it: all, or more than its bound and one besides.
    pub(super) fn holders_of(&self, key: BlockingKey) -> Result<Vec<RecordNumber>, EngineError> {
        let bound = self.matcher.pack.blocking.rule(key).max_records;
        Ok(self.index.holders(key, bound + 2)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TouchedKeys;

    proptest! {
        #[test]
        fn what_a_change_touched_is_not_taken_for_what_it_was(
            changes in prop::collection::vec(prop::collection::vec(0_u64..40, 0..3), 1..900),
            first in 1_u64..1_000,
            key in 0_u64..40,
        ) {
            let mut touched = TouchedKeys::default();
            for (change, keys) in (first..).zip(&changes) {
                touched.note(change, keys.clone());
            }
            for (change, at) in (first - 1..).zip(0..=changes.len()) {
                let stays = !changes[at..].iter().flatten().any(|other| *other == key);
                let is_remembered = changes.len() - at <= super::MAX_REMEMBERED;
                prop_assert_eq!(touched.stays_since(key, change), stays && is_remembered);
            }
        }
    }
}
