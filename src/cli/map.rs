//! `veridem map`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;

use crate::files::{ColumnRole, Mapping, Rows};

/// Proposes what the columns of a file mean, by their names and what stands in them, shows it with samples, and writes a mapping file.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem map customers.csv\n  veridem map customers.csv --out customers.mapping.toml\n  veridem dedupe customers.csv --mapping customers.mapping.toml --out result"
)]
pub struct MapArguments {
    /// CSV, JSON Lines or Parquet.
    file: PathBuf,
    /// The mapping file to write; one that is there is not touched.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Rows that are looked at.
const SAMPLE_ROWS: usize = 1_000;
/// Values that are shown of a column, and letters of each.
const SHOWN_VALUES: usize = 3;
const SHOWN_LETTERS: usize = 24;

struct Column {
    name: String,
    role: ColumnRole,
    /// Of the rows that were looked at, how many have a value.
    filled: usize,
    samples: Vec<String>,
}

pub(super) fn run(arguments: &MapArguments) -> anyhow::Result<()> {
    let rows = Rows::open(&arguments.file)?;
    let sample = rows.sample(SAMPLE_ROWS)?;
    let mapping = Mapping::recognise(&rows.columns, &sample);
    let columns = rows.columns.iter().zip(mapping.roles.clone()).enumerate();
    let columns: Vec<Column> = columns
        .map(|(index, (name, role))| {
            let values = sample
                .iter()
                .filter_map(|row| row.get(index))
                .map(str::trim);
            let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
            let mut samples: Vec<String> = Vec::new();
            for value in &values {
                let shown: String = value.chars().take(SHOWN_LETTERS).collect();
                if samples.len() < SHOWN_VALUES && !samples.contains(&shown) {
                    samples.push(shown);
                }
            }
            Column {
                name: name.clone(),
                role,
                filled: values.len(),
                samples,
            }
        })
        .collect();
    if arguments.json {
        let shown = columns.iter().map(|column| {
            serde_json::json!({
                "column": column.name,
                "meaning": column.role.name(),
                "filled": column.filled,
                "samples": column.samples,
            })
        });
        let document =
            serde_json::json!({ "rows": sample.len(), "columns": shown.collect::<Vec<_>>() });
        println!("{document:#}");
    } else {
        show(&columns, sample.len());
    }
    if !mapping.has_evidence() {
        eprintln!("no column says anything about a person; name them in the mapping file");
    }
    if let Some(path) = &arguments.out {
        let mut file = std::fs::File::create_new(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all(mapping_file(&columns)?.as_bytes())?;
        println!("{} is written; change what is not right", path.display());
    }
    Ok(())
}

fn show(columns: &[Column], rows: usize) {
    let width = columns
        .iter()
        .map(|column| column.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(6);
    println!(
        "{:<width$}  {:<24} {:>6}  for example",
        "column", "meaning", "filled"
    );
    for column in columns {
        let share = (column.filled * 100).checked_div(rows).unwrap_or(0);
        println!(
            "{:<width$}  {:<24} {share:>5}%  {}",
            column.name,
            column.role.name(),
            column.samples.join(" | ")
        );
    }
}

/// Holds no values of persons: what is shown on the screen is not kept.
fn mapping_file(columns: &[Column]) -> anyhow::Result<String> {
    let table: toml::Table = columns
        .iter()
        .map(|column| (column.name.clone(), toml::Value::String(column.role.name())))
        .collect();
    let table = toml::Table::from_iter([("columns".to_owned(), toml::Value::Table(table))]);
    let head = "# What the columns mean. \"ignore\" leaves one out; identifiers are \"identifier.<scheme>\", anything else \"custom.<name>\".\n";
    Ok(format!("{head}{}", toml::to_string(&table)?))
}
