//! Whom a decision concerns beyond the identities: consumers that know them by an id of their own, and accounts.

use std::collections::BTreeSet;

use maud::{Markup, html};
use tonic::Code;
use veridem_proto::v1;

use super::calls::Calls;
use super::error::Refused;
use super::values::{self, Shown};
use super::{identity, texts};

/// Identities whose consumers are asked for; a decision over more is told by its counts.
const MAX_IDENTITIES: usize = 20;
/// Identities of which a decision may name the version in which they were seen.
const MAX_VERSIONS: usize = 1_000;

/// What consumers call the identities that change, and the accounts and consents that go with them.
pub(super) async fn of(
    calls: &Calls,
    outcome: &v1::StewardOutcome,
    shown: Shown,
) -> Result<Markup, Refused> {
    let ids = ids_of(outcome);
    let mut accounts = BTreeSet::new();
    for event in &outcome.events {
        let Some(identity) = &event.identity else {
            continue;
        };
        for value in &identity.golden_record {
            let name = value.slot.split_once('.').map(|(_, name)| name);
            if let Some(name) = name.filter(|_| is_account(&value.slot)) {
                accounts.insert((name, values::text_of(value.attribute.as_ref())));
            }
        }
    }
    let mut downstream = BTreeSet::new();
    for id in ids.into_iter().take(MAX_IDENTITIES) {
        let known = match identity::references(calls, id).await {
            // One that is only about to be made.
            Err(Refused::Status(status)) if status.code() == Code::NotFound => Vec::new(),
            known => known?,
        };
        let known = known.into_iter();
        downstream.extend(known.map(|known| (known.sink, known.consumer_record_id)));
    }
    Ok(html! {
        @if !downstream.is_empty() || !accounts.is_empty() {
            dl.concerned {
                @if !downstream.is_empty() {
                    div { dt { (texts::CONSUMERS_CALL_THEM) } dd { ul.chips { @for (sink, id) in &downstream { li { (sink) " " (shown.text(id)) } } } } }
                }
                @if !accounts.is_empty() {
                    div { dt { (texts::ACCOUNTS) } dd { ul.chips { @for (name, value) in &accounts { li { (name) " " (shown.text(value)) } } } } }
                }
            }
        }
    })
}

fn ids_of(outcome: &v1::StewardOutcome) -> BTreeSet<&str> {
    let events = outcome.events.iter();
    let ids = events.flat_map(|event| {
        let merged = event.merged_identity_ids.iter().map(String::as_str);
        let own = event.identity.iter();
        merged.chain(own.map(|identity| identity.identity_id.as_str()))
    });
    ids.collect()
}

/// The identities that would change, as they are.
pub(super) async fn living(
    calls: &Calls,
    outcome: &v1::StewardOutcome,
) -> Result<Vec<v1::Identity>, Refused> {
    let mut living = Vec::new();
    for id in ids_of(outcome).into_iter().take(MAX_VERSIONS) {
        let asked = v1::GetIdentityRequest {
            identity_id: id.to_owned(),
            as_of: None,
        };
        match calls.resolution().get_identity(calls.request(asked)).await {
            // One that is only about to be made.
            Err(status) if status.code() == Code::NotFound => {}
            answer => {
                let identities = answer?.into_inner().identities.into_iter();
                living.extend(identities.filter(|identity| identity.identity_id == id));
            }
        }
    }
    Ok(living)
}

/// Identifiers and what sources state of their own, such as consents.
fn is_account(slot: &str) -> bool {
    let is_consent = |name: &str| name.contains("consent") || name.contains("opt_in");
    slot.starts_with("identifier.") || slot.strip_prefix("custom.").is_some_and(is_consent)
}
