//! Decisions beyond the queue: some records of an identity are split off, several identities are merged or make a household. What would
//! come of it is shown while one chooses.

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

/// Identities of which a preview shows the golden record.
const MAX_SHOWN: usize = 12;

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

pub(super) fn record_of(text: &str) -> Result<v1::RecordKey, Refused> {
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

/// What chosen identities are to be.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Together {
    #[default]
    Person,
    Household,
}

/// Identities that are chosen.
#[derive(Deserialize)]
pub(super) struct Several {
    /// With their versions: `id:version`.
    #[serde(default)]
    identity: Vec<String>,
    #[serde(default)]
    together: Together,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
}

async fn bring_together(
    calls: &Calls,
    chosen: &Several,
    preview: bool,
) -> Result<v1::StewardOutcome, Refused> {
    let versions = chosen.identity.iter().map(|text| values::version_of(text));
    let versions: Vec<v1::IdentityVersion> = versions.collect::<Result<_, _>>()?;
    let ids = versions.iter().map(|seen| seen.identity_id.clone());
    let identity_ids = ids.collect();
    let call = Some(v1::StewardCall {
        reason: chosen.reason.clone(),
        note: chosen.note.clone(),
        idempotency_key: chosen.idempotency_key.clone(),
        expected_versions: versions,
        preview,
    });
    let mut services = calls.stewardship();
    let outcome = match chosen.together {
        Together::Person => {
            let asked = v1::MergeIdentitiesRequest { identity_ids, call };
            let answer = services.merge_identities(calls.request(asked)).await?;
            answer.into_inner().outcome
        }
        Together::Household => {
            let asked = v1::MakeHouseholdRequest { identity_ids, call };
            let answer = services.make_household(calls.request(asked)).await?;
            answer.into_inner().outcome
        }
    };
    Ok(outcome.unwrap_or_default())
}

/// What would become of the chosen identities together.
pub(super) async fn preview_together(
    State(console): State<Console>,
    form: Form<Several>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    if fields.identity.len() < 2 {
        return Ok(html! { p.hint { (texts::CHOOSE_SEVERAL) } });
    }
    let calls = console.calls(&session);
    let outcome = bring_together(&calls, &fields, true).await?;
    let deed = match fields.together {
        Together::Person => texts::MERGE,
        Together::Household => texts::MAKE_HOUSEHOLD,
    };
    preview(&calls, &outcome, &session, "/console/together", deed).await
}

pub(super) async fn together(
    State(console): State<Console>,
    form: Form<Several>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let outcome = bring_together(&console.calls(&session), &fields, false).await?;
    let first = outcome.identity_ids.first().cloned().unwrap_or_default();
    Ok(done(
        &console,
        &session,
        &outcome,
        identity::address(&first),
    ))
}

/// Goes to a page, on which the decision can be taken back.
pub(super) fn done(
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
pub(super) async fn preview(
    calls: &Calls,
    outcome: &v1::StewardOutcome,
    session: &Session,
    address: &str,
    deed: &str,
) -> Result<Markup, Refused> {
    let reasons = calls.reasons().await?;
    preview_with(calls, outcome, session, &reasons, (address, deed)).await
}

/// The same, with the reasons that may be given.
pub(super) async fn preview_with(
    calls: &Calls,
    outcome: &v1::StewardOutcome,
    session: &Session,
    reasons: &[String],
    (address, deed): (&str, &str),
) -> Result<Markup, Refused> {
    let shown = Shown::to(session.caller.role());
    let key = secret()?;
    Ok(html! {
        @if awaits_approval(outcome) { p.hint { (texts::SOMEBODY_HAS_TO_AGREE) } }
        @if outcome.events.is_empty() { p.hint { (texts::NOTHING_CHANGES) } }
        h2 { (texts::WHAT_COMES_OF_IT) }
        div.become {
            @for event in outcome.events.iter().take(MAX_SHOWN) {
                @if let Some(identity) = &event.identity {
                    section {
                        h3 { span.kind { (texts::event(event.kind())) } " " (shown.title(Some(identity))) ", " (texts::records(identity.members.len())) }
                        (identity::golden(identity, shown))
                    }
                }
            }
        }
        @if let Some(more) = outcome.events.len().checked_sub(MAX_SHOWN + 1) { p.hint { (texts::more_identities(more + 1)) } }
        (concerned::of(calls, outcome, shown).await?)
        div.deed {
            input type="hidden" name="idempotency_key" value=(key);
            (layout::why_fields(reasons))
            button.primary type="button" hx-post=(address) hx-include="closest form" hx-target="#notice" hx-swap="innerHTML" { (deed) }
        }
    })
}
