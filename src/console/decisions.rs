//! What stewards have decided, with what has become of it; each can be taken back at any time.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;
use veridem_proto::v1::OverrideState;

use super::calls::Calls;
use super::error::Refused;
use super::layout::{self, Place};
use super::request::Form;
use super::session::Session;
use super::values::{self, Shown};
use super::{Console, concerned, regroup, texts};
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
                div #said {}
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
                    button.primary type="button" hx-post={ (address) "/approval/preview" } hx-target="#said" hx-swap="innerHTML show:bottom" { (texts::APPROVE) }
                    " "
                }
                @if may_decide && !is_undone {
                    button type="button" hx-post={ (address) "/undo/preview" } hx-target="#said" hx-swap="innerHTML show:bottom" { (texts::UNDO) }
                }
            }
        }
    }
}

/// What becomes of a decision.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Turn {
    /// Somebody else agrees.
    Approval,
    /// It is taken back.
    Undo,
}

/// A turn with what was seen before.
#[derive(Deserialize)]
pub(super) struct Agreed {
    /// Identities with their versions: `id:version`.
    #[serde(default)]
    identity: Vec<String>,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    note: String,
}

async fn take(
    calls: &Calls,
    (override_number, turn): (u64, Turn),
    agreed: &Agreed,
    preview: bool,
) -> Result<v1::StewardOutcome, Refused> {
    let seen = agreed.identity.iter().map(|text| values::version_of(text));
    let call = Some(v1::StewardCall {
        note: agreed.note.clone(),
        idempotency_key: agreed.idempotency_key.clone(),
        expected_versions: seen.collect::<Result<_, _>>()?,
        preview,
        ..v1::StewardCall::default()
    });
    let mut services = calls.stewardship();
    let outcome = match turn {
        Turn::Approval => {
            let asked = v1::ApproveOverrideRequest {
                override_number,
                call,
            };
            let answer = services.approve_override(calls.request(asked)).await?;
            answer.into_inner().outcome
        }
        Turn::Undo => {
            let asked = v1::UndoOverrideRequest {
                override_number,
                call,
            };
            let answer = services.undo_override(calls.request(asked)).await?;
            answer.into_inner().outcome
        }
    };
    Ok(outcome.unwrap_or_default())
}

/// What would come of agreeing to a decision, or of taking it back, by what is true now.
pub(super) async fn preview(
    State(console): State<Console>,
    Path((number, turn)): Path<(u64, Turn)>,
    form: Form<Agreed>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let outcome = take(&calls, (number, turn), &fields, true).await?;
    let (turn, deed) = match turn {
        Turn::Approval => ("approval", texts::APPROVE),
        Turn::Undo => ("undo", texts::UNDO),
    };
    let address = format!("/console/decisions/{number}/{turn}");
    let seen = concerned::living(&calls, &outcome).await?;
    Ok(html! {
        form method="post" action=(address) {
            (layout::csrf_field(&session))
            @for identity in &seen { input type="hidden" name="identity" value=(values::version_text(identity)); }
            (regroup::preview_with(&calls, &outcome, &session, &[], (&address, deed)).await?)
        }
    })
}

pub(super) async fn act(
    State(console): State<Console>,
    Path(decision): Path<(u64, Turn)>,
    form: Form<Agreed>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    take(&console.calls(&session), decision, &fields, false).await?;
    Ok([("hx-refresh", "true")].into_response())
}
