//! What stands around a review task: the two identities with what holds them together, and how they came to be.

use axum::extract::{Path, State};
use maud::{Markup, html};
use veridem_proto::v1;

use super::error::Refused;
use super::session::Session;
use super::values::Shown;
use super::{Console, graph, identity, texts};

/// Events of each side that are shown.
const EVENTS: usize = 10;

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let shown = Shown::to(session.caller.role());
    let asked = calls.request(v1::GetReviewTaskRequest { review_task_id: id });
    let answer = calls.stewardship().get_review_task(asked).await?;
    let task = answer.into_inner().review_task.unwrap_or_default();
    let sides = [
        identity::explained(&calls, &task.left_identity_id).await?,
        identity::explained(&calls, &task.right_identity_id).await?,
    ];
    let groups = sides.each_ref().map(|side| graph::Group {
        records: (side.identity.as_ref()).map_or(&[][..], |identity| &identity.members),
        pairs: &side.pairs,
    });
    let doubt = task.left.as_ref().zip(task.right.as_ref());
    let doubt = doubt.map(|(left, right)| (left, right, task.match_weight));
    let history = sides.iter().map(|side| {
        let latest = side.events.len().saturating_sub(EVENTS);
        identity::events(&side.events[latest..], shown)
    });
    Ok(html! {
        section { h2 { (texts::NEIGHBOURS) } (graph::of(&groups, doubt, shown)) }
        section.histories { h2 { (texts::HISTORY) } div.become { @for events in history { (events) } } }
    })
}
