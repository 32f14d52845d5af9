//! Between messages and the words of the domain; the one place that knows both.

use prost::Message as _;
use std::sync::Arc;

use tonic::Status;
use veridem_matchers::cluster::Link;
use veridem_matchers::golden::{Criterion, SurvivingValue};
use veridem_matchers::{
    ACTIVITY_PREFIX, Attribute, CustomAttribute, Decision, Identifier, PairExplanation, PersonName,
    PostalAddress, RecordKey,
};
use veridem_proto::v1;

use super::status;
use crate::clock;
use crate::intake::Incoming;
use crate::jobs::{Job, JobEnd, JobKind};
use crate::resolver::{
    Ack, Claim, DecidedPair, EngineError, OverrideState, Signal, SignalKind, SourceRecord,
    StewardAnswer, validate_signal,
};
use crate::schema::{CONTRACT, read_json};
use crate::store::{
    Approval, EventKind, IdentityId, OverrideKind, QuarantineContent, QuarantineId, ReviewReason,
    StoredAuditEntry, StoredEvent, StoredIdentity, StoredOverride, StoredQuarantined,
    StoredReviewTask, ValueMark,
};

pub(super) fn record_key(field: &str, message: Option<v1::RecordKey>) -> Result<RecordKey, Status> {
    let message = message.ok_or_else(|| status::invalid(field, "is missing"))?;
    let key = RecordKey::new(message.source, message.record_id);
    crate::resolver::validate_record_key(field, &key).map_err(status::of)?;
    Ok(key)
}

/// A signal as it comes in.
pub(super) fn incoming(message: Option<v1::Signal>) -> Result<Incoming, EngineError> {
    let schema_version = message.as_ref().map(|signal| signal.schema_version.clone());
    Ok(Incoming {
        signal: signal(message)?,
        schema_version: schema_version.unwrap_or_default(),
    })
}

/// Holds a signal against what every signal must be.
pub(crate) fn check_signal(message: Option<v1::Signal>) -> Result<v1::Signal, EngineError> {
    let known = signal(message.clone())?;
    validate_signal(&known, clock::now_ms())?;
    Ok(message.unwrap_or_default())
}

/// A signal from its JSON form; what is wrong is told without values.
pub fn incoming_from_json(text: &[u8]) -> Result<Incoming, String> {
    let descriptor =
        (CONTRACT.get_message_by_name("veridem.v1.Signal")).expect("the contract has it");
    let bytes = read_json(descriptor, text)?;
    let message = v1::Signal::decode(bytes.as_slice()).map_err(|cause| cause.to_string())?;
    incoming(Some(message)).map_err(|cause| cause.to_string())
}

fn signal(message: Option<v1::Signal>) -> Result<Signal, EngineError> {
    let message = message.ok_or_else(|| EngineError::Invalid {
        field: "signal".to_owned(),
        problem: "is missing".to_owned(),
    })?;
    let kind = match v1::SignalKind::try_from(message.kind) {
        Ok(v1::SignalKind::Unspecified | v1::SignalKind::Update) => SignalKind::Update,
        Ok(v1::SignalKind::Snapshot) => SignalKind::Snapshot,
        Ok(v1::SignalKind::Delete) => SignalKind::Delete,
        Err(_) => {
            return Err(EngineError::Invalid {
                field: "signal.kind".to_owned(),
                problem: format!("{} is no kind of signal", message.kind),
            });
        }
    };
    let mut attributes = attributes("signal.attributes", message.attributes)?;
    if let Some(activity) = message.activity {
        attributes.push(activity_attribute(
            &activity,
            &message.source,
            message.event_time_ms,
        )?);
    }
    Ok(Signal {
        signal_id: message.signal_id,
        source: message.source,
        record_id: message.record_id,
        event_time_ms: message.event_time_ms,
        kind,
        attributes,
    })
}

/// What a customer did, as it is kept.
fn activity_attribute(
    activity: &v1::Activity,
    source: &str,
    event_time_ms: i64,
) -> Result<Attribute, EngineError> {
    let kind = match activity.kind() {
        v1::ActivityKind::Purchase => "purchase",
        v1::ActivityKind::Return => "return",
        v1::ActivityKind::Unspecified => {
            return Err(EngineError::invalid(
                "signal.activity.kind",
                "must be a purchase or a return",
            ));
        }
    };
    let channel = match activity.channel.as_str() {
        "" => source,
        channel => channel,
    };
    let is_known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if channel.len() > 32 || !channel.bytes().all(is_known) {
        return Err(EngineError::invalid(
            "signal.activity.channel",
            "must be 1 to 32 lower-case letters, digits, \"_\" and \"-\"",
        ));
    }
    let since = std::time::Duration::from_millis(u64::try_from(event_time_ms).unwrap_or(0));
    Ok(Attribute::Custom(CustomAttribute {
        name: format!("{ACTIVITY_PREFIX}last_{kind}_{channel}"),
        value: humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string(),
    }))
}

/// A signal as a message.
pub fn signal_message(signal: &Signal) -> v1::Signal {
    let kind = match signal.kind {
        SignalKind::Update => v1::SignalKind::Update,
        SignalKind::Snapshot => v1::SignalKind::Snapshot,
        SignalKind::Delete => v1::SignalKind::Delete,
    };
    v1::Signal {
        signal_id: signal.signal_id.clone(),
        source: signal.source.clone(),
        record_id: signal.record_id.clone(),
        event_time_ms: signal.event_time_ms,
        kind: kind.into(),
        attributes: signal.attributes.iter().map(attribute_message).collect(),
        ..v1::Signal::default()
    }
}

pub(super) fn attributes(
    field: &str,
    messages: Vec<v1::Attribute>,
) -> Result<Vec<Attribute>, EngineError> {
    let of_one = |(index, message)| attribute(|| format!("{field}[{index}]"), message);
    messages.into_iter().enumerate().map(of_one).collect()
}

/// A value; `field` is its place in the request.
pub(super) fn attribute(
    field: impl FnOnce() -> String,
    message: v1::Attribute,
) -> Result<Attribute, EngineError> {
    let value = message.value.ok_or_else(|| EngineError::Invalid {
        field: field(),
        problem: "has no value".to_owned(),
    })?;
    Ok(match value {
        v1::attribute::Value::Name(name) => Attribute::Name(PersonName {
            given: name.given,
            middle: name.middle,
            family: name.family,
            suffix: name.suffix,
            full: name.full,
        }),
        v1::attribute::Value::Email(text) => Attribute::Email(text),
        v1::attribute::Value::Phone(text) => Attribute::Phone(text),
        v1::attribute::Value::Address(address) => Attribute::Address(PostalAddress {
            street: address.street,
            number: address.number,
            unit: address.unit,
            city: address.city,
            region: address.region,
            postcode: address.postcode,
            country: address.country,
        }),
        v1::attribute::Value::BirthDate(text) => Attribute::BirthDate(text),
        v1::attribute::Value::Gender(text) => Attribute::Gender(text),
        v1::attribute::Value::Identifier(identifier) => Attribute::Identifier(Identifier {
            scheme: identifier.scheme,
            value: identifier.value,
        }),
        v1::attribute::Value::Custom(custom) => Attribute::Custom(CustomAttribute {
            name: custom.name,
            value: custom.value,
        }),
    })
}

pub(super) fn attribute_message(attribute: &Attribute) -> v1::Attribute {
    let value = match attribute.clone() {
        Attribute::Name(name) => v1::attribute::Value::Name(v1::PersonName {
            given: name.given,
            middle: name.middle,
            family: name.family,
            suffix: name.suffix,
            full: name.full,
        }),
        Attribute::Email(text) => v1::attribute::Value::Email(text),
        Attribute::Phone(text) => v1::attribute::Value::Phone(text),
        Attribute::Address(address) => v1::attribute::Value::Address(v1::PostalAddress {
            street: address.street,
            number: address.number,
            unit: address.unit,
            city: address.city,
            region: address.region,
            postcode: address.postcode,
            country: address.country,
        }),
        Attribute::BirthDate(text) => v1::attribute::Value::BirthDate(text),
        Attribute::Gender(text) => v1::attribute::Value::Gender(text),
        Attribute::Identifier(identifier) => v1::attribute::Value::Identifier(v1::Identifier {
            scheme: identifier.scheme,
            value: identifier.value,
        }),
        Attribute::Custom(custom) => v1::attribute::Value::Custom(v1::CustomAttribute {
            name: custom.name,
            value: custom.value,
        }),
    };
    v1::Attribute { value: Some(value) }
}

pub(super) fn record_key_message(key: &RecordKey) -> v1::RecordKey {
    v1::RecordKey {
        source: key.source.clone(),
        record_id: key.record_id.clone(),
    }
}

fn surviving_value(value: &SurvivingValue) -> v1::SurvivingValue {
    let criterion = match value.criterion {
        Criterion::MostTrusted => v1::SurvivorshipCriterion::MostTrusted,
        Criterion::MostRecent => v1::SurvivorshipCriterion::MostRecent,
        Criterion::MostFrequent => v1::SurvivorshipCriterion::MostFrequent,
        Criterion::MostComplete => v1::SurvivorshipCriterion::MostComplete,
        Criterion::RecordOrder => v1::SurvivorshipCriterion::RecordOrder,
        Criterion::OnlyValue => v1::SurvivorshipCriterion::OnlyValue,
        Criterion::Pinned => v1::SurvivorshipCriterion::Pinned,
    };
    v1::SurvivingValue {
        slot: value.slot.clone(),
        attribute: Some(attribute_message(&value.attribute)),
        record: Some(record_key_message(&value.record)),
        stated_at_ms: value.stated_at_ms,
        criterion: criterion.into(),
    }
}

pub(super) fn identity(identity: &StoredIdentity) -> v1::Identity {
    v1::Identity {
        identity_id: identity.id.to_string(),
        members: identity
            .member_keys
            .iter()
            .map(record_key_message)
            .collect(),
        golden_record: identity.golden.values.iter().map(surviving_value).collect(),
        version: identity.version,
        changed_at_sequence: identity.changed_at_sequence,
    }
}

pub(super) fn event(event: &Arc<StoredEvent>) -> v1::IdentityEvent {
    let kind = match event.kind {
        EventKind::Created => v1::IdentityEventKind::Created,
        EventKind::Updated => v1::IdentityEventKind::Updated,
        EventKind::Merged => v1::IdentityEventKind::Merged,
        EventKind::Split => v1::IdentityEventKind::Split,
        EventKind::Erased => v1::IdentityEventKind::Erased,
    };
    v1::IdentityEvent {
        sequence: event.sequence,
        kind: kind.into(),
        occurred_at_ms: event.occurred_at_ms,
        identity: Some(identity(&event.identity)),
        merged_identity_ids: event.merged.iter().map(|id| id.to_string()).collect(),
        split_into_identity_ids: event.split_into.iter().map(|id| id.to_string()).collect(),
        moved_records: event.moved.iter().map(record_key_message).collect(),
        cause: event.cause.to_string(),
    }
}

pub(super) fn decision(decision: Decision) -> v1::Decision {
    match decision {
        Decision::NonMatch => v1::Decision::NonMatch,
        Decision::Review => v1::Decision::Review,
        Decision::Match => v1::Decision::Match,
    }
}

pub(super) fn explanation(
    explanation: &PairExplanation,
    shared_blocking_rules: Vec<String>,
    word: Option<Link>,
) -> v1::MatchExplanation {
    let parts = explanation.parts.iter().map(|part| v1::ComparisonPart {
        comparison: part.comparison.to_string(),
        level: part.level.to_owned(),
        weight: part.weight.0,
        term_frequency_adjustment: part.term_adjustment.0,
    });
    v1::MatchExplanation {
        decision: decision(explanation.score.decision).into(),
        match_weight: explanation.score.weight.0,
        match_probability: explanation.score.probability().0,
        prior_weight: explanation.prior_weight.0,
        household_adjustment: explanation.household_adjustment.0,
        parts: parts.collect(),
        rule: explanation.rule.clone().unwrap_or_default(),
        shared_blocking_rules,
        r#override: word
            .map(|word| {
                if word == Link::Must {
                    "same person"
                } else {
                    "different persons"
                }
                .to_owned()
            })
            .unwrap_or_default(),
    }
}

pub(super) fn ack_message(signal_id: String, ack: Ack) -> v1::SignalAck {
    v1::SignalAck {
        signal_id,
        identity_id: ack.identity_id.map(|id| id.to_string()).unwrap_or_default(),
        sequence: ack.sequence,
        repeated: ack.repeated,
        provisional: ack.provisional,
        erased: ack.erased,
    }
}

pub(super) fn quarantined(id: QuarantineId, entry: StoredQuarantined) -> v1::Quarantined {
    let (signal, message) = match entry.content {
        QuarantineContent::Signal {
            signal,
            schema_version,
        } => {
            let message = v1::Signal {
                schema_version,
                ..signal_message(&signal)
            };
            (Some(message), Vec::new())
        }
        QuarantineContent::Message { bytes, .. } => (None, bytes),
    };
    v1::Quarantined {
        quarantine_id: id.to_string(),
        signal,
        message,
        origin: entry.origin,
        reasons: entry.reasons,
        received_at_ms: entry.received_at_ms,
    }
}

pub(super) fn review_task(
    task: &StoredReviewTask,
    identities: (Option<IdentityId>, Option<IdentityId>),
    claim: Option<Claim>,
) -> v1::ReviewTask {
    let id = |id: Option<IdentityId>| id.map(|id| id.to_string()).unwrap_or_default();
    let reason = match task.reason {
        ReviewReason::Uncertain => v1::ReviewReason::Uncertain,
        ReviewReason::Conflict => v1::ReviewReason::Conflict,
    };
    v1::ReviewTask {
        review_task_id: task.id.clone(),
        left: Some(record_key_message(&task.left)),
        right: Some(record_key_message(&task.right)),
        left_identity_id: id(identities.0),
        right_identity_id: id(identities.1),
        reason: reason.into(),
        match_weight: task.score.weight.0,
        match_probability: task.score.probability().0,
        claim: claim.map(review_claim),
        opened_at_ms: task.opened_at_ms,
        priority: task.priority,
    }
}

pub(super) fn steward_override(
    value: &StoredOverride,
    state: Option<OverrideState>,
) -> v1::Override {
    let state = match state {
        None if value.approval == Approval::Awaited => v1::OverrideState::AwaitsApproval,
        None => v1::OverrideState::Unspecified,
        Some(OverrideState::AwaitsApproval) => v1::OverrideState::AwaitsApproval,
        Some(OverrideState::InForce) => v1::OverrideState::InForce,
        Some(OverrideState::WithoutRecords) => v1::OverrideState::WithoutRecords,
        Some(OverrideState::Superseded) => v1::OverrideState::Superseded,
        Some(OverrideState::Contradicted) => v1::OverrideState::Contradicted,
        Some(OverrideState::Undone) => v1::OverrideState::Undone,
    };
    let groups = value.groups.iter().map(|group| v1::OverrideGroup {
        records: group
            .iter()
            .map(|(key, _)| record_key_message(key))
            .collect(),
    });
    let (kind, slot) = match &value.kind {
        OverrideKind::Persons => (v1::OverrideKind::Persons, String::new()),
        OverrideKind::Pin { slot } => (v1::OverrideKind::Pin, slot.clone()),
        OverrideKind::Value { slot, mark, .. } => {
            let kind = match mark {
                ValueMark::Shared => v1::OverrideKind::SharedValue,
                ValueMark::Junk => v1::OverrideKind::JunkValue,
            };
            (kind, slot.clone())
        }
        OverrideKind::Household => (v1::OverrideKind::Household, String::new()),
    };
    let undone = value.undone.as_ref();
    let (approved_by, approved_at_ms, approval_note) = match &value.approval {
        Approval::NotNeeded | Approval::Awaited => Default::default(),
        Approval::Given {
            principal,
            approved_at_ms,
            note,
        } => (principal.clone(), *approved_at_ms, note.clone()),
    };
    v1::Override {
        override_number: value.number,
        groups: groups.collect(),
        principal: value.principal.clone(),
        decided_at_ms: value.decided_at_ms,
        note: value.note.clone(),
        state: state.into(),
        undone_by: undone
            .map(|undone| undone.principal.clone())
            .unwrap_or_default(),
        undone_at_ms: undone.map(|undone| undone.undone_at_ms).unwrap_or_default(),
        undo_note: undone.map(|undone| undone.note.clone()).unwrap_or_default(),
        reason: value.reason.clone(),
        slot,
        kind: kind.into(),
        approved_by,
        approved_at_ms,
        approval_note,
    }
}

pub(super) fn steward_outcome(answer: &StewardAnswer) -> v1::StewardOutcome {
    let id = |id: &Option<IdentityId>| id.map(|id| id.to_string()).unwrap_or_default();
    v1::StewardOutcome {
        r#override: Some(steward_override(&answer.value, None)),
        identity_ids: answer.identities.iter().map(id).collect(),
        events: answer.events.iter().map(event).collect(),
        sequence: answer.sequence,
    }
}

/// An entry of the audit log.
pub(super) fn audit_entry(entry: StoredAuditEntry) -> v1::AuditEntry {
    let (first_event, last_event) = entry.events.unwrap_or_default();
    v1::AuditEntry {
        number: entry.number,
        at_ms: entry.at_ms,
        principal: entry.principal,
        call: entry.call,
        subjects: entry.subjects,
        note: entry.note,
        note_salt: entry.note_salt.to_vec(),
        note_hash: entry.note_hash.to_vec(),
        first_event,
        last_event,
        previous_hash: entry.previous_hash.to_vec(),
        hash: entry.hash.to_vec(),
    }
}

/// That somebody works at a review task.
pub(super) fn review_claim(claim: Claim) -> v1::ReviewClaim {
    v1::ReviewClaim {
        principal: claim.principal,
        until_ms: claim.until_ms,
        assigned: claim.is_assigned,
    }
}

/// What a steward says of two records.
pub(super) fn label(pair: DecidedPair) -> v1::Label {
    v1::Label {
        left: Some(record_key_message(&pair.records.0)),
        right: Some(record_key_message(&pair.records.1)),
        is_match: pair.is_match,
        override_number: pair.override_number,
        match_weight: pair.score.weight.0,
        decision: decision(pair.score.decision).into(),
    }
}

/// What a source states of one customer.
pub(super) fn source_record(record: SourceRecord) -> v1::SourceRecord {
    let values = record.values.into_iter().map(|value| v1::StatedValue {
        slot: value.slot,
        attribute: Some(attribute_message(&value.attribute)),
        stated_at_ms: value.stated_at_ms,
        normalised: value.normalised.unwrap_or_default(),
        mark: match value.mark {
            None => v1::ValueMark::Unspecified,
            Some(ValueMark::Shared) => v1::ValueMark::Shared,
            Some(ValueMark::Junk) => v1::ValueMark::Junk,
        }
        .into(),
    });
    v1::SourceRecord {
        record: Some(record_key_message(&record.key)),
        values: values.collect(),
    }
}

/// A job.
pub(super) fn job(job: Job) -> v1::Job {
    let kind = match job.kind {
        JobKind::ModelPreview => v1::JobKind::ModelPreview,
        JobKind::ModelChange => v1::JobKind::ModelChange,
        JobKind::Sample => v1::JobKind::Sample,
        JobKind::Backup => v1::JobKind::Backup,
        JobKind::FileDrop => v1::JobKind::FileDrop,
    };
    let (state, ended_at_ms, problem) = match job.ended {
        None => (v1::JobState::Running, 0, String::new()),
        Some((at_ms, JobEnd::Done)) => (v1::JobState::Done, at_ms, String::new()),
        Some((at_ms, JobEnd::Stopped)) => (v1::JobState::Stopped, at_ms, String::new()),
        Some((at_ms, JobEnd::Failed(problem))) => (v1::JobState::Failed, at_ms, problem),
    };
    let (done, total) = job.progress;
    v1::Job {
        number: job.number,
        kind: kind.into(),
        name: job.name,
        principal: job.principal,
        state: state.into(),
        stage: job.stage.to_owned(),
        done,
        total,
        started_at_ms: job.started_at_ms,
        ended_at_ms,
        problem,
    }
}
