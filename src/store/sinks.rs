//! What is stored of sinks and of what their consumers answered.

use serde::{Deserialize, Serialize};

use super::types::RecordNumber;

/// What a consumer calls one of the persons that it was told of: an entry of the crosswalk that the consumer itself has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReference {
    /// The consumer's own record id.
    pub consumer_record_id: String,
    /// A record of the identity that the consumer acknowledged: where the record goes, the consumer's record goes.
    pub record: RecordNumber,
    /// The event that the consumer acknowledged.
    pub sequence: u64,
    /// When, milliseconds since the Unix epoch.
    pub acknowledged_at_ms: i64,
}

/// How far a sink has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkProgress {
    /// Every event up to this one is delivered, left out, or kept as a [`StoredDelivery`].
    pub cursor: u64,
    /// Up to this event only the latest of each living identity is delivered: the sink asked for everything anew.
    pub snapshot_until: u64,
    /// The latest event when the sink last asked for everything anew; 0 where it never did.
    pub last_snapshot: u64,
    /// How often it was asked to deliver anew.
    pub replays: u64,
}

/// An event that a sink could not deliver yet. Until it is delivered or discarded, events that touch the same identities wait behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDelivery {
    /// Attempts that failed; 0 where it only waits behind another.
    pub attempts: u32,
    /// Why the last one failed, without personal values.
    pub last_error: String,
    /// When, milliseconds since the Unix epoch.
    pub failed_at_ms: i64,
    /// Given up: it is tried again only when it is asked for.
    pub is_dead: bool,
}
