//! `veridem evaluate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustc_hash::FxHashMap;
use veridem_matchers::{Evaluation, Measure, RecordKey, evaluate};

use crate::executor;
use crate::files::Rows;

/// Pairwise, B-cubed and exact-cluster precision, recall and F1 of clusters against a truth.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  veridem evaluate --clusters out/clusters.csv --truth truth.csv"
)]
pub struct EvaluateArguments {
    /// What `dedupe` wrote: source, record_id, identity_id.
    #[arg(long, value_name = "FILE")]
    clusters: PathBuf,
    /// The truth: record_id, cluster and, where ids repeat between sources, source.
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    executor::run(0, || print_evaluation(arguments))?
}

fn print_evaluation(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let clusters = read(&arguments.clusters, "identity_id")?;
    let truth = read(&arguments.truth, "cluster")?;
    let evaluation = against_truth(&clusters, &truth)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&evaluation)?);
        return Ok(());
    }
    println!(
        "records {}   clusters {}   true clusters {}",
        evaluation.records, evaluation.clusters, evaluation.true_clusters
    );
    println!("{:<15}{:>10}{:>10}{:>10}", "", "precision", "recall", "F1");
    let rows = [
        ("pairwise", evaluation.pairwise),
        ("B-cubed", evaluation.b_cubed),
        ("exact cluster", evaluation.exact_cluster),
    ];
    for (
        name,
        Measure {
            precision,
            recall,
            f1,
        },
    ) in rows
    {
        println!("{name:<15}{precision:>10.4}{recall:>10.4}{f1:>10.4}");
    }
    Ok(())
}

type Labels = BTreeMap<RecordKey, String>;

/// Evaluates the records that both sides name. A truth without sources is matched by record id alone.
fn against_truth(clusters: &Labels, truth: &Labels) -> anyhow::Result<Evaluation> {
    let without_source = truth.keys().all(|key| key.source.is_empty());
    let mut numbers: (FxHashMap<&str, u64>, FxHashMap<&str, u64>) = Default::default();
    let mut couples = Vec::new();
    for (key, cluster) in clusters {
        let true_cluster = if without_source {
            truth.get(&RecordKey::new("", &key.record_id))
        } else {
            truth.get(key)
        };
        let Some(true_cluster) = true_cluster else {
            continue;
        };
        let next = numbers.0.len() as u64;
        let cluster = *numbers.0.entry(cluster).or_insert(next);
        let next = numbers.1.len() as u64;
        couples.push((cluster, *numbers.1.entry(true_cluster).or_insert(next)));
    }
    if couples.is_empty() {
        bail!(
            "no record of the clusters stands in the truth; compare their source and record_id columns"
        );
    }
    if couples.len() < truth.len() {
        eprintln!(
            "note: {} of {} records of the truth are not in the clusters",
            truth.len() - couples.len(),
            truth.len()
        );
    }
    Ok(evaluate(&couples))
}

fn read(path: &Path, label: &str) -> anyhow::Result<Labels> {
    let rows = Rows::open(path)?;
    let column = |name: &str| rows.columns.iter().position(|column| column == name);
    let need = |name: &str| {
        column(name).with_context(|| {
            format!(
                "{}: has no column {name}; it has {}",
                path.display(),
                rows.columns.join(", ")
            )
        })
    };
    let (record_id, label, source) = (need("record_id")?, need(label)?, column("source"));
    let mut labels = Labels::new();
    let mut problem = None;
    rows.for_each_chunk(
        |rows| rows,
        |rows| {
            for (line, fields) in rows {
                match fields {
                    Ok(fields) => {
                        let source = source.map_or("", |source| &fields[source]);
                        let key = RecordKey::new(source, &fields[record_id]);
                        labels.insert(key, fields[label].to_owned());
                    }
                    Err(reason) => {
                        problem = Some(format!("{}: line {line}: {reason}", path.display()));
                        return false;
                    }
                }
            }
            true
        },
    )?;
    match problem {
        Some(problem) => bail!(problem),
        None => Ok(labels),
    }
}
