//! Signals: one message from a source about one of its customers.

use serde::{Deserialize, Serialize};
use veridem_matchers::{Attribute, RecordKey};

/// What a signal does to its source record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// Replaces the attribute kinds that it carries and leaves the others as they are.
    #[default]
    Update,
    /// Replaces everything that the source said before.
    Snapshot,
    /// The source no longer has this customer.
    Delete,
}

/// One message from a source system about one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// The sender's own id of this message; sending it twice changes nothing. Unique within (tenant, source).
    pub signal_id: String,
    /// The registered sending system.
    pub source: String,
    /// The source's own key of the customer.
    pub record_id: String,
    /// When it happened at the source, milliseconds since the Unix epoch.
    pub event_time_ms: i64,
    /// What the signal does.
    #[serde(default)]
    pub kind: SignalKind,
    /// What is stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

impl Signal {
    /// The source record that the signal is about.
    pub fn record_key(&self) -> RecordKey {
        RecordKey::new(&self.source, &self.record_id)
    }
}
