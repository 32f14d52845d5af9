//! The model: what it weighs, how far a change to another one is, and for administrators what another one would do, and putting it in force.

use axum::extract::{Multipart, State};
use axum::http::HeaderMap;
use maud::{Markup, html};
use tonic::Status;
use veridem_matchers::{Model, Pack};
use veridem_proto::v1;
use veridem_proto::v1::ModelPhase;

use super::error::Refused;
use super::layout::{self, Place};
use super::request::check_token;
use super::session::Session;
use super::values;
use super::{Console, texts};
use crate::api::{MAX_MODEL_BYTES, Right};
use crate::report::{model, number};

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = calls.request(v1::GetModelRequest {});
    let answer = calls.operations().get_model(asked).await?.into_inner();
    let unreadable = |cause: String| anyhow::anyhow!("the model in force: {cause}");
    let in_force =
        Model::from_json(&answer.model).map_err(|cause| unreadable(cause.to_string()))?;
    let rules: Pack =
        serde_json::from_str(&answer.rules).map_err(|cause| unreadable(cause.to_string()))?;
    let content = html! {
        article.wide.charts {
            h1 { (texts::MODEL) }
            p.facts {
                "Fingerprint " code { (values::short_hash(&answer.fingerprint)) }
                " · matches from " (number::threshold(rules.thresholds.match_probability))
                ", reviewed from " (number::threshold(rules.thresholds.review_probability))
            }
            div #status hx-get="/console/model/status" hx-trigger="load, every 2s" hx-swap="innerHTML" {}
            @if session.caller.may(Right::Administer) { (another(&session)) }
            (model::section(&in_force))
        }
    };
    Ok(layout::page(&session, Place::Model, texts::MODEL, content))
}

/// The form for another model.
fn another(session: &Session) -> Markup {
    html! {
        section {
            h2 { (texts::ANOTHER_MODEL) }
            form.another method="post" enctype="multipart/form-data" hx-encoding="multipart/form-data" hx-target="#preview" {
                (layout::csrf_field(session))
                label { (texts::MODEL_FILE) " " input type="file" name="model" accept="application/json,.json"; }
                label { (texts::RULES_FILE) " " input type="file" name="rules" accept=".toml"; }
                button type="submit" formaction="/console/model/preview" hx-post="/console/model/preview" hx-disabled-elt="this" { (texts::PREVIEW) }
                button.primary type="submit" formaction="/console/model/activate" hx-post="/console/model/activate" hx-confirm=(texts::REALLY_ACTIVATE) { (texts::ACTIVATE) }
            }
            div #preview aria-live="polite" {}
        }
    }
}

/// How far a change is, while one runs; how the last one ended.
pub(super) async fn status(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = calls.request(v1::GetModelStatusRequest {});
    let status = calls
        .operations()
        .get_model_status(asked)
        .await?
        .into_inner();
    let share = match status.record_numbers {
        0 => 0.0,
        records => status.decided_records as f64 / records as f64,
    };
    Ok(html! {
        @if status.phase() != ModelPhase::Unspecified {
            p.facts {
                span.state { (texts::model_phase(status.phase())) }
                " " code { (values::short_hash(&status.fingerprint)) }
                " · asked for by " (status.principal) ", " (values::moment(status.asked_at_ms))
                @if status.phase() == ModelPhase::Deciding {
                    " · " progress max="1" value=(share) aria-label=(texts::model_phase(status.phase())) {} " " (number::percent(share, 1.0))
                }
                @if status.phase() == ModelPhase::Refused {
                    " · it would have ended or split " (number::count(status.changed_identities)) " of " (number::count(status.identities)) " identities"
                }
            }
        }
    })
}

/// The files of a form; empty where none was chosen.
struct Files {
    model: String,
    rules: String,
}

async fn files(
    session: &Session,
    headers: &HeaderMap,
    mut form: Multipart,
) -> Result<Files, Refused> {
    let malformed = |_| Status::invalid_argument("the form cannot be read");
    let (mut token, mut model, mut rules) = (String::new(), String::new(), String::new());
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let place = match field.name() {
            Some("csrf_token") => &mut token,
            Some("model") => &mut model,
            Some("rules") => &mut rules,
            _ => continue,
        };
        *place = field.text().await.map_err(malformed)?;
    }
    check_token(session, headers, &token)?;
    if model.is_empty() && rules.is_empty() {
        return Err(Status::invalid_argument("choose a model, rules, or both").into());
    }
    Ok(Files { model, rules })
}

/// The most that a form with a model may have, bytes.
pub(super) const MAX_FORM_BYTES: usize = MAX_MODEL_BYTES + (1 << 20);

pub(super) async fn preview(
    State(console): State<Console>,
    session: Session,
    headers: HeaderMap,
    form: Multipart,
) -> Result<Markup, Refused> {
    let Files { model, rules } = files(&session, &headers, form).await?;
    let calls = console.calls(&session);
    let asked = calls.request(v1::PreviewModelRequest { model, rules });
    let told = calls.operations().preview_model(asked).await?.into_inner();
    let counts = [
        ("Identities now", told.identities),
        ("Identities after", told.identities_after),
        ("Take others in", told.identities_merged),
        ("Go into another", told.identities_ended),
        ("Are split", told.identities_split),
        ("Change otherwise", told.identities_updated),
        ("Are new", told.identities_created),
        ("Records that move", told.records_moved),
        ("Events", told.events),
    ];
    Ok(html! {
        p.facts {
            "Fingerprint " code { (values::short_hash(&told.fingerprint)) }
            " · ends or splits " strong { (number::percent(told.changed_share, 1.0)) } " of all identities"
        }
        dl.counts { @for (name, count) in counts { div { dt { (name) } dd { (number::count(count)) } } } }
        @if !told.largest.is_empty() {
            table.listing {
                caption { "The largest changes" }
                thead { tr { th scope="col" { "Identity" } th.figure scope="col" { "Records now" } th.figure scope="col" { "After" } th scope="col" { "Takes in" } th.figure scope="col" { "Parts" } } }
                tbody {
                    @for change in &told.largest {
                        tr {
                            td { (values::identity_link(&change.identity_id)) }
                            td.figure { (change.records_before) }
                            td.figure { (change.records_after) }
                            td { @for id in &change.merged_identity_ids { (values::identity_link(id)) " " } }
                            td.figure { (change.split_into) }
                        }
                    }
                }
            }
        }
    })
}

pub(super) async fn activate(
    State(console): State<Console>,
    session: Session,
    headers: HeaderMap,
    form: Multipart,
) -> Result<Markup, Refused> {
    let Files { model, rules } = files(&session, &headers, form).await?;
    let calls = console.calls(&session);
    let asked = calls.request(v1::ActivateModelRequest {
        model,
        rules,
        limit: 0.0,
    });
    let begun = calls.operations().activate_model(asked).await?.into_inner();
    Ok(html! {
        p.facts { (texts::ACTIVATION_BEGUN) " " code { (values::short_hash(&begun.fingerprint)) } }
    })
}
