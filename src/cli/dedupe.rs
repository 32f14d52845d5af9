//! `veridem dedupe`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;
use veridem_matchers::block::{BlockingRecall, RuleStatistics};
use veridem_matchers::{Attribute, CustomAttribute, Decision, Identifier, Pack};

use super::job::{JobArguments, Progress, read_model};
use crate::clock::Stopwatch;
use crate::files::{Cell, ColumnType, Format, Input, Reject, TableWriter};
use crate::report::{ExamplePair, ReportInput, render};
use crate::resolver::{
    BulkResult, Records, STAGES, ScoredPair, bulk_identity_id, golden_record_of_rows,
    resolve_records,
};
use crate::{executor, telemetry};

/// Finds the records that are one person in bulk files; needs no configuration.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem dedupe customers.csv --out result\n  veridem dedupe pos.csv shop.parquet --out result --model model.json --format parquet"
)]
pub struct DedupeArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Where the results go; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A trained model; without one the job trains its own on the records.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Format of the result tables.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// What `summary.json` holds.
#[derive(Serialize)]
struct Summary<'a> {
    records: usize,
    identities: usize,
    rejects: usize,
    candidate_pairs: u64,
    compared_pairs: u64,
    matches: usize,
    reviews: usize,
    seconds: BTreeMap<&'static str, f64>,
    peak_rss_bytes: u64,
    threads: usize,
    blocking: &'a [RuleStatistics],
    blocking_recall: &'a BlockingRecall,
    labelled_pairs: usize,
}

pub(super) fn run(arguments: DedupeArguments) -> anyhow::Result<()> {
    let threads = arguments.job.threads;
    executor::run(threads, || dedupe(&arguments))?
}

fn dedupe(arguments: &DedupeArguments) -> anyhow::Result<()> {
    let started = Stopwatch::start();
    let mut stopwatch = Stopwatch::start();
    let progress = Progress::new(STAGES.len() + 2, arguments.json);
    let pack = arguments.job.pack()?;
    let model = arguments.model.as_deref().map(read_model).transpose()?;
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    progress.enter("read");
    let input = arguments.job.read(&pack)?;
    let read_seconds = stopwatch.lap();
    let result = resolve_records(
        &input.records,
        arguments.job.bulk_options(&pack, model, &input.records)?,
        &|stage| progress.enter(stage),
    );
    stopwatch.lap();
    progress.enter("write");
    let ids: Vec<String> = result
        .clusters
        .par_iter()
        .map(|cluster| bulk_identity_id(input.records.key(cluster[0])))
        .collect();
    write_clusters(arguments, &input.records, &result, &ids)?;
    write_golden(arguments, &pack, &input.records, &result, &ids)?;
    write_pairs(arguments, &input.records, &result)?;
    write_text(
        &arguments.out,
        "model.json",
        &result.scorer.model().to_json(),
    )?;
    write_rejects(&arguments.out, &input.rejects)?;
    let mut seconds = result.seconds.clone();
    seconds.insert("read", read_seconds);
    seconds.insert("write", stopwatch.lap());
    seconds.insert("total", started.seconds());
    let decided = |decision| {
        result
            .pairs
            .iter()
            .filter(|pair| pair.score.decision == decision)
            .count()
    };
    let summary = Summary {
        records: input.records.len(),
        identities: result.clusters.len(),
        rejects: input.rejects.len(),
        candidate_pairs: result.candidate_pairs,
        compared_pairs: result.compared_pairs,
        matches: decided(Decision::Match),
        reviews: decided(Decision::Review),
        seconds,
        peak_rss_bytes: telemetry::peak_rss_bytes(),
        threads: arguments.job.thread_count(),
        blocking: &result.blocking,
        blocking_recall: &result.recall,
        labelled_pairs: result.labelled.len(),
    };
    write_report(arguments, &pack, &input, &result, &summary)?;
    let json = serde_json::to_string_pretty(&summary)? + "\n";
    write_text(&arguments.out, "summary.json", &json)?;
    progress.finish();
    if arguments.json {
        print!("{json}")
    } else {
        print_summary(arguments, &summary)
    }
    Ok(())
}

fn print_summary(arguments: &DedupeArguments, summary: &Summary<'_>) {
    println!("records          {:>12}", summary.records);
    println!("identities       {:>12}", summary.identities);
    println!("compared pairs   {:>12}", summary.compared_pairs);
    println!("matches          {:>12}", summary.matches);
    println!("for review       {:>12}", summary.reviews);
    if summary.rejects > 0 {
        println!(
            "rejected lines   {:>12}   see {}",
            summary.rejects,
            arguments.out.join("rejects.csv").display()
        );
    }
    println!(
        "seconds          {:>12.2}   {} threads, {:.0} MB at most",
        summary.seconds["total"],
        summary.threads,
        summary.peak_rss_bytes as f64 / 1e6
    );
    println!(
        "results in {}   (open {})",
        arguments.out.display(),
        arguments.out.join("report.html").display()
    );
}

fn text_columns(names: impl IntoIterator<Item = String>) -> Vec<(String, ColumnType)> {
    names
        .into_iter()
        .map(|name| (name, ColumnType::Text))
        .collect()
}

fn write_clusters(
    arguments: &DedupeArguments,
    records: &Records,
    result: &BulkResult,
    ids: &[String],
) -> anyhow::Result<()> {
    let mut identity_of = vec![0_u32; records.len()];
    for (index, cluster) in result.clusters.iter().enumerate() {
        for row in cluster {
            identity_of[*row] = index as u32;
        }
    }
    let columns = text_columns(["source", "record_id", "identity_id"].map(str::to_owned));
    let mut writer = TableWriter::create(&arguments.out, "clusters", arguments.format, columns)?;
    writer.write_rows(records.len(), |row, take| {
        let (source, record_id) = records.key(row);
        take(&[
            Cell::Text(source),
            Cell::Text(record_id),
            Cell::Text(&ids[identity_of[row] as usize]),
        ]);
    })?;
    writer.finish().map(drop)
}

/// The column that tells where a golden value comes from, after the name of its slot.
const FROM: &str = ".from";

/// The columns that a value takes in a flat table.
fn flat(attribute: &Attribute) -> impl Iterator<Item = (&'static str, &str)> {
    let parts: [(&'static str, &str); 7] = match attribute {
        Attribute::Name(name) => [
            (".given", &name.given),
            (".middle", &name.middle),
            (".family", &name.family),
            (".suffix", &name.suffix),
            (".full", &name.full),
            ("", ""),
            ("", ""),
        ],
        Attribute::Address(address) => [
            (".street", &address.street),
            (".number", &address.number),
            (".unit", &address.unit),
            (".city", &address.city),
            (".region", &address.region),
            (".postcode", &address.postcode),
            (".country", &address.country),
        ],
        Attribute::Email(text)
        | Attribute::Phone(text)
        | Attribute::BirthDate(text)
        | Attribute::Gender(text)
        | Attribute::Identifier(Identifier { value: text, .. })
        | Attribute::Custom(CustomAttribute { value: text, .. }) => {
            let mut parts = [("", ""); 7];
            parts[0] = ("", text);
            parts
        }
    };
    parts.into_iter().filter(|(_, text)| !text.is_empty())
}

/// The parts of slots that some record states, by slot.
type StatedParts = BTreeMap<String, BTreeSet<&'static str>>;

fn stated_parts(records: &Records, result: &BulkResult) -> StatedParts {
    let of_rows = |rows: &[usize]| {
        let mut stated = StatedParts::new();
        for row in rows {
            let attributes = records.attributes(*row);
            let comparables = result.comparables.of(*row);
            for (value, _) in attributes
                .iter()
                .zip(comparables)
                .filter(|(_, comparable)| comparable.is_some())
            {
                let parts = stated.entry(value.attribute.slot()).or_default();
                parts.extend(flat(&value.attribute).map(|(part, _)| part));
                parts.insert(FROM);
            }
        }
        stated
    };
    let union = |mut one: StatedParts, other: StatedParts| {
        for (slot, parts) in other {
            one.entry(slot).or_default().extend(parts);
        }
        one
    };
    let rows: Vec<usize> = (0..records.len()).collect();
    rows.par_chunks(4096)
        .map(of_rows)
        .reduce(StatedParts::new, union)
}

fn write_golden(
    arguments: &DedupeArguments,
    pack: &Pack,
    records: &Records,
    result: &BulkResult,
    ids: &[String],
) -> anyhow::Result<()> {
    let mut columns = vec![
        ("identity_id".to_owned(), ColumnType::Text),
        ("records".to_owned(), ColumnType::Number),
    ];
    let stated = stated_parts(records, result);
    let mut position: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for (slot, parts) in &stated {
        for part in parts {
            position
                .entry(slot)
                .or_default()
                .push((part, columns.len()));
            columns.push((format!("{slot}{part}"), ColumnType::Text));
        }
    }
    let width = columns.len();
    let mut writer = TableWriter::create(&arguments.out, "golden", arguments.format, columns)?;
    writer.write_rows(result.clusters.len(), |index, take| {
        let cluster = &result.clusters[index];
        let golden = golden_record_of_rows(records, &result.comparables, cluster, pack, |_, _| ());
        let mut row = vec![Cell::Text(""); width];
        row[0] = Cell::Text(&ids[index]);
        row[1] = Cell::Number(cluster.len() as f64);
        let origins: Vec<String> = golden
            .values
            .iter()
            .map(|value| format!("{} ({})", value.record, value.criterion))
            .collect();
        for (value, origin) in golden.values.iter().zip(&origins) {
            let of_slot = &position[value.slot.as_str()];
            for (part, text) in flat(&value.attribute).chain([(FROM, origin.as_str())]) {
                if let Some((_, column)) = of_slot.iter().find(|(known, _)| *known == part) {
                    row[*column] = Cell::Text(text);
                }
            }
        }
        take(&row);
    })?;
    writer.finish().map(drop)
}

fn write_pairs(
    arguments: &DedupeArguments,
    records: &Records,
    result: &BulkResult,
) -> anyhow::Result<()> {
    let mut columns = text_columns(
        [
            "left_source",
            "left_record_id",
            "right_source",
            "right_record_id",
        ]
        .map(str::to_owned),
    );
    columns.extend([
        ("match_weight".to_owned(), ColumnType::Number),
        ("match_probability".to_owned(), ColumnType::Number),
        ("decision".to_owned(), ColumnType::Text),
    ]);
    columns.extend(text_columns(
        result
            .scorer
            .model()
            .comparisons
            .iter()
            .map(|comparison| comparison.comparison.to_string()),
    ));
    let mut writer = TableWriter::create(&arguments.out, "pairs", arguments.format, columns)?;
    writer.write_rows(result.pairs.len(), |index, take| {
        let pair = &result.pairs[index];
        let left = records.key(pair.left as usize);
        let right = records.key(pair.right as usize);
        let decision = if pair.score.decision == Decision::Match {
            "match"
        } else {
            "review"
        };
        let mut row = vec![
            Cell::Text(left.0),
            Cell::Text(left.1),
            Cell::Text(right.0),
            Cell::Text(right.1),
            Cell::Number(pair.score.weight.0),
            Cell::Number(pair.score.probability().0),
            Cell::Text(decision),
        ];
        for level in result.scorer.level_names(pair.levels) {
            row.push(Cell::Text(level));
        }
        take(&row);
    })?;
    writer.finish().map(drop)
}

fn write_text(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let (partial, path) = (
        directory.join(format!(".{name}.partial")),
        directory.join(name),
    );
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_rejects(directory: &Path, rejects: &[Reject]) -> anyhow::Result<()> {
    if rejects.is_empty() {
        // What an earlier run rejected is no longer true.
        return match std::fs::remove_file(directory.join("rejects.csv")) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause.into()),
            _ => Ok(()),
        };
    }
    let columns = vec![
        ("file".to_owned(), ColumnType::Text),
        ("line".to_owned(), ColumnType::Number),
        ("reason".to_owned(), ColumnType::Text),
    ];
    let mut writer = TableWriter::create(directory, "rejects", Format::Csv, columns)?;
    writer.write_rows(rejects.len(), |row, take| {
        let reject = &rejects[row];
        take(&[
            Cell::Text(&reject.file.to_string_lossy()),
            Cell::Number(reject.line as f64),
            Cell::Text(&reject.reason),
        ]);
    })?;
    writer.finish().map(drop)
}

/// Stages in the order in which they run.
const REPORTED_STAGES: &[&str] = &[
    "read",
    "normalise",
    "block",
    "train",
    "score",
    "cluster",
    "write",
    "total",
];

fn write_report(
    arguments: &DedupeArguments,
    pack: &Pack,
    input: &Input,
    result: &BulkResult,
    summary: &Summary<'_>,
) -> anyhow::Result<()> {
    let seconds: Vec<(String, f64)> = REPORTED_STAGES
        .iter()
        .filter_map(|stage| Some(((*stage).to_owned(), *summary.seconds.get(stage)?)))
        .collect();
    let weights: Vec<f64> = result
        .pairs
        .iter()
        .map(|pair| pair.score.weight.0)
        .collect();
    let cluster_sizes: Vec<usize> = result.clusters.iter().map(Vec::len).collect();
    let html = render(&ReportInput {
        title: "Veridem dedupe",
        records: summary.records,
        identities: summary.identities,
        candidate_pairs: summary.candidate_pairs,
        matches: summary.matches,
        reviews: summary.reviews,
        rejects: summary.rejects,
        seconds: &seconds,
        peak_rss_bytes: summary.peak_rss_bytes,
        threads: summary.threads,
        match_probability: pack.thresholds.match_probability,
        review_probability: pack.thresholds.review_probability,
        model: result.scorer.model(),
        blocking: &result.blocking,
        recall: &result.recall,
        labelled: &result.labelled,
        weights: &weights,
        cluster_sizes: &cluster_sizes,
        sources: &input.records.sources(),
        examples: &examples(input, result),
    });
    write_text(&arguments.out, "report.html", &html)
}

/// A strong match, the match nearest to its threshold, the strongest and the weakest pair for review.
fn examples(input: &Input, result: &BulkResult) -> Vec<ExamplePair> {
    let by_weight = |decision| {
        let pairs = result.pairs.iter();
        let mut pairs: Vec<&ScoredPair> = pairs
            .filter(|pair| pair.score.decision == decision)
            .collect();
        pairs.par_sort_unstable_by(|one, other| {
            let by_weight = other.score.weight.0.total_cmp(&one.score.weight.0);
            by_weight.then((one.left, one.right).cmp(&(other.left, other.right)))
        });
        pairs
    };
    let (matches, reviews) = (by_weight(Decision::Match), by_weight(Decision::Review));
    let weakest_review = reviews.last().filter(|_| reviews.len() > 1);
    [
        matches.get(matches.len() / 10),
        matches.last(),
        reviews.first(),
        weakest_review,
    ]
    .into_iter()
    .flatten()
    .map(|pair| example(input, result, pair.left as usize, pair.right as usize))
    .collect()
}

fn example(input: &Input, result: &BulkResult, left: usize, right: usize) -> ExamplePair {
    let mut values: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (row, is_left) in [(left, true), (right, false)] {
        for stated in input.records.attributes(row) {
            for (name, text) in compared_values(&stated.attribute) {
                let sides = values.entry(name).or_default();
                let side = if is_left { &mut sides.0 } else { &mut sides.1 };
                if !side.is_empty() && !text.is_empty() {
                    side.push_str("; ");
                }
                side.push_str(&text);
            }
        }
    }
    ExamplePair {
        left: input.records.get(left).key.to_string(),
        right: input.records.get(right).key.to_string(),
        explanation: result
            .scorer
            .explain(&result.table.record(left), &result.table.record(right)),
        values: values
            .into_iter()
            .map(|(name, (left, right))| (name, left, right))
            .collect(),
    }
}

/// The texts of a value under the names of the comparisons that look at them.
fn compared_values(attribute: &Attribute) -> Vec<(String, String)> {
    match attribute {
        Attribute::Name(name) if name.given.is_empty() && name.family.is_empty() => {
            vec![("full_name".to_owned(), name.full.clone())]
        }
        Attribute::Name(name) => vec![
            ("given_name".to_owned(), name.given.clone()),
            ("family_name".to_owned(), name.family.clone()),
        ],
        other => {
            let parts: Vec<&str> = flat(other).map(|(_, text)| text).collect();
            vec![(other.slot(), parts.join(", "))]
        }
    }
}
