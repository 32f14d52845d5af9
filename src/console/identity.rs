//! One identity: what survives of what was stated, its records, and how it came to be.

use axum::extract::{Path, State};
use maud::{Markup, html};
use tonic::Status;
use veridem_proto::v1;

use super::calls::Calls;
use super::error::Refused;
use super::layout::{self, Place};
use super::regroup::record_text;
use super::session::Session;
use super::values::{self, Shown};
use super::{Console, texts};
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
    let shown = Shown::to(session.caller.role());
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
        [one] if one.identity_id == id => living(&calls, &session, one).await?,
        others => ended(&id, others, &answer.lineage, shown),
    };
    Ok(layout::page(&session, Place::Search, "Identity", content))
}

async fn living(
    calls: &Calls,
    session: &Session,
    identity: &v1::Identity,
) -> Result<Markup, Refused> {
    let shown = Shown::to(session.caller.role());
    let asked = v1::ExplainIdentityRequest {
        identity_id: identity.identity_id.clone(),
        as_of: None,
    };
    let mut services = calls.resolution();
    let explained = services.explain_identity(calls.request(asked)).await?;
    let explained = explained.into_inner();
    let identity = (explained.identity.as_ref()).ok_or_else(|| Status::internal("no identity"))?;
    Ok(html! {
        article.wide {
            header.task-head {
                h1 { (shown.title(Some(identity))) }
                p.facts {
                    code { (identity.identity_id) } " · version " (identity.version) " · " (texts::records(identity.members.len()))
                }
            }
            section { h2 { (texts::GOLDEN_RECORD) } (golden(identity, shown)) }
            section {
                h2 { (texts::RECORDS) }
                (members(identity, session))
            }
            @if !explained.pairs.is_empty() {
                section { h2 { (texts::PAIRS) } (pairs(&explained.pairs, shown)) }
            }
            section { h2 { (texts::TIMELINE) } (events(&explained.events, shown)) }
        }
    })
}

/// The records; whoever may decide can choose some to split off.
fn members(identity: &v1::Identity, session: &Session) -> Markup {
    let shown = Shown::to(session.caller.role());
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
fn events(events: &[v1::IdentityEvent], shown: Shown) -> Markup {
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
    shown: Shown,
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
                        li { strong { (shown.title(Some(identity))) } " " (values::identity_link(&identity.identity_id)) ", " (texts::records(identity.members.len())) }
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
