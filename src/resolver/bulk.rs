//! Bulk resolution of a set of records: the functions of `matchers`, one after the other, on all cores.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;
use veridem_matchers::block::{BlockingRecall, Candidates, PersonalValue, RuleStatistics};
use veridem_matchers::cluster::{Link, connected_components};
use veridem_matchers::compare::Pattern;
use veridem_matchers::train::{TrainingOptions, learn_m, train, weigh};
use veridem_matchers::{
    Comparable, Decision, GoldenRecord, Model, NormalisedRecord, Pack, PairScore, Record, Scorer,
    StatedValue, Table, TableBuilder, TableScorer, golden_record_of, partition_rows,
};

use super::engine::hash_of;
use super::labels::Labels;
use super::records::Records;
use crate::clock::Stopwatch;

/// Whether nobody waits for a job any more. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    /// Nobody waits any more, from now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a bulk job is to do beside its records.
#[derive(Clone, Debug)]
pub struct BulkOptions {
    /// Blocking, match rules, survivorship, thresholds.
    pub pack: Pack,
    /// A trained model; without one the job trains its own.
    pub model: Option<Model>,
    /// How the job trains.
    pub training: TrainingOptions,
    /// What people said of some records.
    pub labels: Option<Labels>,
    /// Stewards' words on pairs of rows, `left < right`, sorted; each with the number of its override, the latest the largest.
    pub overrides: Vec<(u32, u32, Link, u64)>,
    /// Values that stewards have marked: of nobody, whoever states them.
    pub marked_values: Vec<PersonalValue>,
    /// Only pairs of two sources may match.
    pub link_only: bool,
    /// Once set, the job leaves out what it can and ends soon; its result is worth nothing.
    pub abandoned: Abandoned,
}

impl BulkOptions {
    fn may_match(&self, records: &Records, left: usize, right: usize) -> bool {
        !self.link_only || !records.are_of_one_source(left, right)
    }
}

/// A candidate pair at or above the review threshold or decided by a rule.
#[derive(Clone, Copy, Debug)]
pub struct ScoredPair {
    /// Row of the record with the smaller key.
    pub left: u32,
    /// Row of the other.
    pub right: u32,
    /// Weight and decision.
    pub score: PairScore,
    /// The levels in which it falls.
    pub levels: Pattern,
}

/// What a bulk job found. Rows are indices into the records it was given, which are sorted by key.
pub struct BulkResult {
    /// Rows of each identity, sorted; identities in the order of their first record.
    pub clusters: Vec<Vec<usize>>,
    /// The pairs that were kept, sorted by rows.
    pub pairs: Vec<ScoredPair>,
    /// What survivorship looks at.
    pub comparables: Comparables,
    /// The records as they were compared: shared values taken out.
    pub table: Table,
    /// Scorer with the model that was given or trained.
    pub scorer: Scorer,
    /// What each blocking rule brought.
    pub blocking: Vec<RuleStatistics>,
    /// How many matches blocking lost, estimated.
    pub recall: BlockingRecall,
    /// Match weights of the pairs of which somebody said whether they are one person, and what was said.
    pub labelled: Vec<(f64, bool)>,
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
const RECORDS_AT_ONCE: usize = 16_384;

/// The [`Comparable`] of each attribute of each record.
#[derive(Debug, Default)]
pub struct Comparables {
    ends: Vec<u32>,
    values: Vec<Option<Comparable>>,
}

impl Comparables {
    /// Those of a record, in the order of its attributes.
    pub fn of(&self, row: usize) -> &[Option<Comparable>] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start as usize..self.ends[row] as usize]
    }
}

/// Normalises and blocks records and takes the shared values out.
pub fn prepare(records: &Records, pack: &Pack) -> (Table, Candidates) {
    let (table, _) = tabulate(records, pack);
    block(table, pack, &[])
}

fn tabulate(records: &Records, pack: &Pack) -> (Table, Comparables) {
    let region = pack.region();
    let normalise = |start: usize| -> Vec<(NormalisedRecord, Vec<Option<Comparable>>)> {
        let end = (start + RECORDS_AT_ONCE).min(records.len());
        (start..end)
            .into_par_iter()
            .map(|row| {
                let attributes = records.attributes(row);
                let values = attributes.iter().map(|stated| &stated.attribute);
                let mut comparables = Vec::with_capacity(attributes.len());
                let record = NormalisedRecord::with_comparables(values, region, &mut comparables);
                (record, comparables)
            })
            .collect()
    };
    let mut builder = TableBuilder::default();
    let mut all = Comparables::default();
    let mut batch = normalise(0);
    let mut start = 0;
    while !batch.is_empty() {
        start += batch.len();
        // The next records are normalised while the values of these are told apart.
        let (next, ()) = rayon::join(
            || normalise(start),
            || {
                let (normalised, comparables): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                for of_record in comparables {
                    all.values.extend(of_record);
                    all.ends.push(
                        u32::try_from(all.values.len())
                            .expect("at most 2^32 attributes in one job"),
                    );
                }
                builder.push(&normalised);
            },
        );
        batch = next;
    }
    (builder.finish(), all)
}

fn block(mut table: Table, pack: &Pack, marked: &[PersonalValue]) -> (Table, Candidates) {
    let candidates = Candidates::with_shared(&table, &pack.blocking, marked);
    table.drop_shared(&pack.blocking, |key| candidates.is_inactive(key));
    (table, candidates)
}

/// Trains a model without labels, and corrects it by the persons that are labelled.
pub fn trained_model(
    records: &Records,
    table: &Table,
    candidates: &Candidates,
    options: &BulkOptions,
) -> Model {
    let rules = &options.pack.blocking;
    let may_match = |left: usize, right: usize| options.may_match(records, left, right);
    let mut model = train(table, candidates, rules, &options.training, may_match);
    if let Some(labels) = &options.labels {
        learn_m(&mut model, table, &labels.of_persons());
    }
    model
}

/// Resolves records. `entered` is told each stage as it begins.
pub fn resolve_records(
    records: &Records,
    options: BulkOptions,
    entered: &dyn Fn(&'static str),
) -> BulkResult {
    let pack = &options.pack;
    let mut seconds = BTreeMap::new();
    let mut stopwatch = Stopwatch::start();
    let may_match =
        |left: usize, right: usize| !options.link_only || !records.are_of_one_source(left, right);

    entered("normalise");
    let (table, comparables) = tabulate(records, pack);
    seconds.insert("normalise", stopwatch.lap());

    entered("block");
    let (table, mut candidates) = block(table, pack, &options.marked_values);
    seconds.insert("block", stopwatch.lap());

    entered("train");
    let model = match &options.model {
        Some(model) => model.clone(),
        None => trained_model(records, &table, &candidates, &options),
    };
    let labelled = options.labels.iter().flat_map(|labels| {
        let pairs = labels.of_candidates(&table, &candidates);
        weigh(&model, &table, &pairs)
    });
    let labelled = labelled.collect();
    let scorer = Scorer::new(model, pack);
    seconds.insert("train", stopwatch.lap());

    entered("score");
    let (mut pairs, considered, compared) = {
        let scorer = TableScorer::new(&scorer, &table);
        let (considered, compared) = (AtomicU64::new(0), AtomicU64::new(0));
        let pairs = candidates.map_pairs(&table, |left, right| {
            considered.fetch_add(1, Ordering::Relaxed);
            if !may_match(left, right) || options.abandoned.is_set() {
                return None;
            }
            compared.fetch_add(1, Ordering::Relaxed);
            let (score, levels) = scorer.score(left, right)?;
            Some(ScoredPair {
                left: left as u32,
                right: right as u32,
                score,
                levels,
            })
        });
        (pairs, considered.into_inner(), compared.into_inner())
    };
    pairs.par_sort_unstable_by_key(|pair| (pair.left, pair.right));
    let matches: Vec<(u32, u32)> = pairs
        .iter()
        .filter(|pair| pair.score.decision == Decision::Match)
        .map(|pair| (pair.left, pair.right))
        .collect();
    let recall = candidates.recall(&matches);
    let blocking = candidates.statistics().to_vec();
    drop((candidates, matches));
    seconds.insert("score", stopwatch.lap());

    entered("cluster");
    if options.abandoned.is_set() {
        pairs.clear();
    }
    let clusters = cluster(
        &TableScorer::new(&scorer, &table),
        table.len(),
        &pairs,
        &options.overrides,
        &may_match,
    );
    seconds.insert("cluster", stopwatch.lap());
    BulkResult {
        clusters,
        pairs,
        comparables,
        table,
        scorer,
        blocking,
        recall,
        labelled,
        candidate_pairs: considered,
        compared_pairs: compared,
        seconds,
    }
}

fn cluster(
    scorer: &TableScorer<'_>,
    rows: usize,
    pairs: &[ScoredPair],
    overrides: &[(u32, u32, Link, u64)],
    may_match: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Vec<Vec<usize>> {
    let matches = pairs
        .iter()
        .filter(|pair| pair.score.decision == Decision::Match)
        .map(|pair| (pair.left as usize, pair.right as usize));
    let musts = overrides
        .iter()
        .filter(|(_, _, link, _)| *link == Link::Must)
        .map(|(left, right, ..)| (*left as usize, *right as usize));
    // Pairs are sorted by their left row: where those of each row begin.
    let mut starts = vec![0_u32; rows + 1];
    for pair in pairs {
        starts[pair.left as usize + 1] += 1;
    }
    for row in 0..rows {
        starts[row + 1] += starts[row];
    }
    let partition = |members: Vec<usize>| {
        if members.len() == 1 {
            return vec![members];
        }
        let (mut edges, mut links) = (Vec::new(), Vec::new());
        for (left, row) in members.iter().enumerate() {
            let first = overrides.partition_point(|(left, ..)| (*left as usize) < *row);
            let of_row = overrides[first..]
                .iter()
                .take_while(|(left, ..)| *left as usize == *row);
            for (_, right, link, number) in of_row {
                if let Ok(right) = members.binary_search(&(*right as usize)) {
                    links.push((left, right, *link, *number));
                }
            }
            for pair in &pairs[starts[*row] as usize..starts[row + 1] as usize] {
                // A pair for review may lead to another component.
                if let Ok(right) = members.binary_search(&(pair.right as usize)) {
                    edges.push((left, right, pair.score));
                }
            }
        }
        links.sort_by_key(|(.., number)| Reverse(*number));
        let links: Vec<_> = links
            .into_iter()
            .map(|(left, right, link, _)| (left, right, link))
            .collect();
        let may_match = |left: usize, right: usize| may_match(members[left], members[right]);
        let parts = partition_rows(&members, &edges, &links, &may_match, scorer);
        let of_rows = |part: Vec<usize>| part.into_iter().map(|member| members[member]).collect();
        parts.into_iter().map(of_rows).collect()
    };
    let mut clusters: Vec<Vec<usize>> = connected_components(rows, matches.chain(musts))
        .into_par_iter()
        .flat_map_iter(partition)
        .collect();
    clusters.par_sort_by_key(|cluster| cluster[0]);
    clusters
}

/// The golden record of a cluster; `judge` puts in what stewards say of a value that a row states.
pub fn golden_record_of_rows(
    records: &Records,
    comparables: &Comparables,
    cluster: &[usize],
    pack: &Pack,
    judge: impl Fn(usize, &mut StatedValue<'_>),
) -> GoldenRecord {
    let members: Vec<Record> = cluster.iter().map(|row| records.get(*row)).collect();
    let judge = &judge;
    let values = members.iter().zip(cluster).flat_map(|(record, row)| {
        let values = record.stated_values(comparables.of(*row).iter().copied());
        values.map(move |mut value| {
            judge(*row, &mut value);
            value
        })
    });
    golden_record_of(values, pack)
}

/// The id of an identity in a bulk job's output: made of its smallest record key, so that the same input gives the same ids.
pub fn bulk_identity_id((source, record_id): (&str, &str)) -> String {
    hex::encode(hash_of(format!("{source}\0{record_id}").as_bytes()))
}
