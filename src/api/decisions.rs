//! Decisions of stewards on their way to the writer: what goes with each, checked.

use tonic::Status;
use veridem_matchers::RecordKey;
use veridem_proto::v1;

use super::resolution::identity_id;
use super::{Api, Caller, convert, observe, status};
use crate::clock::{self, Stopwatch};
use crate::resolver::{
    self, EngineError, MAX_OVERRIDDEN_RECORDS, StewardAction, StewardRequest, answer, validate_id,
};
use crate::store::{IdentityId, ValueMark};

pub(super) const MAX_NOTE_BYTES: usize = 1_024;

pub(super) fn is_match(decision: v1::StewardDecision) -> Result<bool, Status> {
    match decision {
        v1::StewardDecision::SamePerson => Ok(true),
        v1::StewardDecision::DifferentPersons => Ok(false),
        v1::StewardDecision::Unspecified => Err(status::invalid(
            "decision",
            "must be same person or different persons",
        )),
    }
}

pub(super) fn value_mark(mark: v1::ValueMark) -> Result<ValueMark, Status> {
    match mark {
        v1::ValueMark::Shared => Ok(ValueMark::Shared),
        v1::ValueMark::Junk => Ok(ValueMark::Junk),
        v1::ValueMark::Unspecified => Err(status::invalid("mark", "must be shared or junk")),
    }
}

pub(super) fn identity_ids(ids: Vec<String>) -> Result<Vec<IdentityId>, Status> {
    at_most_a_thousand("identity_ids", ids.len())?;
    ids.into_iter().map(identity_id).collect()
}

impl Api {
    /// Decides a review task, where nobody else works at it.
    pub(super) async fn decide_task(
        &self,
        name: &'static str,
        caller: Caller,
        task_id: String,
        is_match: bool,
        call: Call,
    ) -> Result<v1::StewardOutcome, Status> {
        validate_id("review_task_id", &task_id).map_err(status::of)?;
        let (tenant, principal) = (caller.tenant.clone(), caller.principal.clone());
        let is_preview = call.preview;
        if !is_preview {
            let claimed = self
                .claims
                .check(&tenant, &task_id, &principal, clock::now_ms());
            claimed.map_err(status::of)?;
        }
        let (key, of_tenant, id) = (
            call.idempotency_key.clone(),
            tenant.clone(),
            task_id.clone(),
        );
        let records = self.ask(name, move |engine| {
            // A repeated call finds its task closed: the first answer tells the records.
            if let Some(answer) = engine.store().answer(&of_tenant, &key)? {
                let records: Vec<_> = answer.value.records().map(|(key, _)| key.clone()).collect();
                return match records.as_slice() {
                    [left, right] if resolver::task_id(left, right) == id => Ok(records),
                    _ => Err(EngineError::Conflict {
                        field: "idempotency_key",
                    }),
                };
            }
            let task = engine.open_task(&of_tenant, &id)?;
            Ok(vec![task.left, task.right])
        });
        let records: Vec<RecordKey> = records.await?;
        let groups = match is_match {
            true => vec![records],
            false => records.into_iter().map(|record| vec![record]).collect(),
        };
        let action = StewardAction::Override(groups);
        let outcome = self.decide(name, caller, action, call).await?;
        if !is_preview {
            self.claims.decided(&tenant, &task_id);
        }
        Ok(outcome)
    }

    /// What goes with a decision, checked.
    pub(super) fn call(&self, message: Option<v1::StewardCall>) -> Result<Call, Status> {
        let call = Call::check(message)?;
        if !call.reason.is_empty() && !self.stewardship.reasons.contains(&call.reason) {
            return Err(status::invalid(
                "call.reason",
                "is none of the reasons that GetStewardshipSettings lists",
            ));
        }
        Ok(call)
    }
}

/// What goes with a decision, checked.
#[derive(Clone)]
pub(super) struct Call {
    reason: String,
    note: String,
    idempotency_key: String,
    expected_versions: Vec<(IdentityId, u64)>,
    preview: bool,
}

impl Call {
    /// The same for one of several things.
    pub(super) fn of_one(&self, id: &str) -> Self {
        Self {
            idempotency_key: format!("{}/{id}", self.idempotency_key),
            ..self.clone()
        }
    }

    /// Of what becomes of an override: its reason stays its own.
    pub(super) fn gives_no_reason(&self) -> Result<(), Status> {
        match self.reason.is_empty() {
            true => Ok(()),
            false => Err(status::invalid(
                "call.reason",
                "must be empty: the override keeps its own, the note tells more",
            )),
        }
    }

    pub(super) fn names_versions(&self) -> bool {
        !self.expected_versions.is_empty()
    }

    fn check(message: Option<v1::StewardCall>) -> Result<Self, Status> {
        let call = message.ok_or_else(|| status::invalid("call", "is missing"))?;
        if !call.preview {
            validate_id("call.idempotency_key", &call.idempotency_key).map_err(status::of)?;
        }
        if call.note.len() > MAX_NOTE_BYTES {
            return Err(status::invalid("call.note", "has more than 1,024 bytes"));
        }
        at_most_a_thousand("call.expected_versions", call.expected_versions.len())?;
        let versions = call.expected_versions.into_iter();
        let versions = versions.map(|seen| Ok((identity_id(seen.identity_id)?, seen.version)));
        Ok(Self {
            reason: call.reason,
            note: call.note,
            idempotency_key: call.idempotency_key,
            expected_versions: versions.collect::<Result<_, Status>>()?,
            preview: call.preview,
        })
    }
}

impl Api {
    /// Has the writer decide: a preview too has to see everything that was decided before it.
    pub(super) async fn decide(
        &self,
        name: &'static str,
        caller: Caller,
        action: StewardAction,
        call: Call,
    ) -> Result<v1::StewardOutcome, Status> {
        let stopwatch = Stopwatch::start();
        let request = StewardRequest {
            action,
            expected_versions: call.expected_versions,
            call: name,
            principal: caller.principal,
            reason: call.reason,
            note: call.note,
            four_eyes_above: self.stewardship.four_eyes_above,
            idempotency_key: call.idempotency_key,
            preview: call.preview,
        };
        let result = async { answer(self.ingest.try_steward(caller.tenant, request)?).await }
            .await
            .map_err(status::of);
        observe(name, stopwatch, result.as_ref().err());
        Ok(convert::steward_outcome(&result?))
    }
}

pub(super) fn at_most_a_thousand(field: &str, length: usize) -> Result<(), Status> {
    if length > MAX_OVERRIDDEN_RECORDS {
        return Err(status::invalid(field, "has more than 1,000 entries"));
    }
    Ok(())
}

pub(super) fn record_keys(
    field: &str,
    messages: Vec<v1::RecordKey>,
) -> Result<Vec<RecordKey>, Status> {
    at_most_a_thousand(field, messages.len())?;
    let key = |(index, message)| convert::record_key(&format!("{field}[{index}]"), Some(message));
    messages.into_iter().enumerate().map(key).collect()
}
