//! The resolver: what becomes of signals and records. Knows the traits of store and index only.
//!
//! - [`Signal`], [`Fold`]: what comes in, and what a source's signals add up to
//! - [`Engine`]: the online engine; [`Ingest`]: its one writer; `prepare`, `touched`: what is made ready before it
//! - `change`, `identities`, `tasks`: what follows from one signal or override
//! - `queue`: what waits for stewards; `steward`, `overrides`, `override_states`, `households`, `decided`: what they decide; `erasure`: persons that are erased; `model_change`: another model on a live store
//! - `read`: questions to the engine; `sample`: pairs that stewards judge blind
//! - [`resolve_records`]: the bulk job, over the same functions of `veridem_matchers`

mod audit;
mod bulk;
mod change;
mod components;
mod decided;
mod engine;
mod erasure;
mod error;
mod evidence;
mod fold;
mod households;
mod identities;
mod ingest;
mod labels;
mod load;
mod matcher;
mod model_change;
mod model_preview;
mod override_states;
mod overrides;
mod prepare;
mod queue;
mod read;
mod records;
mod sample;
mod signal;
mod steward;
mod tasks;
mod touched;
mod validate;

pub use audit::{AuditSubject, AuditedCall};
pub use bulk::{
    Abandoned, BulkOptions, BulkResult, Comparables, STAGES, ScoredPair, bulk_identity_id,
    golden_record_of_rows, prepare, resolve_records, trained_model,
};
pub use decided::DecidedPair;
pub use engine::{Ack, Engine};
pub use erasure::Erasure;
pub use error::EngineError;
pub use fold::Fold;
pub use ingest::{Durable, Ingest, Pending, Writer, answer};
pub use labels::Labels;
pub use load::{LoadSummary, snapshot_signal};
pub use matcher::Matcher;
pub use model_change::{ModelChanges, ModelStep};
pub use model_preview::{IdentityChange, ModelChangePreview};
pub use override_states::OverrideState;
pub use prepare::Prepared;
pub use queue::{Claim, Claims, ReviewedTask, SourceRecord, SourceValue, TaskFilter, TaskPage};
pub use read::{IdentityExplanation, MatchAnswer, Moment, RankedIdentity, Resolution};
pub use records::{Records, RecordsBuilder};
pub use sample::{AskedPair, SAMPLE_PAIRS, SampleResult};
pub use signal::{Signal, SignalKind};
pub use steward::{MAX_OVERRIDDEN_RECORDS, StewardAction, StewardAnswer, StewardRequest};
pub use tasks::task_id;
pub use validate::{validate_attributes, validate_id, validate_record_key, validate_signal};
