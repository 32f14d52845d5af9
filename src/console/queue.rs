//! The review queue: the tasks on one side, the one that is worked at on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use tonic::Status;
use veridem_proto::v1;
use veridem_proto::v1::ReviewReason;

use super::calls::Calls;
use super::error::Refused;
use super::layout::{self, Place};
use super::session::Session;
use super::values::Shown;
use super::{Console, task, texts};
use crate::clock;
use crate::report::number;

/// Tasks that are listed at once.
const PAGE_SIZE: u32 = 40;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Which tasks are listed, as the address says it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Filter {
    /// "uncertain", "conflict", or empty.
    reason: String,
    source: String,
    brand: String,
    from: String,
    to: String,
    /// Waiting for so many days, at least.
    days: String,
    /// Of two identities with so many records together, at least.
    records: String,
    /// Not empty: only those at which one works, or that are assigned to one.
    mine: String,
}

fn number_in<T: FromStr + Default>(field: &str, text: &str) -> Result<T, Refused> {
    match text {
        "" => Ok(T::default()),
        text => text.parse().map_err(|_| {
            Refused::from(Status::invalid_argument(format!(
                "{field} must be a number"
            )))
        }),
    }
}

/// A choice of a name, if one is made.
fn chosen(name: &str) -> Vec<String> {
    let chosen = Some(name.to_owned()).filter(|name| !name.is_empty());
    chosen.into_iter().collect()
}

impl Filter {
    fn asked(&self, principal: &str) -> Result<v1::ListReviewTasksRequest, Refused> {
        let days: u32 = number_in("waiting days", &self.days)?;
        let opened_before_ms = match days {
            0 => 0,
            days => clock::now_ms() - i64::from(days) * DAY_MS,
        };
        let reason = match self.reason.as_str() {
            "uncertain" => ReviewReason::Uncertain,
            "conflict" => ReviewReason::Conflict,
            _ => ReviewReason::Unspecified,
        };
        Ok(v1::ListReviewTasksRequest {
            page_size: PAGE_SIZE,
            include_identities: true,
            reason: reason.into(),
            sources: chosen(&self.source),
            brands: chosen(&self.brand),
            min_probability: number_in("from", &self.from)?,
            max_probability: number_in("to", &self.to)?,
            opened_before_ms,
            min_records: number_in("records", &self.records)?,
            claimed_by: match self.mine.as_str() {
                "" => String::new(),
                _ => principal.to_owned(),
            },
            ..v1::ListReviewTasksRequest::default()
        })
    }
}

/// A piece of the list.
struct Listed {
    tasks: Vec<v1::ReviewTask>,
    identities: BTreeMap<String, v1::Identity>,
    next_page_token: String,
}

async fn list(calls: &Calls, filter: &Filter, after: &str) -> Result<Listed, Refused> {
    let asked = v1::ListReviewTasksRequest {
        page_token: after.to_owned(),
        ..filter.asked(calls.principal())?
    };
    let mut services = calls.stewardship();
    let answer = services.list_review_tasks(calls.request(asked)).await?;
    let answer = answer.into_inner();
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
    Query(filter): Query<Filter>,
) -> Result<Markup, Refused> {
    console.sessions.set_filter(&session, filter.clone());
    page(&console, &session, None, &filter).await
}

/// The queue with a task, or with the first one at which nobody else works.
pub(super) async fn page(
    console: &Console,
    session: &Session,
    open: Option<&str>,
    filter: &Filter,
) -> Result<Markup, Refused> {
    let calls = console.calls(session);
    let listed = list(&calls, filter, "").await?;
    let mut free = listed.tasks.iter();
    let first = free.find(|task| claimed_by_another(session, task).is_none());
    let open = open.or_else(|| first.map(|task| task.review_task_id.as_str()));
    let pane = match open {
        Some(id) => task::pane(console, session, id).await?,
        None => {
            let is_all = listed.tasks.is_empty() && listed.next_page_token.is_empty();
            task::nothing_to_do(!is_all || *filter != Filter::default())
        }
    };
    let asked = calls.request(v1::ListSourcesRequest {});
    let sources = calls.operations().list_sources(asked).await?;
    let sources = sources.into_inner().sources;
    let content = html! {
        div.queue {
            nav.tasks aria-label=(texts::QUEUE) {
                (choices(filter, &sources))
                ol #tasks { (items(session, &listed, filter, open)) }
            }
            (pane)
        }
    };
    Ok(layout::page(session, Place::Queue, texts::QUEUE, content))
}

/// What narrows the list down.
fn choices(filter: &Filter, sources: &[v1::Source]) -> Markup {
    let reasons = [
        ("", texts::ANY_REASON),
        ("uncertain", texts::reason(ReviewReason::Uncertain)),
        ("conflict", texts::reason(ReviewReason::Conflict)),
    ];
    let brands: BTreeSet<&str> = sources.iter().map(|source| source.brand.as_str()).collect();
    let brands: Vec<&str> = brands
        .into_iter()
        .filter(|brand| !brand.is_empty())
        .collect();
    let narrow = [
        &filter.from,
        &filter.to,
        &filter.days,
        &filter.records,
        &filter.mine,
    ];
    let is_narrow = narrow.into_iter().any(|text| !text.is_empty());
    html! {
        form.filter method="get" action="/console/queue" {
            label { span.unseen { (texts::REASON) }
                select name="reason" { @for (value, text) in reasons { option value=(value) selected[filter.reason == value] { (text) } } }
            }
            @if !sources.is_empty() {
                label { span.unseen { (texts::SOURCE) }
                    select name="source" {
                        option value="" { (texts::ANY_SOURCE) }
                        @for source in sources { option value=(source.name) selected[filter.source == source.name] { (source.name) } }
                    }
                }
            }
            @if !brands.is_empty() {
                label { span.unseen { (texts::BRAND) }
                    select name="brand" {
                        option value="" { (texts::ANY_BRAND) }
                        @for brand in brands { option value=(brand) selected[filter.brand == brand] { (brand) } }
                    }
                }
            }
            details open[is_narrow] {
                summary { (texts::MORE_FILTERS) }
                label { (texts::PROBABILITY_FROM) " " input type="number" name="from" min="0" max="1" step="any" value=(filter.from); }
                label { (texts::PROBABILITY_TO) " " input type="number" name="to" min="0" max="1" step="any" value=(filter.to); }
                label { (texts::WAITING_DAYS) " " input type="number" name="days" min="0" step="1" value=(filter.days); }
                label { input type="checkbox" name="mine" value="on" checked[!filter.mine.is_empty()]; " " (texts::MINE) }
                label { (texts::LEAST_RECORDS) " " input type="number" name="records" min="0" step="1" value=(filter.records); }
            }
            button type="submit" { (texts::SHOW) }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct After {
    after: String,
}

/// What follows in the list.
pub(super) async fn more(
    State(console): State<Console>,
    session: Session,
    Query(filter): Query<Filter>,
    Query(asked): Query<After>,
) -> Result<Markup, Refused> {
    let listed = list(&console.calls(&session), &filter, &asked.after).await?;
    Ok(items(&session, &listed, &filter, None))
}

/// The task after one that is decided: the one that was wanted, where nobody else works at it, or else the first of all.
pub(super) async fn next(
    calls: &Calls,
    filter: &Filter,
    decided: &str,
    wanted: &str,
) -> Result<Option<String>, Refused> {
    let mut services = calls.stewardship();
    if !wanted.is_empty() {
        let asked = v1::ClaimReviewTaskRequest {
            review_task_id: wanted.to_owned(),
            ..v1::ClaimReviewTaskRequest::default()
        };
        if services
            .claim_review_task(calls.request(asked))
            .await
            .is_ok()
        {
            return Ok(Some(wanted.to_owned()));
        }
    }
    let mut asked = v1::ListReviewTasksRequest {
        page_size: 2,
        include_identities: false,
        leave_out_claimed: true,
        ..filter.asked(calls.principal())?
    };
    // A page on which nothing fits the filter is not the last one.
    loop {
        let answer = services.list_review_tasks(calls.request(asked.clone()));
        let answer = answer.await?.into_inner();
        let tasks = answer.review_tasks.into_iter();
        let mut ids = tasks.map(|task| task.review_task_id);
        let found = ids.find(|other| other != decided);
        if found.is_some() || answer.next_page_token.is_empty() {
            return Ok(found);
        }
        asked.page_token = answer.next_page_token;
    }
}

/// Who works at a task, where that is somebody else.
fn claimed_by_another<'a>(session: &Session, task: &'a v1::ReviewTask) -> Option<&'a str> {
    let claim = task.claim.as_ref()?;
    let principal = claim.principal.as_str();
    Some(principal).filter(|principal| *principal != session.caller.principal)
}

fn items(session: &Session, listed: &Listed, filter: &Filter, open: Option<&str>) -> Markup {
    let shown = Shown::to(session.caller.role());
    let query = serde_html_form::to_string(filter).unwrap_or_default();
    html! {
        @for task in &listed.tasks {
            @let id = task.review_task_id.as_str();
            @let address = task::address(id);
            @let left = shown.title(listed.identities.get(&task.left_identity_id));
            @let right = shown.title(listed.identities.get(&task.right_identity_id));
            @let claimed_by = claimed_by_another(session, task);
            li id={ "item-" (id) } {
                a href=(address) hx-get=(address) hx-target="#task" hx-swap="outerHTML" hx-push-url="true" hx-sync="#tasks:replace"
                    data-task=(id) data-claimed[claimed_by.is_some()] aria-current=[(open == Some(id)).then_some("true")] {
                    span.names {
                        span { (left) }
                        @if left != right { span { (right) } }
                    }
                    span.facts {
                        (number::probability(task.match_probability)) " · " (texts::reason(task.reason()))
                        " · " (texts::records(records_of(listed, task)))
                        " · " (source_of(task.left.as_ref())) "–" (source_of(task.right.as_ref()))
                        @if let Some(principal) = claimed_by { " · " span.claimed { (principal) } }
                    }
                }
            }
        }
        @if !listed.next_page_token.is_empty() {
            li.more {
                button type="button" hx-get={ "/console/queue/more?" (query) "&after=" (listed.next_page_token) }
                    hx-target="closest li" hx-swap="outerHTML" { (texts::MORE) }
            }
        }
    }
}

/// The records of both identities of a task.
fn records_of(listed: &Listed, task: &v1::ReviewTask) -> usize {
    let ids = [&task.left_identity_id, &task.right_identity_id];
    let identities = ids.into_iter().filter_map(|id| listed.identities.get(id));
    identities.map(|identity| identity.members.len()).sum()
}

fn source_of(key: Option<&v1::RecordKey>) -> &str {
    key.map_or("", |key| &key.source)
}
