//! `veridem generate`.

use std::path::PathBuf;

use crate::generate::{GenerateOptions, write_dataset};

/// Writes synthetic retail records or signals with their truth; the same seed gives the same bytes.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  veridem generate --persons 2000 --seed 1 --signals --out sample"
)]
pub struct GenerateArguments {
    /// Persons; each has some 2.4 source records.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    persons: u64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write signals.jsonl.
    #[arg(long)]
    signals: bool,
    /// Where the files go; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the manifest as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &GenerateArguments) -> anyhow::Result<()> {
    let options = GenerateOptions {
        persons: arguments.persons as usize,
        seed: arguments.seed,
    };
    let manifest = write_dataset(&options, &arguments.out, arguments.signals)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&manifest)?);
    } else {
        println!(
            "{} persons, {} records, {} signals in {}",
            manifest.persons,
            manifest.records,
            manifest.signals,
            arguments.out.display()
        );
    }
    Ok(())
}
