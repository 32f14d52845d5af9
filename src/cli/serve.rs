//! `veridem serve` and `veridem check`.

use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::job::read_text;
use crate::config::{Config, path_from_environment};
use crate::files::{Mapping, Rows};
use crate::lifecycle::{Service, existing_store};
use crate::store::check_tenant;
use crate::{executor, telemetry};

/// Runs the service: gRPC on 127.0.0.1:50051, console, JSON gateway, metrics and health on 127.0.0.1:8080.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  veridem serve --config veridem.toml")]
pub struct ServeArguments {
    /// Settings; without a file everything has its default. The environment may name it in VERIDEM_CONFIG.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Checks a configuration, rules, a model, or the columns of bulk files, and tells every mistake.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem check --config veridem.toml\n  veridem check --config veridem.toml --store\n  veridem check --rules rules.toml --model model.json\n  veridem check customers.csv"
)]
pub struct CheckArguments {
    /// A configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also read the whole store of the configuration, whose service must not run, and tell what in it contradicts what.
    #[arg(long)]
    store: bool,
    /// A rules file.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// A model file.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Bulk files of which to show what each column is taken for.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn read_config(path: Option<PathBuf>) -> anyhow::Result<Config> {
    match path.or_else(path_from_environment) {
        Some(path) => Config::from_toml(&read_text(&path)?)
            .with_context(|| format!("configuration {}", path.display())),
        None => Ok(Config::from_toml("")?),
    }
}

/// Resolves when the process is asked to stop.
pub(super) async fn stop_requested() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

pub(super) fn serve(arguments: ServeArguments) -> anyhow::Result<()> {
    let config = read_config(arguments.config)?;
    telemetry::start_logging(&config.log_filter, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let service = Service::start(config).await?;
        if let Some(address) = service.console_address() {
            println!("console: {address} (opens one session)");
        }
        stop_requested().await?;
        service.stop().await
    });
    // What was left at the deadline must not hold the process.
    runtime.shutdown_background();
    served
}

pub(super) fn check(arguments: CheckArguments) -> anyhow::Result<()> {
    executor::run(0, || print_check(arguments))?
}

fn check_store(config: &Config) -> anyhow::Result<()> {
    let store = existing_store(config)?;
    let mut contradictions = 0;
    for tenant in store.tenants() {
        let problems = check_tenant(store.as_ref(), &tenant)?;
        for problem in &problems {
            println!("store, tenant {}: {problem}", tenant.as_str());
        }
        contradictions += problems.len();
        let counters = store.counters(&tenant)?;
        println!(
            "store, tenant {}: {} source records, {} identities, {} events",
            tenant.as_str(),
            counters.source_records,
            counters.identities,
            counters.last_sequence
        );
    }
    anyhow::ensure!(
        contradictions == 0,
        "the store contradicts itself; restore it from a backup"
    );
    println!("store: good");
    Ok(())
}

fn print_check(arguments: CheckArguments) -> anyhow::Result<()> {
    let asked_for_nothing = arguments.config.is_none()
        && arguments.rules.is_none()
        && arguments.model.is_none()
        && arguments.files.is_empty();
    if arguments.config.is_some() || arguments.store || asked_for_nothing {
        let config = read_config(arguments.config)?;
        println!("configuration: good");
        if arguments.store {
            check_store(&config)?;
        }
    }
    if let Some(path) = &arguments.rules {
        let pack = veridem_matchers::Pack::from_toml(&read_text(path)?)
            .with_context(|| format!("rules file {}", path.display()))?;
        println!(
            "rules: good ({} blocking rules, {} match rules)",
            pack.blocking.0.len(),
            pack.rules.len()
        );
    }
    if let Some(path) = &arguments.model {
        let model = super::job::read_model(path)?;
        println!(
            "model: good ({} comparisons, trained on {} records)",
            model.comparisons.len(),
            model.trained_on_records
        );
    }
    for path in &arguments.files {
        let rows = Rows::open(path)?;
        let mapping = Mapping::recognise(&rows.columns, &rows.sample(1_000)?);
        println!("{}", path.display());
        for (column, role) in rows.columns.iter().zip(&mapping.roles) {
            println!("  {column:<28} {}", role.name());
        }
    }
    Ok(())
}
