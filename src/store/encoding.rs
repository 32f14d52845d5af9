//! Keys and values of the key-value engines. Keys: a tag, the number of a space, then fields that sort as bytes. Values: postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{IdentityId, StoreError};

/// Kinds of entries.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Tag {
    Counters = b'c',
    Record = b'r',
    Fold = b'f',
    RecordNumber = b'k',
    Edges = b'e',
    Identity = b'i',
    Receipt = b's',
    Event = b'v',
    TaskById = b't',
    TaskByPriority = b'w',
    Override = b'z',
    Answer = b'a',
    InactiveKey = b'x',
    Change = b'g',
    LastChange = b'l',
    Model = b'm',
    NextModel = b'j',
    ModelChange = b'n',
    SinkCursor = b'u',
    SinkReplay = b'b',
    SinkSnapshot = b'd',
    Delivery = b'h',
    Quarantined = b'q',
    Erasure = b'y',
    ReferenceById = b'p',
    ReferenceByRecord = b'o',
    Audit = b'A',
    AuditHead = b'H',
    Sample = b'Q',
}

/// Keys of what belongs to no tenant; no [`Tag`] is 0.
pub(super) const FORMAT_KEY: &[u8] = b"\0format";
pub(super) const MODEL_KEY: &[u8] = b"\0model";
pub(super) const TENANTS_KEY: &[u8] = b"\0tenants";

/// The number of a space of keys: of a tenant, given at its first write, or of a further generation of a tenant. Never given twice.
pub(super) type Space = u16;

/// A key in the making. Up to 20 bytes are compared without following a pointer, so that fields are numbers and hashes.
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(space: Space, tag: Tag) -> Self {
        let mut bytes = Vec::with_capacity(20);
        bytes.push(tag as u8);
        bytes.extend_from_slice(&space.to_be_bytes());
        Self(bytes)
    }

    /// The key of a tag of an earlier format.
    pub(super) fn of(tag: u8, space: Space) -> Self {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&space.to_be_bytes());
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

    /// Texts that are looked up and never listed: 16 bytes of SHA-256 in their place.
    pub(super) fn hash(self, texts: &[&str]) -> Self {
        self.id(&hash_of(texts))
    }

    pub(super) fn id(mut self, id: &[u8]) -> Self {
        self.0.extend_from_slice(id);
        self
    }

    /// The largest first.
    pub(super) fn falling(self, number: f64) -> Self {
        let bits = number.to_bits();
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

/// 16 bytes of the SHA-256 of some texts.
pub(super) fn hash_of(texts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
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

/// The tag of a key.
pub(super) fn tag_of(key: &[u8]) -> Option<u8> {
    key.first().copied()
}

/// The space of a key; none of what belongs to no tenant.
pub(super) fn space_of(key: &[u8]) -> Option<Space> {
    let bytes = key.get(1..3)?.try_into().ok()?;
    (key[0] != 0).then(|| Space::from_be_bytes(bytes))
}

/// The number with which a key ends.
pub(super) fn last_number(key: &[u8]) -> Option<u64> {
    let start = key.len().checked_sub(8)?;
    key[start..].try_into().ok().map(u64::from_be_bytes)
}

/// The id of an identity with which a key ends.
pub(super) fn last_id(key: &[u8]) -> Option<IdentityId> {
    let start = key.len().checked_sub(16)?;
    key[start..].try_into().ok().map(IdentityId)
}
