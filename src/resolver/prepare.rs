//! What can be worked out of a signal before its turn: it is the writer that bounds how many signals come in, so that what does not
//! need the state of its very moment is made ready beside it. What it read goes along, and holds where no later change touched it.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use veridem_matchers::block::BlockingKey;
use veridem_matchers::{Comparable, Decision, NormalisedRecord, PairScore, RecordKey};

use super::engine::{Engine, TenantState, hash_of, postcard_bytes};
use super::error::EngineError;
use super::fold::Fold;
use super::signal::Signal;
use super::touched::{Touch, Touched};
use crate::store::{RecordNumber, StoredEdge, StoredFold, StoredRecord, Tenant};

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
    known: Known,
}

/// What was read before a change begins.
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
}

impl Known {
    /// Forgets what a later change touched.
    fn forget(&mut self, signal: &Signal, keys: &[BlockingKey], touched: &Touched) {
        let stays = |touch| touched.stays_since(touch, self.moment);
        self.is_new_signal = stays(Touch::signal(&signal.source, &signal.signal_id));
        // A number that a record has stays its own.
        self.number = (self.number).filter(|number| {
            number.is_some() || stays(Touch::record_key(&signal.source, &signal.record_id))
        });
        self.holders.retain(|key, _| stays(Touch::Key(*key)));
        self.records
            .retain(|number, _| stays(Touch::Record(*number)));
        self.edges.retain(|number, _| stays(Touch::Record(*number)));
        // Which of its values are shared is part of what was compared.
        if keys.iter().all(|key| stays(Touch::Key(*key))) {
            self.scores
                .retain(|number, _| stays(Touch::Record(*number)));
        } else {
            self.scores.clear();
        }
    }
}

impl Prepared {
    /// What is known of a signal at its turn.
    pub(super) fn known(&mut self, signal: &Signal, state: &Arc<TenantState>) -> Known {
        let foreseen = (self.foreseen.as_mut()).filter(|it| Arc::ptr_eq(&it.state, state));
        foreseen.map_or_else(Known::default, |foreseen| {
            let mut known = std::mem::take(&mut foreseen.known);
            known.forget(
                signal,
                &foreseen.statement.keys,
                &state.touched_lately.lock(),
            );
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
        let before = match number {
            Some(number) => self.store.fold(tenant, number)?,
            None => None,
        };
        let statement = state.statement(before.as_deref(), signal);
        let mut known = Known {
            moment,
            is_new_signal: true,
            number: Some(number),
            holders: state.holders(&statement.keys)?,
            ..Known::default()
        };
        self.score_candidates(tenant, &state, &signal.record_key(), &statement, &mut known)?;
        self.read_neighbourhood(tenant, &state, &mut known)?;
        Ok(Some(Foreseen {
            state,
            before,
            statement,
            known,
        }))
    }

    /// Scores the pairs of a statement.
    fn score_candidates(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        key: &RecordKey,
        statement: &Statement,
        known: &mut Known,
    ) -> Result<(), EngineError> {
        let asked = state.comparable(&statement.normalised, &statement.keys);
        let candidates: BTreeSet<_> = known.holders.values().flatten().copied().collect();
        for number in candidates {
            let Some(record) = self.store.record(tenant, state.generation, number)? else {
                continue;
            };
            if !record.is_alive {
                continue;
            }
            let score = {
                let comparable = state.comparable(&record.normalised, &record.keys);
                let scorer = &state.matcher.scorer;
                if *key <= record.key {
                    scorer.score_close(&asked, &comparable)
                } else {
                    scorer.score_close(&comparable, &asked)
                }
            };
            known.scores.insert(number, score);
            if score.is_some() {
                known.records.insert(number, record);
            }
        }
        Ok(())
    }

    /// Reads what the statement's record has edges with or will have, and what is connected with those that match.
    fn read_neighbourhood(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        known: &mut Known,
    ) -> Result<(), EngineError> {
        let is_match = |score: &PairScore| score.decision == Decision::Match;
        let scored = known.scores.iter();
        let mut open: Vec<(RecordNumber, bool)> = scored
            .filter_map(|(number, score)| Some((*number, is_match(score.as_ref()?))))
            .chain(known.number.flatten().map(|number| (number, true)))
            .collect();
        while let Some((number, is_connected)) = open.pop() {
            if let Entry::Vacant(vacant) = known.records.entry(number)
                && let Some(record) = self.store.record(tenant, state.generation, number)?
            {
                vacant.insert(record);
            }
            if !is_connected || known.edges.contains_key(&number) {
                continue;
            }
            let edges = self.store.edges(tenant, state.generation, number)?;
            open.extend(edges.iter().map(|edge| (edge.other, is_match(&edge.score))));
            known.edges.insert(number, edges);
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
    fn holders(
        &self,
        keys: &[BlockingKey],
    ) -> Result<FxHashMap<BlockingKey, Vec<RecordNumber>>, EngineError> {
        let mut of_keys = FxHashMap::default();
        for key in keys {
            if !self.inactive.read().contains(key) {
                of_keys.insert(*key, self.holders_of(*key, 1)?);
            }
        }
        Ok(of_keys)
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
