//! `veridem load`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;

use super::job::{Progress, read_text};
use super::serve::read_config;
use crate::files::{ReadOptions, Rows, is_signal_log, read_records};
use crate::lifecycle::{INDEX_DIRECTORY, STORE_DIRECTORY, engine_in};
use crate::resolver::{Records, RecordsBuilder, snapshot_signal, validate_signal};
use crate::store::Tenant;
use crate::{clock, executor};

/// Fills an empty data directory with the records of files, by the bulk job's code; then `veridem serve` goes on from there. Each
/// record is taken as a snapshot of what its source says.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  veridem load pos.csv loyalty.csv shop.csv --config veridem.toml\n  veridem serve --config veridem.toml"
)]
pub struct LoadArguments {
    /// CSV, JSON Lines or Parquet; a file's name is its source.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Settings, as for `veridem serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose records these are.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// What the columns mean: a TOML file with `[columns]` and lines such as `"E-Mail 2" = "email"`.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// The column that holds the record id.
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// The column that holds the source.
    #[arg(long, value_name = "COLUMN")]
    source_column: Option<String>,
    /// Threads; 0 is one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Lines set aside that are told one by one.
const MAX_TOLD: usize = 10;

pub(super) fn run(arguments: LoadArguments) -> anyhow::Result<()> {
    executor::run(arguments.threads, || load(&arguments))?
}

fn load(arguments: &LoadArguments) -> anyhow::Result<()> {
    let config = read_config(arguments.config.clone())?;
    let tenant = Tenant::try_from(arguments.tenant.clone()).map_err(anyhow::Error::msg)?;
    let data = config.data_directory.clone();
    ensure_no_store(&data)?;
    for path in &arguments.files {
        anyhow::ensure!(
            !is_signal_log(&Rows::open(path)?),
            "{} is a signal log; send its signals to the service, or look at it with veridem replay",
            path.display()
        );
    }
    let progress = Progress::new(7, false);
    progress.enter("read");
    let options = ReadOptions {
        mapping: arguments.mapping.as_deref().map(read_text).transpose()?,
        id_column: arguments.id_column.clone(),
        source_column: arguments.source_column.clone(),
        source: None,
    };
    let input = read_records(&arguments.files, &options, &config.pack)?;
    for reject in input.rejects.iter().take(MAX_TOLD) {
        eprintln!(
            "set aside: {} line {}: {}",
            reject.file.display(),
            reject.line,
            reject.reason
        );
    }
    let (records, refused) = valid_records(input.records)?;

    let new = NewData::begin(&data)?;
    let engine = engine_in(config, new.path())?;
    let summary = engine.load(&tenant, &records, clock::now_ms(), &|stage| {
        progress.enter(stage);
    })?;
    drop(engine);
    new.finish()?;
    progress.finish();
    println!(
        "{} records, {} identities, {} review tasks in {}; {} lines set aside, {refused} records refused",
        summary.records,
        summary.identities,
        summary.review_tasks,
        data.display(),
        input.rejects.len(),
    );
    Ok(())
}

/// The records that the service would take as signals, and how many it would not.
fn valid_records(records: Records) -> anyhow::Result<(Records, usize)> {
    let now_ms = clock::now_ms();
    let refused: Vec<(usize, String)> = (0..records.len())
        .into_par_iter()
        .filter_map(|row| {
            let verdict = validate_signal(&snapshot_signal(records.get(row)), now_ms);
            Some((row, verdict.err()?.to_string()))
        })
        .collect();
    let Some((row, cause)) = refused.first() else {
        return Ok((records, 0));
    };
    let (source, _) = records.key(*row);
    let told = format!(
        "{} records are not what a signal may be; the first is one of source \"{source}\": {cause}",
        refused.len()
    );
    anyhow::ensure!(refused.len() < records.len(), told);
    eprintln!("set aside: {told}");
    let mut valid = RecordsBuilder::default();
    for row in 0..records.len() {
        if refused.binary_search_by_key(&row, |(row, _)| *row).is_err() {
            valid.push(&records.get(row));
        }
    }
    Ok((valid.finish(|_, _| {}), refused.len()))
}

/// Store and index are made where there are none yet.
pub(super) fn ensure_no_store(data: &Path) -> anyhow::Result<()> {
    let store = data.join(STORE_DIRECTORY);
    anyhow::ensure!(
        !store.exists(),
        "{} exists; name a data directory without a store",
        store.display()
    );
    Ok(())
}

/// Store and index in the making, beside the place where they belong: what is killed leaves no half store.
pub(super) struct NewData {
    data: PathBuf,
    making: PathBuf,
}

impl NewData {
    /// Makes room, and removes what a killed one has left.
    pub(super) fn begin(data: &Path) -> anyhow::Result<Self> {
        let making = data.join("new");
        if making.exists() {
            std::fs::remove_dir_all(&making)
                .with_context(|| format!("cannot remove {}", making.display()))?;
        }
        std::fs::create_dir_all(&making)
            .with_context(|| format!("cannot make {}", making.display()))?;
        Ok(Self {
            data: data.to_owned(),
            making,
        })
    }

    /// Where the new data directory is made.
    pub(super) fn path(&self) -> &Path {
        &self.making
    }

    /// Puts everything in its place; returns when that survives power loss.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        // The store last: an index without its store is thrown away, a store without its index makes it anew.
        for directory in [INDEX_DIRECTORY, STORE_DIRECTORY] {
            let (from, to) = (self.making.join(directory), self.data.join(directory));
            if to.exists() {
                std::fs::remove_dir_all(&to)
                    .with_context(|| format!("cannot remove {}", to.display()))?;
            }
            if from.exists() {
                std::fs::rename(&from, &to).with_context(|| {
                    format!("cannot move {} to {}", from.display(), to.display())
                })?;
            }
            File::open(&self.data)?.sync_all()?;
        }
        std::fs::remove_dir(&self.making)?;
        Ok(())
    }
}
