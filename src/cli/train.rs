//! `veridem train`.

use std::path::PathBuf;

use anyhow::Context;
use veridem_matchers::train::train;

use super::job::{JobArguments, Progress};
use crate::executor;
use crate::resolver::prepare;

/// Trains a model on records without labels and writes it as a reviewable JSON file.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  veridem train pos.csv loyalty.csv shop.csv --out model.json")]
pub struct TrainArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &TrainArguments) -> anyhow::Result<()> {
    executor::run(arguments.job.threads, || {
        let progress = Progress::new(3, false);
        let pack = arguments.job.pack()?;
        progress.enter("read");
        let input = arguments.job.read(&pack)?;
        anyhow::ensure!(
            input.records.len() > 1,
            "training needs at least two records, the files have {}",
            input.records.len()
        );
        progress.enter("block");
        let (table, candidates) = prepare(&input.records, &pack);
        progress.enter("train");
        let options = arguments.job.bulk_options(&pack, None);
        let may_match = |left: usize, right: usize| {
            !options.link_only || !input.records.are_of_one_source(left, right)
        };
        let model = train(
            &table,
            &candidates,
            &pack.blocking,
            &options.training,
            may_match,
        );
        progress.finish();
        std::fs::write(&arguments.out, model.to_json())
            .with_context(|| format!("cannot write {}", arguments.out.display()))?;
        println!(
            "model of {} records in {}; {} rejected lines",
            model.trained_on_records,
            arguments.out.display(),
            input.rejects.len()
        );
        Ok(())
    })?
}
