//! What stewards decide: overrides, merges, splits, and undoing them. Each is an override in the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use veridem_matchers::block::PersonalValue;
use veridem_matchers::{Attribute, Comparable, RecordKey, StatedValue};

use super::audit::{AuditSubject, AuditedCall};
use super::change::Change;
use super::engine::{Engine, TenantState, hash_of, postcard_bytes};
use super::error::EngineError;
use crate::store::{
    Approval, Cause, IdentityId, OverrideKind, RecordNumber, StoredAnswer, StoredEvent,
    StoredIdentity, StoredOverride, Tenant, Undone, ValueMark, Write,
};

type Groups = Vec<Vec<(RecordKey, RecordNumber)>>;

/// Records that one override may name.
pub const MAX_OVERRIDDEN_RECORDS: usize = 1_000;

/// What a steward wants.
#[derive(Clone, Debug, Serialize)]
pub enum StewardAction {
    /// The records of each group are one person, those of two groups are two.
    Override(Vec<Vec<RecordKey>>),
    /// Identities are one person.
    Merge(Vec<IdentityId>),
    /// Some records of an identity are another person.
    Split(IdentityId, Vec<RecordKey>),
    /// An override is to count no more.
    Undo(u64),
    /// What a record states in a slot survives.
    Pin(RecordKey, String),
    /// An override on which somebody else has to agree is agreed on.
    Approve(u64),
    /// A value that a record states is evidence of nobody.
    Mark(RecordKey, Attribute, ValueMark),
    /// Persons live together, and with those with whom one of them does already.
    Household(Vec<IdentityId>),
}

impl StewardAction {
    /// The action that an override stands for.
    pub fn of_groups(value: &StoredOverride) -> Self {
        let groups = value.groups.iter();
        Self::Override(
            groups
                .map(|group| group.iter().map(|(key, _)| key.clone()).collect())
                .collect(),
        )
    }

    /// Half of SHA-256 over what is wanted and said.
    pub fn content_hash(&self, reason: &str, note: &str) -> [u8; 16] {
        // Before there were reasons there was none in it.
        match reason {
            "" => hash_of(&postcard_bytes(&(self, note))),
            reason => hash_of(&postcard_bytes(&(self, note, reason))),
        }
    }
}

/// A steward's call.
#[derive(Clone, Debug)]
pub struct StewardRequest {
    /// What is wanted.
    pub action: StewardAction,
    /// Identities and the versions in which the steward saw them; refused where one has changed since.
    pub expected_versions: Vec<(IdentityId, u64)>,
    /// The call by which it is wanted.
    pub call: &'static str,
    /// Who wants it.
    pub principal: String,
    /// Why, as one of the reasons that are known; empty where none is given.
    pub reason: String,
    /// The note.
    pub note: String,
    /// A decision over identities of more records than these counts once somebody else agrees; none: every decision counts at once.
    pub four_eyes_above: Option<usize>,
    /// The caller's id of the call.
    pub idempotency_key: String,
    /// Only tell what would come of it.
    pub preview: bool,
}

impl StewardRequest {
    /// Whether what changes is more than one pair of eyes may decide.
    fn needs_approval(&self, change: &Change<'_>) -> bool {
        let Some(limit) = self.four_eyes_above else {
            return false;
        };
        let records = change.events().flat_map(|event| &event.identity.members);
        records.collect::<BTreeSet<_>>().len() > limit
    }
}

/// What came of a steward's call, or would come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StewardAnswer {
    /// The override; number 0 in a preview of a new one.
    pub value: StoredOverride,
    /// The identities of its records afterwards, in their order.
    pub identities: Vec<Option<IdentityId>>,
    /// The events that it caused.
    pub events: Vec<Arc<StoredEvent>>,
    /// The latest event when it was answered.
    pub sequence: u64,
}

impl Engine {
    /// Does what a steward wants. Nothing is durable before the next [`crate::store::Store::flush`].
    pub fn steward(
        &self,
        tenant: &Tenant,
        request: &StewardRequest,
        now_ms: i64,
    ) -> Result<StewardAnswer, EngineError> {
        let _writer = self.writer.lock();
        let content_hash = (request.action).content_hash(&request.reason, &request.note);
        if !request.preview
            && let Some(answer) = self.store.answer(tenant, &request.idempotency_key)?
        {
            return if answer.content_hash == content_hash {
                self.first_answer(tenant, answer)
            } else {
                Err(EngineError::Conflict {
                    field: "idempotency_key",
                })
            };
        }
        for (id, version) in &request.expected_versions {
            let identity = self.living_identity(tenant, id)?;
            if identity.version != *version {
                return Err(EngineError::Stale);
            }
        }
        let state = self.tenant(tenant)?;
        let mut change = Change::begin(self, tenant, &state)?;
        let before_sequence = change.counters.last_sequence;
        let said = |(kind, groups)| StoredOverride {
            number: 0,
            kind,
            groups,
            principal: request.principal.clone(),
            decided_at_ms: now_ms,
            reason: request.reason.clone(),
            note: request.note.clone(),
            approval: Approval::NotNeeded,
            undone: None,
        };
        let is_new = !matches!(
            request.action,
            StewardAction::Undo(_) | StewardAction::Approve(_)
        );
        let (mut value, cause) = match &request.action {
            StewardAction::Approve(number) => {
                let value = self.override_to_approve(tenant, *number, request, now_ms)?;
                let cause = Cause::Override(value.principal.clone());
                (value, cause)
            }
            StewardAction::Undo(number) => {
                let undone = Undone {
                    principal: request.principal.clone(),
                    undone_at_ms: now_ms,
                    note: request.note.clone(),
                };
                let value = self.override_to_undo(tenant, *number, undone)?;
                (value, Cause::Undo(request.principal.clone()))
            }
            action => {
                let said = said(self.word_of(tenant, &state, action)?);
                (said, Cause::Override(request.principal.clone()))
            }
        };
        if is_new {
            value.number = change.counters.override_numbers + 1;
            change.counters.override_numbers = value.number;
        }
        change.set_override(&value)?;
        change.settle(&cause, now_ms)?;
        if is_new && request.needs_approval(&change) {
            value.approval = Approval::Awaited;
            if !request.preview {
                change = Change::begin(self, tenant, &state)?;
                change.counters.override_numbers = value.number;
                change.set_override(&value)?;
                change.settle(&cause, now_ms)?;
            }
        }
        let identities = value
            .records()
            .map(|(_, number)| change.identity_of(*number))
            .collect::<Result<Vec<_>, _>>()?;
        let mut answer = StewardAnswer {
            value,
            identities,
            events: change.events().cloned().collect(),
            sequence: change.counters.last_sequence,
        };
        if request.preview {
            if is_new {
                answer.value.number = 0;
            }
            return Ok(answer);
        }
        change.write(Write::Answer {
            idempotency_key: request.idempotency_key.clone(),
            answer: Box::new(StoredAnswer {
                content_hash,
                value: answer.value.clone(),
                identities: answer.identities.clone(),
                before_sequence,
                sequence: answer.sequence,
            }),
        });
        let about = BTreeSet::from_iter(answer.identities.iter().flatten());
        let about = about.into_iter().copied().map(AuditSubject::Identity);
        let call = AuditedCall {
            principal: request.principal.clone(),
            call: request.call,
            subjects: [AuditSubject::Override(answer.value.number)]
                .into_iter()
                .chain(about)
                .collect(),
            note: request.note.clone(),
        };
        change.audit(call, before_sequence, now_ms)?;
        change.commit()?;
        Ok(answer)
    }

    fn first_answer(
        &self,
        tenant: &Tenant,
        answer: StoredAnswer,
    ) -> Result<StewardAnswer, EngineError> {
        let caused = answer.sequence - answer.before_sequence;
        let from = answer.before_sequence + 1;
        let events = match caused {
            0 => Vec::new(),
            caused => self.store.events(tenant, from, caused as usize)?,
        };
        Ok(StewardAnswer {
            value: answer.value,
            identities: answer.identities,
            events,
            sequence: answer.sequence,
        })
    }

    pub(super) fn living_identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<std::sync::Arc<StoredIdentity>, EngineError> {
        let identity = self.store.identity(tenant, id)?;
        let identity = identity.ok_or(EngineError::NotFound {
            what: "identity_id",
        })?;
        if identity.ended.is_some() {
            return Err(EngineError::Stale);
        }
        Ok(identity)
    }

    pub(super) fn override_numbered(
        &self,
        tenant: &Tenant,
        number: u64,
    ) -> Result<StoredOverride, EngineError> {
        let unknown = EngineError::NotFound {
            what: "override_number",
        };
        let Some(after) = number.checked_sub(1) else {
            return Err(unknown);
        };
        let found = self.store.overrides(tenant, after, 1)?.pop();
        found.filter(|found| found.number == number).ok_or(unknown)
    }

    fn override_to_approve(
        &self,
        tenant: &Tenant,
        number: u64,
        request: &StewardRequest,
        now_ms: i64,
    ) -> Result<StoredOverride, EngineError> {
        let mut value = self.override_numbered(tenant, number)?;
        let refused = |problem| EngineError::Refused {
            field: "override_number",
            problem,
        };
        if value.undone.is_some() {
            return Err(refused("it is undone"));
        }
        if value.approval != Approval::Awaited {
            return Err(refused("it waits for nobody"));
        }
        if value.principal == request.principal {
            return Err(refused("somebody else than who decided has to agree"));
        }
        value.approval = Approval::Given {
            principal: request.principal.clone(),
            approved_at_ms: now_ms,
            note: request.note.clone(),
        };
        Ok(value)
    }

    fn override_to_undo(
        &self,
        tenant: &Tenant,
        number: u64,
        undone: Undone,
    ) -> Result<StoredOverride, EngineError> {
        let mut value = self.override_numbered(tenant, number)?;
        if value.undone.is_some() {
            return Err(EngineError::Refused {
                field: "override_number",
                problem: "it is undone already",
            });
        }
        value.undone = Some(undone);
        Ok(value)
    }

    /// What an action says, and the groups of records that it is about, each in the order of record keys.
    fn word_of(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        action: &StewardAction,
    ) -> Result<(OverrideKind, Groups), EngineError> {
        let mut kind = OverrideKind::Persons;
        let mut groups = match action {
            StewardAction::Undo(_) | StewardAction::Approve(_) => Vec::new(),
            StewardAction::Override(groups) => self.numbered(tenant, groups)?,
            StewardAction::Pin(key, slot) => {
                let states = |value: &Attribute| value.slot() == *slot;
                kind = OverrideKind::Pin { slot: slot.clone() };
                vec![vec![self.stating(tenant, key, "slot", states)?]]
            }
            StewardAction::Mark(key, value, mark) => {
                let states = |stated: &Attribute| stated == value;
                let record = self.stating(tenant, key, "value", states)?;
                kind = marked(state, value, *mark)?;
                vec![vec![record]]
            }
            StewardAction::Household(ids) => {
                kind = OverrideKind::Household;
                vec![self.household_to_make(tenant, state, ids)?]
            }
            StewardAction::Merge(ids) => {
                let ids: BTreeSet<_> = ids.iter().collect();
                if ids.len() < 2 {
                    return Err(EngineError::invalid(
                        "identity_ids",
                        "needs two or more different identities",
                    ));
                }
                let mut all = Vec::new();
                for id in ids {
                    all.extend(members(&*self.living_identity(tenant, id)?));
                }
                vec![all]
            }
            StewardAction::Split(id, records) => {
                let identity = self.living_identity(tenant, id)?;
                let wanted: BTreeSet<&RecordKey> = records.iter().collect();
                let (out, stay): (Vec<_>, Vec<_>) =
                    members(&identity).partition(|(key, _)| wanted.contains(key));
                if out.len() < wanted.len() {
                    return Err(EngineError::invalid(
                        "records",
                        "names a record that is not in the identity",
                    ));
                }
                if out.is_empty() || stay.is_empty() {
                    return Err(EngineError::invalid(
                        "records",
                        "needs some of the identity's records, and not all of them",
                    ));
                }
                vec![out, stay]
            }
        };
        let records: usize = groups.iter().map(Vec::len).sum();
        at_most(records)?;
        for group in &mut groups {
            group.sort_unstable();
        }
        Ok((kind, groups))
    }

    /// A living record that states something of which this holds.
    fn stating(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
        field: &'static str,
        holds: impl Fn(&Attribute) -> bool,
    ) -> Result<(RecordKey, RecordNumber), EngineError> {
        let record = self.find_record(tenant, key, "the record")?;
        let fold = self.store.fold(tenant, record.number)?;
        let mut values = fold.iter().flat_map(|fold| fold.stated_by(key));
        // A placeholder never survives, whoever pins it.
        let states = |value: StatedValue<'_>| value.comparable.is_some() && holds(value.attribute);
        if !record.is_alive || !values.any(states) {
            return Err(EngineError::invalid(
                field,
                "is not what the record states, or nothing that could survive",
            ));
        }
        Ok((key.clone(), record.number))
    }

    fn numbered(&self, tenant: &Tenant, groups: &[Vec<RecordKey>]) -> Result<Groups, EngineError> {
        let records: usize = groups.iter().map(Vec::len).sum();
        let distinct: BTreeSet<&RecordKey> = groups.iter().flatten().collect();
        if records < 2 || groups.iter().any(Vec::is_empty) {
            return Err(EngineError::invalid(
                "groups",
                "need two records at least, and one in each group",
            ));
        }
        if distinct.len() < records {
            return Err(EngineError::invalid("groups", "name a record twice"));
        }
        at_most(records)?;
        let number = |key: &RecordKey| {
            let record = self.find_record(tenant, key, "the record")?;
            match record.is_alive {
                true => Ok((key.clone(), record.number)),
                // What is said of it would change nothing now, and identities once its source has it again.
                false => Err(EngineError::invalid(
                    "groups",
                    "name a record that its source has deleted",
                )),
            }
        };
        groups
            .iter()
            .map(|group| group.iter().map(number).collect())
            .collect()
    }
}

fn at_most(records: usize) -> Result<(), EngineError> {
    if records <= MAX_OVERRIDDEN_RECORDS {
        return Ok(());
    }
    Err(EngineError::invalid(
        "records",
        format!("would be {records}, the most is {MAX_OVERRIDDEN_RECORDS}"),
    ))
}

/// The mark on a value that a record states.
fn marked(
    state: &TenantState,
    attribute: &Attribute,
    mark: ValueMark,
) -> Result<OverrideKind, EngineError> {
    let region = state.matcher.pack.region();
    let value = PersonalValue::new(attribute, region);
    let (Some(value), Some(comparable)) = (value, Comparable::new(attribute, region)) else {
        return Err(EngineError::invalid(
            "value",
            "is none of an e-mail address, a phone number or an identifier",
        ));
    };
    let holders = state.holders_of_value(value, MAX_OVERRIDDEN_RECORDS + 1)?;
    if mark == ValueMark::Junk && holders.len() > MAX_OVERRIDDEN_RECORDS {
        return Err(EngineError::Refused {
            field: "value",
            problem: "more than 1,000 records state the value; mark it as shared",
        });
    }
    Ok(OverrideKind::Value {
        slot: attribute.slot(),
        value,
        comparable,
        mark,
    })
}

pub(super) fn members(
    identity: &StoredIdentity,
) -> impl Iterator<Item = (RecordKey, RecordNumber)> {
    let keys = identity.member_keys.iter().cloned();
    keys.zip(identity.members.iter().copied())
}
