//! What stewards have decided, with what has become of it; each can be taken back at any time.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;

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
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = v1::ListOverridesRequest {
        page_size: 0,
        page_token: asked.after,
    };
    let mut services = calls.stewardship();
    let listed = services.list_overrides(calls.request(asked)).await?;
    let listed = listed.into_inner();
    let may_undo = session.caller.may(Right::Decide);
    let shown = Shown::to(session.caller.role());
    let content = html! {
        article.wide {
            h1 { (texts::DECISIONS) }
            @if listed.overrides.is_empty() { p.hint { (texts::NOTHING_DECIDED) } }
            @else {
                table.listing {
                    thead { tr { th scope="col" { "Number" } th scope="col" { "Records" } th scope="col" { "Decided by" } th scope="col" { "On" } th scope="col" { "Note" } th scope="col" { "State" } th scope="col" { span.unseen { "Actions" } } } }
                    tbody { @for made in &listed.overrides { (row(made, may_undo, shown)) } }
                }
            }
            @if !listed.next_page_token.is_empty() {
                p { a href={ "/console/decisions?after=" (listed.next_page_token) } { (texts::MORE) } }
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

fn row(made: &v1::Override, may_undo: bool, shown: Shown) -> Markup {
    let is_undone = made.state() == v1::OverrideState::Undone;
    html! {
        tr {
            th.number scope="row" { (made.override_number) }
            td {
                @for (index, group) in made.groups.iter().enumerate() {
                    @if index > 0 { span.apart { (texts::APART) } }
                    ul.chips { @for record in &group.records { li { (shown.record_key(Some(record))) } } }
                }
            }
            td { (made.principal) }
            td { (values::moment(made.decided_at_ms)) }
            td { (shown.text(&made.note)) @if is_undone { span.cause { " undone by " (made.undone_by) " " (shown.text(&made.undo_note)) } } }
            td { (texts::override_state(made.state())) }
            td {
                @if may_undo && !is_undone {
                    button type="button" hx-post={ "/console/decisions/" (made.override_number) "/undo" } hx-target="#notice" hx-swap="innerHTML" { (texts::UNDO) }
                }
            }
        }
    }
}

pub(super) async fn undo(
    State(console): State<Console>,
    Path(number): Path<u64>,
    form: Form<Nothing>,
) -> Result<Response, Refused> {
    console.calls(&form.session).undo(number).await?;
    Ok([("hx-refresh", "true")].into_response())
}
