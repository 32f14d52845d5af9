//! Search as one types. What is typed is a person's and goes in the body, never in an address.

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use veridem_proto::v1;

use super::error::Refused;
use super::layout::{self, Place};
use super::request::Form;
use super::session::Session;
use super::values::{self, Shown};
use super::{Console, texts};
use crate::api::Right;

const PAGE_SIZE: u32 = 20;

pub(super) async fn show(session: Session) -> Markup {
    let content = html! {
        article.wide {
            h1 { (texts::SEARCH) }
            form.search method="post" action="/console/search" hx-post="/console/search" hx-target="#results" hx-trigger="input changed delay:100ms from:find input[type=search], submit" hx-sync="this:replace" {
                (layout::csrf_field(&session))
                label { span.unseen { (texts::SEARCH_FOR) }
                    input type="search" name="query" maxlength="256" autocomplete="off" autofocus placeholder=(texts::SEARCH_FOR); }
            }
            div #results {}
        }
    };
    layout::page(&session, Place::Search, texts::SEARCH, content)
}

#[derive(Deserialize)]
pub(super) struct Query {
    query: String,
}

pub(super) async fn results(
    State(console): State<Console>,
    form: Form<Query>,
) -> Result<Markup, Refused> {
    let Form { session, fields } = form;
    if fields.query.trim().is_empty() {
        return Ok(html! {});
    }
    let calls = console.calls(&session);
    let asked = v1::SearchIdentitiesRequest {
        query: fields.query,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut services = calls.resolution();
    let found = services.search_identities(calls.request(asked)).await?;
    let found = found.into_inner().identities;
    let shown = Shown::to(session.caller.role());
    let may_decide = session.caller.may(Right::Decide);
    Ok(html! {
        @if found.is_empty() { p.hint { (texts::NOTHING_FOUND) } }
        @else {
            form method="post" action="/console/together" hx-post="/console/together/preview" hx-trigger="change from:find .choice" hx-target="#together" {
            (layout::csrf_field(&session))
            p.hint role="status" { (texts::found(found.len())) }
            div.choice {
            table.listing {
                thead { tr {
                    @if may_decide { th scope="col" { span.unseen { (texts::CHOOSE) } } }
                    th scope="col" { "Identity" } th scope="col" { "Name" } th scope="col" { "E-mail" } th scope="col" { "Phone" } th scope="col" { "Address" } th scope="col" { "Records" } } }
                tbody {
                    @for identity in &found {
                        tr {
                            @if may_decide {
                                td { input type="checkbox" name="identity" value=(values::version_text(identity)) aria-label={ (texts::CHOOSE) " " (shown.title(Some(identity))) }; }
                            }
                            td { (values::identity_link(&identity.identity_id)) }
                            td { strong { (shown.title(Some(identity))) } }
                            @for slot in ["email", "phone", "address"] {
                                @let value = identity.golden_record.iter().find(|value| value.slot == slot);
                                td { (shown.attribute(value.and_then(|value| value.attribute.as_ref()))) }
                            }
                            td.number { (identity.members.len()) }
                        }
                    }
                }
            }
            @if may_decide {
                fieldset.together {
                    legend.unseen { (texts::TOGETHER) }
                    label { input type="radio" name="together" value="person" checked; " " (texts::ONE_PERSON) }
                    label { input type="radio" name="together" value="household"; " " (texts::ONE_HOUSEHOLD) }
                }
            }
            }
            div #together { @if may_decide { p.hint { (texts::CHOOSE_SEVERAL) } } }
            }
        }
    })
}
