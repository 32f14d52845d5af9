//! Identity events as CloudEvents 1.0 (structured mode).

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use veridem_matchers::{Attribute, RecordKey};

use crate::store::{IdentityId, StoredEvent, StoredIdentity, Tenant};

/// The kind of an event that tells the state of an identity, whatever brought it about.
pub(super) const SNAPSHOT: &str = "snapshot";

/// The kind under which an event goes out.
pub(super) fn kind_of(event: &StoredEvent, is_snapshot: bool) -> &'static str {
    if is_snapshot {
        SNAPSHOT
    } else {
        event.kind.as_str()
    }
}

/// The type of a CloudEvent, versioned.
pub(super) fn event_type(kind: &str) -> String {
    format!("veridem.identity.{kind}.v1")
}

/// An event has one id, however often it is delivered; a snapshot is another event.
pub(super) fn id_of(tenant: &Tenant, event: &StoredEvent, is_snapshot: bool) -> String {
    let suffix = if is_snapshot { "-snapshot" } else { "" };
    format!("{}-{}{suffix}", tenant.as_str(), event.sequence)
}

/// An event as a CloudEvent around its data, which may have been mapped.
pub fn cloud_event(tenant: &Tenant, event: &StoredEvent, data: Value, is_snapshot: bool) -> Value {
    json!({
        "specversion": "1.0",
        "id": id_of(tenant, event, is_snapshot),
        "source": format!("/veridem/{}", tenant.as_str()),
        "type": event_type(kind_of(event, is_snapshot)),
        "subject": event.identity.id.to_string(),
        "time": time_text(event.occurred_at_ms),
        "datacontenttype": "application/json",
        "sequence": event.sequence.to_string(),
        "data": data,
    })
}

fn time_text(milliseconds: i64) -> String {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// What the consumer of a sink calls the persons of an event, as far as it has said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerRecords {
    /// Its own records of the identity.
    pub own: Vec<String>,
    /// Its own records that go to another identity, with that identity.
    pub returned: Vec<(String, IdentityId)>,
}

impl ConsumerRecords {
    /// Adds them to an event's data.
    pub(super) fn add_to(&self, data: &mut Value) {
        data["consumer_record_ids"] = json!(self.own);
        let returned = self.returned.iter().map(|(id, identity)| {
            json!({ "consumer_record_id": id, "identity_id": identity.to_string() })
        });
        data["returned"] = returned.collect();
    }
}

/// Everything that an event says, before mapping.
pub fn event_data(event: &StoredEvent) -> Value {
    let ids = |ids: &[IdentityId]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    json!({
        "sequence": event.sequence,
        "kind": event.kind.as_str(),
        "occurred_at": time_text(event.occurred_at_ms),
        "cause": event.cause.to_string(),
        "identity": identity(&event.identity),
        "merged_identity_ids": ids(&event.merged),
        "split_into_identity_ids": ids(&event.split_into),
        "moved_records": record_keys(&event.moved),
    })
}

fn record_keys(keys: &[RecordKey]) -> Value {
    keys.iter()
        .map(|key| json!({ "source": key.source, "record_id": key.record_id }))
        .collect()
}

fn identity(identity: &StoredIdentity) -> Value {
    let mut golden = Map::new();
    for value in &identity.golden.values {
        let content = match &value.attribute {
            Attribute::Name(name) => json!(name),
            Attribute::Address(address) => json!(address),
            Attribute::Email(text)
            | Attribute::Phone(text)
            | Attribute::BirthDate(text)
            | Attribute::Gender(text) => json!(text),
            Attribute::Identifier(identifier) => json!(identifier.value),
            Attribute::Custom(custom) => json!(custom.value),
        };
        let place = match value.slot.split_once('.') {
            Some((kind, name)) => {
                let inner = golden.entry(kind).or_insert_with(|| json!({}));
                inner
                    .as_object_mut()
                    .map(|inner| inner.insert(name.to_owned(), content));
                continue;
            }
            None => value.slot.clone(),
        };
        golden.insert(place, content);
    }
    json!({
        "identity_id": identity.id.to_string(),
        "version": identity.version,
        "members": record_keys(&identity.member_keys),
        "golden": golden,
    })
}
