//! What every page has around it.

use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::session::Session;
use super::texts;
use crate::api::Right;

/// htmx without what a strict content security policy forbids; an error is shown in the notice, not in the place of what was there.
const HTMX: &str = r##"{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true,"historyCacheSize":0,"responseHandling":[{"code":"204","swap":false},{"code":"[23]..","swap":true},{"code":"[45]..","swap":true,"error":true,"target":"#notice","swapOverride":"innerHTML","select":".refused","ignoreTitle":true}]}"##;

/// Where a page belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Queue,
    Search,
    Decisions,
    Quality,
    Model,
    Sinks,
    Sources,
    Jobs,
    Audit,
}

const PLACES: [(Place, &str, &str, Right); 9] = [
    (Place::Queue, "/console/queue", texts::QUEUE, Right::Read),
    (Place::Search, "/console/search", texts::SEARCH, Right::Read),
    (
        Place::Decisions,
        "/console/decisions",
        texts::DECISIONS,
        Right::Read,
    ),
    (
        Place::Quality,
        "/console/quality",
        texts::QUALITY,
        Right::Read,
    ),
    (Place::Model, "/console/model", texts::MODEL, Right::Operate),
    (Place::Sinks, "/console/sinks", texts::SINKS, Right::Read),
    (
        Place::Sources,
        "/console/sources",
        texts::SOURCES,
        Right::Read,
    ),
    (Place::Jobs, "/console/jobs", texts::JOBS, Right::Read),
    (Place::Audit, "/console/audit", texts::AUDIT, Right::Operate),
];

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="htmx-config" content=(HTMX);
            title { (title) " · Veridem" }
            link rel="icon" type="image/svg+xml" href=(assets::address("mark.svg"));
            link rel="stylesheet" href=(assets::address("console.css"));
            link rel="stylesheet" href=(assets::address("charts.css"));
            script src=(assets::address("htmx.min.js")) defer {}
            script src=(assets::address("console.js")) defer {}
        }
    }
}

/// A page for somebody who is signed in.
pub(super) fn page(session: &Session, place: Place, title: &str, content: Markup) -> Markup {
    let caller = &session.caller;
    // Every request of htmx says that it comes from one of our pages.
    let headers = format!(r#"{{"x-csrf-token":"{}"}}"#, session.csrf_token);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body hx-headers=(headers) {
                a.skip href="#content" { (texts::SKIP_TO_CONTENT) }
                header.top {
                    a.brand href="/console/queue" {
                        img src=(assets::address("mark.svg")) alt="" width="24" height="24";
                        "Veridem"
                    }
                    nav aria-label="Main" {
                        @for (other, address, text, right) in PLACES {
                            @if caller.may(right) {
                                a href=(address) aria-current=[(other == place).then_some("page")] { (text) }
                            }
                        }
                    }
                    div.who {
                        span.tenant title=(texts::TENANT) { (caller.tenant.as_str()) }
                        span.principal { (caller.principal) " · " (caller.role().as_str()) }
                        button.quiet type="button" data-help data-key="?" aria-keyshortcuts="?" { (texts::HELP) " " kbd { "?" } }
                        form method="post" action="/console/sign-out" {
                            (csrf_field(session))
                            button.quiet type="submit" { (texts::SIGN_OUT) }
                        }
                    }
                }
                div #notice role="status" aria-live="polite" {}
                main #content tabindex="-1" { (content) }
                (keys())
            }
        }
    }
}

/// A page for somebody who is not.
pub(super) fn bare_page(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare { main #content { (content) } }
        }
    }
}

fn keys() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { (texts::HELP) }
            dl {
                @for (key, meaning) in texts::KEYS {
                    div { dt { kbd { (key) } } dd { (meaning) } }
                }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// What a form that changes something carries.
pub(super) fn csrf_field(session: &Session) -> Markup {
    html! { input type="hidden" name="csrf_token" value=(session.csrf_token); }
}

/// Where one says why: one of the reasons, and a note. Fewer letters than fit in the note's bytes, whatever the script.
pub(super) fn why_fields(reasons: &[String]) -> Markup {
    html! {
        @if !reasons.is_empty() {
            label.note { (texts::WHY)
                select name="reason" {
                    option value="" { (texts::NO_REASON) }
                    @for reason in reasons { option value=(reason) { (reason) } }
                }
            }
        }
        label.note { (texts::NOTE) input type="text" name="note" maxlength="340" autocomplete="off"; }
    }
}

/// A message in the notice.
pub(super) fn notice(is_problem: bool, text: &str) -> Markup {
    html! { p.notice.problem[is_problem] { (text) } }
}
