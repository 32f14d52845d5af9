//! One identity: what survives of what was stated, its records, and how it came to be.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tonic::Status;
use veridem_proto::v1;
use veridem_proto::v1::DeliveryState;

use super::calls::Calls;
use super::error::Refused;
use super::layout::{self, Place};
use super::regroup::record_text;
use super::request::Form;
use super::session::Session;
use super::values::{self, Shown};
use super::{Console, graph, stated, texts};
use crate::api::Right;
use crate::report::number;

/// Where an identity stands.
pub(super) fn address(id: &str) -> String {
    format!("/console/identities/{id}")
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let shown = shown_to(&console, &session, &id);
    let asked = v1::GetIdentityRequest {
        identity_id: id.clone(),
        as_of: None,
    };
    let answer = calls
        .resolution()
        .get_identity(calls.request(asked))
        .await?;
    let answer = answer.into_inner();
    let content = match answer.identities.as_slice() {
        [one] if one.identity_id == id => living(&console, &session, one, shown).await?,
        others => ended(&id, others, &answer.lineage, &|id| {
            shown_to(&console, &session, id)
        }),
    };
    Ok(layout::page(&session, Place::Search, "Identity", content))
}

/// How the values of an identity are shown: whoever had it revealed sees them.
fn shown_to(console: &Console, session: &Session, id: &str) -> Shown {
    match console.sessions.is_revealed(session, id) {
        true => Shown::unmasked(),
        false => Shown::to(session.caller.role()),
    }
}

/// An identity with the pairs that hold it together and its latest events.
pub(super) async fn explained(
    calls: &Calls,
    id: &str,
) -> Result<v1::ExplainIdentityResponse, Refused> {
    let asked = v1::ExplainIdentityRequest {
        identity_id: id.to_owned(),
        as_of: None,
    };
    let mut services = calls.resolution();
    let explained = services.explain_identity(calls.request(asked)).await?;
    Ok(explained.into_inner())
}

async fn living(
    console: &Console,
    session: &Session,
    identity: &v1::Identity,
    shown: Shown,
) -> Result<Markup, Refused> {
    let calls = &console.calls(session);
    let explained = explained(calls, &identity.identity_id).await?;
    let records = stated::source_records(calls, &identity.identity_id).await?;
    let household = household(calls, &identity.identity_id).await?;
    let sinks = deliveries(calls, &identity.identity_id).await?;
    let identity = (explained.identity.as_ref()).ok_or_else(|| Status::internal("no identity"))?;
    let group = graph::Group {
        records: &identity.members,
        pairs: &explained.pairs,
    };
    let page = address(&identity.identity_id);
    Ok(html! {
        article.wide {
            header.task-head {
                h1 { (shown.title(Some(identity))) }
                p.facts {
                    code { (identity.identity_id) } " · version " (identity.version) " · " (texts::records(identity.members.len()))
                }
            }
            @if shown.is_masked() { (reveal(session, &page)) }
            section {
                h2 { (texts::GOLDEN_RECORD) }
                @if explained.events.len() > 1 { (moments(&page, explained.events.len())) }
                div #golden { (golden(identity, shown)) }
            }
            section { h2 { (texts::STATED) } (stated::all(identity, &records, session, shown)) }
            section {
                h2 { (texts::RECORDS) }
                (members(identity, session, shown))
            }
            @if !explained.pairs.is_empty() {
                section { h2 { (texts::PAIRS) } (graph::of(&[group], None, shown)) (pairs(&explained.pairs, shown)) }
            }
            @if household.len() > 1 {
                section { h2 { (texts::HOUSEHOLD) } ul.chips { @for other in &household {
                    @if other.identity_id != identity.identity_id { li { (values::identity_link(&other.identity_id)) " " (shown_to(console, session, &other.identity_id).title(Some(other))) } }
                } } }
            }
            @if !sinks.is_empty() { section { h2 { (texts::DELIVERIES) } (delivered(&sinks, shown)) } }
            section { h2 { (texts::TIMELINE) } (events(&explained.events, shown)) }
        }
    })
}

/// Where a viewer has the values shown, and says why.
fn reveal(session: &Session, page: &str) -> Markup {
    html! {
        form.reveal method="post" action={ (page) "/reveal" } hx-post={ (page) "/reveal" } hx-target="#notice" hx-swap="innerHTML" {
            (layout::csrf_field(session))
            p.hint { (texts::MASKED) }
            label.note { (texts::REVEAL_WHY) input type="text" name="note" maxlength="340" required autocomplete="off"; }
            button type="submit" { (texts::REVEAL) }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Why {
    note: String,
}

/// Shows the values of an identity to whoever sees them masked, for as long as the session lasts.
pub(super) async fn revealed(
    State(console): State<Console>,
    Path(id): Path<String>,
    form: Form<Why>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let asked = v1::RevealIdentityRequest {
        identity_id: id.clone(),
        note: fields.note,
    };
    let mut services = calls.stewardship();
    services.reveal_identity(calls.request(asked)).await?;
    console.sessions.reveal(&session, id);
    Ok([("hx-refresh", "true")].into_response())
}

/// A slider over the latest moments at which an identity changed.
fn moments(page: &str, count: usize) -> Markup {
    html! {
        form.as-of hx-get={ (page) "/golden" } hx-trigger="input delay:50ms" hx-target="#golden" hx-sync="this:replace" {
            label { (texts::AS_OF) " "
                input type="range" name="step" min="1" max=(count) value=(count) step="1";
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Step {
    /// Of the latest events, oldest first, from 1.
    step: usize,
}

/// The golden record as it was after one of the latest events.
pub(super) async fn golden_at(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Step>,
) -> Result<Markup, Refused> {
    let explained = explained(&console.calls(&session), &id).await?;
    let event = asked.step.checked_sub(1);
    let event = event.and_then(|at| explained.events.get(at));
    let event = event.ok_or_else(|| Status::not_found("there is no such event"))?;
    let identity = event.identity.as_ref();
    let identity = identity.ok_or_else(|| Status::internal("an event without identity"))?;
    // The event that ended it is another's.
    let shown = shown_to(&console, &session, &identity.identity_id);
    Ok(html! {
        p.facts {
            span.kind { (texts::event(event.kind())) } " " (values::moment(event.occurred_at_ms))
            " · version " (identity.version) " · " (texts::records(identity.members.len()))
        }
        (golden(identity, shown))
    })
}

/// Who lives together with an identity, itself among them.
async fn household(calls: &Calls, id: &str) -> Result<Vec<v1::Identity>, Refused> {
    let asked = v1::GetHouseholdRequest {
        identity_id: id.to_owned(),
    };
    let mut services = calls.stewardship();
    let answer = services.get_household(calls.request(asked)).await?;
    Ok(answer.into_inner().identities)
}

/// How far a sink is, and what its consumer calls the person.
struct SinkState {
    delivery: v1::Delivery,
    references: Vec<v1::CrossReference>,
}

async fn deliveries(calls: &Calls, id: &str) -> Result<Vec<SinkState>, Refused> {
    let mut services = calls.operations();
    let asked = v1::ListDeliveriesRequest {
        identity_id: id.to_owned(),
    };
    let listed = services.list_deliveries(calls.request(asked)).await?;
    let references = references(calls, id).await?;
    let of_sink = |delivery: v1::Delivery| SinkState {
        references: references
            .iter()
            .filter(|reference| reference.sink == delivery.sink)
            .cloned()
            .collect(),
        delivery,
    };
    Ok(listed
        .into_inner()
        .deliveries
        .into_iter()
        .map(of_sink)
        .collect())
}

/// What consumers call the person of an identity.
pub(super) async fn references(
    calls: &Calls,
    id: &str,
) -> Result<Vec<v1::CrossReference>, Refused> {
    let asked = v1::ListCrossReferencesRequest {
        identity_id: id.to_owned(),
    };
    let mut services = calls.operations();
    let listed = services.list_cross_references(calls.request(asked)).await?;
    Ok(listed.into_inner().references)
}

fn delivered(sinks: &[SinkState], shown: Shown) -> Markup {
    html! {
        table.listing {
            thead { tr { th scope="col" { "Sink" } th scope="col" { "State" } th scope="col" { "Event" } th scope="col" { "Consumer's records" } th scope="col" { "Last problem" } } }
            tbody {
                @for SinkState { delivery, references } in sinks {
                    tr {
                        th scope="row" { a href="/console/sinks" { (delivery.sink) } }
                        td { span.state.good[delivery.state() == DeliveryState::Delivered].bad[delivery.state() == DeliveryState::DeadLetter] { (texts::delivery_state(delivery.state())) } }
                        td.number { @if delivery.sequence > 0 { (delivery.sequence) } }
                        td { ul.chips { @for reference in references { li { (shown.text(&reference.consumer_record_id)) } } } }
                        td { (delivery.last_error) }
                    }
                }
            }
        }
    }
}

/// The records; whoever may decide can choose some to split off.
fn members(identity: &v1::Identity, session: &Session, shown: Shown) -> Markup {
    let is_divisible = session.caller.may(Right::Decide) && identity.members.len() > 1;
    let split = format!("{}/split", address(&identity.identity_id));
    html! {
        @if is_divisible {
            form method="post" action=(split) hx-post={ (split) "/preview" } hx-trigger="change from:find fieldset" hx-target="#split" {
                (layout::csrf_field(session))
                input type="hidden" name="version" value=(identity.version);
                fieldset {
                    legend.hint { (texts::CHOOSE_TO_SPLIT) }
                    ul.chips {
                        @for member in &identity.members {
                            li { label { input type="checkbox" name="record" value=(record_text(member)); " " (shown.record_key(Some(member))) } }
                        }
                    }
                }
                div #split {}
            }
        } @else {
            ul.chips { @for member in &identity.members { li { (shown.record_key(Some(member))) } } }
        }
    }
}

/// The golden record with the source of each value.
pub(super) fn golden(identity: &v1::Identity, shown: Shown) -> Markup {
    html! {
        table.listing {
            thead { tr { th scope="col" { "Attribute" } th scope="col" { "Value" } th scope="col" { "Stated by" } th scope="col" { "On" } th scope="col" { "Chosen as" } } }
            tbody {
                @for value in &identity.golden_record {
                    tr {
                        th scope="row" { (texts::slot(&value.slot)) }
                        td { (shown.attribute(value.attribute.as_ref())) }
                        td { (shown.record_key(value.record.as_ref())) }
                        td { (values::day(value.stated_at_ms)) }
                        td { (texts::criterion(value.criterion())) }
                    }
                }
            }
        }
    }
}

fn pairs(pairs: &[v1::ExplainedPair], shown: Shown) -> Markup {
    html! {
        table.listing {
            thead { tr { th scope="col" { "Record" } th scope="col" { "Record" } th scope="col" { "Weight" } th scope="col" { "Probability" } th scope="col" { "Decided by" } } }
            tbody {
                @for pair in pairs {
                    @if let Some(explanation) = &pair.explanation {
                        tr {
                            td { (shown.record_key(pair.left.as_ref())) }
                            td { (shown.record_key(pair.right.as_ref())) }
                            td.number { (number::weight(explanation.match_weight)) }
                            td.number { (number::probability(explanation.match_probability)) }
                            td {
                                @if !explanation.r#override.is_empty() { "a steward: " (explanation.r#override) }
                                @else if !explanation.rule.is_empty() { "rule " code { (explanation.rule) } }
                                @else { "weight" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Events, the latest first.
pub(super) fn events(events: &[v1::IdentityEvent], shown: Shown) -> Markup {
    html! {
        ol.timeline {
            @for event in events.iter().rev() {
                li {
                    span.when { (values::moment(event.occurred_at_ms)) }
                    span.kind { (texts::event(event.kind())) }
                    span.what {
                        (shown.title(event.identity.as_ref())) ", version " (event.identity.as_ref().map_or(0, |identity| identity.version))
                        @for id in &event.merged_identity_ids { " · took in " (values::identity_link(id)) }
                        @for id in &event.split_into_identity_ids { " · gave records to " (values::identity_link(id)) }
                        @for record in &event.moved_records { " · " (shown.record_key(Some(record))) }
                        span.cause { " · " (shown.cause(&event.cause)) }
                    }
                }
            }
        }
    }
}

/// An id that lives no more, and what has come of it.
fn ended(
    id: &str,
    identities: &[v1::Identity],
    lineage: &[v1::IdentitySuccession],
    shown_to: &dyn Fn(&str) -> Shown,
) -> Markup {
    html! {
        article.wide {
            header.task-head {
                h1 { (texts::ENDED) }
                p.facts { code { (id) } }
            }
            section {
                h2 { (texts::LIVES_ON) }
                @if identities.is_empty() { p { (texts::NOTHING_LIVES_ON) } }
                ul.outcome {
                    @for identity in identities {
                        li { strong { (shown_to(&identity.identity_id).title(Some(identity))) } " " (values::identity_link(&identity.identity_id)) ", " (texts::records(identity.members.len())) }
                    }
                }
            }
            section {
                h2 { (texts::LINEAGE) }
                ul.outcome {
                    @for step in lineage {
                        li {
                            (values::identity_link(&step.identity_id)) " ended with event " (step.sequence)
                            @for successor in &step.successor_identity_ids { " → " (values::identity_link(successor)) }
                        }
                    }
                }
            }
        }
    }
}
