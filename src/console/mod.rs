//! The console of stewards: pages written by the service itself. Everything that it shows and does goes through the gRPC services of this
//! process, with the rights of whoever is signed in. Pages load nothing from elsewhere and run no script of their own making in line.

mod assets;
mod blind;
mod calls;
mod comparison;
mod concerned;
mod decisions;
mod difference;
mod error;
mod graph;
mod identity;
mod jobs;
mod layout;
mod model;
mod neighbours;
mod operations;
mod quality;
mod queue;
mod regroup;
mod request;
mod search;
mod session;
mod sign_in;
mod stated;
mod task;
mod texts;
mod values;
mod waterfall;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tonic::Status;
use tonic::service::Routes;

use self::calls::Calls;
use self::error::Refused;
use self::session::{Session, Sessions};
use crate::api::Authenticator;
use crate::gateway::require_this_machine;

/// Nothing but what comes from here; no page of ours in anybody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Console {
    routes: Routes,
    authenticator: Arc<Authenticator>,
    sessions: Arc<Sessions>,
}

impl Console {
    fn calls(&self, session: &Session) -> Calls {
        Calls::new(self.routes.clone(), session.caller.clone())
    }
}

/// The pages, and the path of the link that opens one session where no principals are configured.
pub fn router(
    routes: Routes,
    authenticator: Arc<Authenticator>,
) -> anyhow::Result<(Router, Option<String>)> {
    let sessions = Arc::new(Sessions::default());
    let link = match authenticator.is_open() {
        true => Some(format!("/console/sign-in?link={}", sessions.new_link()?)),
        false => None,
    };
    let console = Console {
        routes,
        authenticator,
        sessions,
    };
    let pages = Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/queue", get(queue::show))
        .route("/queue/more", get(queue::more))
        .route("/tasks/{id}", get(task::show))
        .route("/tasks/{id}/preview", get(task::preview))
        .route("/tasks/{id}/neighbours", get(neighbours::show))
        .route("/tasks/{id}/decision", post(task::decide))
        .route("/tasks/{id}/assignee", post(task::assign))
        .route("/undo", post(task::undo))
        .route("/identities/{id}", get(identity::show))
        .route("/identities/{id}/golden", get(identity::golden_at))
        .route("/identities/{id}/reveal", post(identity::revealed))
        .route(
            "/identities/{id}/split/preview",
            post(regroup::preview_split),
        )
        .route("/identities/{id}/split", post(regroup::split))
        .route("/together/preview", post(regroup::preview_together))
        .route("/together", post(regroup::together))
        .route("/values/preview", post(stated::preview))
        .route("/values", post(stated::act))
        .route("/search", get(search::show).post(search::results))
        .route("/decisions", get(decisions::show))
        .route(
            "/decisions/{number}/{turn}/preview",
            post(decisions::preview),
        )
        .route("/decisions/{number}/{turn}", post(decisions::act))
        .route("/sinks", get(operations::sinks))
        .route("/sinks/{name}/dead-letters", get(operations::dead_letters))
        .route(
            "/sinks/{name}/dead-letters/redrive",
            post(operations::redrive),
        )
        .route(
            "/sinks/{name}/dead-letters/discard",
            post(operations::discard),
        )
        .route("/sources", get(operations::sources))
        .route("/jobs", get(jobs::show))
        .route("/jobs/list", get(jobs::list))
        .route("/audit", get(operations::audit))
        .route("/quality", get(quality::show))
        .route("/quality/thresholds", get(quality::tried))
        .route("/quality/labels.csv", get(quality::download))
        .route("/quality/sample", post(blind::draw))
        .route("/quality/review", get(blind::show))
        .route("/quality/judgement", post(blind::judge))
        .route("/model", get(model::show))
        .route("/model/status", get(model::status))
        .route(
            "/model/preview",
            post(model::preview).layer(DefaultBodyLimit::max(model::MAX_FORM_BYTES)),
        )
        .route(
            "/model/activate",
            post(model::activate).layer(DefaultBodyLimit::max(model::MAX_FORM_BYTES)),
        )
        .fallback(|| std::future::ready(Refused::from(Status::not_found("there is no such page"))))
        .layer(middleware::from_fn_with_state(console.clone(), guard))
        .with_state(console);
    let home = get(|| std::future::ready(Redirect::to("/console/queue")));
    let router = Router::new()
        .route("/", home.clone())
        .route("/console", home)
        .route("/console/assets/{version}/{name}", get(assets::serve))
        .nest("/console", pages);
    Ok((router, link))
}

fn check(console: &Console, method: &Method, headers: &HeaderMap) -> Result<(), Status> {
    if console.authenticator.is_open() {
        require_this_machine(headers)?;
    }
    // A browser says where a request comes from: of other sites none that changes something is wanted.
    let site = headers.get("sec-fetch-site");
    let is_ours = site.is_none_or(|site| site == "same-origin" || site == "none");
    if *method != Method::GET && !is_ours {
        return Err(Status::permission_denied(
            "the request comes from another site",
        ));
    }
    Ok(())
}

/// What holds for every page.
async fn guard(
    axum::extract::State(console): axum::extract::State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let checked = check(&console, request.method(), request.headers());
    let is_of_htmx = request.headers().contains_key("hx-request");
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(status) => Refused::from(status).into_response(),
    };
    // A script follows a redirection unseen: it is told to take the page along.
    if is_of_htmx && response.headers_mut().remove(header::LOCATION).is_some() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
