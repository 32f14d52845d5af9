//! Logs, metrics and what the process uses. No personal value is ever written here.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::store::{EventKind, Store, StoreError};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to stderr. `filter` has the syntax of `tracing_subscriber::EnvFilter`. A second call changes nothing.
pub fn start_logging(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start, as in tests with several services in one process, keeps the first.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Upper bounds of latency buckets, seconds.
const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Upper bounds of the buckets of how late signals come, seconds: a store may have been offline for a week.
const DELAY_BUCKETS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 3_600.0, 86_400.0, 604_800.0];

/// Collects metrics; the handle renders them as Prometheus text. One recorder a process: later calls get the first one's handle.
pub fn metrics_handle() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Result<PrometheusHandle, String>> =
        std::sync::OnceLock::new();
    let install = || {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), LATENCY_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(
                    Matcher::Suffix("_size".into()),
                    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 512.0],
                )
            })
            .and_then(|builder| {
                let delay = Matcher::Full("veridem_source_delay_seconds".into());
                builder.set_buckets_for_metric(delay, DELAY_BUCKETS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|cause| cause.to_string())
    };
    HANDLE
        .get_or_init(install)
        .clone()
        .map_err(anyhow::Error::msg)
}

/// Shows what each tenant has, as its store counts it.
pub fn show_counters(store: &dyn Store) -> Result<(), StoreError> {
    for tenant in store.tenants() {
        let counters = store.counters(&tenant)?;
        let label = || tenant.as_str().to_owned();
        metrics::gauge!("veridem_source_records", "tenant" => label())
            .set(counters.source_records as f64);
        metrics::gauge!("veridem_identities", "tenant" => label()).set(counters.identities as f64);
        metrics::gauge!("veridem_open_review_tasks", "tenant" => label())
            .set(counters.open_review_tasks as f64);
        for (kind, count) in EventKind::ALL.iter().zip(counters.events) {
            metrics::counter!("veridem_identity_events_total", "tenant" => label(), "kind" => kind.as_str())
                .absolute(count);
        }
    }
    Ok(())
}

/// The most memory that the process has held, bytes; 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}
