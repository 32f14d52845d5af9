//! One review task: the two sides, what speaks for and against, and the decision with what it would do.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tonic::{Code, Status};
use veridem_proto::v1;
use veridem_proto::v1::StewardDecision;

use super::calls::Calls;
use super::decisions::awaits_approval;
use super::error::Refused;
use super::queue::Filter;
use super::request::{Form, Nothing, wants_piece};
use super::session::{Decided, Session, secret};
use super::values::{self, Shown};
use super::{Console, comparison, concerned, layout, queue, texts, waterfall};
use crate::api::Right;
use crate::report::number;

/// Where a task stands.
pub(super) fn address(id: &str) -> String {
    format!("/console/tasks/{id}")
}

/// The task: as a piece of the queue's page, or with the whole page around it.
pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Markup, Refused> {
    if wants_piece(&headers) {
        return pane(&console, &session, &id).await;
    }
    let filter = console.sessions.filter(&session);
    queue::page(&console, &session, Some(&id), &filter).await
}

/// The task on its side of the page; where it is settled already, that. Whoever may decide works at it from now on.
pub(super) async fn pane(
    console: &Console,
    session: &Session,
    id: &str,
) -> Result<Markup, Refused> {
    let calls = console.calls(session);
    let mut may_decide = session.caller.may(Right::Decide);
    if may_decide {
        may_decide = claim(console, session, &calls, id).await?;
    }
    let asked = v1::GetReviewTaskRequest {
        review_task_id: id.to_owned(),
    };
    let mut services = calls.stewardship();
    match services.get_review_task(calls.request(asked)).await {
        Ok(answer) => {
            let reasons = match may_decide {
                true => calls.reasons().await?,
                false => Vec::new(),
            };
            content(session, &answer.into_inner(), may_decide, &reasons)
        }
        Err(status) if status.code() == Code::NotFound => {
            Ok(message(texts::TASK_CLOSED, status.message()))
        }
        Err(status) => Err(status.into()),
    }
}

/// Claims a task, and lets go at which the session worked before. False where somebody else works at it, or it is settled.
async fn claim(
    console: &Console,
    session: &Session,
    calls: &Calls,
    id: &str,
) -> Result<bool, Refused> {
    let mut services = calls.stewardship();
    let before = console.sessions.work_at(session, id);
    if let Some(before) = before.filter(|before| before != id) {
        let asked = v1::ReleaseReviewTaskRequest {
            review_task_id: before,
        };
        services.release_review_task(calls.request(asked)).await?;
    }
    let asked = v1::ClaimReviewTaskRequest {
        review_task_id: id.to_owned(),
        ..v1::ClaimReviewTaskRequest::default()
    };
    match services.claim_review_task(calls.request(asked)).await {
        Ok(_) => Ok(true),
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
            Ok(false)
        }
        Err(status) => Err(status.into()),
    }
}

/// `narrowed`: there may be tasks that are not listed, or at which others work.
pub(super) fn nothing_to_do(narrowed: bool) -> Markup {
    match narrowed {
        true => message(texts::NOTHING_TO_REVIEW, texts::NOTHING_LISTED),
        false => message(texts::NOTHING_TO_REVIEW, texts::NOTHING_TO_REVIEW_MORE),
    }
}

fn message(title: &str, more: &str) -> Markup {
    html! { section #task tabindex="-1" { div.empty { h1 { (title) } p { (more) } } } }
}

fn content(
    session: &Session,
    answer: &v1::GetReviewTaskResponse,
    may_decide: bool,
    reasons: &[String],
) -> Result<Markup, Refused> {
    let missing = || Status::internal("the answer lacks a part");
    let task = answer.review_task.as_ref().ok_or_else(missing)?;
    let explanation = answer.explanation.as_ref().ok_or_else(missing)?;
    let shown = Shown::to(session.caller.role());
    let id = task.review_task_id.as_str();
    let sides = [
        (answer.left.as_ref(), answer.left_identity.as_ref()),
        (answer.right.as_ref(), answer.right_identity.as_ref()),
    ];
    Ok(html! {
        section #task tabindex="-1" aria-label="Task" data-task=(id) {
            header.task-head {
                h1 { (shown.title(answer.left_identity.as_ref())) " · " (shown.title(answer.right_identity.as_ref())) }
                p.facts {
                    strong { (number::probability(task.match_probability)) } " probability · "
                    (texts::reason(task.reason()))
                    @if !explanation.rule.is_empty() { " · decided by rule " code { (explanation.rule) } }
                    @if !explanation.shared_blocking_rules.is_empty() {
                        " · brought together by " code { (explanation.shared_blocking_rules.join(", ")) }
                    }
                }
            }
            (comparison::table(sides.map(|(record, _)| record), shown, |side| html! {
                @if let Some(identity) = sides[side].1 {
                    span.of { "of " (values::identity_link(&identity.identity_id)) ", " (texts::records(identity.members.len())) }
                }
            }))
            @if !answer.why_not.is_empty() {
                section.why { h2 { "What would change this" } p { (answer.why_not) } }
            }
            section.weights { h2 { "Weights" } (waterfall::of(explanation)) }
            @if may_decide { (decisions(session, answer, id, reasons)?) }
            @else if let Some(claim) = &task.claim {
                @if claim.principal != session.caller.principal { p.claimed { (texts::works_at_it(&claim.principal)) } }
            }
            @if session.caller.may(Right::Operate) { (assignment(session, id)) }
            div.around hx-get={ (address(id)) "/neighbours" } hx-target="this" hx-swap="innerHTML" hx-trigger="load delay:150ms" {}
        }
    })
}

/// Where a lead gives the task to somebody.
fn assignment(session: &Session, id: &str) -> Markup {
    let assign = format!("{}/assignee", address(id));
    html! {
        form.assignment method="post" action=(assign) hx-post=(assign) hx-target="#notice" hx-swap="innerHTML" {
            (layout::csrf_field(session))
            label { (texts::ASSIGN_TO) " " input type="text" name="assignee" maxlength="64" required autocomplete="off"; }
            button type="submit" { (texts::ASSIGN) }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Assigned {
    assignee: String,
}

/// Gives the task to somebody.
pub(super) async fn assign(
    State(console): State<Console>,
    Path(id): Path<String>,
    form: Form<Assigned>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    let calls = console.calls(&session);
    let asked = calls.request(v1::ClaimReviewTaskRequest {
        review_task_id: id,
        assignee: fields.assignee.clone(),
    });
    calls.stewardship().claim_review_task(asked).await?;
    Ok(layout::notice(false, &texts::assigned(&fields.assignee)))
}

/// The two decisions, each with what it would do.
fn decisions(
    session: &Session,
    answer: &v1::GetReviewTaskResponse,
    id: &str,
    reasons: &[String],
) -> Result<Markup, Refused> {
    let decide = format!("{}/decision", address(id));
    let identities = [&answer.left_identity, &answer.right_identity];
    let versions = identities.into_iter().flatten();
    let versions: Vec<String> = versions.map(values::version_text).collect();
    let key = secret()?;
    let choices = [
        (StewardDecision::SamePerson, "same", "m", "m"),
        (StewardDecision::DifferentPersons, "different", "d", "k d"),
    ];
    Ok(html! {
        form.decision method="post" action=(decide) hx-post=(decide) hx-target="#task" hx-swap="outerHTML" {
            (layout::csrf_field(session))
            @for version in &versions { input type="hidden" name="version" value=(version); }
            input type="hidden" name="idempotency_key" value=(key);
            input type="hidden" name="next" value="";
            div.choices {
                @for (decision, name, shown_key, keys) in choices {
                    div.choice {
                        button.primary[name == "same"] type="submit" name="decision" value=(name) data-key=(keys) aria-keyshortcuts=(keys) {
                            (texts::decision(decision)) " " kbd { (shown_key) }
                        }
                        div.preview hx-get={ (address(id)) "/preview?decision=" (name) } hx-target="this" hx-swap="innerHTML" hx-trigger="load" { "…" }
                    }
                }
            }
            (layout::why_fields(reasons))
            button.quiet type="button" data-skip data-key="s" aria-keyshortcuts="s" { (texts::SKIP) " " kbd { "s" } }
        }
    })
}

fn decision_named(name: &str) -> Result<StewardDecision, Refused> {
    match name {
        "same" => Ok(StewardDecision::SamePerson),
        "different" => Ok(StewardDecision::DifferentPersons),
        _ => Err(Status::invalid_argument("there is no such decision").into()),
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    decision: String,
}

/// What a decision would do.
pub(super) async fn preview(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = v1::DecideReviewTaskRequest {
        review_task_id: id,
        decision: decision_named(&asked.decision)?.into(),
        call: Some(v1::StewardCall {
            preview: true,
            ..v1::StewardCall::default()
        }),
    };
    let mut services = calls.stewardship();
    let answer = services.decide_review_task(calls.request(asked));
    let outcome = answer.await?.into_inner().outcome.unwrap_or_default();
    let shown = Shown::to(session.caller.role());
    let concerned = concerned::of(&calls, &outcome, shown).await?;
    Ok(html! { (outcome_of(&outcome, shown)) (concerned) })
}

/// What becomes of which identities.
pub(super) fn outcome_of(outcome: &v1::StewardOutcome, shown: Shown) -> Markup {
    html! {
        @if awaits_approval(outcome) { p.hint { (texts::SOMEBODY_HAS_TO_AGREE) } }
        @if outcome.events.is_empty() { p { (texts::STAY_APART) } }
        @else {
            ul.outcome {
                @for event in &outcome.events {
                    @let identity = event.identity.as_ref();
                    li {
                        span.kind { (texts::event(event.kind())) } " "
                        strong { (shown.title(identity)) } " "
                        @if let Some(identity) = identity {
                            (values::identity_link(&identity.identity_id)) ", " (texts::records(identity.members.len()))
                        }
                        @if !event.merged_identity_ids.is_empty() {
                            " takes in "
                            @for id in &event.merged_identity_ids { (values::identity_link(id)) " " }
                        }
                        @if !event.split_into_identity_ids.is_empty() {
                            " gives records to "
                            @for id in &event.split_into_identity_ids { (values::identity_link(id)) " " }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Decision {
    decision: String,
    #[serde(default)]
    version: Vec<String>,
    idempotency_key: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
    /// The task to show next.
    #[serde(default)]
    next: String,
}

/// Decides, and shows the next task.
pub(super) async fn decide(
    State(console): State<Console>,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: Form<Decision>,
) -> Result<Response, Refused> {
    let Form { session, fields } = form;
    let decision = decision_named(&fields.decision)?;
    let versions = fields.version.iter().map(|text| values::version_of(text));
    let calls = console.calls(&session);
    let asked = v1::DecideReviewTaskRequest {
        review_task_id: id.clone(),
        decision: decision.into(),
        call: Some(v1::StewardCall {
            reason: fields.reason,
            note: fields.note,
            idempotency_key: fields.idempotency_key,
            expected_versions: versions.collect::<Result<_, _>>()?,
            preview: false,
        }),
    };
    let mut services = calls.stewardship();
    let answer = services.decide_review_task(calls.request(asked));
    let outcome = answer.await?.into_inner().outcome.unwrap_or_default();
    if let Some(made) = &outcome.r#override {
        let decided = Decided {
            override_number: made.override_number,
            page: address(&id),
        };
        console.sessions.decided(&session, decided);
    }
    let filter = console.sessions.filter(&session);
    let next = queue::next(&calls, &filter, &id, &fields.next).await?;
    if !wants_piece(&headers) {
        let page = next.map_or_else(|| "/console/queue".to_owned(), |next| address(&next));
        return Ok(Redirect::to(&page).into_response());
    }
    let pane = match &next {
        Some(next) => pane(&console, &session, next).await?,
        None => nothing_to_do(filter != Filter::default()),
    };
    let page = next.map_or_else(|| "/console/queue".to_owned(), |next| address(&next));
    let pieces = html! {
        (pane)
        li id={ "item-" (id) } hx-swap-oob="delete" {}
        div #notice hx-swap-oob="innerHTML" {
            p.notice {
                (texts::decision(decision)) ". "
                @if awaits_approval(&outcome) { (texts::AWAITS_APPROVAL) ". " }
                button.quiet type="button" hx-post="/console/undo" hx-target="#notice" hx-swap="innerHTML" data-key="u" aria-keyshortcuts="u" {
                    (texts::UNDO) " " kbd { "u" }
                }
            }
        }
    };
    Ok(([("hx-push-url", page)], pieces).into_response())
}

/// Takes the last decision of the session back, and goes to where it was made.
pub(super) async fn undo(
    State(console): State<Console>,
    form: Form<Nothing>,
) -> Result<Response, Refused> {
    let session = form.session;
    let Some(last) = console.sessions.last_decision(&session) else {
        return Ok(layout::notice(true, texts::NOTHING_TO_UNDO).into_response());
    };
    let answer = console.calls(&session).undo(last.override_number).await;
    // One that somebody else took back is done with, too.
    let is_over = |refused: &Refused| matches!(refused, Refused::Status(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition));
    if answer.as_ref().map_or_else(is_over, |()| true) {
        console.sessions.undone(&session, &last);
    }
    answer?;
    Ok([("hx-redirect", last.page)].into_response())
}
