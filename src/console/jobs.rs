//! Jobs: which run, how far each is, and what came of the latest.

use axum::extract::State;
use maud::{Markup, html};
use veridem_proto::v1;
use veridem_proto::v1::{JobKind, JobState};

use super::error::Refused;
use super::layout::{self, Place};
use super::session::Session;
use super::{Console, texts, values};
use crate::report::number;

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let content = html! {
        article.wide {
            h1 { (texts::JOBS) }
            div hx-get="/console/jobs/list" hx-trigger="every 2s" hx-swap="innerHTML" {
                (listed(&console, &session).await?)
            }
        }
    };
    Ok(layout::page(&session, Place::Jobs, texts::JOBS, content))
}

/// The list alone, as the page asks for it again and again.
pub(super) async fn list(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    listed(&console, &session).await
}

async fn listed(console: &Console, session: &Session) -> Result<Markup, Refused> {
    let calls = console.calls(session);
    let asked = calls.request(v1::ListJobsRequest {});
    let answer = calls.operations().list_jobs(asked).await?;
    let jobs = answer.into_inner().jobs;
    Ok(html! {
        @if jobs.is_empty() { p.hint { (texts::NO_JOBS) } }
        @else {
            table.listing {
                thead { tr { th scope="col" { "Job" } th scope="col" { "About" } th scope="col" { "State" } th scope="col" { "Progress" } th scope="col" { "Asked for by" } th scope="col" { "Began" } th scope="col" { "Took" } } }
                tbody { @for job in &jobs { (row(job)) } }
            }
        }
    })
}

fn row(job: &v1::Job) -> Markup {
    let name = match job.kind() {
        JobKind::ModelPreview | JobKind::ModelChange => values::short_hash(&job.name),
        _ => job.name.as_str(),
    };
    let took = (job.ended_at_ms - job.started_at_ms).max(0) as f64 / 1_000.0;
    let share = job.done as f64 / job.total.max(1) as f64;
    html! {
        tr {
            th scope="row" { (texts::job_kind(job.kind())) }
            td { (name) }
            td {
                span.state.good[job.state() == JobState::Done].bad[job.state() == JobState::Failed] { (texts::job_state(job.state())) }
                @if !job.problem.is_empty() { " " (job.problem) }
            }
            td {
                @if job.state() == JobState::Running {
                    (job.stage)
                    @if job.total > 0 {
                        " " progress max="1" value=(share) aria-label=(texts::job_kind(job.kind())) {}
                        " " (number::count(job.done)) " of " (number::count(job.total))
                    }
                }
            }
            td { (job.principal) }
            td { (values::moment(job.started_at_ms)) }
            td.number { @if job.ended_at_ms > 0 { (format!("{took:.1} s")) } }
        }
    }
}
