//! An index in memory: what is staged and not yet committed, and all there is in tests.

use std::sync::Arc;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use veridem_matchers::block::BlockingKey;

use super::search::Wanted;
use super::{CandidateIndex, IndexDocument, IndexError, Indexes};
use crate::store::{Generation, RecordNumber, Tenant};

/// Documents with the numbers of the changes that made them, and their postings.
#[derive(Default)]
pub(super) struct Documents {
    documents: FxHashMap<RecordNumber, (u64, Arc<IndexDocument>)>,
    /// Most keys are held by one record or two.
    holders: FxHashMap<BlockingKey, SmallVec<[RecordNumber; 2]>>,
}

impl Documents {
    pub(super) fn stage(&mut self, document: IndexDocument, change: u64) {
        self.remove(document.number);
        for key in &document.keys {
            self.holders.entry(*key).or_default().push(document.number);
        }
        let number = document.number;
        self.documents.insert(number, (change, Arc::new(document)));
    }

    fn remove(&mut self, number: RecordNumber) {
        let Some((_, old)) = self.documents.remove(&number) else {
            return;
        };
        for key in &old.keys {
            if let Some(holders) = self.holders.get_mut(key) {
                holders.retain(|holder| *holder != number);
                if holders.is_empty() {
                    self.holders.remove(key);
                }
            }
        }
    }

    pub(super) fn contains(&self, number: RecordNumber) -> bool {
        self.documents.contains_key(&number)
    }

    pub(super) fn holders(&self, key: BlockingKey) -> impl Iterator<Item = RecordNumber> + '_ {
        self.holders.get(&key).into_iter().flatten().copied()
    }

    pub(super) fn snapshot(&self) -> Vec<Arc<IndexDocument>> {
        let documents = self.documents.values();
        documents.map(|(_, document)| document.clone()).collect()
    }

    /// Those that were made by this change or an earlier one.
    pub(super) fn made_until(&self, change: u64) -> Vec<RecordNumber> {
        let made = self.documents.iter();
        made.filter(|(_, (made_by, _))| *made_by <= change)
            .map(|(number, _)| *number)
            .collect()
    }

    /// Forgets of these what was made by this change or an earlier one.
    pub(super) fn forget(&mut self, numbers: &[RecordNumber], change: u64) {
        for number in numbers {
            let made_by = self.documents.get(number).map(|(made_by, _)| *made_by);
            if made_by.is_some_and(|made_by| made_by <= change) {
                self.remove(*number);
            }
        }
    }
}

/// Records that answer a query, with their relevance.
pub(super) fn relevant<'a>(
    documents: impl Iterator<Item = &'a Arc<IndexDocument>>,
    query: &[Wanted],
) -> impl Iterator<Item = (RecordNumber, f64)> {
    let relevant = documents.map(|document| (document.number, document.words.relevance(query)));
    relevant.filter(|(_, relevance)| *relevance > 0.0)
}

/// The best of what was found, best first; equal relevance by number.
pub(super) fn best(mut found: Vec<(RecordNumber, f64)>, limit: usize) -> Vec<RecordNumber> {
    found.sort_unstable_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    found.truncate(limit);
    found.into_iter().map(|(number, _)| number).collect()
}

/// An index that is gone with the process.
#[derive(Default)]
pub struct MemoryIndex(RwLock<(Documents, u64)>);

impl CandidateIndex for MemoryIndex {
    fn holders(&self, key: BlockingKey, limit: usize) -> Result<Vec<RecordNumber>, IndexError> {
        Ok(self.0.read().0.holders(key).take(limit).collect())
    }

    fn search(&self, query: &[String], limit: usize) -> Result<Vec<RecordNumber>, IndexError> {
        let documents = self.0.read().0.snapshot();
        let query = Wanted::all(query);
        let found = relevant(documents.iter(), &query);
        Ok(best(found.collect(), limit))
    }

    fn stage(&self, document: IndexDocument, change: u64) {
        let mut state = self.0.write();
        state.0.stage(document, change);
        state.1 = change;
    }

    fn replace_all(
        &self,
        next_batch: &mut dyn FnMut() -> Result<Vec<IndexDocument>, IndexError>,
        change: u64,
    ) -> Result<(), IndexError> {
        let mut documents = Documents::default();
        loop {
            let batch = next_batch()?;
            if batch.is_empty() {
                break;
            }
            for document in batch {
                documents.stage(document, change);
            }
        }
        *self.0.write() = (documents, change);
        Ok(())
    }

    fn commit(&self) -> Result<u64, IndexError> {
        Ok(self.committed_change())
    }

    fn committed_change(&self) -> u64 {
        self.0.read().1
    }
}

/// Indexes that are gone with the process.
pub struct MemoryIndexes;

impl Indexes for MemoryIndexes {
    fn open(&self, _: &Tenant, _: Generation) -> Result<Arc<dyn CandidateIndex>, IndexError> {
        Ok(Arc::new(MemoryIndex::default()))
    }

    fn remove(&self, _: &Tenant, _: Generation) -> Result<(), IndexError> {
        Ok(())
    }
}
