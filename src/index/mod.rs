//! The index: which records hold a blocking key, and which records' words resemble a query. It can be deleted at any time; the
//! store is the truth.

mod memory_index;
mod tantivy_index;

pub use memory_index::{MemoryIndex, MemoryIndexes};
pub use tantivy_index::{TantivyIndex, TantivyIndexes};

use std::sync::Arc;

use veridem_matchers::NormalisedRecord;
use veridem_matchers::block::BlockingKey;
use veridem_matchers::normalise::fold;

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
    pub words: Vec<String>,
}

impl IndexDocument {
    /// What the index is to hold of a record.
    pub fn of(record: &StoredRecord) -> Self {
        Self {
            number: record.number,
            keys: record.keys.clone(),
            words: search_words(&record.normalised),
        }
    }

    /// That the index is to hold nothing of a record.
    pub fn removal(number: RecordNumber) -> Self {
        Self {
            number,
            keys: Vec::new(),
            words: Vec::new(),
        }
    }

    fn is_removal(&self) -> bool {
        self.keys.is_empty() && self.words.is_empty()
    }
}

/// The words by which a record is found: parts of names, e-mail addresses, phone numbers, identifiers.
fn search_words(record: &NormalisedRecord) -> Vec<String> {
    let names = record
        .names
        .iter()
        .flat_map(|name| [&name.given, &name.middle, &name.family]);
    let mut words: Vec<String> = names
        .flat_map(|part| part.split(' '))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.extend(record.emails.iter().map(|email| email.address.to_string()));
    for phone in &record.phones {
        let digits = phone.trim_start_matches('+');
        // With country code, without a country code of one digit, without area code: as people type it.
        words.extend(
            [digits.len(), 10, 7]
                .iter()
                .filter_map(|length| digits.get(digits.len().checked_sub(*length)?..))
                .map(str::to_owned),
        );
    }
    words.extend(
        record
            .identifiers
            .iter()
            .map(|identifier| identifier.value.as_str().to_ascii_lowercase()),
    );
    words.sort_unstable();
    words.dedup();
    words
}

/// How well a record's words answer the words of a query: 0 unless each finds a partner, else the mean similarity, 0 to 1.
fn relevance(query: &[String], words: &[String]) -> f64 {
    let mut sum = 0.0;
    for wanted in query {
        let best = words
            .iter()
            .map(|word| word_similarity(wanted, word))
            .fold(0.0, f64::max);
        if best == 0.0 {
            return 0.0;
        }
        sum += best;
    }
    sum / query.len().max(1) as f64
}

/// Typing errors that a word of this length forgives.
fn forgiven_edits(word: &str) -> usize {
    match word.len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

fn word_similarity(wanted: &str, word: &str) -> f64 {
    if wanted == word {
        return 1.0;
    }
    let edits = strsim::damerau_levenshtein(wanted, word);
    if edits <= forgiven_edits(wanted) {
        1.0 - edits as f64 / (wanted.len() + 1) as f64
    } else {
        0.0
    }
}

/// The words of a query as records are indexed: e-mail addresses whole, phone numbers as digits, names folded.
pub fn query_words(query: &str) -> Vec<String> {
    let digits: String = query.chars().filter(char::is_ascii_digit).collect();
    if digits.len() >= 7 && !query.chars().any(char::is_alphabetic) {
        return vec![digits];
    }
    let parts = query.split_whitespace();
    parts
        .flat_map(|part| {
            if part.contains('@') {
                vec![part.to_lowercase()]
            } else {
                fold(part)
                    .split(' ')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect()
            }
        })
        .collect()
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
