//! What stewards have decided, with what has become of it; each can be taken back at any time.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;
use veridem_proto::v1::OverrideState;

use super::error::Refused;
use super::layout::{self, Place};
use super::request::{Form, Nothing};
use super::session::Session;
use super::values::{self, Shown};
use super::{Console, texts};
use crate::api::Right;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    after: String,
    /// Only those on which somebody has to agree.
    #[serde(default)]
    awaiting: bool,
}

/// Whether a decision counts only once somebody else agrees.
pub(super) fn awaits_approval(outcome: &v1::StewardOutcome) -> bool {
    let made = outcome.r#override.as_ref();
    made.is_some_and(|made| made.state() == OverrideState::AwaitsApproval)
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let awaiting = asked.awaiting;
    let asked = v1::ListOverridesRequest {
        page_size: 0,
        page_token: asked.after,
        awaiting_approval: awaiting,
    };
    let mut services = calls.stewardship();
    let listed = services.list_overrides(calls.request(asked)).await?;
    let listed = listed.into_inner();
    let shown = Shown::to(session.caller.role());
    let content = html! {
        article.wide {
            h1 { (texts::DECISIONS) }
            p.tabs {
                a href="/console/decisions" aria-current=[(!awaiting).then_some("true")] { (texts::ALL_DECISIONS) }
                a href="/console/decisions?awaiting=true" aria-current=[awaiting.then_some("true")] { (texts::AWAITING_APPROVAL) }
            }
            @if listed.overrides.is_empty() { p.hint { (if awaiting { texts::NOTHING_AWAITS } else { texts::NOTHING_DECIDED }) } }
            @else {
                table.listing {
                    thead { tr { th scope="col" { "Number" } th scope="col" { "Records" } th scope="col" { "Decided by" } th scope="col" { "On" } th scope="col" { "Why" } th scope="col" { "State" } th scope="col" { span.unseen { "Actions" } } } }
                    tbody { @for made in &listed.overrides { (row(made, &session, shown)) } }
                }
            }
            @if !listed.next_page_token.is_empty() {
                p { a href={ "/console/decisions?awaiting=" (awaiting) "&after=" (listed.next_page_token) } { (texts::MORE) } }
            }
        }
    };
    Ok(layout::page(
        &session,
        Place::Decisions,
        texts::DECISIONS,
        content,
    ))
}

fn row(made: &v1::Override, session: &Session, shown: Shown) -> Markup {
    let is_undone = made.state() == OverrideState::Undone;
    let may_decide = session.caller.may(Right::Decide);
    let may_approve = may_decide
        && made.state() == OverrideState::AwaitsApproval
        && made.principal != session.caller.principal;
    let address = format!("/console/decisions/{}", made.override_number);
    html! {
        tr {
            th.number scope="row" { (made.override_number) }
            td {
                @for (index, group) in made.groups.iter().enumerate() {
                    @if index > 0 { span.apart { (texts::APART) } }
                    ul.chips { @for record in &group.records { li { (shown.record_key(Some(record))) } } }
                }
                @if let Some(said) = texts::said(made.kind()) {
                    span.apart { (said) @if !made.slot.is_empty() { ": " (texts::slot(&made.slot)) } }
                }
            }
            td { (made.principal) }
            td { (values::moment(made.decided_at_ms)) }
            td {
                @if !made.reason.is_empty() { span.reason { (made.reason) } " " }
                (shown.text(&made.note))
                @if !made.approved_by.is_empty() { span.cause { " agreed by " (made.approved_by) " " (shown.text(&made.approval_note)) } }
                @if is_undone { span.cause { " undone by " (made.undone_by) " " (shown.text(&made.undo_note)) } }
            }
            td { span.state { (texts::override_state(made.state())) } }
            td {
                @if may_approve {
                    button.primary type="button" hx-post={ (address) "/approval" } hx-target="#notice" hx-swap="innerHTML" { (texts::APPROVE) }
                    " "
                }
                @if may_decide && !is_undone {
                    button type="button" hx-post={ (address) "/undo" } hx-target="#notice" hx-swap="innerHTML" { (texts::UNDO) }
                }
            }
        }
    }
}

/// Agrees to a decision of somebody else.
pub(super) async fn approve(
    State(console): State<Console>,
    Path(number): Path<u64>,
    form: Form<Nothing>,
) -> Result<Response, Refused> {
    console.calls(&form.session).approve(number).await?;
    Ok([("hx-refresh", "true")].into_response())
}

pub(super) async fn undo(
    State(console): State<Console>,
    Path(number): Path<u64>,
    form: Form<Nothing>,
) -> Result<Response, Refused> {
    console.calls(&form.session).undo(number).await?;
    Ok([("hx-refresh", "true")].into_response())
}
