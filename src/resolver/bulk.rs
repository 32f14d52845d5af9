//! Bulk resolution of a set of records: the functions of `matchers`, one after the other, on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use veridem_matchers::block::{Candidates, RuleStatistics};
use veridem_matchers::cluster::connected_components;
use veridem_matchers::train::{TrainingOptions, train};
use veridem_matchers::{
    Decision, GoldenRecord, Model, NormalisedRecord, Pack, PairScore, Record, RecordKey, Scorer,
    Table, TableBuilder, TableScorer, golden_record, partition_rows,
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
    pub table: Table,
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

/// Records whose normal forms are held at once.
const RECORDS_AT_ONCE: usize = 65_536;

/// Normalises and blocks records and takes the shared values out.
pub fn prepare(records: &[Record], pack: &Pack) -> (Table, Candidates) {
    let table = tabulate(records, pack);
    block(table, pack)
}

fn tabulate(records: &[Record], pack: &Pack) -> Table {
    let region = pack.region();
    let mut builder = TableBuilder::default();
    for batch in records.chunks(RECORDS_AT_ONCE) {
        let normalised: Vec<NormalisedRecord> = batch
            .par_iter()
            .map(|record| NormalisedRecord::new(&record.attributes, region))
            .collect();
        builder.push(&normalised);
    }
    builder.finish()
}

fn block(mut table: Table, pack: &Pack) -> (Table, Candidates) {
    let candidates = Candidates::new(&table, &pack.blocking);
    table.drop_shared(&pack.blocking, |key| candidates.is_inactive(key));
    (table, candidates)
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
    let table = tabulate(records, pack);
    seconds.insert("normalise", stopwatch.lap());

    entered("block");
    let (table, candidates) = block(table, pack);
    seconds.insert("block", stopwatch.lap());

    entered("train");
    let model = options.model.unwrap_or_else(|| {
        train(
            &table,
            &candidates,
            &pack.blocking,
            &options.training,
            may_match,
        )
    });
    let scorer = Scorer::new(model, pack);
    seconds.insert("train", stopwatch.lap());

    entered("score");
    let (mut pairs, considered, compared) = {
        let scorer = TableScorer::new(&scorer, &table);
        let (considered, compared) = (AtomicU64::new(0), AtomicU64::new(0));
        let pairs = candidates.map_pairs(|left, right| {
            considered.fetch_add(1, Ordering::Relaxed);
            if !may_match(left, right) {
                return None;
            }
            compared.fetch_add(1, Ordering::Relaxed);
            Some((left, right, scorer.score(left, right)?))
        });
        (pairs, considered.into_inner(), compared.into_inner())
    };
    let blocking = candidates.statistics().to_vec();
    drop(candidates);
    pairs.par_sort_unstable_by_key(|(left, right, _)| (*left, *right));
    seconds.insert("score", stopwatch.lap());

    entered("cluster");
    let clusters = cluster(
        &TableScorer::new(&scorer, &table),
        table.len(),
        &pairs,
        &may_match,
    );
    seconds.insert("cluster", stopwatch.lap());
    BulkResult {
        clusters,
        pairs,
        table,
        scorer,
        blocking,
        candidate_pairs: considered,
        compared_pairs: compared,
        seconds,
    }
}

fn cluster(
    scorer: &TableScorer<'_>,
    rows: usize,
    pairs: &[ScoredPair],
    may_match: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Vec<Vec<usize>> {
    let matches = pairs
        .iter()
        .filter(|(.., score)| score.decision == Decision::Match)
        .map(|(left, right, _)| (*left, *right));
    let components = connected_components(rows, matches);
    let mut component_of = vec![0_u32; rows];
    for (index, members) in components.iter().enumerate() {
        for member in members {
            component_of[*member] = index as u32;
        }
    }
    let mut edges: Vec<(u32, u32)> = pairs
        .iter()
        .enumerate()
        .filter(|(_, (left, right, _))| component_of[*left] == component_of[*right])
        .map(|(pair, (left, ..))| (component_of[*left], pair as u32))
        .collect();
    edges.par_sort_unstable();
    let edges_of = |component: u32| {
        let start = edges.partition_point(|(of, _)| *of < component);
        edges[start..]
            .iter()
            .take_while(move |(of, _)| *of == component)
            .map(|(_, pair)| &pairs[*pair as usize])
    };
    let mut clusters: Vec<Vec<usize>> = components
        .into_par_iter()
        .enumerate()
        .flat_map_iter(|(index, members)| {
            if members.len() == 1 {
                return vec![members];
            }
            let position = |row: usize| {
                members
                    .binary_search(&row)
                    .expect("an edge's rows are members of its component")
            };
            let edges: Vec<_> = edges_of(index as u32)
                .map(|(left, right, score)| (position(*left), position(*right), *score))
                .collect();
            let may_match = |left: usize, right: usize| may_match(members[left], members[right]);
            let parts = partition_rows(&members, &edges, &may_match, scorer);
            parts
                .into_iter()
                .map(|part| part.into_iter().map(|member| members[member]).collect())
                .collect()
        })
        .collect();
    clusters.par_sort_unstable();
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
