//! Errors as google.rpc.Status with one google.rpc.ErrorInfo. One exhaustive match; no personal value in any message.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::resolver::EngineError;

const DOMAIN: &str = "veridem";
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Code, reason and field of an error.
pub(super) fn parts(error: &EngineError) -> (Code, &'static str, &str) {
    match error {
        EngineError::Invalid { field, .. } => (Code::InvalidArgument, "INVALID_FIELD", field),
        EngineError::Conflict { field } => (Code::AlreadyExists, "IDEMPOTENCY_CONFLICT", field),
        EngineError::NotFound { what } => (Code::NotFound, "NOT_FOUND", what),
        EngineError::Stale => (Code::Aborted, "STALE_VERSION", "expected_versions"),
        EngineError::Refused { field, .. } => (Code::FailedPrecondition, "REFUSED", field),
        EngineError::Closed(_) => (Code::NotFound, "CLOSED", "review_task_id"),
        EngineError::Claimed(_) => (Code::FailedPrecondition, "CLAIMED", "review_task_id"),
        EngineError::Quarantined { .. } => (Code::FailedPrecondition, "QUARANTINED", "signal"),
        EngineError::Overloaded => (Code::ResourceExhausted, "OVERLOADED", ""),
        EngineError::Abandoned => (Code::Cancelled, "ABANDONED", ""),
        EngineError::Stopping => (Code::Unavailable, "STOPPING", ""),
        EngineError::Store(_) => (Code::Unavailable, "STORE_UNAVAILABLE", ""),
        EngineError::Index(_) => (Code::Unavailable, "INDEX_UNAVAILABLE", ""),
    }
}

/// An error as a status.
pub(crate) fn of(error: EngineError) -> Status {
    let (code, reason, field) = parts(&error);
    let message = match &error {
        EngineError::Store(cause) => {
            tracing::error!(%cause, "store failed");
            "the store cannot answer; try again later".to_owned()
        }
        EngineError::Index(cause) => {
            tracing::error!(%cause, "index failed");
            "the index cannot answer; try again later".to_owned()
        }
        other => other.to_string(),
    };
    with_info(code, reason, field, message)
}

fn with_info(code: Code, reason: &str, field: &str, message: String) -> Status {
    let metadata = if field.is_empty() {
        HashMap::new()
    } else {
        HashMap::from([("field".to_owned(), field.to_owned())])
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if matches!(code, Code::ResourceExhausted | Code::Unavailable) {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, message, details)
}

pub(super) fn invalid(field: &str, problem: &str) -> Status {
    of(EngineError::invalid(field, problem))
}

pub(super) fn unauthenticated(problem: &str) -> Status {
    with_info(
        Code::Unauthenticated,
        "UNAUTHENTICATED",
        "authorization",
        problem.to_owned(),
    )
}

pub(super) fn denied(field: &str, problem: &str) -> Status {
    with_info(
        Code::PermissionDenied,
        "PERMISSION_DENIED",
        field,
        problem.to_owned(),
    )
}
