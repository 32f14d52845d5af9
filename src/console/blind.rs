//! Sampled pairs, judged without seeing what was decided of them.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tonic::Status;
use veridem_proto::v1;
use veridem_proto::v1::SampleVerdict;

use super::error::Refused;
use super::layout::{self, Place};
use super::request::{Form, wants_piece};
use super::session::Session;
use super::values::Shown;
use super::{Console, comparison, texts};

/// The page with the next pair.
pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let content = html! { div.blind { (pane(&console, &session).await?) } };
    Ok(layout::page(
        &session,
        Place::Quality,
        texts::BLIND_REVIEW,
        content,
    ))
}

async fn pane(console: &Console, session: &Session) -> Result<Markup, Refused> {
    let calls = console.calls(session);
    let asked = calls.request(v1::GetSampledPairRequest {});
    let pair = calls
        .stewardship()
        .get_sampled_pair(asked)
        .await?
        .into_inner();
    let sides = [pair.left.as_ref(), pair.right.as_ref()];
    let shown = Shown::to(session.caller.role());
    let choices = [
        ("same", texts::SAME_PERSON, "m", "m"),
        ("different", texts::DIFFERENT_PERSONS, "d", "k d"),
        ("cannot-tell", texts::CANNOT_TELL, "s", "s"),
    ];
    Ok(html! {
        section #task tabindex="-1" aria-label=(texts::BLIND_REVIEW) data-blind="" {
            header.task-head {
                h1 { (texts::BLIND_REVIEW) }
                @if pair.left.is_some() { p.facts { (texts::progress(pair.judged, pair.open)) } }
            }
            @if pair.left.is_none() {
                p { (texts::NOTHING_TO_JUDGE) " " a href="/console/quality" { (texts::TO_QUALITY) } }
            } @else {
                (comparison::table(sides, shown, |_| html! {}))
                form.decision method="post" action="/console/quality/judgement" hx-post="/console/quality/judgement" hx-target="#task" hx-swap="outerHTML" {
                    (layout::csrf_field(session))
                    input type="hidden" name="sample" value=(pair.sample_number);
                    input type="hidden" name="place" value=(pair.place);
                    div.verdicts {
                        @for (verdict, text, shown_key, keys) in choices {
                            button.primary[verdict == "same"] type="submit" name="verdict" value=(verdict) data-key=(keys) aria-keyshortcuts=(keys) {
                                (text) " " kbd { (shown_key) }
                            }
                        }
                    }
                }
            }
        }
    })
}

#[derive(Deserialize)]
pub(super) struct Judged {
    sample: u64,
    place: u32,
    verdict: String,
}

/// Takes a verdict, and shows the next pair.
pub(super) async fn judge(
    State(console): State<Console>,
    headers: HeaderMap,
    form: Form<Judged>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let verdict = match fields.verdict.as_str() {
        "same" => SampleVerdict::SamePerson,
        "different" => SampleVerdict::DifferentPersons,
        "cannot-tell" => SampleVerdict::CannotTell,
        _ => return Err(Status::invalid_argument("there is no such verdict").into()),
    };
    let calls = console.calls(&session);
    let asked = calls.request(v1::JudgeSampledPairRequest {
        sample_number: fields.sample,
        place: fields.place,
        verdict: verdict.into(),
    });
    calls.stewardship().judge_sampled_pair(asked).await?;
    match wants_piece(&headers) {
        true => Ok(pane(&console, &session).await?.into_response()),
        false => Ok(Redirect::to("/console/quality/review").into_response()),
    }
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    pairs: u32,
}

/// Draws a sample.
pub(super) async fn draw(
    State(console): State<Console>,
    form: Form<Wanted>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let asked = calls.request(v1::DrawSampleRequest {
        pairs: fields.pairs,
    });
    calls.stewardship().draw_sample(asked).await?;
    Ok([("hx-redirect", "/console/quality")].into_response())
}
