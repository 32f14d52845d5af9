//! What was found lately of components of records, remembered from one to the next.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::cluster::{Component, Trace};
use crate::normalise::NormalisedRecord;
use crate::score::{PairEvidence, PairScore};

/// Pairs that are remembered at once; twice as many are at most. One takes some 70 bytes.
const REMEMBERED_PAIRS: usize = 500_000;
/// What they say, each once, as many at once; twice as many are at most. One takes some 400 bytes.
const REMEMBERED_SAYINGS: usize = 50_000;
/// What remembered runs over components take in memory at most, in bytes.
const REMEMBERED_RUN_BYTES: u64 = 64 << 20;
/// What a run over a thousand members takes, in bytes: room is made for as many as fit in.
const USUAL_RUN_BYTES: u64 = 256 << 10;

/// What was found under one scorer: what pairs of records say, and how components were divided. Records are known by what they say, not
/// by whose they are: there is nothing to forget when one changes.
pub struct PartitionMemo {
    seed: u64,
    found: Mutex<FoundPairs>,
    /// Runs over components, each known by one of its members: the smallest form, which two sets that are nearly the same have in common
    /// nearly always (min-wise hashing, Broder 1997).
    runs: Cache<u128, Arc<Trace>, TraceBytes>,
}

/// What a record says: two of one form say the same of everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form(u128);

/// What is to be hashed, one piece behind the other: a record is many small pieces, and hashing them one by one takes longer than all
/// at once.
struct Pieces(Vec<u8>);

impl Hasher for Pieces {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("all pieces are hashed at once")
    }
}

/// What most records take as pieces, in bytes.
const USUAL_BYTES_OF_A_RECORD: usize = 1_024;

#[derive(Clone)]
struct TraceBytes;

impl Weighter<u128, Arc<Trace>> for TraceBytes {
    fn weight(&self, _: &u128, trace: &Arc<Trace>) -> u64 {
        trace.bytes() as u64
    }
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
            runs: Cache::with_weighter(
                (REMEMBERED_RUN_BYTES / USUAL_RUN_BYTES) as usize,
                REMEMBERED_RUN_BYTES,
                TraceBytes,
            ),
        }
    }
}

impl PartitionMemo {
    /// The form of a record.
    pub fn form_of(&self, record: &NormalisedRecord) -> Form {
        let mut pieces = Pieces(Vec::with_capacity(USUAL_BYTES_OF_A_RECORD));
        record.hash(&mut pieces);
        Form(xxh3_128_with_seed(&pieces.0, self.seed))
    }

    pub(crate) fn get(
        &self,
        Form(left): Form,
        Form(right): Form,
        find: impl FnOnce() -> (PairEvidence, PairScore),
    ) -> (PairEvidence, PairScore) {
        let mut forms = [0; 32];
        forms[..16].copy_from_slice(&left.min(right).to_le_bytes());
        forms[16..].copy_from_slice(&left.max(right).to_le_bytes());
        let pair = xxh3_128_with_seed(&forms, self.seed);
        let known = self.lock().get(pair);
        let said = known.unwrap_or_else(|| {
            let found = find();
            self.lock().insert(pair, found)
        });
        Said::unwrap_or_clone(said)
    }

    /// The clusters of a component of these forms; goes on from the latest run over nearly the same one.
    pub(crate) fn clusters_of(
        &self,
        component: &Component<'_, PairEvidence>,
        forms: &[Form],
    ) -> Vec<Vec<usize>> {
        let names: Vec<u128> = forms.iter().map(|form| form.0).collect();
        let name = names.iter().min().copied().unwrap_or_default();
        let before = self.runs.get(&name);
        let (clusters, trace) = component.clusters_after(before.as_deref(), &names);
        if let Some(trace) = trace {
            self.runs.insert(name, Arc::new(trace));
        }
        clusters
    }

    fn lock(&self) -> MutexGuard<'_, FoundPairs> {
        // What was found stays true whoever panicked.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
