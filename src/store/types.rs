//! What is stored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use veridem_matchers::block::BlockingKey;
use veridem_matchers::golden::Comparable;
use veridem_matchers::{GoldenRecord, NormalisedRecord, PairScore, RecordKey, StatedValue};

use crate::resolver::{Fold, Signal};

/// A source record's number within its tenant, given at its first signal.
pub type RecordNumber = u64;

/// Whose data this is. Lower-case letters, digits, `_` and `-`, 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

impl Tenant {
    /// The tenant of an installation that has one only.
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }

    /// The tenant's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::default_tenant()
    }
}

impl TryFrom<String> for Tenant {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        };
        if name.is_empty() || name.len() > 64 || !name.bytes().all(known) {
            return Err(
                "a tenant is 1 to 64 lower-case letters, digits, \"_\" and \"-\"".to_owned(),
            );
        }
        Ok(Self(name))
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0
    }
}

/// 16 bytes are written as 32 hexadecimal digits.
macro_rules! written_as_hex {
    ($id:ident) => {
        impl std::fmt::Display for $id {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl std::str::FromStr for $id {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

/// The id of an identity: 16 bytes, written as 32 hexadecimal digits; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityId(pub [u8; 16]);

written_as_hex!(IdentityId);

/// How much there is, and what comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Record numbers given.
    pub record_numbers: u64,
    /// Sequence number of the latest event.
    pub last_sequence: u64,
    /// When the latest event was decided: none is dated before the one that it follows, whatever the clock does.
    pub last_event_ms: i64,
    /// Signals accepted.
    pub signals: u64,
    /// Source records that their sources still have.
    pub source_records: u64,
    /// Living identities with members.
    pub identities: u64,
    /// Open review tasks.
    pub open_review_tasks: u64,
    /// Overrides in force.
    pub overrides: u64,
    /// Numbers given to overrides.
    pub override_numbers: u64,
    /// Events by kind, in the order of [`EventKind::ALL`].
    pub events: [u64; EventKind::ALL.len()],
}

/// A source record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Its number.
    pub number: RecordNumber,
    /// Its key.
    pub key: RecordKey,
    /// Whether the source still has it.
    pub is_alive: bool,
    /// The form in which it is compared, shared values included; empty once deleted.
    pub normalised: NormalisedRecord,
    /// Its blocking keys, sorted; none once deleted.
    pub keys: Vec<BlockingKey>,
    /// The identity that it belongs to, or belonged to when it was deleted.
    pub identity_id: Option<IdentityId>,
}

/// What the signals of a source record add up to. Beside the record, since candidates are compared without it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredFold {
    /// The fold.
    pub fold: Fold,
    /// What survivorship compares of each attribute, in the order of [`Fold::stated`].
    pub comparables: Vec<Option<Comparable>>,
}

impl StoredFold {
    /// What it states as the record of this key.
    pub fn stated_by<'a>(&'a self, record: &'a RecordKey) -> impl Iterator<Item = StatedValue<'a>> {
        let stated = self.fold.stated().zip(&self.comparables);
        stated.map(|((attribute, stated_at_ms), comparable)| StatedValue {
            record,
            attribute,
            stated_at_ms,
            comparable: *comparable,
            pin: 0,
        })
    }
}

/// A pair decided `Match` or `Review`; kept on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEdge {
    /// The other record.
    pub other: RecordNumber,
    /// The score.
    pub score: PairScore,
}

/// How an identity id came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The ids that took its place.
    pub successors: Vec<IdentityId>,
    /// The event that ended it.
    pub sequence: u64,
}

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredIdentity {
    /// Its id.
    pub id: IdentityId,
    /// Its records, in the order of their keys.
    pub members: Vec<RecordNumber>,
    /// The keys of `members`.
    pub member_keys: Vec<RecordKey>,
    /// Its golden record.
    pub golden: GoldenRecord,
    /// Changes counted from 1.
    pub version: u64,
    /// The event that created it: the smaller survives a merge.
    pub created_at_sequence: u64,
    /// The event of its latest change.
    pub changed_at_sequence: u64,
    /// Set once the id lives no more.
    pub ended: Option<Ended>,
}

/// What was answered to a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReceipt {
    /// SHA-256 of the signal's content, first half.
    pub content_hash: [u8; 16],
    /// The identity of its record.
    pub identity_id: Option<IdentityId>,
    /// The latest event when it was answered.
    pub sequence: u64,
}

/// What happened to an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A new id.
    Created,
    /// Members or golden record changed.
    Updated,
    /// Others went into it.
    Merged,
    /// Records left it.
    Split,
    /// Its person was erased.
    Erased,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Updated,
        Self::Merged,
        Self::Split,
        Self::Erased,
    ];

    /// The kind as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Merged => "merged",
            Self::Split => "split",
            Self::Erased => "erased",
        }
    }
}

/// What caused a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A signal: source and signal id.
    Signal(String, String),
    /// A steward's override; the principal.
    Override(String),
    /// The initial load.
    Load,
    /// An override is undone; the principal.
    Undo(String),
    /// Another model or other rules are in force; the fingerprint of the two.
    Model(String),
    /// Somebody had the person erased; the principal.
    Erasure(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(source, signal_id) => write!(formatter, "signal {source}/{signal_id}"),
            Self::Override(principal) => write!(formatter, "override by {principal}"),
            Self::Load => formatter.write_str("initial load"),
            Self::Undo(principal) => write!(formatter, "undo by {principal}"),
            Self::Model(fingerprint) => write!(formatter, "model {fingerprint}"),
            Self::Erasure(principal) => write!(formatter, "erasure by {principal}"),
        }
    }
}

/// Records that came or left.
pub type Moved = Vec<RecordKey>;

/// What is shared in memory is written as if it were not.
mod shared {
    use super::{Arc, Deserialize, Serialize};

    pub(super) fn serialize<T: Serialize, S: serde::Serializer>(
        value: &Arc<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        T::serialize(value, serializer)
    }

    pub(super) fn deserialize<'a, T: Deserialize<'a>, D: serde::Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}

/// A change of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its place in the feed, from 1.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
    /// When it was decided, milliseconds since the Unix epoch; not before the event that it follows.
    pub occurred_at_ms: i64,
    /// The identity after the change.
    #[serde(with = "shared")]
    pub identity: Arc<StoredIdentity>,
    /// The identity's event before this one; 0 where this is its first.
    pub previous_sequence: u64,
    /// Merged: the ids that went into it.
    pub merged: Vec<IdentityId>,
    /// Split: the ids that records went to.
    pub split_into: Vec<IdentityId>,
    /// The records that came (Created, Updated, Merged), left (Split) or were erased (Erased).
    pub moved: Moved,
    /// What caused it.
    pub cause: Cause,
}

/// That a person was erased: the proof of it, and what keeps the person from coming back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredErasure {
    /// The identity.
    pub identity_id: IdentityId,
    /// The numbers of its records. A number that has no record any more is one of these: signals for it are forgotten.
    pub records: Vec<RecordNumber>,
    /// Who had it done.
    pub principal: String,
    /// When, milliseconds since the Unix epoch.
    pub erased_at_ms: i64,
    /// The event that told it.
    pub sequence: u64,
}

/// Names what is set aside, the same for the same message however often it comes: 16 bytes, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuarantineId(pub [u8; 16]);

impl QuarantineId {
    /// Of the texts that tell a message from all others.
    pub fn of(texts: &[&str]) -> Self {
        Self(super::encoding::hash_of(texts))
    }
}

written_as_hex!(QuarantineId);

/// A signal that its source may not send as it is, or a message that is no signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredQuarantined {
    /// What came.
    pub content: QuarantineContent,
    /// Where it came in: "api", or the name of a consumer.
    pub origin: String,
    /// What is wrong with it, without its values.
    pub reasons: Vec<String>,
    /// When it came last, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
}

/// What is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuarantineContent {
    /// A signal.
    Signal {
        /// The signal.
        #[serde(with = "as_json")]
        signal: Signal,
        /// The version of its source's schema.
        schema_version: String,
    },
    /// Anything else.
    Message {
        /// Its beginning.
        bytes: Vec<u8>,
        /// Bytes in all.
        length: u64,
    },
}

/// What is kept of a message: sled takes values of less than 64 KiB.
const MAX_QUARANTINED_BYTES: usize = 60_000;

impl QuarantineContent {
    /// A signal; of one that is too large to be kept whole, its beginning as JSON.
    pub fn signal(signal: &Signal, schema_version: &str) -> Self {
        let text = serde_json::to_string(signal).unwrap_or_default();
        if text.len() > MAX_QUARANTINED_BYTES {
            return Self::message(text.as_bytes());
        }
        Self::Signal {
            signal: signal.clone(),
            schema_version: schema_version.to_owned(),
        }
    }

    /// A message that is no signal.
    pub fn message(message: &[u8]) -> Self {
        Self::Message {
            bytes: message[..message.len().min(MAX_QUARANTINED_BYTES)].to_vec(),
            length: message.len() as u64,
        }
    }
}

/// As a JSON text: signals leave out what is empty, which postcard cannot read back.
mod as_json {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(value).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }

    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}

/// One state of everything that follows from records and a model: normal forms, keys, pairs. A model that takes the place of another
/// makes the next one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation(pub u32);

/// A model with the rules that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredModel {
    /// SHA-256 over the two, hexadecimal.
    pub fingerprint: String,
    /// The model file.
    pub model: String,
    /// The rules as JSON.
    pub pack: String,
}

/// A model that takes the place of the one in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredModelChange {
    /// The fingerprint of the model and rules that come.
    pub fingerprint: String,
    /// Who asked for it.
    pub principal: String,
    /// When, milliseconds since the Unix epoch.
    pub asked_at_ms: i64,
    /// The share of identities that it may join or split.
    pub limit: f64,
    /// How far it is.
    pub phase: ModelPhase,
}

impl StoredModelChange {
    /// Whether there is something left to do.
    pub fn is_running(&self) -> bool {
        !matches!(
            self.phase,
            ModelPhase::Done { .. } | ModelPhase::Refused { .. }
        )
    }
}

/// How far a model change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelPhase {
    /// All pairs are weighed anew, beside those in force, in this generation.
    Weighing(Generation),
    /// The new pairs are in force; the identities of records from this number on are still to be decided.
    Deciding {
        /// The first record that may not be decided yet.
        next: RecordNumber,
        /// The generation that was in force before.
        old: Generation,
    },
    /// Everything is decided; what is left of this generation is removed.
    Removing(Generation),
    /// Everything is done.
    Done {
        /// When, milliseconds since the Unix epoch.
        done_at_ms: i64,
    },
    /// It would have changed more than its limit, and nothing was changed.
    Refused {
        /// Identities that it would have joined or split.
        changed: u64,
        /// Of so many.
        identities: u64,
    },
}
