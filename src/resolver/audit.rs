//! What is written into the audit log, in the same commit as what it tells of where that changes identities.

use rustc_hash::FxHashSet;

use super::change::Change;
use super::engine::Engine;
use super::error::EngineError;
use crate::store::{IdentityId, QuarantineId, Store, StoreError, StoredAuditEntry, Tenant, Write};

/// Entries read at once.
const BATCH: usize = 10_000;

/// What a call is about, as the audit log calls it.
#[derive(Clone, Debug)]
pub enum AuditSubject {
    /// An identity.
    Identity(IdentityId),
    /// A steward's override, by its number.
    Override(u64),
    /// A sink, by its name.
    Sink(String),
    /// Something that is set aside.
    Quarantined(QuarantineId),
    /// A model with its rules, by their fingerprint.
    Model(String),
}

impl std::fmt::Display for AuditSubject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity(id) => write!(formatter, "identity {id}"),
            Self::Override(number) => write!(formatter, "override {number}"),
            Self::Sink(name) => write!(formatter, "sink {name}"),
            Self::Quarantined(id) => write!(formatter, "quarantined {id}"),
            Self::Model(fingerprint) => write!(formatter, "model {fingerprint}"),
        }
    }
}

/// A call that is written down.
#[derive(Clone, Debug)]
pub struct AuditedCall {
    /// Who makes it.
    pub principal: String,
    /// Its name in the contract.
    pub call: &'static str,
    /// What it is about.
    pub subjects: Vec<AuditSubject>,
    /// Why, as the caller said it.
    pub note: String,
}

fn salt() -> Result<[u8; 16], StoreError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|cause| StoreError::Engine(format!("no random bytes: {cause}")))?;
    Ok(salt)
}

impl AuditedCall {
    /// The two writes that put it at the end of a log.
    fn writes(
        self,
        store: &dyn Store,
        tenant: &Tenant,
        events: Option<(u64, u64)>,
        now_ms: i64,
    ) -> Result<[Write; 2], StoreError> {
        let entry = StoredAuditEntry {
            at_ms: now_ms,
            principal: self.principal,
            call: self.call.to_owned(),
            subjects: self.subjects.iter().map(AuditSubject::to_string).collect(),
            note: self.note,
            note_salt: salt()?,
            events,
            ..StoredAuditEntry::default()
        };
        let entry = StoredAuditEntry::after(&store.audit_head(tenant)?, entry);
        let head = Write::AuditHead(entry.head());
        Ok([Write::Audit(Box::new(entry)), head])
    }
}

impl Engine {
    /// Writes a call down that changes no identity by itself, durably: before it is carried out.
    pub fn audit(
        &self,
        tenant: &Tenant,
        call: AuditedCall,
        now_ms: i64,
    ) -> Result<(), EngineError> {
        {
            let _writer = self.writer.lock();
            let writes = call.writes(self.store.as_ref(), tenant, None, now_ms)?;
            let in_force = self.store.in_force(tenant);
            self.store.commit(tenant, in_force, writes.into())?;
        }
        Ok(self.store.flush()?)
    }

    /// Takes the notes out of all entries about some subjects.
    pub(super) fn erase_audited_notes(
        &self,
        tenant: &Tenant,
        subjects: &[AuditSubject],
        change: &mut Change<'_>,
    ) -> Result<(), EngineError> {
        let subjects: FxHashSet<String> = subjects.iter().map(AuditSubject::to_string).collect();
        let mut after = 0;
        loop {
            let entries = self.store.audit_entries(tenant, after, BATCH)?;
            let Some(last) = entries.last() else {
                return Ok(());
            };
            after = last.number;
            for mut entry in entries {
                let is_about = |subject: &String| subjects.contains(subject);
                if !entry.note.is_empty() && entry.subjects.iter().any(is_about) {
                    entry.forget_note();
                    change.write(Write::Audit(Box::new(entry)));
                }
            }
        }
    }
}

impl Change<'_> {
    /// Writes the call down that caused this change, with all events since one.
    pub(super) fn audit(
        &mut self,
        call: AuditedCall,
        before_sequence: u64,
        now_ms: i64,
    ) -> Result<(), EngineError> {
        let last = self.counters.last_sequence;
        let events = (last > before_sequence).then_some((before_sequence + 1, last));
        let store = self.engine.store.as_ref();
        for write in call.writes(store, self.tenant, events, now_ms)? {
            self.write(write);
        }
        Ok(())
    }
}
