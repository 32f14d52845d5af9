//! Questions to the engine. They change nothing and see every signal that was answered.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use veridem_matchers::block::BlockingKey;
use veridem_matchers::cluster::Link;
use veridem_matchers::normalise::normalise_phone;
use veridem_matchers::{
    Attribute, Decision, NormalisedRecord, PairExplanation, PairScore, Record, RecordKey,
    StatedAttribute,
};

use super::engine::{Engine, TenantState};
use super::error::EngineError;
use crate::index::{query_number, query_words};
use crate::store::{
    Ended, IdentityId, RecordNumber, StoredEvent, StoredFold, StoredIdentity, StoredRecord, Tenant,
};

/// An identity that attributes may belong to.
#[derive(Clone, Debug)]
pub struct RankedIdentity {
    /// The identity.
    pub identity: Arc<StoredIdentity>,
    /// Its member that fits best.
    pub best_record: RecordKey,
    /// Why.
    pub explanation: PairExplanation,
    /// Blocking rules whose active keys the two share.
    pub shared_blocking_rules: Vec<String>,
}

/// As of when something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// As it is.
    Now,
    /// Right after the event of this number.
    Event(u64),
    /// At this time, milliseconds since the Unix epoch.
    Time(i64),
}

/// What became of an id.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// What lives of it.
    pub living: Vec<Arc<StoredIdentity>>,
    /// Ended ids on the way.
    pub ended: Vec<Arc<StoredIdentity>>,
}

/// Why two records match or do not.
#[derive(Clone, Debug)]
pub struct MatchAnswer {
    /// The weights.
    pub explanation: PairExplanation,
    /// Blocking rules whose active keys the two share.
    pub shared_blocking_rules: Vec<String>,
    /// The steward's word, if there is one.
    pub word: Option<Link>,
    /// The identities of the two.
    pub identities: (Option<IdentityId>, Option<IdentityId>),
    /// Why they are not one identity; empty where they are.
    pub why_not: String,
}

/// Why an identity is what it is.
#[derive(Clone, Debug)]
pub struct IdentityExplanation {
    /// The identity.
    pub identity: Arc<StoredIdentity>,
    /// Its matching pairs, strongest first.
    pub pairs: Vec<(RecordKey, RecordKey)>,
    /// The events that made it, oldest first.
    pub events: Vec<Arc<StoredEvent>>,
}

/// Pairs of an identity that an explanation lists.
const MAX_EXPLAINED_PAIRS: usize = 200;
/// Events that an explanation lists.
const MAX_EXPLAINED_EVENTS: usize = 100;

impl Engine {
    /// Identities that attributes may belong to: decided `Match` or `Review`, best first.
    pub fn resolve(
        &self,
        tenant: &Tenant,
        attributes: &[Attribute],
        max_identities: usize,
    ) -> Result<Vec<RankedIdentity>, EngineError> {
        let state = self.tenant(tenant)?;
        let stated = attributes
            .iter()
            .map(|attribute| StatedAttribute {
                attribute: attribute.clone(),
                stated_at_ms: 0,
            })
            .collect();
        let mut asked = state.matcher.normalise(&Record {
            key: RecordKey::new("", ""),
            attributes: stated,
        });
        let keys: Vec<u64> = state
            .matcher
            .pack
            .blocking
            .keys(&asked)
            .into_iter()
            .filter(|key| !state.inactive.read().contains(key))
            .collect();
        state.drop_shared(&mut asked);
        let mut candidates: BTreeSet<RecordNumber> = BTreeSet::new();
        for key in &keys {
            candidates.extend(state.holders_of(*key, 0)?);
        }
        let mut best: BTreeMap<IdentityId, (PairScore, Arc<StoredRecord>)> = BTreeMap::new();
        for number in candidates {
            let Some(record) = self.store.record(tenant, state.generation, number)? else {
                continue;
            };
            let Some(id) = record.identity_id else {
                continue;
            };
            let comparable = state.comparable(&record.normalised, &record.keys);
            let Some(score) = state.matcher.scorer.score_close(&asked, &comparable) else {
                continue;
            };
            drop(comparable);
            let rank = |score: &PairScore| (score.decision, score.weight.0);
            if best.get(&id).is_none_or(|(known, known_record)| {
                (rank(&score), &known_record.key) > (rank(known), &record.key)
            }) {
                best.insert(id, (score, record));
            }
        }
        let mut ranked: Vec<_> = best.into_iter().collect();
        ranked.sort_by(|(left_id, (left, ..)), (right_id, (right, ..))| {
            right
                .decision
                .cmp(&left.decision)
                .then(right.weight.0.total_cmp(&left.weight.0))
                .then(left_id.cmp(right_id))
        });
        let mut answers = Vec::new();
        for (id, (_, record)) in ranked.into_iter().take(max_identities) {
            let Some(identity) = self.store.identity(tenant, &id)? else {
                continue;
            };
            answers.push(RankedIdentity {
                identity,
                explanation: (state.matcher.scorer)
                    .explain(&asked, &state.comparable(&record.normalised, &record.keys)),
                shared_blocking_rules: state.matcher.pack.blocking.names_of(
                    keys.iter()
                        .filter(|key| record.keys.binary_search(key).is_ok())
                        .copied(),
                ),
                best_record: record.key.clone(),
            });
        }
        Ok(answers)
    }

    /// What lives of an identity id, or lived of it at a moment.
    pub fn get_identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
        moment: Moment,
    ) -> Result<Resolution, EngineError> {
        let as_of = self.sequence_at(tenant, moment)?;
        let mut open = vec![*id];
        let mut seen = BTreeSet::new();
        let mut resolution = Resolution {
            living: Vec::new(),
            ended: Vec::new(),
        };
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let identity = self.identity_at(tenant, &id, as_of)?;
            match &identity.ended {
                Some(ended) => {
                    open.extend(ended.successors.iter().cloned());
                    resolution.ended.push(identity);
                }
                None => resolution.living.push(identity),
            }
        }
        resolution.living.sort_by_key(|left| left.id);
        Ok(resolution)
    }

    /// The last event at or before a moment.
    fn sequence_at(&self, tenant: &Tenant, moment: Moment) -> Result<u64, EngineError> {
        let time_ms = match moment {
            Moment::Now => return Ok(u64::MAX),
            Moment::Event(sequence) => return Ok(sequence),
            Moment::Time(time_ms) => time_ms,
        };
        // Events are numbered in the order of their times.
        let (mut before, mut after) = (0, self.store.counters(tenant)?.last_sequence + 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let event = self.event(tenant, middle)?;
            if event.is_some_and(|event| event.occurred_at_ms <= time_ms) {
                before = middle;
            } else {
                after = middle;
            }
        }
        Ok(before)
    }

    /// An identity as it was right after an event.
    fn identity_at(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
        as_of: u64,
    ) -> Result<Arc<StoredIdentity>, EngineError> {
        let unknown = EngineError::NotFound {
            what: "identity_id",
        };
        let Some(identity) = self
            .store
            .identity(tenant, id)?
            .filter(|identity| identity.created_at_sequence <= as_of)
        else {
            return Err(unknown);
        };
        let has_ended = |ended: &Ended| ended.sequence <= as_of;
        if identity.ended.as_ref().is_some_and(has_ended)
            || (identity.ended.is_none() && identity.changed_at_sequence <= as_of)
        {
            return Ok(identity);
        }
        let mut sequence = identity.changed_at_sequence;
        while let Some(event) = self.event(tenant, sequence)? {
            if sequence <= as_of {
                return Ok(event.identity.clone());
            }
            sequence = event.previous_sequence;
        }
        Err(unknown)
    }

    /// The identity of a source record.
    pub fn lookup_identity(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<Arc<StoredIdentity>, EngineError> {
        let record = match self.find_record(tenant, key, "record") {
            // It may be what a consumer calls a person that it was told of.
            Err(EngineError::NotFound { .. }) => self.record_of_reference(tenant, key)?,
            found => found?,
        };
        let id = record
            .identity_id
            .filter(|_| record.is_alive)
            .ok_or(EngineError::NotFound { what: "record" })?;
        self.store
            .identity(tenant, &id)?
            .ok_or(EngineError::NotFound { what: "record" })
    }

    fn record_of_reference(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<Arc<StoredRecord>, EngineError> {
        let what = EngineError::NotFound { what: "record" };
        let reference = self.store.reference(tenant, &key.source, &key.record_id)?;
        let Some(reference) = reference else {
            return Err(what);
        };
        let generation = self.tenant(tenant)?.generation;
        self.store
            .record(tenant, generation, reference.record)?
            .ok_or(what)
    }

    pub(super) fn find_record(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
        what: &'static str,
    ) -> Result<Arc<StoredRecord>, EngineError> {
        let number = self
            .store
            .record_number(tenant, key)?
            .ok_or(EngineError::NotFound { what })?;
        self.store
            .record(tenant, self.tenant(tenant)?.generation, number)?
            .ok_or(EngineError::NotFound { what })
    }

    /// Identities whose records' words answer a query, best first: those from `skip` on, at most `limit`.
    pub fn search(
        &self,
        tenant: &Tenant,
        query: &str,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Arc<StoredIdentity>>, EngineError> {
        let words = query_words(query);
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.tenant(tenant)?;
        // Several records of one identity may answer: enough of them for the page.
        let most = (skip + limit + 1) * 20;
        let mut numbers = state.index.search(&words, most)?;
        // A number may be that of a phone, written as one dials it at home.
        let region = state.matcher.pack.region();
        let phone = query_number(query).and_then(|_| normalise_phone(query, region));
        let phone = phone.map(|phone| phone.trim_start_matches('+').to_owned());
        if let Some(phone) = phone.filter(|phone| words != [phone.as_str()]) {
            numbers.extend(state.index.search(&[phone], most)?);
        }
        let mut ids: Vec<IdentityId> = Vec::new();
        for number in numbers {
            if let Some(id) = self
                .store
                .record(tenant, state.generation, number)?
                .and_then(|record| record.identity_id)
                && !ids.contains(&id)
            {
                ids.push(id);
            }
            if ids.len() >= skip + limit {
                break;
            }
        }
        let identities = ids
            .iter()
            .skip(skip)
            .map(|id| self.store.identity(tenant, id));
        Ok(identities
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Why two records match or do not.
    pub fn explain_match(
        &self,
        tenant: &Tenant,
        left: &RecordKey,
        right: &RecordKey,
    ) -> Result<MatchAnswer, EngineError> {
        let state = self.tenant(tenant)?;
        let (first, second) = (left.min(right), left.max(right));
        let (one, other) = (
            self.find_record(tenant, first, "the record")?,
            self.find_record(tenant, second, "the record")?,
        );
        let explanation = state.matcher.scorer.explain(
            &state.comparable(&one.normalised, &one.keys),
            &state.comparable(&other.normalised, &other.keys),
        );
        let shared: Vec<u64> = one
            .keys
            .iter()
            .copied()
            .filter(|key| other.keys.binary_search(key).is_ok())
            .collect();
        let (inactive, active): (Vec<u64>, Vec<u64>) = shared
            .into_iter()
            .partition(|key| state.inactive.read().contains(key));
        let word = state.shared.overrides.read().word(one.number, other.number);
        let joined = one.identity_id.is_some() && one.identity_id == other.identity_id;
        let why_not = if joined {
            String::new()
        } else {
            state.why_not(&explanation, &active, &inactive, word)
        };
        let (one, other) = (one.identity_id, other.identity_id);
        let identities = if left <= right {
            (one, other)
        } else {
            (other, one)
        };
        Ok(MatchAnswer {
            explanation,
            shared_blocking_rules: state.matcher.pack.blocking.names_of(active),
            word,
            identities,
            why_not,
        })
    }

    /// Why an identity is what it is.
    pub fn explain_identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
        moment: Moment,
    ) -> Result<IdentityExplanation, EngineError> {
        let as_of = self.sequence_at(tenant, moment)?;
        let identity = self.identity_at(tenant, id, as_of)?;
        let members = identity.members.iter().zip(&identity.member_keys);
        // Of records and their pairs only the present is kept.
        let members = members.filter(|_| moment == Moment::Now);
        let generation = self.tenant(tenant)?.generation;
        let mut pairs = Vec::new();
        for (number, key) in members {
            for edge in self.store.edges(tenant, generation, *number)?.iter() {
                if let Some(at) = identity
                    .members
                    .iter()
                    .position(|member| *member == edge.other)
                    && *key < identity.member_keys[at]
                {
                    pairs.push((
                        edge.score.weight.0,
                        key.clone(),
                        identity.member_keys[at].clone(),
                    ));
                }
            }
        }
        pairs.sort_by(|left, right| {
            right
                .0
                .total_cmp(&left.0)
                .then((&left.1, &left.2).cmp(&(&right.1, &right.2)))
        });
        pairs.truncate(MAX_EXPLAINED_PAIRS);
        let events = self.events_of(tenant, &identity, MAX_EXPLAINED_EVENTS)?;
        let pairs = pairs.into_iter().map(|(_, left, right)| (left, right));
        Ok(IdentityExplanation {
            identity,
            pairs: pairs.collect(),
            events,
        })
    }

    /// The latest events of an identity, at most so many, oldest first.
    pub fn events_of(
        &self,
        tenant: &Tenant,
        identity: &StoredIdentity,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, EngineError> {
        let mut events = Vec::new();
        let mut next = identity.changed_at_sequence;
        // An id that went into another has its last word in the event of that one.
        if let Some(ended) = &identity.ended {
            events.extend(self.event(tenant, ended.sequence)?);
        }
        while next > 0 && events.len() < limit {
            let Some(event) = self.event(tenant, next)? else {
                break;
            };
            next = event.previous_sequence;
            events.push(event);
        }
        events.reverse();
        events.dedup_by_key(|event| event.sequence);
        Ok(events)
    }

    pub(super) fn event(
        &self,
        tenant: &Tenant,
        sequence: u64,
    ) -> Result<Option<Arc<StoredEvent>>, EngineError> {
        Ok(self.store.event(tenant, sequence)?)
    }

    /// The records of an identity with what their sources state.
    pub fn records_of(
        &self,
        tenant: &Tenant,
        identity: &StoredIdentity,
    ) -> Result<Vec<(RecordKey, Arc<StoredFold>)>, EngineError> {
        let members = identity.members.iter().zip(&identity.member_keys);
        let mut records = Vec::with_capacity(identity.members.len());
        for (number, key) in members {
            if let Some(fold) = self.store.fold(tenant, *number)? {
                records.push((key.clone(), fold));
            }
        }
        Ok(records)
    }
}

impl TenantState {
    fn drop_shared(&self, record: &mut NormalisedRecord) {
        let inactive = self.inactive.read();
        self.matcher
            .pack
            .blocking
            .drop_shared(record, |key| inactive.contains(&key));
    }

    /// A record without its shared values.
    pub(super) fn comparable<'a>(
        &self,
        normalised: &'a NormalisedRecord,
        keys: &[BlockingKey],
    ) -> Cow<'a, NormalisedRecord> {
        let inactive = self.inactive.read();
        (self.matcher.pack.blocking)
            .without_shared(normalised, keys, |key| inactive.contains(&key))
            .map_or(Cow::Borrowed(normalised), Cow::Owned)
    }

    fn why_not(
        &self,
        explanation: &PairExplanation,
        active: &[u64],
        inactive: &[u64],
        word: Option<Link>,
    ) -> String {
        if word == Some(Link::Cannot) {
            return "a steward decided that they are different persons".to_owned();
        }
        if active.is_empty() {
            let rules = self
                .matcher
                .pack
                .blocking
                .names_of(inactive.iter().copied());
            return if rules.is_empty() {
                "they share no blocking key, so they are never compared".to_owned()
            } else {
                format!(
                    "they share only keys that too many records hold ({}), so they are never compared",
                    rules.join(", ")
                )
            };
        }
        if let Some(rule) = &explanation.rule {
            return format!("the match rule \"{rule}\" decides");
        }
        if explanation.score.decision == Decision::Match {
            return "the pair matches, but the other records of the two identities speak against it".to_owned();
        }
        let missing_weight = self.matcher.scorer.match_weight().0 - explanation.score.weight.0;
        let weakest = explanation
            .parts
            .iter()
            .filter(|part| part.weight.0 < 0.0)
            .min_by(|left, right| left.weight.0.total_cmp(&right.weight.0));
        match weakest {
            Some(part) => format!(
                "the match weight lacks {missing_weight:.1}; the deciding level is {} \"{}\" ({:.1})",
                part.comparison, part.level, part.weight.0
            ),
            None => format!(
                "the match weight lacks {missing_weight:.1}: too little is known of the two"
            ),
        }
    }
}
