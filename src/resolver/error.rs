//! What can go wrong in the engine. A caller's mistake and our fault are different variants.

use super::queue::Claim;
use crate::index::IndexError;
use crate::store::StoreError;

/// Why the engine refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller sent something that cannot be: name of the field, and what to send instead.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The id was used before with other content; send another id.
    #[error("{field} was used before with other content; use a new id for a new message")]
    Conflict {
        /// The field that holds the id.
        field: &'static str,
    },
    /// Nothing is stored under what was asked for.
    #[error("{what} is not known")]
    NotFound {
        /// What was asked for, without its value.
        what: &'static str,
    },
    /// An identity has changed since the caller read it; read it again.
    #[error("an identity has changed since; read it again")]
    Stale,
    /// What is asked for is not possible as things are.
    #[error("{field}: {problem}")]
    Refused {
        /// The field at fault.
        field: &'static str,
        /// Why not.
        problem: &'static str,
    },
    /// The review task has closed since the caller saw it.
    #[error("the task is closed: {0}")]
    Closed(&'static str),
    /// Somebody else works at the review task.
    #[error("{} works at the task", .0.principal)]
    Claimed(Claim),
    /// Its source may not send the signal as it is; it is set aside until somebody mends or discards it.
    #[error("set aside: {problem}")]
    Quarantined {
        /// What is wrong with it, without its values.
        problem: String,
    },
    /// More waits than may wait; try again after a moment.
    #[error("too many requests wait; try again")]
    Overloaded,
    /// The caller does not wait for the answer any more.
    #[error("nobody waits for the answer any more")]
    Abandoned,
    /// The service is stopping; try again elsewhere or later.
    #[error("the service is stopping; try again later")]
    Stopping,
    /// The store fails. Our fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index fails. Our fault.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl EngineError {
    /// Whether the same message may be taken later: it is not itself to blame.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::NotFound { .. }
            | Self::Stale
            | Self::Refused { .. }
            | Self::Closed(_)
            | Self::Claimed(_)
            | Self::Quarantined { .. } => false,
            Self::Overloaded
            | Self::Abandoned
            | Self::Stopping
            | Self::Store(_)
            | Self::Index(_) => true,
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }
}
