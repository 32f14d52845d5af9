//! The index: which records hold a blocking key, and which records' words resemble a query. It can be deleted at any time; the
//! store is the truth.

mod memory_index;
mod search;
mod tantivy_index;

pub use memory_index::{MemoryIndex, MemoryIndexes};
pub use search::{SearchWords, prepare_search, query_number, query_words};
pub use tantivy_index::{TantivyIndex, TantivyIndexes};

use std::sync::Arc;

use veridem_matchers::block::BlockingKey;

use crate::store::{Generation, RecordNumber, StoredRecord, Tenant};

/// Why the index cannot answer. Never a caller's mistake.
#[derive(Debug, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(pub String);

/// What the index holds of a source record; without keys and words the record is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDocument {
    /// The record.
    pub number: RecordNumber,
    /// Its blocking keys.
    pub keys: Vec<BlockingKey>,
    /// What it can be found by.
    pub words: SearchWords,
}

impl IndexDocument {
    /// What the index is to hold of a record.
    pub fn of(record: &StoredRecord) -> Self {
        Self {
            number: record.number,
            keys: record.keys.clone(),
            words: SearchWords::of(&record.normalised),
        }
    }

    /// That the index is to hold nothing of a record.
    pub fn removal(number: RecordNumber) -> Self {
        Self {
            number,
            keys: Vec::new(),
            words: SearchWords::default(),
        }
    }

    fn is_removal(&self) -> bool {
        self.keys.is_empty() && self.words.is_empty()
    }
}

/// The index of one tenant's records. What is staged is found at once; `commit` makes it durable.
pub trait CandidateIndex: Send + Sync + 'static {
    /// Records that hold a key, in no order, at most `limit`.
    fn holders(&self, key: BlockingKey, limit: usize) -> Result<Vec<RecordNumber>, IndexError>;
    /// Records whose words answer a query, best first, at most `limit`.
    fn search(&self, query: &[String], limit: usize) -> Result<Vec<RecordNumber>, IndexError>;
    /// Takes a record's new state, made by the change of this number.
    fn stage(&self, document: IndexDocument, change: u64);
    /// Puts documents in the place of everything there is: batch after batch, until one is empty. Durable and found once all are
    /// there, made by the change of this number; an error leaves the index as it was.
    fn replace_all(
        &self,
        next_batch: &mut dyn FnMut() -> Result<Vec<IndexDocument>, IndexError>,
        change: u64,
    ) -> Result<(), IndexError>;
    /// Makes durable what is staged; returns the number of the last change that is.
    fn commit(&self) -> Result<u64, IndexError>;
    /// The last change that is durable.
    fn committed_change(&self) -> u64;
}

/// Where the indexes of tenants are.
pub trait Indexes: Send + Sync + 'static {
    /// Opens the index of a generation, or makes an empty one.
    fn open(
        &self,
        tenant: &Tenant,
        generation: Generation,
    ) -> Result<Arc<dyn CandidateIndex>, IndexError>;
    /// Removes the index of a generation, where there is one.
    fn remove(&self, tenant: &Tenant, generation: Generation) -> Result<(), IndexError>;
}
