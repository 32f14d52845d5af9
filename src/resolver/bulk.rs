//! Bulk resolution of a set of records: the functions of `matchers`, one after the other, on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use veridem_matchers::block::{Candidates, RuleStatistics};
use veridem_matchers::cluster::connected_components;
use veridem_matchers::train::{TrainingOptions, train};
use veridem_matchers::{
    Decision, GoldenRecord, Model, NormalisedRecord, Pack, PairScore, Record, RecordKey, Scorer,
    golden_record, partition_component,
};

use super::engine::hash_of;
use crate::clock::Stopwatch;

/// What a bulk job is to do beside its records.
#[derive(Clone, Debug)]
pub struct BulkOptions {
    /// Blocking, match rules, survivorship, thresholds.
    pub pack: Pack,
    /// A trained model; without one the job trains its own.
    pub model: Option<Model>,
    /// How the job trains.
    pub training: TrainingOptions,
    /// Only pairs of two sources may match.
    pub link_only: bool,
}

/// A candidate pair at or above the review threshold: rows of the two records, `left < right`.
pub type ScoredPair = (usize, usize, PairScore);

/// What a bulk job found. Rows are indices into the records it was given, which are sorted by key.
pub struct BulkResult {
    /// Rows of each identity, sorted; identities in the order of their first record.
    pub clusters: Vec<Vec<usize>>,
    /// Pairs at or above the review threshold or decided by a rule, sorted by rows.
    pub pairs: Vec<ScoredPair>,
    /// The records as they were compared: shared values taken out.
    pub normalised: Vec<NormalisedRecord>,
    /// Scorer with the model that was given or trained.
    pub scorer: Scorer,
    /// What each blocking rule brought.
    pub blocking: Vec<RuleStatistics>,
    /// Pairs that share a blocking key, each counted once.
    pub candidate_pairs: u64,
    /// Candidate pairs that were compared: without those of one source when linking only.
    pub compared_pairs: u64,
    /// Seconds by stage, in the order in which they ran.
    pub seconds: BTreeMap<&'static str, f64>,
}

/// The stages of a job, as progress shows them.
pub const STAGES: &[&str] = &["normalise", "block", "train", "score", "cluster"];

/// Normalises and blocks records and takes the shared values out.
pub fn prepare(records: &[Record], pack: &Pack) -> (Vec<NormalisedRecord>, Candidates) {
    let normalised = normalise(records, pack);
    let candidates = Candidates::new(&normalised, &pack.blocking);
    (without_shared(normalised, &candidates, pack), candidates)
}

fn normalise(records: &[Record], pack: &Pack) -> Vec<NormalisedRecord> {
    let region = pack.region();
    records
        .par_iter()
        .map(|record| NormalisedRecord::new(&record.attributes, region))
        .collect()
}

fn without_shared(
    mut normalised: Vec<NormalisedRecord>,
    candidates: &Candidates,
    pack: &Pack,
) -> Vec<NormalisedRecord> {
    normalised.par_iter_mut().for_each(|record| {
        pack.blocking
            .drop_shared(record, |key| candidates.is_inactive(key))
    });
    normalised
}

/// Resolves records, which must be sorted by key. `entered` is told each stage as it begins.
pub fn resolve_records(
    records: &[Record],
    options: BulkOptions,
    entered: &dyn Fn(&'static str),
) -> BulkResult {
    debug_assert!(
        records.is_sorted_by(|left, right| left.key < right.key),
        "Precondition: sorted, keys unique"
    );
    let pack = &options.pack;
    let mut seconds = BTreeMap::new();
    let mut stopwatch = Stopwatch::start();
    let may_match = |left: usize, right: usize| {
        !options.link_only || records[left].key.source != records[right].key.source
    };

    entered("normalise");
    let normalised = normalise(records, pack);
    seconds.insert("normalise", stopwatch.lap());

    entered("block");
    let candidates = Candidates::new(&normalised, &pack.blocking);
    let normalised = without_shared(normalised, &candidates, pack);
    seconds.insert("block", stopwatch.lap());

    entered("train");
    let model = options.model.unwrap_or_else(|| {
        train(
            &normalised,
            &candidates,
            &pack.blocking,
            &options.training,
            may_match,
        )
    });
    let scorer = Scorer::new(model, pack);
    seconds.insert("train", stopwatch.lap());

    entered("score");
    let (considered, compared) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut pairs = candidates.map_pairs(|left, right| {
        considered.fetch_add(1, Ordering::Relaxed);
        if !may_match(left, right) {
            return None;
        }
        compared.fetch_add(1, Ordering::Relaxed);
        let score = scorer.score(&normalised[left], &normalised[right]);
        (score.decision != Decision::NonMatch).then_some((left, right, score))
    });
    pairs.par_sort_unstable_by_key(|(left, right, _)| (*left, *right));
    seconds.insert("score", stopwatch.lap());

    entered("cluster");
    let clusters = cluster(&normalised, &pairs, &scorer, &may_match);
    seconds.insert("cluster", stopwatch.lap());
    BulkResult {
        clusters,
        pairs,
        normalised,
        scorer,
        blocking: candidates.statistics().to_vec(),
        candidate_pairs: considered.into_inner(),
        compared_pairs: compared.into_inner(),
        seconds,
    }
}

fn cluster(
    normalised: &[NormalisedRecord],
    pairs: &[ScoredPair],
    scorer: &Scorer,
    may_match: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Vec<Vec<usize>> {
    let matches = pairs
        .iter()
        .filter(|(.., score)| score.decision == Decision::Match)
        .map(|(left, right, _)| (*left, *right));
    let components = connected_components(normalised.len(), matches);
    let mut component_of = vec![0_u32; normalised.len()];
    for (index, members) in components.iter().enumerate() {
        for member in members {
            component_of[*member] = index as u32;
        }
    }
    let mut edges_of: FxHashMap<u32, Vec<ScoredPair>> = FxHashMap::default();
    for pair in pairs
        .iter()
        .filter(|(left, right, _)| component_of[*left] == component_of[*right])
    {
        edges_of
            .entry(component_of[pair.0])
            .or_default()
            .push(*pair);
    }
    let mut clusters: Vec<Vec<usize>> = components
        .par_iter()
        .enumerate()
        .flat_map_iter(|(index, members)| {
            if members.len() == 1 {
                return vec![members.clone()];
            }
            let position = |row: usize| {
                members
                    .binary_search(&row)
                    .expect("an edge's rows are members of its component")
            };
            let edges = edges_of.get(&(index as u32)).map_or(&[][..], Vec::as_slice);
            let edges: Vec<_> = edges
                .iter()
                .map(|(left, right, score)| (position(*left), position(*right), *score))
                .collect();
            let records: Vec<&NormalisedRecord> =
                members.iter().map(|row| &normalised[*row]).collect();
            let may_match = |left: usize, right: usize| may_match(members[left], members[right]);
            let parts = partition_component(&records, &edges, &[], &may_match, scorer);
            parts
                .into_iter()
                .map(|part| part.into_iter().map(|member| members[member]).collect())
                .collect()
        })
        .collect();
    clusters.sort_unstable();
    clusters
}

/// The golden record of each cluster.
pub fn golden_records(
    records: &[Record],
    clusters: &[Vec<usize>],
    pack: &Pack,
) -> Vec<GoldenRecord> {
    clusters
        .par_iter()
        .map(|cluster| golden_record(cluster.iter().map(|row| &records[*row]), pack))
        .collect()
}

/// The id of an identity in a bulk job's output: made of its smallest record key, so that the same input gives the same ids.
pub fn bulk_identity_id(smallest: &RecordKey) -> String {
    hex::encode(hash_of(
        format!("{}\0{}", smallest.source, smallest.record_id).as_bytes(),
    ))
}
