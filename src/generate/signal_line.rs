//! A signal as one line of JSON, without what the reader fills in by itself: empty texts and the usual kind.

use serde::Serialize;
use veridem_matchers::Attribute;

use super::{Signal, SignalKind};

/// Serialises to what `Signal` reads, in about two thirds of the bytes that `Signal` itself would write.
#[derive(Serialize)]
pub(super) struct SignalLine<'signal> {
    signal_id: &'signal str,
    source: &'signal str,
    record_id: &'signal str,
    event_time_ms: i64,
    #[serde(skip_serializing_if = "is_update")]
    kind: SignalKind,
    attributes: Vec<AttributeLine<'signal>>,
}

fn is_update(kind: &SignalKind) -> bool {
    *kind == SignalKind::Update
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum AttributeLine<'signal> {
    Name(NameLine<'signal>),
    Address(AddressLine<'signal>),
    #[serde(untagged)]
    Whole(&'signal Attribute),
}

#[derive(Serialize)]
struct NameLine<'signal> {
    #[serde(skip_serializing_if = "str::is_empty")]
    given: &'signal str,
    #[serde(skip_serializing_if = "str::is_empty")]
    family: &'signal str,
}

#[derive(Serialize)]
struct AddressLine<'signal> {
    #[serde(skip_serializing_if = "str::is_empty")]
    street: &'signal str,
    #[serde(skip_serializing_if = "str::is_empty")]
    city: &'signal str,
    #[serde(skip_serializing_if = "str::is_empty")]
    region: &'signal str,
    #[serde(skip_serializing_if = "str::is_empty")]
    postcode: &'signal str,
}

impl<'signal> From<&'signal Signal> for SignalLine<'signal> {
    fn from(signal: &'signal Signal) -> Self {
        let attributes = signal.attributes.iter().map(|attribute| match attribute {
            Attribute::Name(name) => AttributeLine::Name(NameLine {
                given: &name.given,
                family: &name.family,
            }),
            Attribute::Address(address) => AttributeLine::Address(AddressLine {
                street: &address.street,
                city: &address.city,
                region: &address.region,
                postcode: &address.postcode,
            }),
            whole => AttributeLine::Whole(whole),
        });
        Self {
            signal_id: &signal.signal_id,
            source: &signal.source,
            record_id: &signal.record_id,
            event_time_ms: signal.event_time_ms,
            kind: signal.kind,
            attributes: attributes.collect(),
        }
    }
}
