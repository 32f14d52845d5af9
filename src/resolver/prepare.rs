//! What can be worked out of a signal before its turn: it is the writer that bounds how many signals come in, so that all of a change
//! but its identities and events is worked out beside it. What was read and found goes along, and holds where no later change touched
//! it.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use veridem_matchers::PairScore;
use veridem_matchers::block::{BlockingKey, PersonalValue};

use super::change::{Change, Partition};
use super::engine::{Engine, TenantState, hash_of, postcard_bytes};
use super::error::EngineError;
use super::overrides::Overrides;
use super::signal::Signal;
use super::touched::Touch;
use crate::store::{IdentityId, RecordNumber, StoredEdge, StoredFold, StoredRecord, Tenant};

/// Stands for the number of a record that has none yet. Numbers begin at 1.
const UNNUMBERED: RecordNumber = 0;

/// What a record says once a signal has come.
pub(super) struct Statement {
    pub(super) fold: Arc<StoredFold>,
    record: Arc<StoredRecord>,
}

impl Statement {
    /// The record with its number, in the identity that it was in.
    pub(super) fn record(
        mut self,
        number: RecordNumber,
        identity_id: Option<IdentityId>,
    ) -> Arc<StoredRecord> {
        let record = Arc::make_mut(&mut self.record);
        record.number = number;
        record.identity_id = identity_id;
        self.record
    }
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
    known: Known,
}

/// What was read and found before a change begins.
#[derive(Default)]
pub(super) struct Known {
    /// When it was read.
    moment: u64,
    /// The signal was not accepted before.
    pub(super) is_new_signal: bool,
    /// The number of the signal's record; none where it had none.
    pub(super) number: Option<Option<RecordNumber>>,
    /// Who holds keys, as the index knows it.
    pub(super) holders: FxHashMap<BlockingKey, Vec<RecordNumber>>,
    pub(super) records: FxHashMap<RecordNumber, Arc<StoredRecord>>,
    pub(super) edges: FxHashMap<RecordNumber, Arc<Vec<StoredEdge>>>,
    /// What the pairs of the signal's record say once it has come; `None` of a pair that is no edge.
    pub(super) scores: FxHashMap<RecordNumber, Option<PairScore>>,
    /// Those keys of the signal's record, once it has come, that too many hold.
    pub(super) inactive: Vec<BlockingKey>,
    pub(super) found: Option<Found>,
}

/// What becomes of the signal's record and of those connected with it.
pub(super) struct Found {
    /// All of those, sorted.
    pub(super) affected: Vec<RecordNumber>,
    /// Those of them that may come into another identity or another review task.
    pub(super) partition: Partition,
    /// The edges that the signal's record gets.
    pub(super) edges: Arc<Vec<StoredEdge>>,
    pub(super) overrides: Arc<Overrides>,
}

impl Known {
    /// Forgets what a later change touched.
    fn forget(&mut self, signal: &Signal, keys: &[BlockingKey], state: &TenantState) {
        let touched = state.touched_lately.lock();
        let stays = |touch| touched.stays_since(touch, self.moment);
        let is_untouched = |number: &RecordNumber| stays(Touch::Record(*number));
        self.is_new_signal = stays(Touch::signal(&signal.source, &signal.signal_id));
        // A number that a record has stays its own.
        self.number = (self.number).filter(|number| {
            number.is_some() || stays(Touch::record_key(&signal.source, &signal.record_id))
        });
        self.holders.retain(|key, _| stays(Touch::Key(*key)));
        self.records.retain(|number, _| is_untouched(number));
        self.edges.retain(|number, _| is_untouched(number));
        self.scores.retain(|number, _| is_untouched(number));
        let is_changed = |found: &mut Found| !found.affected.iter().all(is_untouched);
        self.found.take_if(is_changed);
        // Which of its values are shared is part of what was compared.
        if state.inactive_of(keys) != self.inactive {
            self.forget_found();
        }
    }

    /// Forgets what was found of the signal's record.
    pub(super) fn forget_found(&mut self) {
        self.scores.clear();
        self.found = None;
    }

    /// Puts the number of the signal's record where it had none.
    pub(super) fn give_number(&mut self, number: RecordNumber) {
        if let Some(found) = &mut self.found {
            found.partition.replace(UNNUMBERED, number);
        }
    }
}

impl Prepared {
    /// What is known of a signal at its turn.
    pub(super) fn known(&mut self, signal: &Signal, state: &Arc<TenantState>) -> Known {
        let foreseen = (self.foreseen.as_mut()).filter(|it| Arc::ptr_eq(&it.state, state));
        foreseen.map_or_else(Known::default, |foreseen| {
            let mut known = std::mem::take(&mut foreseen.known);
            known.forget(signal, &foreseen.statement.record.keys, state);
            known
        })
    }

    /// The statement that was foreseen, where what it was made of is still so.
    pub(super) fn statement(
        self,
        state: &Arc<TenantState>,
        before: Option<&Arc<StoredFold>>,
    ) -> Option<Statement> {
        let foreseen = self.foreseen?;
        let is_same = match (&foreseen.before, before) {
            (Some(foreseen), Some(before)) => Arc::ptr_eq(foreseen, before),
            (None, None) => true,
            _ => false,
        };
        (is_same && Arc::ptr_eq(&foreseen.state, state)).then_some(foreseen.statement)
    }
}

impl Engine {
    /// Makes a signal ready for [`Engine::submit_prepared`]. It may stay ready for as long as it likes: what has changed meanwhile
    /// is worked out again.
    pub fn prepare(&self, tenant: &Tenant, signal: &Signal) -> Result<Prepared, EngineError> {
        let content_hash = hash_of(&postcard_bytes(signal));
        Ok(Prepared {
            content_hash,
            foreseen: self.foresee(tenant, signal)?,
        })
    }

    fn foresee(&self, tenant: &Tenant, signal: &Signal) -> Result<Option<Foreseen>, EngineError> {
        let state = self.tenant(tenant)?;
        let moment = state.touched_lately.lock().now();
        let receipt = (self.store).receipt(tenant, &signal.source, &signal.signal_id)?;
        if receipt.is_some() {
            return Ok(None);
        }
        let number = self.store.record_number(tenant, &signal.record_key())?;
        let (before, old) = match number {
            Some(number) => (
                self.store.fold(tenant, number)?,
                self.store.record(tenant, state.generation, number)?,
            ),
            None => (None, None),
        };
        let is_erased = number.is_some() && old.is_none();
        if is_erased {
            return Ok(None);
        }
        let statement = state.statement(before.as_deref(), signal);
        let known = Known {
            moment,
            is_new_signal: true,
            number: Some(number),
            inactive: state.inactive_of(&statement.record.keys),
            ..Known::default()
        };
        let number = number.unwrap_or(UNNUMBERED);
        let identity_id = old.as_ref().and_then(|old| old.identity_id);
        let fold = statement.fold.clone();
        let record = statement.record(number, identity_id);
        let mut change = Change::ahead(self, tenant, &state, known);
        change.replace_evidence(old.as_deref(), record.clone())?;
        let mut known = change.foresee(number)?;
        known.records.extend(old.map(|old| (number, old)));
        Ok(Some(Foreseen {
            state,
            before,
            statement: Statement { fold, record },
            known,
        }))
    }
}

impl TenantState {
    /// What a record says once a signal has come.
    pub(super) fn statement(&self, before: Option<&StoredFold>, signal: &Signal) -> Statement {
        let mut fold = before.map_or_else(Default::default, |before| before.fold.clone());
        fold.apply(signal, &self.matcher.pack);
        let (normalised, keys, comparables) = self.matcher.evidence(fold.values());
        Statement {
            record: Arc::new(StoredRecord {
                number: UNNUMBERED,
                key: signal.record_key(),
                is_alive: fold.is_alive(),
                normalised,
                keys,
                identity_id: None,
            }),
            fold: Arc::new(StoredFold { fold, comparables }),
        }
    }

    /// Those of some keys that too many records hold.
    fn inactive_of(&self, keys: &[BlockingKey]) -> Vec<BlockingKey> {
        let inactive = self.inactive.read();
        let keys = keys.iter().copied();
        keys.filter(|key| inactive.contains(key)).collect()
    }

    /// Who states a value, at most so many.
    pub(super) fn holders_of_value(
        &self,
        value: PersonalValue,
        most: usize,
    ) -> Result<Vec<RecordNumber>, EngineError> {
        let key = self.matcher.pack.blocking.keys_of_value(value).next();
        let key = key.ok_or(EngineError::Refused {
            field: "value",
            problem: "the model in force has no blocking rule with shared_value for such values",
        })?;
        Ok(self.index.holders(key, most)?)
    }

    /// Who holds a key, as the index knows it: all, or more than its bound and so many besides.
    pub(super) fn holders_of(
        &self,
        key: BlockingKey,
        besides: usize,
    ) -> Result<Vec<RecordNumber>, EngineError> {
        let bound = self.matcher.pack.blocking.rule(key).max_records;
        Ok(self.index.holders(key, bound + 1 + besides)?)
    }
}
