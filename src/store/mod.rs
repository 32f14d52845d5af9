//! The store: the truth. Everything else (index, caches) can be built from it. One commit is one atomic write.

mod audit;
mod backup;
mod cache;
mod check;
mod encoding;
mod fjall_journal;
mod fjall_queue;
mod fjall_store;
mod keyed;
mod memory_store;
mod migrate;
mod sinks;
mod sled_store;
mod spaces;
mod stewardship;
mod types;

pub use audit::{AuditHash, AuditHead, StoredAuditEntry};
pub use backup::{read_backup, write_backup};
pub use check::check_tenant;
pub use fjall_queue::{DurableQueue, QueueChange};
pub use fjall_store::FjallStore;
pub use keyed::KeyedStore;
pub use memory_store::MemoryStore;
pub use sinks::{SinkProgress, StoredDelivery, StoredReference};
pub use sled_store::SledStore;
pub use stewardship::{
    Approval, Judgement, OverrideKind, Population, ReviewReason, SURE, SampledPair, StoredAnswer,
    StoredOverride, StoredReviewTask, StoredSample, Stratum, Undone, ValueMark, WeightCount,
    impact_of, priority_of,
};
pub use types::{
    Cause, Counters, Ended, EventKind, Generation, IdentityId, ModelPhase, Moved,
    QuarantineContent, QuarantineId, RecordNumber, SignalReceipt, StoredEdge, StoredErasure,
    StoredEvent, StoredFold, StoredIdentity, StoredModel, StoredModelChange, StoredQuarantined,
    StoredRecord, Tenant,
};

use std::path::Path;
use std::sync::Arc;

use veridem_matchers::RecordKey;
use veridem_matchers::block::BlockingKey;

/// Why the store cannot answer. Never a caller's mistake.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the storage engine fails; retry, and look at disk space and permissions.
    #[error("storage engine: {0}")]
    Engine(String),
    /// What is stored cannot be read: another format version or a damaged file.
    #[error(
        "stored {what} cannot be read ({cause}); restore from a backup, or use the version of veridem that wrote it"
    )]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// Why not.
        cause: String,
    },
    /// A backup cannot be written or read.
    #[error("backup: {0}")]
    Backup(String),
    /// The data directory is in use, missing or of another format.
    #[error("cannot open store: {0}")]
    Open(String),
}

/// One part of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// The tenant's counters.
    Counters(Counters),
    /// A source record that enters the crosswalk.
    NewRecord(RecordKey, RecordNumber),
    /// A source record.
    Record(Arc<StoredRecord>),
    /// What a record's signals add up to.
    Fold(RecordNumber, Arc<StoredFold>),
    /// All edges of a record.
    Edges(RecordNumber, Arc<Vec<StoredEdge>>),
    /// An identity.
    Identity(Arc<StoredIdentity>),
    /// The receipt of a signal.
    Receipt {
        /// The signal's source.
        source: String,
        /// The signal's id.
        signal_id: String,
        /// What was answered.
        receipt: SignalReceipt,
    },
    /// An identity event.
    Event(Arc<StoredEvent>),
    /// A review task opens; one that changes is closed first.
    OpenTask(StoredReviewTask),
    /// A review task is settled.
    CloseTask(String),
    /// A steward's override, or what became of it.
    Override(StoredOverride),
    /// What was answered to a steward's call under its idempotency key.
    Answer {
        /// The key.
        idempotency_key: String,
        /// What was answered.
        answer: Box<StoredAnswer>,
    },
    /// Whether a blocking key is inactive.
    KeyActivity {
        /// The key.
        key: BlockingKey,
        /// Held by more records than its rule allows.
        inactive: bool,
    },
    /// A record changed: the index has to follow. Numbered without gaps.
    Change(u64, RecordNumber),
    /// The number of the latest change, where the changes themselves are in the index already.
    LastChange(u64),
    /// The model and rules in force.
    Model(Box<StoredModel>),
    /// The model and rules that a model change brings.
    NextModel(Box<StoredModel>),
    /// How far a model change is.
    ModelChange(Box<StoredModelChange>),
    /// The generation of this commit is in force from now on.
    InForce,
    /// Changes up to and including this one are in the index.
    PruneChanges(u64),
    /// How far a sink has come.
    SinkProgress(String, SinkProgress),
    /// A sink could not deliver an event, by its sequence number; none: it is delivered or discarded.
    Delivery(String, u64, Option<StoredDelivery>),
    /// What is set aside; none: it is mended or discarded.
    Quarantined(QuarantineId, Option<Box<StoredQuarantined>>),
    /// A sample for stewards to judge, in the place of what it was.
    Sample(Box<StoredSample>),
    /// A person is erased: what was kept of the records goes, in this generation.
    Erasure(Box<StoredErasure>),
    /// What the consumer of a sink calls a person, in the place of what it said of that record of its own before.
    Reference(String, StoredReference),
    /// The consumer of a sink has heard that the person of a record is erased: it calls nobody by these record ids any more.
    NoReferences(String, RecordNumber),
    /// An entry of the audit log, or one whose note is taken out.
    Audit(Box<StoredAuditEntry>),
    /// Where the audit log ends.
    AuditHead(AuditHead),
}

/// The embedded engine of a new store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreEngine {
    /// A log-structured merge tree: small on disk, fast to write.
    #[default]
    Fjall,
    /// A Bw-tree.
    Sled,
}

/// Opens the store in a directory with the engine that made it, or makes a new one with `engine`. A part of `cache_bytes`
/// is the engine's for its pages or blocks, the rest keeps what is read often decoded.
pub fn open_store(
    directory: &Path,
    engine: StoreEngine,
    cache_bytes: u64,
) -> Result<Arc<dyn Store>, StoreError> {
    let engine = if SledStore::is_in(directory) {
        StoreEngine::Sled
    } else if FjallStore::is_in(directory) {
        StoreEngine::Fjall
    } else {
        engine
    };
    Ok(match engine {
        StoreEngine::Fjall => Arc::new(FjallStore::open_directory(directory, cache_bytes)?),
        StoreEngine::Sled => Arc::new(SledStore::open_directory(directory, cache_bytes)?),
    })
}

/// A key and its value, as the store encodes them.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Is shown entries one by one.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// Where the service keeps its state. Reads see every finished commit at once; what is not flushed may be lost when the
/// machine stops, never in part.
pub trait Store: Send + Sync + 'static {
    /// The tenant's counters.
    fn counters(&self, tenant: &Tenant) -> Result<Counters, StoreError>;
    /// A source record by number.
    fn record(
        &self,
        tenant: &Tenant,
        generation: Generation,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredRecord>>, StoreError>;
    /// What a record's signals add up to.
    fn fold(
        &self,
        tenant: &Tenant,
        number: RecordNumber,
    ) -> Result<Option<Arc<StoredFold>>, StoreError>;
    /// The number of a source record.
    fn record_number(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<Option<RecordNumber>, StoreError>;
    /// Records from a number on, in the order of numbers.
    fn records_from(
        &self,
        tenant: &Tenant,
        generation: Generation,
        first: RecordNumber,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StoreError>;
    /// The edges of a record: pairs decided `Match` or `Review`.
    fn edges(
        &self,
        tenant: &Tenant,
        generation: Generation,
        number: RecordNumber,
    ) -> Result<Arc<Vec<StoredEdge>>, StoreError>;
    /// An identity, living or ended.
    fn identity(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<Arc<StoredIdentity>>, StoreError>;
    /// What was answered to a signal.
    fn receipt(
        &self,
        tenant: &Tenant,
        source: &str,
        signal_id: &str,
    ) -> Result<Option<SignalReceipt>, StoreError>;
    /// Events from a sequence number on.
    fn events(
        &self,
        tenant: &Tenant,
        from_sequence: u64,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError>;
    /// The event of a sequence number, where there is one; 0 stands for none.
    fn event(
        &self,
        tenant: &Tenant,
        sequence: u64,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        if sequence == 0 {
            return Ok(None);
        }
        let event = self.events(tenant, sequence, 1)?.pop();
        Ok(event.filter(|event| event.sequence == sequence))
    }
    /// An open review task.
    fn review_task(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<StoredReviewTask>, StoreError>;
    /// Open review tasks in the order of [`StoredReviewTask::priority`], the first the largest, after a cursor; each with the cursor behind it.
    fn review_tasks(
        &self,
        tenant: &Tenant,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, StoredReviewTask)>, StoreError>;
    /// Overrides in the order of their numbers, after one; those undone too.
    fn overrides(
        &self,
        tenant: &Tenant,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredOverride>, StoreError>;
    /// What was answered to a steward's call.
    fn answer(
        &self,
        tenant: &Tenant,
        idempotency_key: &str,
    ) -> Result<Option<StoredAnswer>, StoreError>;
    /// What was answered to stewards' calls, in the order of their idempotency keys, after one.
    fn answers(
        &self,
        tenant: &Tenant,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, StoredAnswer)>, StoreError>;
    /// The sample that was drawn last.
    fn sample(&self, tenant: &Tenant) -> Result<Option<StoredSample>, StoreError>;
    /// That a person was erased.
    fn erasure(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Option<StoredErasure>, StoreError>;
    /// Whether the person of a source record was erased: it has a number, and there is no record.
    fn is_erased(&self, tenant: &Tenant, key: &RecordKey) -> Result<bool, StoreError> {
        Ok(match self.record_number(tenant, key)? {
            Some(number) => (self.record(tenant, self.in_force(tenant), number)?).is_none(),
            None => false,
        })
    }
    /// How many records the identity of a record has; 0 where the record is in none.
    fn records_beside(&self, tenant: &Tenant, number: RecordNumber) -> Result<usize, StoreError> {
        let record = self.record(tenant, self.in_force(tenant), number)?;
        let Some(id) = record.and_then(|record| record.identity_id) else {
            return Ok(0);
        };
        let identity = self.identity(tenant, &id)?;
        Ok(identity.map_or(0, |identity| identity.members.len()))
    }
    /// All inactive blocking keys.
    fn inactive_keys(
        &self,
        tenant: &Tenant,
        generation: Generation,
    ) -> Result<Vec<BlockingKey>, StoreError>;
    /// The number of the latest record change.
    fn last_change(&self, tenant: &Tenant, generation: Generation) -> Result<u64, StoreError>;
    /// Records changed after a change number, with the numbers of their changes.
    fn changes_after(
        &self,
        tenant: &Tenant,
        generation: Generation,
        change: u64,
    ) -> Result<Vec<(u64, RecordNumber)>, StoreError>;
    /// How far a sink has come.
    fn sink_progress(&self, tenant: &Tenant, sink: &str) -> Result<SinkProgress, StoreError>;
    /// Events that a sink could not deliver, in the order of their sequence numbers, after one.
    fn deliveries(
        &self,
        tenant: &Tenant,
        sink: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, StoredDelivery)>, StoreError>;
    /// What the consumer of a sink calls the person of a record, or of any where none is named; at most so many.
    fn references(
        &self,
        tenant: &Tenant,
        sink: &str,
        record: Option<RecordNumber>,
        limit: usize,
    ) -> Result<Vec<StoredReference>, StoreError>;
    /// The person that the consumer of a sink calls by a record id of its own.
    fn reference(
        &self,
        tenant: &Tenant,
        sink: &str,
        consumer_record_id: &str,
    ) -> Result<Option<StoredReference>, StoreError>;
    /// Identities, living or ended, in the order of their ids, after one.
    fn identities_after(
        &self,
        tenant: &Tenant,
        after: Option<IdentityId>,
        limit: usize,
    ) -> Result<Vec<StoredIdentity>, StoreError>;
    /// What is set aside, in the order of ids, after one.
    fn quarantined(
        &self,
        tenant: &Tenant,
        after: Option<QuarantineId>,
        limit: usize,
    ) -> Result<Vec<(QuarantineId, StoredQuarantined)>, StoreError>;
    /// One thing that is set aside.
    fn quarantined_entry(
        &self,
        tenant: &Tenant,
        id: QuarantineId,
    ) -> Result<Option<StoredQuarantined>, StoreError>;
    /// Where the audit log ends.
    fn audit_head(&self, tenant: &Tenant) -> Result<AuditHead, StoreError>;
    /// Entries of the audit log in their order, after one.
    fn audit_entries(
        &self,
        tenant: &Tenant,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredAuditEntry>, StoreError>;
    /// The model and rules in force; none before the first write.
    fn model(&self, tenant: &Tenant) -> Result<Option<StoredModel>, StoreError>;
    /// The model and rules that the running model change brings, or the last one brought.
    fn next_model(&self, tenant: &Tenant) -> Result<Option<StoredModel>, StoreError>;
    /// The model change that runs, or the last one.
    fn model_change(&self, tenant: &Tenant) -> Result<Option<StoredModelChange>, StoreError>;
    /// The generation in force.
    fn in_force(&self, tenant: &Tenant) -> Generation;
    /// Makes room for the generation of another model, beside the one in force.
    fn begin_generation(&self, tenant: &Tenant) -> Result<Generation, StoreError>;
    /// Removes a generation that is not in force; nothing where it is gone already.
    fn remove_generation(&self, tenant: &Tenant, generation: Generation) -> Result<(), StoreError>;
    /// Reads into memory what is read often, as much as may lie there. Nothing is committed meanwhile.
    fn warm_up(&self, tenant: &Tenant) -> Result<(), StoreError>;
    /// Every tenant that has written something.
    fn tenants(&self) -> Vec<Tenant>;
    /// Shows every entry of a tenant, or of all, as of one moment, with what is needed to restore them.
    fn export(&self, tenant: Option<&Tenant>, visit: Visit<'_>) -> Result<(), StoreError>;
    /// Puts entries that were exported.
    fn import(&self, entries: Vec<Entry>) -> Result<(), StoreError>;
    /// Once all are there: brings what an earlier version exported to the present format, durably.
    fn finish_import(&self) -> Result<(), StoreError>;
    /// Writes everything or nothing. Records, edges, activity of keys and changes are those of a generation.
    fn commit(
        &self,
        tenant: &Tenant,
        generation: Generation,
        writes: Vec<Write>,
    ) -> Result<(), StoreError>;
    /// Returns when every finished commit survives power loss.
    fn flush(&self) -> Result<(), StoreError>;
}
