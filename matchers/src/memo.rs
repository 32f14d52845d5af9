//! What was found lately of components of records, remembered from one to the next.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

use crate::cluster::Trace;
use crate::normalise::NormalisedRecord;
use crate::score::{PairEvidence, PairScore};

/// Pairs that are remembered at once; twice as many are at most. One takes some 70 bytes.
const REMEMBERED_PAIRS: usize = 500_000;
/// What they say, each once, as many at once; twice as many are at most. One takes some 400 bytes.
const REMEMBERED_SAYINGS: usize = 50_000;

/// What runs that are remembered take in memory, in bytes; twice as much at most.
const REMEMBERED_RUN_BYTES: usize = 32 << 20;

/// What was found under one scorer: what pairs of records say, and how components were divided. Records are known by what they say, not
/// by whose they are: there is nothing to forget when one changes.
pub struct PartitionMemo {
    seed: u64,
    found: Mutex<FoundPairs>,
    runs: Mutex<Runs>,
}

/// Runs over components, each known by one of its members: the smallest form, which two sets that are nearly the same have in common
/// nearly always (min-wise hashing, Broder 1997).
#[derive(Default)]
struct Runs {
    young: FxHashMap<u128, Arc<Trace>>,
    young_bytes: usize,
    /// Those of before `young` was full for the last time.
    old: FxHashMap<u128, Arc<Trace>>,
}

/// What a pair says: strangers of one name say the same by the thousand.
type Said = Arc<(PairEvidence, PairScore)>;

#[derive(Default)]
struct FoundPairs {
    /// Found lately.
    young: FxHashMap<u128, Said>,
    /// Found before `young` was full for the last time.
    old: FxHashMap<u128, Said>,
    /// What those of `young` say, each once.
    said: FxHashMap<u64, Said>,
}

impl Default for PartitionMemo {
    fn default() -> Self {
        Self {
            // Nobody can choose two records that are taken for one.
            seed: RandomState::new().hash_one(0),
            found: Mutex::default(),
            runs: Mutex::default(),
        }
    }
}

impl PartitionMemo {
    pub(crate) fn form_of(&self, record: &NormalisedRecord) -> u128 {
        let mut hasher = Xxh3::with_seed(self.seed);
        record.hash(&mut hasher);
        hasher.digest128()
    }

    pub(crate) fn get(
        &self,
        left: u128,
        right: u128,
        find: impl FnOnce() -> (PairEvidence, PairScore),
    ) -> (PairEvidence, PairScore) {
        let mut forms = [0; 32];
        forms[..16].copy_from_slice(&left.min(right).to_le_bytes());
        forms[16..].copy_from_slice(&left.max(right).to_le_bytes());
        let pair = xxh3_128_with_seed(&forms, self.seed);
        let known = lock(&self.found).get(pair);
        let said = known.unwrap_or_else(|| {
            let found = find();
            lock(&self.found).insert(pair, found)
        });
        Said::unwrap_or_clone(said)
    }

    /// The latest run over a component of these forms, or of nearly these.
    pub(crate) fn run_over(&self, forms: &[u128]) -> Option<Arc<Trace>> {
        let runs = lock(&self.runs);
        let name = forms.iter().min()?;
        runs.young.get(name).or_else(|| runs.old.get(name)).cloned()
    }

    /// Keeps a run for the next one over nearly these forms.
    pub(crate) fn keep_run(&self, forms: &[u128], trace: Trace) {
        let Some(name) = forms.iter().min() else {
            return;
        };
        let mut runs = lock(&self.runs);
        if runs.young_bytes > REMEMBERED_RUN_BYTES {
            runs.old = std::mem::take(&mut runs.young);
            runs.young_bytes = 0;
        }
        runs.young_bytes += trace.bytes();
        let replaced = runs.young.insert(*name, Arc::new(trace));
        runs.young_bytes -= replaced.map_or(0, |replaced| replaced.bytes());
    }
}

fn lock<T>(found: &Mutex<T>) -> MutexGuard<'_, T> {
    // What was found stays true whoever panicked.
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FoundPairs {
    fn get(&mut self, pair: u128) -> Option<Said> {
        if let Some(said) = self.young.get(&pair) {
            return Some(said.clone());
        }
        let said = self.old.remove(&pair)?;
        self.put(pair, said.clone());
        Some(said)
    }

    fn insert(&mut self, pair: u128, found: (PairEvidence, PairScore)) -> Said {
        let said = self.said.entry(found.0.digest());
        let said = said.or_insert_with(|| found.clone().into());
        let said = match **said == found {
            true => said.clone(),
            false => found.into(),
        };
        self.put(pair, said.clone());
        said
    }

    fn put(&mut self, pair: u128, said: Said) {
        if self.young.len() >= REMEMBERED_PAIRS || self.said.len() >= REMEMBERED_SAYINGS {
            self.old = std::mem::take(&mut self.young);
            self.said.clear();
        }
        self.young.insert(pair, said);
    }
}
