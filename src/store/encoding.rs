//! Keys and values of the key-value engines. Keys: tenant, 0, a tag, then fields that sort as bytes. Values: postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;
use veridem_matchers::RecordKey;

use super::{StoreError, Tenant};

/// Kinds of entries.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Tag {
    Counters = b'c',
    Record = b'r',
    RecordNumber = b'k',
    Edges = b'e',
    Identity = b'i',
    Receipt = b's',
    Event = b'v',
    TaskById = b't',
    TaskByWeight = b'w',
    OverrideOf = b'o',
    OverrideByKeys = b'p',
    Decision = b'd',
    InactiveKey = b'x',
    Change = b'g',
    SinkCursor = b'u',
}

/// The key of what belongs to no tenant; no tenant's name begins with 0.
pub(super) const FORMAT_KEY: &[u8] = b"\0format";
pub(super) const MODEL_KEY: &[u8] = b"\0model";

pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(tenant: &Tenant, tag: Tag) -> Self {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(tenant.as_str().as_bytes());
        bytes.extend_from_slice(&[0, tag as u8]);
        Self(bytes)
    }

    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// A text that no further field follows, or that holds no 0 byte.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self
    }

    pub(super) fn record_key(self, key: &RecordKey) -> Self {
        self.text(&key.source).text(&key.record_id)
    }

    /// The strongest weight first.
    pub(super) fn falling(self, weight: f64) -> Self {
        let bits = weight.to_bits();
        let rising = if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        };
        self.number(!rising)
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("stored types hold nothing that postcard cannot write")
}

pub(super) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|cause| StoreError::Unreadable {
        what,
        cause: cause.to_string(),
    })
}

/// The number with which a key ends.
pub(super) fn last_number(key: &[u8]) -> Option<u64> {
    let start = key.len().checked_sub(8)?;
    key[start..].try_into().ok().map(u64::from_be_bytes)
}
