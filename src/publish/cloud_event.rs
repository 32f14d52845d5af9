//! Identity events as CloudEvents 1.0 (structured mode).

use std::time::{Duration, UNIX_EPOCH};

use chrono::NaiveDate;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use veridem_matchers::golden::SurvivingValue;
use veridem_matchers::normalise::{PartialDate, certain_date};
use veridem_matchers::{Attribute, RecordKey};

use crate::store::{IdentityId, StoredEvent, Tenant};

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
#[derive(Serialize)]
pub(super) struct CloudEvent<T> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    sequence: String,
    #[serde(skip_serializing_if = "is_zero")]
    replay: u64,
    data: T,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<T> CloudEvent<T> {
    pub(super) fn new(
        tenant: &Tenant,
        event: &StoredEvent,
        data: T,
        is_snapshot: bool,
        replay: u64,
    ) -> Self {
        Self {
            specversion: "1.0",
            id: id_of(tenant, event, is_snapshot),
            source: format!("/veridem/{}", tenant.as_str()),
            r#type: event_type(kind_of(event, is_snapshot)),
            subject: event.identity.id.to_string(),
            time: time_text(event.occurred_at_ms),
            datacontenttype: "application/json",
            sequence: event.sequence.to_string(),
            replay,
            data,
        }
    }
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

/// Everything that an event says, before mapping.
pub fn event_data(event: &StoredEvent) -> Value {
    json!(EventData::new(event, event.kind.as_str(), None))
}

/// What is published of an event.
#[derive(Serialize)]
pub(super) struct EventData<'a> {
    sequence: u64,
    kind: &'static str,
    occurred_at: String,
    cause: String,
    identity: Identity<'a>,
    merged_identity_ids: Vec<String>,
    split_into_identity_ids: Vec<String>,
    moved_records: &'a [RecordKey],
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_record_ids: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    returned: Option<Vec<Returned<'a>>>,
}

#[derive(Serialize)]
struct Identity<'a> {
    identity_id: String,
    version: u64,
    members: &'a [RecordKey],
    golden: Golden<'a>,
}

#[derive(Serialize)]
struct Returned<'a> {
    consumer_record_id: &'a str,
    identity_id: String,
}

impl<'a> EventData<'a> {
    /// `records`: what the consumer calls the persons, where it has said so.
    pub(super) fn new(
        event: &'a StoredEvent,
        kind: &'static str,
        records: Option<&'a ConsumerRecords>,
    ) -> Self {
        let ids = |ids: &[IdentityId]| ids.iter().map(|id| id.to_string()).collect();
        let returned = records.map(|records| {
            let returned = records.returned.iter().map(|(id, identity)| Returned {
                consumer_record_id: id,
                identity_id: identity.to_string(),
            });
            returned.collect()
        });
        Self {
            sequence: event.sequence,
            kind,
            occurred_at: time_text(event.occurred_at_ms),
            cause: event.cause.to_string(),
            identity: Identity {
                identity_id: event.identity.id.to_string(),
                version: event.identity.version,
                members: &event.identity.member_keys,
                golden: Golden(&event.identity.golden.values),
            },
            merged_identity_ids: ids(&event.merged),
            split_into_identity_ids: ids(&event.split_into),
            moved_records: &event.moved,
            consumer_record_ids: records.map(|records| records.own.as_slice()),
            returned,
        }
    }
}

/// Surviving values by slot; what is named within its kind (`identifier.loyalty`) stands in an object of the kind. They come
/// sorted by slot, so that those of one kind stand together.
struct Golden<'a>(&'a [SurvivingValue]);

/// The kind within which a value is named.
fn kind_within(value: &SurvivingValue) -> Option<&str> {
    value.slot.split_once('.').map(|(kind, _)| kind)
}

/// Those of one kind, by their names.
struct Named<'a>(&'a [SurvivingValue]);

impl Serialize for Golden<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for group in self.0.chunk_by(|left, right| {
            let kind = kind_within(left);
            kind.is_some() && kind == kind_within(right)
        }) {
            match kind_within(&group[0]) {
                Some(kind) => map.serialize_entry(kind, &Named(group))?,
                None => map.serialize_entry(&group[0].slot, &Content(&group[0].attribute))?,
            }
        }
        map.end()
    }
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.iter().map(|value| {
            let name = value.slot.split_once('.').map_or("", |(_, name)| name);
            (name, Content(&value.attribute))
        });
        serializer.collect_map(entries)
    }
}

/// Whether there is such a day, month or year.
fn is_in_calendar(date: &PartialDate) -> bool {
    let (month, day) = (date.month.max(1), date.day.max(1));
    NaiveDate::from_ymd_opt(date.year.into(), month.into(), day.into()).is_some()
}

struct Content<'a>(&'a Attribute);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Attribute::Name(name) => name.serialize(serializer),
            Attribute::Address(address) => address.serialize(serializer),
            Attribute::BirthDate(text) => match certain_date(text, None).filter(is_in_calendar) {
                Some(date) => serializer.collect_str(&date),
                None => serializer.serialize_str(text),
            },
            Attribute::Email(text) | Attribute::Phone(text) | Attribute::Gender(text) => {
                serializer.serialize_str(text)
            }
            Attribute::Identifier(identifier) => serializer.serialize_str(&identifier.value),
            Attribute::Custom(custom) => serializer.serialize_str(&custom.value),
        }
    }
}
