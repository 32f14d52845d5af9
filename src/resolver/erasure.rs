//! Erasing a person: the identity ends, what is kept of its records goes, and so does what the feed, overrides and answers said of
//! them. What stays is the numbers of the records, by which later signals for them are known and forgotten.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use veridem_matchers::RecordKey;

use super::audit::{AuditSubject, AuditedCall};
use super::change::Change;
use super::engine::Engine;
use super::error::EngineError;
use crate::store::{
    Approval, Cause, Ended, IdentityId, QuarantineContent, RecordNumber, StoredErasure,
    StoredEvent, StoredIdentity, StoredOverride, Tenant, Write,
};

/// Entries read at once.
const BATCH: usize = 10_000;
/// Entries of the quarantine, each up to 60 KB, read at once.
const QUARANTINED_AT_ONCE: usize = 100;

/// What is to be erased, looked for beside the writer.
#[derive(Clone, Debug)]
pub struct Erasure {
    id: IdentityId,
    principal: String,
    /// The identity's version when its records were looked for.
    version: u64,
    /// Its id and those that went into it alone: records that were deleted have the id that they had then.
    ids: FxHashSet<IdentityId>,
    records: FxHashMap<RecordKey, RecordNumber>,
    /// Events that name one of the records, among those up to `seen_until`.
    mentions: Vec<u64>,
    seen_until: u64,
}

impl Engine {
    /// That an identity's person was erased.
    pub fn erasure(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<StoredErasure>, EngineError> {
        Ok(self.store.erasure(tenant, id)?)
    }

    /// Looks for everything that is to go with a living identity. Reads the whole feed.
    pub fn find_person(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
        principal: &str,
    ) -> Result<Erasure, EngineError> {
        let identity = self.identity_to_erase(tenant, id)?;
        let seen_until = self.store.counters(tenant)?.last_sequence;
        let mut records: FxHashMap<RecordKey, RecordNumber> = (identity.member_keys.iter())
            .cloned()
            .zip(identity.members.iter().copied())
            .collect();
        let mut ids = FxHashSet::from_iter([*id]);
        let mut named: FxHashSet<RecordKey> = FxHashSet::default();
        let mut open = vec![identity.clone()];
        while let Some(identity) = open.pop() {
            for event in self.events_of(tenant, &identity, usize::MAX)? {
                named.extend(event.identity.member_keys.iter().cloned());
                named.extend(event.moved.iter().cloned());
                for merged in &event.merged {
                    let merged = self.store.identity(tenant, merged)?;
                    let went_in_alone = |ended: &Ended| {
                        let mut successors = ended.successors.iter();
                        successors.all(|successor| ids.contains(successor))
                    };
                    if let Some(merged) = merged
                        && merged.ended.as_ref().is_some_and(went_in_alone)
                        && ids.insert(merged.id)
                    {
                        open.push(merged);
                    }
                }
            }
        }
        // Records that their sources have deleted are nobody's members, and still known.
        for key in named {
            if let Some(number) = self.store.record_number(tenant, &key)?
                && let Some(id) = self.identity_of(tenant, number)?
                && ids.contains(&id)
            {
                records.insert(key, number);
            }
        }
        let mut erasure = Erasure {
            id: *id,
            principal: principal.to_owned(),
            version: identity.version,
            ids,
            records,
            mentions: Vec::new(),
            seen_until,
        };
        self.for_each_mention(tenant, &erasure.records, 1, seen_until, |event| {
            erasure.mentions.push(event.sequence);
        })?;
        Ok(erasure)
    }

    fn identity_to_erase(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Arc<StoredIdentity>, EngineError> {
        let identity = self.store.identity(tenant, id)?;
        let identity = identity.ok_or(EngineError::NotFound {
            what: "identity_id",
        })?;
        if identity.ended.is_some() {
            return Err(EngineError::Refused {
                field: "identity_id",
                problem: "it lives no more; GetIdentity tells which identities took its place",
            });
        }
        Ok(identity)
    }

    fn for_each_mention(
        &self,
        tenant: &Tenant,
        records: &FxHashMap<RecordKey, RecordNumber>,
        first: u64,
        last: u64,
        mut found: impl FnMut(&Arc<StoredEvent>),
    ) -> Result<(), EngineError> {
        let mut next = first;
        while next <= last {
            let events = self.store.events(tenant, next, BATCH)?;
            let Some(latest) = events.last() else { break };
            next = latest.sequence + 1;
            let mentions = |event: &&Arc<StoredEvent>| {
                event.sequence <= last
                    && (event.identity.member_keys.iter().chain(&event.moved))
                        .any(|key| records.contains_key(key))
            };
            events.iter().filter(mentions).for_each(&mut found);
        }
        Ok(())
    }

    /// Erases a person. Refused with [`EngineError::Stale`] where the identity has changed since it was looked for; asked for again it
    /// tells what was done. Nothing is durable before the next [`crate::store::Store::flush`].
    pub fn erase(
        &self,
        tenant: &Tenant,
        erasure: &Erasure,
        now_ms: i64,
    ) -> Result<StoredErasure, EngineError> {
        let _writer = self.writer.lock();
        if let Some(done) = self.store.erasure(tenant, &erasure.id)? {
            return Ok(done);
        }
        let running = self.store.model_change(tenant)?;
        if running.is_some_and(|change| change.is_running()) {
            return Err(EngineError::Refused {
                field: "identity_id",
                problem: "a model is being activated; erase once it is done",
            });
        }
        let identity = self.identity_to_erase(tenant, &erasure.id)?;
        let mut numbers: Vec<RecordNumber> = erasure.records.values().copied().collect();
        numbers.sort_unstable();
        if identity.version != erasure.version {
            return Err(EngineError::Stale);
        }
        // A record that was deleted may have come back, as somebody else's.
        for number in &numbers {
            let id = self.identity_of(tenant, *number)?;
            if !id.is_some_and(|id| erasure.ids.contains(&id)) {
                return Err(EngineError::Stale);
            }
        }
        let state = self.tenant(tenant)?;
        let mut change = Change::begin(self, tenant, &state)?;
        let last = change.counters.last_sequence;
        change.erase(&erasure.id, &numbers)?;
        change.settle(&Cause::Erasure(erasure.principal.clone()), now_ms)?;
        let told = |event: &&Arc<StoredEvent>| event.identity.id == erasure.id;
        let sequence = change.events().find(told).map(|event| event.sequence);
        let scrubbed = |event: &StoredEvent| {
            let event = without(event.clone(), &erasure.records, &numbers);
            Write::Event(Arc::new(event))
        };
        for sequence in &erasure.mentions {
            if let Some(event) = self.event(tenant, *sequence)? {
                change.write(scrubbed(&event));
            }
        }
        let seen = erasure.seen_until + 1;
        self.for_each_mention(tenant, &erasure.records, seen, last, |event| {
            change.write(scrubbed(event));
        })?;
        let ids = erasure.ids.iter().copied();
        let mut about: Vec<AuditSubject> = ids.map(AuditSubject::Identity).collect();
        about.extend(self.erase_words(tenant, &numbers, &mut change)?);
        self.erase_audited_notes(tenant, &about, &mut change)?;
        self.erase_quarantined(tenant, &erasure.records, &mut change)?;
        let done = StoredErasure {
            identity_id: erasure.id,
            records: numbers,
            principal: erasure.principal.clone(),
            erased_at_ms: now_ms,
            sequence: sequence.unwrap_or(change.counters.last_sequence),
        };
        change.write(Write::Erasure(Box::new(done.clone())));
        let call = AuditedCall {
            principal: erasure.principal.clone(),
            call: "ErasePerson",
            subjects: vec![AuditSubject::Identity(erasure.id)],
            note: String::new(),
        };
        change.audit(call, last, now_ms)?;
        change.commit()?;
        Ok(done)
    }

    /// Takes the records' keys, and the notes on them, out of what stewards said; the overrides of which it did.
    fn erase_words(
        &self,
        tenant: &Tenant,
        records: &[RecordNumber],
        change: &mut Change<'_>,
    ) -> Result<Vec<AuditSubject>, EngineError> {
        let mut erased = Vec::new();
        let mut after = 0;
        loop {
            let overrides = self.store.overrides(tenant, after, BATCH)?;
            let Some(last) = overrides.last() else { break };
            after = last.number;
            for mut value in overrides {
                if erase_word(&mut value, records) {
                    erased.push(AuditSubject::Override(value.number));
                    change.write(Write::Override(value));
                }
            }
        }
        let mut after: Option<String> = None;
        loop {
            let answers = self.store.answers(tenant, after.as_deref(), BATCH)?;
            let Some((last, _)) = answers.last() else {
                return Ok(erased);
            };
            after = Some(last.clone());
            for (idempotency_key, mut answer) in answers {
                if erase_word(&mut answer.value, records) {
                    change.write(Write::Answer {
                        idempotency_key,
                        answer: Box::new(answer),
                    });
                }
            }
        }
    }

    /// Removes what is set aside of the records' signals.
    fn erase_quarantined(
        &self,
        tenant: &Tenant,
        records: &FxHashMap<RecordKey, RecordNumber>,
        change: &mut Change<'_>,
    ) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = self.store.quarantined(tenant, after, QUARANTINED_AT_ONCE)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(*last);
            for (id, entry) in &page {
                if let QuarantineContent::Signal { signal, .. } = &entry.content
                    && records.contains_key(&signal.record_key())
                {
                    change.write(Write::Quarantined(*id, None));
                }
            }
        }
    }
}

/// Takes records out of an override's text; it still says the same of all others. Whether it named one.
fn erase_word(value: &mut StoredOverride, records: &[RecordNumber]) -> bool {
    let mut names_one = false;
    for (key, number) in value.groups.iter_mut().flatten() {
        if records.binary_search(number).is_ok() {
            key.record_id.clear();
            names_one = true;
        }
    }
    if names_one {
        value.note.clear();
        if let Approval::Given { note, .. } = &mut value.approval {
            note.clear();
        }
        if let Some(undone) = &mut value.undone {
            undone.note.clear();
        }
    }
    names_one
}

/// An event without what it says of some records.
fn without(
    mut event: StoredEvent,
    records: &FxHashMap<RecordKey, RecordNumber>,
    numbers: &[RecordNumber],
) -> StoredEvent {
    let identity = Arc::make_mut(&mut event.identity);
    (identity.members).retain(|number| numbers.binary_search(number).is_err());
    (identity.member_keys).retain(|key| !records.contains_key(key));
    (identity.golden.values).retain(|value| !records.contains_key(&value.record));
    event.moved.retain(|key| !records.contains_key(key));
    if let Cause::Signal(_, signal_id) = &mut event.cause {
        signal_id.clear();
    }
    event
}
