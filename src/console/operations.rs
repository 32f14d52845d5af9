//! Sources and sinks, dead letters, and who did what.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;

use super::error::Refused;
use super::layout::{self, Place};
use super::request::Form;
use super::session::Session;
use super::values;
use super::{Console, texts};
use crate::api::Right;
use crate::report::number;

pub(super) async fn sinks(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = calls.request(v1::ListSinksRequest {});
    let sinks = calls
        .operations()
        .list_sinks(asked)
        .await?
        .into_inner()
        .sinks;
    let may_operate = session.caller.may(Right::Operate);
    let content = html! {
        article.wide {
            h1 { (texts::SINKS) }
            @if sinks.is_empty() { p.hint { (texts::NO_SINKS) } }
            @else {
                table.listing {
                    thead { tr { th scope="col" { "Sink" } th scope="col" { "Kind" } th scope="col" { "Owner" } th scope="col" { "State" } th scope="col" { "Cursor" } th scope="col" { "Lag" } th scope="col" { "Retries" } th scope="col" { "Dead letters" } th scope="col" { "Last failure" } } }
                    tbody {
                        @for sink in &sinks {
                            tr {
                                th scope="row" { (sink.name) }
                                td { (sink.kind) }
                                td { (sink.owner) }
                                td { @if sink.down { span.state.bad { (texts::DOWN) } } @else { span.state.good { (texts::UP) } } }
                                td.number { (number::count(sink.cursor)) }
                                td.number { (number::count(sink.lag)) }
                                td.number { (number::count(sink.retries)) }
                                td.number {
                                    @if may_operate && sink.dead_letters > 0 {
                                        a href={ "/console/sinks/" (sink.name) "/dead-letters" } { (number::count(sink.dead_letters)) }
                                    } @else { (number::count(sink.dead_letters)) }
                                }
                                td { (sink.last_error) }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(&session, Place::Sinks, texts::SINKS, content))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    after: String,
}

pub(super) async fn dead_letters(
    State(console): State<Console>,
    session: Session,
    Path(sink): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = v1::ListDeadLettersRequest {
        sink: sink.clone(),
        page_size: 0,
        page_token: asked.after,
    };
    let mut services = calls.operations();
    let listed = services.list_dead_letters(calls.request(asked)).await?;
    let listed = listed.into_inner();
    let address = format!("/console/sinks/{sink}/dead-letters");
    let act = |which: &str| format!("{address}/{which}");
    let content = html! {
        article.wide {
            h1 { (texts::DEAD_LETTERS) " · " (sink) }
            p.hint { (texts::DEAD_LETTERS_WAIT) }
            @if listed.dead_letters.is_empty() { p { (texts::NO_DEAD_LETTERS) } }
            @else {
                form.actions method="post" action=(act("redrive")) hx-post=(act("redrive")) hx-target="#notice" hx-swap="innerHTML" {
                    (layout::csrf_field(&session))
                    button.primary type="submit" { (texts::REDRIVE_ALL) }
                }
                table.listing {
                    thead { tr { th scope="col" { "Event" } th scope="col" { "Kind" } th scope="col" { "Identity" } th scope="col" { "Attempts" } th scope="col" { "Failed" } th scope="col" { "Reason" } th scope="col" { span.unseen { "Actions" } } } }
                    tbody {
                        @for letter in &listed.dead_letters {
                            tr {
                                th.number scope="row" { (letter.sequence) }
                                td { (letter.kind) }
                                td { (values::identity_link(&letter.identity_id)) }
                                td.number { (letter.attempts) }
                                td { (values::moment(letter.failed_at_ms)) }
                                td { (letter.reason) }
                                td.row-actions {
                                    form method="post" action=(act("redrive")) hx-post=(act("redrive")) hx-target="#notice" hx-swap="innerHTML" {
                                        (layout::csrf_field(&session))
                                        input type="hidden" name="sequence" value=(letter.sequence);
                                        button type="submit" { (texts::REDRIVE) }
                                    }
                                    form method="post" action=(act("discard")) hx-post=(act("discard")) hx-target="#notice" hx-swap="innerHTML" hx-confirm=(texts::REALLY_DISCARD) {
                                        (layout::csrf_field(&session))
                                        input type="hidden" name="sequence" value=(letter.sequence);
                                        button.quiet type="submit" { (texts::DISCARD) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if !listed.next_page_token.is_empty() {
                p { a href={ (address) "?after=" (listed.next_page_token) } { (texts::MORE) } }
            }
            p { a href="/console/sinks" { (texts::SINKS) } }
        }
    };
    Ok(layout::page(
        &session,
        Place::Sinks,
        texts::DEAD_LETTERS,
        content,
    ))
}

/// One dead letter, or all.
#[derive(Deserialize)]
pub(super) struct Which {
    sequence: Option<u64>,
}

pub(super) async fn redrive(
    State(console): State<Console>,
    Path(sink): Path<String>,
    form: Form<Which>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let asked = v1::RedriveDeadLettersRequest {
        sink,
        sequences: fields.sequence.into_iter().collect(),
        all: fields.sequence.is_none(),
    };
    let mut services = calls.operations();
    services.redrive_dead_letters(calls.request(asked)).await?;
    Ok([("hx-refresh", "true")].into_response())
}

pub(super) async fn discard(
    State(console): State<Console>,
    Path(sink): Path<String>,
    form: Form<Which>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    // All at once is for the command line.
    let asked = v1::DiscardDeadLettersRequest {
        sink,
        sequences: fields.sequence.into_iter().collect(),
        all: false,
    };
    let mut services = calls.operations();
    services.discard_dead_letters(calls.request(asked)).await?;
    Ok([("hx-refresh", "true")].into_response())
}

pub(super) async fn sources(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = calls.request(v1::ListSourcesRequest {});
    let listed = calls.operations().list_sources(asked).await?;
    let sources = listed.into_inner().sources;
    let content = html! {
        article.wide {
            h1 { (texts::SOURCES) }
            @if sources.is_empty() { p.hint { (texts::NO_SOURCES) } }
            @else {
                table.listing {
                    thead { tr { th scope="col" { "Source" } th scope="col" { "Owner" } th scope="col" { "Brand" } th scope="col" { "Trust" } th scope="col" { "Signals a day" } th scope="col" { "Attributes" } th scope="col" { "Rules" } } }
                    tbody {
                        @for source in &sources {
                            tr {
                                th scope="row" { (source.name) }
                                td { (source.owner) }
                                td { (source.brand) }
                                td.number { (source.trust) }
                                td.number { @if source.expected_signals_per_day > 0 { (number::count(source.expected_signals_per_day)) } }
                                td { @if source.attributes.is_empty() { "any" } @else { (source.attributes.join(", ")) } }
                                td.number { (source.rules) }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(
        &session,
        Place::Sources,
        texts::SOURCES,
        content,
    ))
}

pub(super) async fn audit(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = v1::ListAuditEntriesRequest {
        page_size: 0,
        page_token: asked.after,
    };
    let mut services = calls.stewardship();
    let listed = services.list_audit_entries(calls.request(asked)).await?;
    let listed = listed.into_inner();
    let content = html! {
        article.wide {
            h1 { (texts::AUDIT) }
            p.hint { (texts::AUDIT_IS_CHAINED) }
            table.listing {
                thead { tr { th scope="col" { "Number" } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Call" } th scope="col" { "About" } th scope="col" { "Note" } th scope="col" { "Events" } th scope="col" { "Hash" } } }
                tbody {
                    @for entry in &listed.audit_entries {
                        @let hash = hex::encode(&entry.hash);
                        tr {
                            th.number scope="row" { (entry.number) }
                            td { (values::moment(entry.at_ms)) }
                            td { (entry.principal) }
                            td { (entry.call) }
                            td { (entry.subjects.join(", ")) }
                            td { (entry.note) }
                            td.number { @if entry.first_event > 0 { (entry.first_event) "–" (entry.last_event) } }
                            td { code title=(hash) { (values::short_hash(&hash)) } }
                        }
                    }
                }
            }
            @if !listed.next_page_token.is_empty() {
                p { a href={ "/console/audit?after=" (listed.next_page_token) } { (texts::MORE) } }
            }
        }
    };
    Ok(layout::page(&session, Place::Audit, texts::AUDIT, content))
}
