//! What comes with a request: the session, and forms that carry its token.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum_extra::extract::cookie::CookieJar;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;
use tonic::Status;

use super::Console;
use super::error::Refused;
use super::session::Session;

/// Only ever sent to the host that set it, and never without encryption but to this machine.
pub(super) const COOKIE: &str = "__Host-veridem";
const CSRF_HEADER: &str = "x-csrf-token";

/// Whether a piece of a page is asked for, not a page.
pub(super) fn wants_piece(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request") && !headers.contains_key("hx-history-restore-request")
}

impl FromRequestParts<Console> for Session {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refused> {
        let cookies = CookieJar::from_headers(&parts.headers);
        let secret = cookies.get(COOKIE).map(|cookie| cookie.value());
        let session = secret.and_then(|secret| console.sessions.find(secret));
        session.ok_or(Refused::SignedOut)
    }
}

/// Fails unless a request carries its session's token, in a header or in its form.
pub(super) fn check_token(
    session: &Session,
    headers: &HeaderMap,
    in_form: &str,
) -> Result<(), Refused> {
    let sent = headers.get(CSRF_HEADER);
    let token = sent.map_or(in_form.as_bytes(), |token| token.as_bytes());
    match bool::from(token.ct_eq(session.csrf_token.as_bytes())) {
        true => Ok(()),
        false => {
            let problem = "the page is of another session; load it again";
            Err(Status::permission_denied(problem).into())
        }
    }
}

/// A form of one of our own pages.
pub(super) struct Form<T> {
    pub(super) session: Session,
    pub(super) fields: T,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    csrf_token: String,
}

/// The fields of a form.
pub(super) fn read_form<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_html_form::from_bytes(body).map_err(|cause| {
        Status::invalid_argument(format!("the form cannot be read: {cause}")).into()
    })
}

impl<T: DeserializeOwned> FromRequest<Console> for Form<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, console).await?;
        let request = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(request, console).await;
        let body = body.map_err(|_| Status::invalid_argument("the form is too large"))?;
        let in_form = match parts.headers.contains_key(CSRF_HEADER) {
            true => String::new(),
            false => read_form::<Token>(&body)?.csrf_token,
        };
        check_token(&session, &parts.headers, &in_form)?;
        let fields = read_form(&body)?;
        Ok(Self { session, fields })
    }
}

/// A form that says all by being sent.
#[derive(Deserialize)]
pub(super) struct Nothing {}
