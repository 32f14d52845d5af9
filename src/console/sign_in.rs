//! Signing in and out.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;

use super::error::Refused;
use super::request::{COOKIE, Form, Nothing, read_form};
use super::{Console, assets, layout, texts};
use crate::store::Tenant;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    link: String,
}

/// The form, or the button where a link was followed: a link that is only looked at, as mail scanners do, is not used up.
pub(super) async fn show(State(console): State<Console>, Query(asked): Query<Asked>) -> Markup {
    page(&console, &asked.link, None)
}

fn page(console: &Console, link: &str, problem: Option<&str>) -> Markup {
    let is_link = console.authenticator.is_open() && console.sessions.is_link(link);
    let content = html! {
        section.sign-in {
            h1 { img src=(assets::address("mark.svg")) alt="" width="40" height="40"; "Veridem" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            @if is_link {
                p { (texts::LINK_FOLLOWS) }
                form method="post" action="/console/sign-in" {
                    input type="hidden" name="link" value=(link);
                    button.primary type="submit" autofocus { (texts::SIGN_IN_AS_ADMINISTRATOR) }
                }
            } @else if console.authenticator.is_open() {
                p { (texts::SIGN_IN_WITH_LINK) }
            } @else {
                form method="post" action="/console/sign-in" {
                    label { (texts::TOKEN) input type="password" name="token" autocomplete="current-password" required autofocus; }
                    label { (texts::TENANT) input type="text" name="tenant" value="default" required autocomplete="organization"; }
                    button.primary type="submit" { (texts::SIGN_IN) }
                }
                p.hint { (texts::SIGN_IN_WITH_TOKEN) }
            }
        }
    };
    layout::bare_page(texts::SIGN_IN, content)
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    link: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    tenant: String,
}

pub(super) async fn sign_in(
    State(console): State<Console>,
    cookies: CookieJar,
    body: Bytes,
) -> Result<Response, Refused> {
    let given: Credentials = read_form(&body)?;
    let refused = |problem| {
        let page = page(&console, "", Some(problem));
        Ok((StatusCode::FORBIDDEN, page).into_response())
    };
    let tenant = match given.tenant.as_str() {
        "" => Ok(Tenant::default_tenant()),
        name => Tenant::try_from(name.to_owned()),
    };
    let caller = tenant.ok().and_then(|tenant| {
        let known = console.authenticator.sign_in(&given.token, tenant);
        known.ok()
    });
    let Some(caller) = caller else {
        return refused(texts::NOT_KNOWN);
    };
    if console.authenticator.is_open() && !console.sessions.take_link(&given.link) {
        return refused(texts::LINK_USED);
    }
    tracing::info!(principal = caller.principal, "signed in to the console");
    let secret = console.sessions.open(caller)?;
    let cookie = Cookie::build((COOKIE, secret))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax);
    Ok((cookies.add(cookie), Redirect::to("/console/queue")).into_response())
}

pub(super) async fn sign_out(
    State(console): State<Console>,
    cookies: CookieJar,
    form: Form<Nothing>,
) -> Result<Response, Refused> {
    let calls = console.calls(&form.session);
    if let Some(review_task_id) = console.sessions.close(&form.session) {
        let asked = calls.request(v1::ReleaseReviewTaskRequest { review_task_id });
        calls.stewardship().release_review_task(asked).await?;
    }
    let gone = Cookie::build((COOKIE, "")).path("/").secure(true);
    Ok((cookies.remove(gone), Redirect::to("/console/sign-in")).into_response())
}
