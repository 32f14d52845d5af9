//! What is answered where something cannot be done.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;
use tonic::{Code, Status};

use super::layout;
use crate::gateway::http_status;

/// Why nothing, or nothing more, is shown.
pub(super) enum Refused {
    /// What a service answered, or would have.
    Status(Status),
    /// Nobody is signed in.
    SignedOut,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<anyhow::Error> for Refused {
    fn from(cause: anyhow::Error) -> Self {
        tracing::error!(%cause, "a page failed");
        Self::Status(Status::internal("the page failed"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Status(status) => {
                let text = match status.code() {
                    Code::Aborted => {
                        "Somebody or something was faster: the identity has changed since you saw it. Load it again."
                    }
                    _ => status.message(),
                };
                // The same serves as a page and as a piece of one.
                let page = html! {
                    section.refused { (layout::notice(true, text)) p { a href="/console/queue" { "To the review queue" } } }
                };
                (
                    http_status(status.code()),
                    layout::bare_page("Not possible", page),
                )
                    .into_response()
            }
            // The first for pages, the second for pieces of one.
            Self::SignedOut => {
                let headers = [
                    ("location", "/console/sign-in"),
                    ("hx-redirect", "/console/sign-in"),
                ];
                (StatusCode::SEE_OTHER, headers).into_response()
            }
        }
    }
}
