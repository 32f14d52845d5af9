//! What the sources of an identity state, and what a steward says of a value: it survives, several persons use it, nobody does.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;
use veridem_proto::v1::ValueMark;

use super::calls::Calls;
use super::error::Refused;
use super::regroup::{record_of, record_text};
use super::request::Form;
use super::session::Session;
use super::values::{self, Shown};
use super::{Console, identity, layout, regroup, texts};
use crate::api::Right;

/// One value with the records that state it.
struct Stated<'a> {
    slot: &'a str,
    attribute: Option<&'a v1::Attribute>,
    stated_at_ms: i64,
    records: Vec<Option<&'a v1::RecordKey>>,
    survives: bool,
    mark: ValueMark,
}

/// Every value that a source states, what survives before what does not.
pub(super) fn all(
    identity: &v1::Identity,
    records: &[v1::SourceRecord],
    session: &Session,
    shown: Shown,
) -> Markup {
    let may_decide = session.caller.may(Right::Decide);
    let version = values::version_text(identity);
    let mut all: Vec<Stated> = Vec::new();
    for record in records {
        for value in &record.values {
            let attribute = value.attribute.as_ref();
            let known = all
                .iter_mut()
                .find(|known| known.slot == value.slot && known.attribute == attribute);
            if let Some(known) = known {
                known.records.push(record.record.as_ref());
                known.stated_at_ms = known.stated_at_ms.max(value.stated_at_ms);
                continue;
            }
            let survives = |golden: &v1::SurvivingValue| {
                golden.slot == value.slot && golden.attribute.as_ref() == attribute
            };
            all.push(Stated {
                slot: &value.slot,
                attribute,
                stated_at_ms: value.stated_at_ms,
                records: vec![record.record.as_ref()],
                survives: identity.golden_record.iter().any(survives),
                mark: value.mark(),
            });
        }
    }
    all.sort_by_key(|value| (value.slot, !value.survives, -value.stated_at_ms));
    html! {
        table.listing {
            thead { tr { th scope="col" { "Attribute" } th scope="col" { "Value" } th scope="col" { "Stated by" } th scope="col" { "Last on" } th scope="col" { span.unseen { (texts::SURVIVES) } } } }
            tbody {
                @for (index, value) in all.iter().enumerate() {
                    tr.loses[!value.survives] {
                        @if index == 0 || all[index - 1].slot != value.slot {
                            th scope="rowgroup" rowspan=(all[index..].iter().take_while(|other| other.slot == value.slot).count()) { (texts::slot(value.slot)) }
                        }
                        td { (shown.attribute(value.attribute)) }
                        td { ul.chips { @for record in &value.records { li { (shown.record_key(*record)) } } } }
                        td { (values::day(value.stated_at_ms)) }
                        td.deeds {
                            @if value.survives { span.state.good { (texts::SURVIVES) } }
                            @if let Some(mark) = texts::mark(value.mark) { span.state.bad { (mark) } }
                            @if let (true, Some(Some(record))) = (may_decide, value.records.first()) {
                                (deeds(value, record, &version, session))
                            }
                        }
                    }
                }
            }
        }
        div #said {}
    }
}

/// What can be said of a value.
fn deeds(value: &Stated, record: &v1::RecordKey, version: &str, session: &Session) -> Markup {
    let is_personal = value.attribute.is_some_and(|attribute| {
        use v1::attribute::Value;
        let value = attribute.value.as_ref();
        matches!(
            value,
            Some(Value::Email(_) | Value::Phone(_) | Value::Identifier(_))
        )
    });
    let may_survive = !value.survives && value.mark != ValueMark::Junk;
    let deeds = [
        (may_survive, Deed::Pin),
        (is_personal && value.mark != ValueMark::Shared, Deed::Shared),
        (is_personal && value.mark != ValueMark::Junk, Deed::Junk),
    ];
    html! {
        form method="post" action="/console/values/preview" hx-post="/console/values/preview" hx-target="#said" hx-swap="innerHTML show:bottom" {
            (layout::csrf_field(session))
            input type="hidden" name="stated_by" value=(record_text(record));
            input type="hidden" name="slot" value=(value.slot);
            input type="hidden" name="value" value=(values::text_of(value.attribute));
            input type="hidden" name="identity" value=(version);
            @for (_, deed) in deeds.iter().filter(|(is_open, _)| *is_open) {
                button.quiet type="submit" name="deed" value=(deed.as_str()) { (texts::deed(*deed)) }
            }
        }
    }
}

/// What a steward says of a value.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    Pin,
    Shared,
    Junk,
}

impl Deed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Shared => "shared",
            Self::Junk => "junk",
        }
    }
}

/// What is said of what a record states in a slot, with its identity as it was seen: `id:version`.
#[derive(Deserialize)]
pub(super) struct Word {
    stated_by: String,
    slot: String,
    /// The value as pages show it.
    value: String,
    identity: String,
    deed: Deed,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
}

async fn say(calls: &Calls, word: &Word, preview: bool) -> Result<v1::StewardOutcome, Refused> {
    let record = Some(record_of(&word.stated_by)?);
    let seen = values::version_of(&word.identity)?;
    let identity_id = seen.identity_id.clone();
    let call = Some(v1::StewardCall {
        reason: word.reason.clone(),
        note: word.note.clone(),
        idempotency_key: word.idempotency_key.clone(),
        expected_versions: vec![seen],
        preview,
    });
    let mark = match word.deed {
        Deed::Pin => {
            let slot = word.slot.clone();
            let asked = v1::PinValueRequest { record, slot, call };
            let answer = calls.stewardship().pin_value(calls.request(asked)).await?;
            return Ok(answer.into_inner().outcome.unwrap_or_default());
        }
        Deed::Shared => ValueMark::Shared,
        Deed::Junk => ValueMark::Junk,
    };
    let records = source_records(calls, &identity_id).await?;
    let mut stated = records.iter().filter(|stated| stated.record == record);
    let value = stated.find_map(|stated| {
        let is_meant = |value: &&v1::StatedValue| {
            value.slot == word.slot && values::text_of(value.attribute.as_ref()) == word.value
        };
        stated.values.iter().find(is_meant)?.attribute.clone()
    });
    let asked = v1::MarkValueRequest {
        record,
        value,
        mark: mark.into(),
        call,
    };
    let answer = calls.stewardship().mark_value(calls.request(asked)).await?;
    Ok(answer.into_inner().outcome.unwrap_or_default())
}

/// What sources state of the records of an identity.
pub(super) async fn source_records(
    calls: &Calls,
    identity_id: &str,
) -> Result<Vec<v1::SourceRecord>, Refused> {
    let asked = v1::ListSourceRecordsRequest {
        identity_id: identity_id.to_owned(),
    };
    let mut services = calls.stewardship();
    let listed = services.list_source_records(calls.request(asked)).await?;
    Ok(listed.into_inner().records)
}

/// What would come of it.
pub(super) async fn preview(
    State(console): State<Console>,
    form: Form<Word>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let outcome = say(&calls, &fields, true).await?;
    let deed = texts::deed(fields.deed);
    Ok(html! {
        form method="post" action="/console/values" {
            (layout::csrf_field(&session))
            input type="hidden" name="stated_by" value=(fields.stated_by);
            input type="hidden" name="slot" value=(fields.slot);
            input type="hidden" name="value" value=(fields.value);
            input type="hidden" name="identity" value=(fields.identity);
            input type="hidden" name="deed" value=(fields.deed.as_str());
            (regroup::preview(&calls, &outcome, &session, "/console/values", deed).await?)
        }
    })
}

pub(super) async fn act(
    State(console): State<Console>,
    form: Form<Word>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let outcome = say(&console.calls(&session), &fields, false).await?;
    let seen = values::version_of(&fields.identity)?;
    let page = identity::address(&seen.identity_id);
    Ok(regroup::done(&console, &session, &outcome, page))
}
