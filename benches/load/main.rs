//! Load on a real server process: `cargo bench --bench load -- --records 100000 --json FILE`.
//!
//! Loads generated retail records with `veridem load`, starts the server over them and drives each row of the table open-loop at a
//! fixed rate over 8 connections: latency counts from the moment at which a call was due, so that a slow answer also counts
//! against those that had to wait behind it (no coordinated omission). "1 caller at a time" is closed-loop.
//!
//! `cargo bench --bench load -- --chart A.json --chart B.json --out growth.svg` draws how latencies grow with the records of such files.

#![expect(
    clippy::disallowed_methods,
    reason = "a load bench measures with the clock"
)]

mod chart;
mod client;
mod drive;
#[cfg(feature = "nats")]
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/nats_server.rs"]
mod nats_server;
mod server;
mod sinks;
mod steward;
mod workload;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Parser;
use veridem_proto::v1;

use drive::{Measured, call_in_turn, drive, drive_count, histogram, stream};
use server::{Server, copy_all, write_config};
use sinks::Sinks;
use steward::{Steward, typed};
use workload::{prepare, worst_signals};

/// As the service: what is measured is not the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// Source records to load.
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// Where the rows go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The store's engine: fjall or sled.
    #[arg(long, default_value = "fjall")]
    engine: String,
    /// Records that share one value.
    #[arg(long, default_value_t = 10_000)]
    worst: usize,
    /// Seconds that each row is driven.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Publish every event into a webhook and, with the feature `nats`, into NATS, while the rows are driven.
    #[arg(long)]
    sinks: bool,
    /// Drive only the rows whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Load into this directory, once: where it holds a store already, drive a copy of it.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Draw these runs in place of a run.
    #[arg(long, value_name = "FILE", requires = "out")]
    chart: Vec<PathBuf>,
    /// Where the drawing goes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A line more in the service's configuration, such as `cache = "2GiB"`; may be given several times.
    #[arg(long, value_name = "LINE")]
    set: Vec<String>,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    name: String,
    /// Loaded before the rows are driven.
    records: u64,
    rate_per_second: f64,
    achieved_per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Calls that were told to try again later.
    refused: u64,
    rss_bytes: u64,
    disk_bytes: u64,
    start_seconds: f64,
}

/// The rows that are driven.
struct Rows {
    only: Option<String>,
    rows: Vec<Row>,
}

impl Rows {
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }

    fn print_header(&self) {
        println!(
            "{:<34}{:>9}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "row",
            "rate/s",
            "achieved",
            "refused",
            "p50 ms",
            "p90",
            "p99",
            "p99.9",
            "max",
            "RSS MB",
            "disk MB"
        );
    }

    fn add(
        &mut self,
        server: &Server,
        name: &str,
        rate_per_second: f64,
        (achieved_per_second, histogram, refused): Measured,
    ) {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let row = Row {
            name: name.to_owned(),
            records: server.records,
            rate_per_second,
            achieved_per_second,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
            refused,
            rss_bytes: server.rss_bytes(),
            disk_bytes: server.disk_bytes(),
            start_seconds: server.start_seconds,
        };
        println!(
            "{name:<34}{rate_per_second:>9.0}{achieved_per_second:>10.0}{refused:>9}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.0}{:>9.0}",
            row.p50_ms,
            row.p90_ms,
            row.p99_ms,
            row.p999_ms,
            row.max_ms,
            row.rss_bytes as f64 / 1e6,
            row.disk_bytes as f64 / 1e6
        );
        self.rows.push(row);
    }
}

/// Fills the store of a configuration with `veridem load`; returns the seconds that it took.
fn load(config: &Path, files: &[PathBuf]) -> anyhow::Result<f64> {
    let started = Instant::now();
    let loaded = Command::new(env!("CARGO_BIN_EXE_veridem"))
        .arg("load")
        .args(files)
        .arg("--config")
        .arg(config)
        .stderr(Stdio::null())
        .status()?;
    anyhow::ensure!(loaded.success(), "veridem load failed");
    Ok(started.elapsed().as_secs_f64())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let _ = arguments.bench;
    if let Some(out) = &arguments.out {
        return chart::draw(&arguments.chart, out);
    }
    let directory = tempfile::tempdir()?;
    let seconds = arguments.seconds;
    let per_row = |rate: f64| (rate * seconds as f64) as usize;
    let signal_count = per_row(5_000.0) + per_row(1_500.0) + per_row(2_000.0);
    let (files, mut workload, records) =
        prepare(directory.path(), arguments.records, signal_count)?;
    let mut take_signals = |count: usize| -> Vec<v1::Signal> {
        let at = workload.signals.len().saturating_sub(count);
        workload.signals.split_off(at)
    };
    let config = write_config(directory.path(), &arguments.engine, &arguments.set)?;
    let mut load_seconds = None;
    match &arguments.store {
        Some(store) if store.join("data").is_dir() => {
            copy_all(&store.join("data"), &directory.path().join("data"))?;
        }
        Some(store) => {
            std::fs::create_dir_all(store)?;
            load_seconds = Some(load(
                &write_config(store, &arguments.engine, &arguments.set)?,
                &files,
            )?);
            copy_all(&store.join("data"), &directory.path().join("data"))?;
        }
        None => load_seconds = Some(load(&config, &files)?),
    }
    let sinks = match arguments.sinks {
        true => Some(Sinks::start(directory.path()).await?),
        false => None,
    };
    if let Some(sinks) = &sinks {
        let mut text = std::fs::read_to_string(&config)?;
        text.push_str(&sinks.settings);
        std::fs::write(&config, text)?;
    }
    let server = Server::start(directory.path(), &config, records as u64).await?;
    println!(
        "the server answers over {records} records after {:.2} s with {:.0} MB",
        server.start_seconds,
        server.rss_bytes() as f64 / 1e6
    );
    let mut rows = Rows {
        only: arguments.only,
        rows: Vec::new(),
    };
    rows.print_header();
    if let Some(load_seconds) = load_seconds {
        let mut load_time = histogram();
        load_time.saturating_record((load_seconds * 1e6) as u64);
        let measured = (records as f64 / load_seconds, load_time, 0);
        rows.add(&server, "veridem load", 0.0, measured);
    }

    if let Some(sinks) = &sinks {
        // One after the other: each has the machine to itself.
        sinks::settle(&server.channel).await?;
        for name in ["webhook", "nats"] {
            if rows.wants("publish") && sinks.settings.contains(&format!("name = {name:?}")) {
                let rate = sinks::replay(&server.channel, name).await?;
                let name = format!("publish into {name}");
                rows.add(&server, &name, 0.0, (rate, histogram(), 0));
            }
        }
    }
    let client = |index: usize| server.clients[index % server.clients.len()].clone();
    let questions = &workload.questions;
    let resolve = |index: usize| {
        let request = v1::ResolveRequest {
            attributes: questions[index * 7 % questions.len()].clone(),
            max_identities: 5,
            ids_only: false,
        };
        let call = client(index).call::<v1::ResolveResponse>("Resolve", request);
        async move { call.await.map(drop) }
    };
    for (name, rate) in [("Resolve", 1_000.0), ("Resolve, 3,000/s", 3_000.0)] {
        if rows.wants(name) {
            let measured = drive(rate, seconds, resolve).await?;
            rows.add(&server, name, rate, measured);
        }
    }
    let keys = &workload.keys;
    let lookup = |index: usize| {
        let record = Some(keys[index * 7 % keys.len()].clone());
        let request = v1::LookupIdentityRequest { record };
        client(index).call::<v1::LookupIdentityResponse>("LookupIdentity", request)
    };
    let mut ids = Vec::new();
    for index in 0..2_000 {
        let identity = lookup(index).await?.identity;
        ids.extend(identity.map(|identity| identity.identity_id));
    }
    let get = |index: usize| {
        let identity_id = ids[index % ids.len()].clone();
        let request = v1::GetIdentityRequest {
            identity_id,
            as_of: None,
        };
        let call = client(index).call::<v1::GetIdentityResponse>("GetIdentity", request);
        async move { call.await.map(drop) }
    };
    for rate in [5_000.0, 20_000.0] {
        if rows.wants("LookupIdentity") {
            let measured = drive(rate, seconds, |index| {
                let call = lookup(index);
                async move { call.await.map(drop) }
            })
            .await?;
            rows.add(&server, "LookupIdentity", rate, measured);
        }
        if rows.wants("GetIdentity") {
            let measured = drive(rate, seconds, get).await?;
            rows.add(&server, "GetIdentity", rate, measured);
        }
    }

    let console = [
        "console: queue page",
        "console: queue page, rare tasks",
        "console: search",
        "console: decision to next task",
    ];
    if console.iter().any(|name| rows.wants(name)) {
        let steward = Steward::sign_in(&server.console_link).await?;
        println!(
            "{} review tasks wait",
            steward::open_tasks(&server.channel).await?
        );
        let typed = typed(questions);
        let measured = call_in_turn(seconds, |_| async { steward.queue("").await.map(drop) });
        rows.add(&server, console[0], 0.0, measured.await?);
        let rare = "?from=0.79";
        let measured = call_in_turn(seconds, |_| async { steward.queue(rare).await.map(drop) });
        rows.add(&server, console[1], 0.0, measured.await?);
        let measured = call_in_turn(seconds, |index| steward.search(&typed[index % typed.len()]));
        rows.add(&server, console[2], 0.0, measured.await?);
        steward.begin().await?;
        let measured = call_in_turn(seconds, |_| steward.decide());
        rows.add(&server, console[3], 0.0, measured.await?);
    }

    let submit = |signals: Vec<v1::Signal>| {
        move |index: usize| {
            let signal = Some(signals[index % signals.len()].clone());
            let request = v1::SubmitSignalRequest { signal };
            let call = client(index).call::<v1::SubmitSignalResponse>("SubmitSignal", request);
            async move { call.await.map(drop) }
        }
    };
    let name = "SubmitSignal, 1 caller at a time";
    if rows.wants(name) {
        let in_turn = submit(take_signals(per_row(500.0)));
        let measured = call_in_turn(seconds, in_turn).await?;
        rows.add(&server, name, 0.0, measured);
    }
    let name = "SubmitSignals, 8 streams";
    for rate in [1_000.0, 5_000.0] {
        if rows.wants(name) {
            let signals = take_signals(per_row(rate));
            let measured = stream(&server.clients, rate, signals).await?;
            rows.add(&server, name, rate, measured);
        }
    }
    let name = "Resolve while 2,000 signals/s come";
    if rows.wants(name) {
        let rate = 2_000.0;
        let (resolved, submitted) = tokio::join!(
            drive(500.0, seconds, resolve),
            stream(&server.clients, rate, take_signals(per_row(rate)))
        );
        rows.add(&server, name, 500.0, resolved?);
        rows.add(
            &server,
            "SubmitSignals while Resolve runs",
            rate,
            submitted?,
        );
    }
    let names = [
        "SubmitSignal, value of 10,000",
        "SubmitSignal, identity of 500",
    ];
    if names.iter().any(|name| rows.wants(name)) {
        let worst = worst_signals(arguments.worst);
        let last = worst[worst.len() - 100..].to_vec();
        let tills = worst[arguments.worst - 100..arguments.worst].to_vec();
        stream(&server.clients, 100_000.0, worst).await?;
        let of_the_one = v1::LookupIdentityRequest {
            record: Some(v1::RecordKey {
                source: "worst".to_owned(),
                record_id: "person-0".to_owned(),
            }),
        };
        let found: v1::LookupIdentityResponse =
            client(0).call("LookupIdentity", of_the_one).await?;
        let members = found.identity.map_or(0, |identity| identity.members.len());
        anyhow::ensure!(members == 500, "the identity of 500 has {members} records");
        for (name, signals) in names.into_iter().zip([tills, last]) {
            // New content for records that are there: each is decided anew.
            let count = signals.len();
            let again = signals.into_iter().map(|mut signal| {
                signal.signal_id.push_str("-again");
                signal.event_time_ms += 1_000_000;
                signal.attributes.push(v1::Attribute {
                    value: Some(v1::attribute::Value::Gender("f".to_owned())),
                });
                signal
            });
            let measured = drive_count(10.0, count, submit(again.collect())).await?;
            rows.add(&server, name, 10.0, measured);
        }
    }
    if let Some(path) = arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows.rows)? + "\n")?;
    }
    Ok(())
}
