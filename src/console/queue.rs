//! The review queue: the tasks on one side, the one that is worked at on the other.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;

use super::calls::Calls;
use super::error::Refused;
use super::layout::{self, Place};
use super::session::Session;
use super::values::Shown;
use super::{Console, task, texts};
use crate::report::number;

/// Tasks that are listed at once.
const PAGE_SIZE: u32 = 40;

/// A piece of the list.
struct Listed {
    tasks: Vec<v1::ReviewTask>,
    identities: BTreeMap<String, v1::Identity>,
    next_page_token: String,
}

async fn list(calls: &Calls, page_token: &str) -> Result<Listed, Refused> {
    let asked = v1::ListReviewTasksRequest {
        page_size: PAGE_SIZE,
        page_token: page_token.to_owned(),
        include_identities: true,
    };
    let mut services = calls.stewardship();
    let answer = services.list_review_tasks(calls.request(asked));
    let answer = answer.await?.into_inner();
    let identities = answer.identities.into_iter();
    Ok(Listed {
        tasks: answer.review_tasks,
        identities: identities
            .map(|identity| (identity.identity_id.clone(), identity))
            .collect(),
        next_page_token: answer.next_page_token,
    })
}

/// The queue with its first task.
pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    page(&console, &session, None).await
}

/// The queue with a task, or with its first one.
pub(super) async fn page(
    console: &Console,
    session: &Session,
    open: Option<&str>,
) -> Result<Markup, Refused> {
    let calls = console.calls(session);
    let listed = list(&calls, "").await?;
    let first = listed.tasks.first();
    let open = open.or_else(|| first.map(|task| task.review_task_id.as_str()));
    let pane = match open {
        Some(id) => task::pane(&calls, session, id).await?,
        None => task::nothing_to_do(),
    };
    let content = html! {
        div.queue {
            nav.tasks aria-label=(texts::QUEUE) {
                ol #tasks { (items(&listed, Shown::to(session.caller.role()), open)) }
            }
            (pane)
        }
    };
    Ok(layout::page(session, Place::Queue, texts::QUEUE, content))
}

#[derive(Deserialize)]
pub(super) struct After {
    after: String,
}

/// What follows in the list.
pub(super) async fn more(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<After>,
) -> Result<Markup, Refused> {
    let listed = list(&console.calls(&session), &asked.after).await?;
    Ok(items(&listed, Shown::to(session.caller.role()), None))
}

/// The id of the first task that waits, but for one.
pub(super) async fn first_but(calls: &Calls, id: &str) -> Result<Option<String>, Refused> {
    let asked = v1::ListReviewTasksRequest {
        page_size: 2,
        ..v1::ListReviewTasksRequest::default()
    };
    let mut services = calls.stewardship();
    let answer = services.list_review_tasks(calls.request(asked));
    let tasks = answer.await?.into_inner().review_tasks.into_iter();
    let mut ids = tasks.map(|task| task.review_task_id);
    Ok(ids.find(|other| other != id))
}

fn items(listed: &Listed, shown: Shown, open: Option<&str>) -> Markup {
    html! {
        @for task in &listed.tasks {
            @let id = task.review_task_id.as_str();
            @let address = task::address(id);
            @let left = shown.title(listed.identities.get(&task.left_identity_id));
            @let right = shown.title(listed.identities.get(&task.right_identity_id));
            li id={ "item-" (id) } {
                a href=(address) hx-get=(address) hx-target="#task" hx-swap="outerHTML" hx-push-url="true"
                    data-task=(id) aria-current=[(open == Some(id)).then_some("true")] {
                    span.names {
                        span { (left) }
                        @if left != right { span { (right) } }
                    }
                    span.facts {
                        (number::probability(task.match_probability)) " · " (texts::reason(task.reason()))
                        " · " (source_of(task.left.as_ref())) "–" (source_of(task.right.as_ref()))
                    }
                }
            }
        }
        @if !listed.next_page_token.is_empty() {
            li.more {
                button type="button" hx-get={ "/console/queue/more?after=" (listed.next_page_token) }
                    hx-target="closest li" hx-swap="outerHTML" { (texts::MORE) }
            }
        }
    }
}

fn source_of(key: Option<&v1::RecordKey>) -> &str {
    key.map_or("", |key| &key.source)
}
