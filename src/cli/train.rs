//! `veridem train`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use veridem_matchers::Model;
use veridem_matchers::model::{SplinkImport, import_splink};
use veridem_matchers::train::count_term_frequencies;

use super::job::{JobArguments, Progress, read_text};
use crate::executor;
use crate::files::{ColumnRole, Input};
use crate::resolver::{prepare, trained_model};

/// Trains a model on records without labels, or takes over one that Splink trained, and writes it as a reviewable JSON
/// file.
#[derive(clap::Args)]
#[command(
    mut_arg("files", |files| files.required(false).required_unless_present("import_splink")),
    after_help = "Examples:\n  veridem train pos.csv loyalty.csv shop.csv --out model.json\n  \
                  veridem train --import-splink settings.json --out model.json\n  \
                  veridem train --import-splink settings.json pos.csv shop.csv --out model.json"
)]
pub struct TrainArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Take over the model that Splink saved in this file (`linker.misc.save_model_to_json`) in place of training.
    /// With FILEs, term frequencies are counted on them, since Splink does not save them.
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    import_splink: Option<PathBuf>,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &TrainArguments) -> anyhow::Result<()> {
    executor::run(arguments.job.threads, || match &arguments.import_splink {
        Some(settings) => import(arguments, settings),
        None => train_on_records(arguments),
    })?
}

fn train_on_records(arguments: &TrainArguments) -> anyhow::Result<()> {
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
    let options = arguments.job.bulk_options(&pack, None, &input.records)?;
    let model = trained_model(&input.records, &table, &candidates, &options);
    progress.finish();
    write(&model, &arguments.out)?;
    println!(
        "model of {} records in {}; {} rejected lines",
        model.trained_on_records,
        arguments.out.display(),
        input.rejects.len()
    );
    Ok(())
}

fn import(arguments: &TrainArguments, settings: &Path) -> anyhow::Result<()> {
    let recognise = |column: &str| ColumnRole::of_name(column).compared_value();
    let mut import = import_splink(&read_text(settings)?, &recognise)
        .with_context(|| settings.display().to_string())?;
    let counted = if arguments.job.files.is_empty() {
        None
    } else {
        Some(count_on_records(arguments, &mut import)?)
    };
    write(&import.model, &arguments.out)?;
    println!(
        "model of {} comparisons in {}",
        import.model.comparisons.len(),
        arguments.out.display()
    );
    println!("taken over:");
    for note in &import.taken_over {
        println!("  {note}");
    }
    let adjusted = comma_separated(&import, |_| true);
    let unadjusted = comma_separated(&import, |has_frequencies| !has_frequencies);
    if let Some(input) = &counted {
        println!(
            "  term frequencies: counted on {} records; {} rejected lines",
            input.records.len(),
            input.rejects.len()
        );
    }
    println!("not taken over:");
    for note in &import.not_taken_over {
        println!("  {note}");
    }
    if counted.is_none() && !adjusted.is_empty() {
        println!(
            "  term frequencies of {adjusted}: Splink does not save them; give the records too and they are counted"
        );
    } else if !unadjusted.is_empty() {
        println!("  term frequencies of {unadjusted}: Veridem does not use them there");
    }
    Ok(())
}

fn count_on_records(
    arguments: &TrainArguments,
    import: &mut SplinkImport,
) -> anyhow::Result<Input> {
    let pack = arguments.job.pack()?;
    let input = arguments.job.read(&pack)?;
    let (table, _) = prepare(&input.records, &pack);
    count_term_frequencies(
        &mut import.model,
        &import.adjusted_by_term_frequency,
        &table,
        &arguments.job.training(),
    );
    Ok(input)
}

/// The comparisons that Splink adjusts by term frequencies, of those that have or have not got them.
fn comma_separated(import: &SplinkImport, wanted: impl Fn(bool) -> bool) -> String {
    let comparisons = import.model.comparisons.iter();
    let names: Vec<String> = comparisons
        .filter(|model| {
            import
                .adjusted_by_term_frequency
                .contains(&model.comparison)
        })
        .filter(|model| wanted(model.term_frequencies.is_some()))
        .map(|model| model.comparison.to_string())
        .collect();
    names.join(", ")
}

fn write(model: &Model, path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, model.to_json())
        .with_context(|| format!("cannot write {}", path.display()))
}
