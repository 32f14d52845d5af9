//! Decisions beyond the queue: some records of an identity are split off, several identities are merged. What would come of it is shown
//! while one chooses.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tonic::Status;
use veridem_proto::v1;

use super::calls::Calls;
use super::decisions::awaits_approval;
use super::error::Refused;
use super::request::Form;
use super::session::{Decided, Session, secret};
use super::values::{self, Shown};
use super::{Console, concerned, identity, layout, texts};

/// Records that are chosen, with the identity's version as it was seen.
#[derive(Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    record: Vec<String>,
    version: u64,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
}

/// A record's key as forms carry it: a source has no slash.
pub(super) fn record_text(key: &v1::RecordKey) -> String {
    format!("{}/{}", key.source, key.record_id)
}

fn record_of(text: &str) -> Result<v1::RecordKey, Refused> {
    let parts = text.split_once('/');
    let (source, record_id) =
        parts.ok_or_else(|| Status::invalid_argument("a record is malformed"))?;
    Ok(v1::RecordKey {
        source: source.to_owned(),
        record_id: record_id.to_owned(),
    })
}

fn split_of(id: &str, chosen: &Chosen, preview: bool) -> Result<v1::SplitIdentityRequest, Refused> {
    let records = chosen.record.iter().map(|text| record_of(text));
    Ok(v1::SplitIdentityRequest {
        identity_id: id.to_owned(),
        records: records.collect::<Result<_, _>>()?,
        call: Some(v1::StewardCall {
            reason: chosen.reason.clone(),
            note: chosen.note.clone(),
            idempotency_key: chosen.idempotency_key.clone(),
            expected_versions: vec![v1::IdentityVersion {
                identity_id: id.to_owned(),
                version: chosen.version,
            }],
            preview,
        }),
    })
}

/// What would become of an identity without the chosen records, and of those.
pub(super) async fn preview_split(
    State(console): State<Console>,
    Path(id): Path<String>,
    form: Form<Chosen>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    if fields.record.is_empty() {
        return Ok(html! {});
    }
    let calls = console.calls(&session);
    let asked = split_of(&id, &fields, true)?;
    let answer = calls
        .stewardship()
        .split_identity(calls.request(asked))
        .await?;
    let outcome = answer.into_inner().outcome.unwrap_or_default();
    let address = format!("{}/split", identity::address(&id));
    preview(&calls, &outcome, &session, &address, texts::SPLIT_OFF).await
}

pub(super) async fn split(
    State(console): State<Console>,
    Path(id): Path<String>,
    form: Form<Chosen>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let asked = split_of(&id, &fields, false)?;
    let answer = calls
        .stewardship()
        .split_identity(calls.request(asked))
        .await?;
    let outcome = answer.into_inner().outcome.unwrap_or_default();
    Ok(done(&console, &session, &outcome, identity::address(&id)))
}

/// Identities that are chosen.
#[derive(Deserialize)]
pub(super) struct Several {
    /// With their versions: `id:version`.
    #[serde(default)]
    identity: Vec<String>,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
}

fn merge_of(chosen: &Several, preview: bool) -> Result<v1::MergeIdentitiesRequest, Refused> {
    let versions = chosen.identity.iter().map(|text| values::version_of(text));
    let versions: Vec<v1::IdentityVersion> = versions.collect::<Result<_, _>>()?;
    Ok(v1::MergeIdentitiesRequest {
        identity_ids: versions
            .iter()
            .map(|seen| seen.identity_id.clone())
            .collect(),
        call: Some(v1::StewardCall {
            reason: chosen.reason.clone(),
            note: chosen.note.clone(),
            idempotency_key: chosen.idempotency_key.clone(),
            expected_versions: versions,
            preview,
        }),
    })
}

/// What would become of the chosen identities as one.
pub(super) async fn preview_merge(
    State(console): State<Console>,
    form: Form<Several>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    if fields.identity.len() < 2 {
        return Ok(html! { p.hint { (texts::CHOOSE_TO_MERGE) } });
    }
    let calls = console.calls(&session);
    let asked = merge_of(&fields, true)?;
    let answer = calls
        .stewardship()
        .merge_identities(calls.request(asked))
        .await?;
    let outcome = answer.into_inner().outcome.unwrap_or_default();
    preview(&calls, &outcome, &session, "/console/merge", texts::MERGE).await
}

pub(super) async fn merge(
    State(console): State<Console>,
    form: Form<Several>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let asked = merge_of(&fields, false)?;
    let answer = calls
        .stewardship()
        .merge_identities(calls.request(asked))
        .await?;
    let outcome = answer.into_inner().outcome.unwrap_or_default();
    let survivor = outcome.identity_ids.first().cloned().unwrap_or_default();
    Ok(done(
        &console,
        &session,
        &outcome,
        identity::address(&survivor),
    ))
}

/// What a record states in a slot, with its identity as it was seen: `id:version`.
#[derive(Deserialize)]
pub(super) struct Pinned {
    record: String,
    slot: String,
    identity: String,
    idempotency_key: String,
}

/// Lets a value survive.
pub(super) async fn pin(
    State(console): State<Console>,
    form: Form<Pinned>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let seen = values::version_of(&fields.identity)?;
    let page = identity::address(&seen.identity_id);
    let asked = v1::PinValueRequest {
        record: Some(record_of(&fields.record)?),
        slot: fields.slot,
        call: Some(v1::StewardCall {
            idempotency_key: fields.idempotency_key,
            expected_versions: vec![seen],
            ..v1::StewardCall::default()
        }),
    };
    let answer = calls.stewardship().pin_value(calls.request(asked)).await?;
    let outcome = answer.into_inner().outcome.unwrap_or_default();
    Ok(done(&console, &session, &outcome, page))
}

/// Goes to a page, on which the decision can be taken back.
fn done(
    console: &Console,
    session: &Session,
    outcome: &v1::StewardOutcome,
    page: String,
) -> Response {
    let override_number = (outcome.r#override.as_ref()).map_or(0, |made| made.override_number);
    if override_number > 0 {
        let decided = Decided {
            override_number,
            page: page.clone(),
        };
        console.sessions.decided(session, decided);
    }
    [("hx-redirect", page)].into_response()
}

/// The identities as they would be, side by side, and what does it.
async fn preview(
    calls: &Calls,
    outcome: &v1::StewardOutcome,
    session: &Session,
    address: &str,
    deed: &str,
) -> Result<Markup, Refused> {
    let shown = Shown::to(session.caller.role());
    let key = secret()?;
    let reasons = calls.reasons().await?;
    Ok(html! {
        @if awaits_approval(outcome) { p.hint { (texts::SOMEBODY_HAS_TO_AGREE) } }
        @if outcome.events.is_empty() { p.hint { (texts::NOTHING_CHANGES) } }
        h2 { (texts::WHAT_COMES_OF_IT) }
        div.become {
            @for event in &outcome.events {
                @if let Some(identity) = &event.identity {
                    section {
                        h3 { span.kind { (texts::event(event.kind())) } " " (shown.title(Some(identity))) ", " (texts::records(identity.members.len())) }
                        (identity::golden(identity, shown))
                    }
                }
            }
        }
        (concerned::of(calls, outcome, shown).await?)
        div.deed {
            input type="hidden" name="idempotency_key" value=(key);
            (layout::why_fields(&reasons))
            button.primary type="button" hx-post=(address) hx-include="closest form" hx-target="#notice" hx-swap="innerHTML" { (deed) }
        }
    })
}
