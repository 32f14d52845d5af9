//! What the bulk commands share: files, settings, progress.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use veridem_matchers::train::TrainingOptions;
use veridem_matchers::{Model, Pack};

use crate::clock::Stopwatch;
use crate::files::{Input, ReadOptions, read_labels, read_records};
use crate::resolver::{Abandoned, BulkOptions, Records};

/// Records and how to resolve them.
#[derive(clap::Args)]
pub(super) struct JobArguments {
    /// CSV, JSON Lines or Parquet; a file's name is its source. JSON Lines may also hold signals.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the columns mean: a TOML file with `[columns]` and lines such as `"E-Mail 2" = "email"`.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Blocking rules, match rules, survivorship and thresholds, in place of the retail pack.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Match probability from which on a pair matches.
    #[arg(long, value_name = "P")]
    threshold: Option<f64>,
    /// Match probability from which on a steward is asked.
    #[arg(long, value_name = "P")]
    review_threshold: Option<f64>,
    /// The column that holds the record id.
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// The column that holds the source.
    #[arg(long, value_name = "COLUMN")]
    source_column: Option<String>,
    /// What people said of some records: record_id, cluster and, where ids repeat between sources, source, to train and judge by; or
    /// left_record_id, right_record_id, match, to judge by.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Only pairs of two different sources may match.
    #[arg(long)]
    link_only: bool,
    /// Threads; 0 is one a core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Seed of what training samples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl JobArguments {
    pub fn pack(&self) -> anyhow::Result<Pack> {
        let mut pack = match &self.rules {
            Some(path) => Pack::from_toml(&read_text(path)?)
                .with_context(|| format!("rules file {}", path.display()))?,
            None => Pack::retail(),
        };
        let thresholds = &mut pack.thresholds;
        thresholds.match_probability = self.threshold.unwrap_or(thresholds.match_probability);
        thresholds.review_probability = self.review_threshold.unwrap_or(
            thresholds
                .review_probability
                .min(thresholds.match_probability),
        );
        let Some((low, high)) = Some((thresholds.review_probability, thresholds.match_probability))
            .filter(|(low, high)| *low > 0.0 && low <= high && *high < 1.0)
        else {
            anyhow::bail!(
                "--threshold and --review-threshold need 0 < review threshold <= threshold < 1"
            );
        };
        (thresholds.review_probability, thresholds.match_probability) = (low, high);
        Ok(pack)
    }

    pub fn read(&self, pack: &Pack) -> anyhow::Result<Input> {
        let mapping = self.mapping.as_deref().map(read_text).transpose()?;
        let options = ReadOptions {
            mapping,
            id_column: self.id_column.clone(),
            source_column: self.source_column.clone(),
            source: None,
        };
        Ok(read_records(&self.files, &options, pack)?)
    }

    pub fn bulk_options(
        &self,
        pack: &Pack,
        model: Option<Model>,
        records: &Records,
    ) -> anyhow::Result<BulkOptions> {
        let labels = self.labels.as_ref();
        let labels = labels.map(|path| read_labels(path, records)).transpose()?;
        let labels = labels.map(|(labels, missing)| {
            if missing > 0 {
                eprintln!("note: {missing} lines of the labels name records that are not there");
            }
            labels
        });
        Ok(BulkOptions {
            pack: pack.clone(),
            model,
            training: self.training(),
            labels,
            overrides: Vec::new(),
            marked_values: Vec::new(),
            link_only: self.link_only,
            abandoned: Abandoned::default(),
        })
    }

    pub fn training(&self) -> TrainingOptions {
        TrainingOptions {
            seed: self.seed,
            ..TrainingOptions::default()
        }
    }

    /// Threads that the job uses.
    pub fn thread_count(&self) -> usize {
        if self.threads == 0 {
            crate::executor::available_threads()
        } else {
            self.threads
        }
    }
}

pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(super) fn read_model(path: &Path) -> anyhow::Result<Model> {
    Model::from_json(&read_text(path)?).with_context(|| format!("model file {}", path.display()))
}

/// A progress bar on a terminal, plain lines otherwise; nothing when quiet.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    plain: bool,
    started: Stopwatch,
}

impl Progress {
    pub fn new(stages: usize, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new(stages as u64);
            bar.set_style(
                ProgressStyle::with_template("{spinner} [{bar:24}] {msg} {elapsed}")
                    .expect("the template is well formed")
                    .progress_chars("=> "),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            plain: !terminal && !quiet,
            started: Stopwatch::start(),
        }
    }

    pub fn enter(&self, stage: &str) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(stage.to_owned());
        } else if self.plain {
            eprintln!("{:>7.2} s  {stage}", self.started.seconds());
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
