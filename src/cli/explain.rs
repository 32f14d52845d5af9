//! `veridem explain`.

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use veridem_matchers::{MatchProbability, RecordKey, Scorer};

use super::job::{JobArguments, read_model};
use crate::executor;
use crate::resolver::{prepare, trained_model};

/// Tells why two records of bulk files match or do not.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  veridem explain pos.csv shop.csv --left pos/4711 --right shop/ab12 --model out/model.json"
)]
pub struct ExplainArguments {
    #[command(flatten)]
    job: JobArguments,
    /// One record: source/record_id.
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    left: RecordKey,
    /// The other record: source/record_id.
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    right: RecordKey,
    /// A trained model; without one it is trained on the records.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Explanation {
    decision: veridem_matchers::Decision,
    match_weight: f64,
    match_probability: f64,
    prior_weight: f64,
    household_adjustment: f64,
    parts: Vec<Part>,
    rule: Option<String>,
    shared_blocking_rules: Vec<String>,
    inactive_blocking_rules: Vec<String>,
}

#[derive(Serialize)]
struct Part {
    comparison: String,
    level: &'static str,
    weight: f64,
    term_frequency_adjustment: f64,
}

fn parse_key(text: &str) -> Result<RecordKey, String> {
    let (source, record_id) = text
        .split_once('/')
        .ok_or("must be source/record_id, for example pos/4711")?;
    Ok(RecordKey::new(source, record_id))
}

pub(super) fn run(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let explanation = executor::run(arguments.job.threads, || explain(arguments))??;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
        return Ok(());
    }
    println!("{} and {}", arguments.left, arguments.right);
    println!(
        "{:<28}{:<18}{:>9}{:>12}",
        "comparison", "level", "weight", "rarity"
    );
    println!("{:<28}{:<18}{:>9.2}", "prior", "", explanation.prior_weight);
    for part in &explanation.parts {
        println!(
            "{:<28}{:<18}{:>9.2}{:>12.2}",
            part.comparison, part.level, part.weight, part.term_frequency_adjustment
        );
    }
    println!(
        "{:<28}{:<18}{:>9.2}",
        "perhaps one household", "", explanation.household_adjustment
    );
    println!(
        "{:<28}{:<18}{:>9.2}   probability {:.6}",
        "sum", "", explanation.match_weight, explanation.match_probability
    );
    if let Some(rule) = &explanation.rule {
        println!("match rule: {rule}");
    }
    let decision = match explanation.decision {
        veridem_matchers::Decision::Match => "match",
        veridem_matchers::Decision::Review => "review",
        veridem_matchers::Decision::NonMatch => "no match",
    };
    println!("decision: {decision}");
    if explanation.shared_blocking_rules.is_empty() {
        println!("they share no active blocking key, so they are never compared");
        if !explanation.inactive_blocking_rules.is_empty() {
            println!(
                "keys held by too many records: {}",
                explanation.inactive_blocking_rules.join(", ")
            );
        }
    } else {
        println!(
            "blocking rules that bring them together: {}",
            explanation.shared_blocking_rules.join(", ")
        );
    }
    Ok(())
}

fn explain(arguments: &ExplainArguments) -> anyhow::Result<Explanation> {
    let pack = arguments.job.pack()?;
    let input = arguments.job.read(&pack)?;
    let find = |key: &RecordKey| {
        input.records.find(key).with_context(|| format!("no record {key}; a record is named source/record_id, and a file's name without its ending is its source"))
    };
    let (left, right) = (find(&arguments.left)?, find(&arguments.right)?);
    let (left, right) = (left.min(right), left.max(right));
    let (table, candidates) = prepare(&input.records, &pack);
    let options = arguments.job.bulk_options(&pack, None, &input.records)?;
    let model = match &arguments.model {
        Some(path) => read_model(path)?,
        None => trained_model(&input.records, &table, &candidates, &options),
    };
    let explanation = Scorer::new(model, &pack).explain(&table.record(left), &table.record(right));
    let keys = |row: usize| {
        pack.blocking.keys(&veridem_matchers::NormalisedRecord::new(
            &input.records.attributes(row),
            pack.region(),
        ))
    };
    let right_keys = keys(right);
    let shared: Vec<u64> = keys(left)
        .into_iter()
        .filter(|key| right_keys.binary_search(key).is_ok())
        .collect();
    let (inactive, active): (Vec<u64>, Vec<u64>) = shared
        .into_iter()
        .partition(|key| candidates.is_inactive(*key));
    Ok(Explanation {
        decision: explanation.score.decision,
        match_weight: explanation.score.weight.0,
        match_probability: MatchProbability::from(explanation.score.weight).0,
        prior_weight: explanation.prior_weight.0,
        household_adjustment: explanation.household_adjustment.0,
        parts: explanation
            .parts
            .into_iter()
            .map(|part| Part {
                comparison: part.comparison.to_string(),
                level: part.level,
                weight: part.weight.0,
                term_frequency_adjustment: part.term_adjustment.0,
            })
            .collect(),
        rule: explanation.rule,
        shared_blocking_rules: pack.blocking.names_of(active),
        inactive_blocking_rules: pack.blocking.names_of(inactive),
    })
}
