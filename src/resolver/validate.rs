//! What a signal must be. Each refusal names the field and says what to send.

use veridem_matchers::{Attribute, RecordKey};

use super::error::EngineError;
use super::signal::{Signal, SignalKind};

/// The longest id.
const MAX_ID_BYTES: usize = 256;
/// The longest text of an attribute.
const MAX_TEXT_BYTES: usize = 1_024;
/// Attributes in one message.
const MAX_ATTRIBUTES: usize = 100;
/// How far ahead of our clock a source's clock may be.
const MAX_AHEAD_MS: i64 = 24 * 60 * 60 * 1_000;

/// Checks a signal.
pub fn validate_signal(signal: &Signal, now_ms: i64) -> Result<(), EngineError> {
    validate_id("signal.signal_id", &signal.signal_id)?;
    validate_record_key("signal", &signal.record_key())?;
    if signal.event_time_ms <= 0 {
        return Err(EngineError::invalid(
            "signal.event_time_ms",
            "must be milliseconds since 1970, after 0",
        ));
    }
    if signal.event_time_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
        return Err(EngineError::invalid(
            "signal.event_time_ms",
            "lies more than one day ahead of the server's clock; is it in milliseconds, and is the source's clock right?",
        ));
    }
    if signal.attributes.is_empty() && signal.kind == SignalKind::Update {
        return Err(EngineError::invalid(
            "signal.attributes",
            "is empty; an update states at least one attribute",
        ));
    }
    if !signal.attributes.is_empty() && signal.kind == SignalKind::Delete {
        return Err(EngineError::invalid(
            "signal.attributes",
            "must be empty in a deletion",
        ));
    }
    validate_attributes("signal.attributes", &signal.attributes)
}

/// Checks attributes; `field` is their place in the message.
pub fn validate_attributes(field: &str, attributes: &[Attribute]) -> Result<(), EngineError> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(EngineError::invalid(
            field,
            format!(
                "has {} attributes, the limit is {MAX_ATTRIBUTES}",
                attributes.len()
            ),
        ));
    }
    for (index, attribute) in attributes.iter().enumerate() {
        let place = format!("{field}[{index}].{}", attribute.kind());
        for (part, text) in texts(attribute) {
            if text.len() > MAX_TEXT_BYTES {
                let separator = if part.is_empty() { "" } else { "." };
                return Err(EngineError::invalid(
                    format!("{place}{separator}{part}"),
                    format!("has {} bytes, the limit is {MAX_TEXT_BYTES}", text.len()),
                ));
            }
        }
        match attribute {
            Attribute::Identifier(identifier) => {
                validate_name(&format!("{place}.scheme"), &identifier.scheme)?
            }
            Attribute::Custom(custom) => validate_name(&format!("{place}.name"), &custom.name)?,
            _ => {}
        }
    }
    Ok(())
}

/// Checks a record key; `field` is its place in the message.
pub fn validate_record_key(field: &str, key: &RecordKey) -> Result<(), EngineError> {
    validate_name(&format!("{field}.source"), &key.source)?;
    validate_id(&format!("{field}.record_id"), &key.record_id)
}

/// Checks a caller's id.
pub fn validate_id(field: &str, id: &str) -> Result<(), EngineError> {
    if id.is_empty() {
        return Err(EngineError::invalid(field, "is missing"));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(EngineError::invalid(
            field,
            format!("has {} bytes, the limit is {MAX_ID_BYTES}", id.len()),
        ));
    }
    if id.chars().any(char::is_control) {
        return Err(EngineError::invalid(field, "holds control characters"));
    }
    Ok(())
}

fn validate_name(field: &str, name: &str) -> Result<(), EngineError> {
    if name.is_empty() {
        return Err(EngineError::invalid(field, "is missing"));
    }
    let known = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    if name.len() > 64 || !name.bytes().all(known) {
        return Err(EngineError::invalid(
            field,
            "must be 1 to 64 lower-case letters, digits, \"_\" and \"-\"",
        ));
    }
    Ok(())
}

fn texts(attribute: &Attribute) -> Vec<(&'static str, &str)> {
    match attribute {
        Attribute::Name(name) => vec![
            ("given", &name.given),
            ("middle", &name.middle),
            ("family", &name.family),
            ("suffix", &name.suffix),
            ("full", &name.full),
        ],
        Attribute::Address(address) => vec![
            ("street", &address.street),
            ("number", &address.number),
            ("unit", &address.unit),
            ("city", &address.city),
            ("region", &address.region),
            ("postcode", &address.postcode),
            ("country", &address.country),
        ],
        Attribute::Email(text)
        | Attribute::Phone(text)
        | Attribute::BirthDate(text)
        | Attribute::Gender(text) => vec![("", text)],
        Attribute::Identifier(identifier) => {
            vec![("scheme", &identifier.scheme), ("value", &identifier.value)]
        }
        Attribute::Custom(custom) => vec![("name", &custom.name), ("value", &custom.value)],
    }
}
