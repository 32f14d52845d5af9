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

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, Semaphore};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use veridem::api::signal_message;
use veridem::generate::{GenerateOptions, GeneratedPersons};
use veridem::resolver::Signal;
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;

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
    /// Draw these runs in place of a run.
    #[arg(long, value_name = "FILE", requires = "out")]
    chart: Vec<PathBuf>,
    /// Where the drawing goes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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

fn write_config(directory: &Path, engine: &str) -> anyhow::Result<PathBuf> {
    let config = directory.join("veridem.toml");
    let data = directory.join("data");
    std::fs::write(
        &config,
        format!(
            "data_directory = {data:?}\nstore_engine = {engine:?}\ngrpc_address = \"127.0.0.1:0\"\nhttp_address = \"127.0.0.1:0\"\nlog_format = \"json\"\n"
        ),
    )?;
    Ok(config)
}

/// Answered calls a second, their latencies, and how many calls were refused.
type Measured = (f64, Histogram<u64>, u64);

struct Server {
    child: Child,
    channels: Vec<Channel>,
    directory: PathBuf,
    start_seconds: f64,
    records: u64,
}

impl Server {
    async fn start(directory: &Path, config: &Path, records: u64) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_veridem"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child
            .stderr
            .take()
            .ok_or_else(|| anyhow::anyhow!("no log"))?;
        let mut log = BufReader::new(stderr).lines();
        let address: SocketAddr = loop {
            let line = log
                .next()
                .ok_or_else(|| anyhow::anyhow!("the server ended"))??;
            let parsed: serde_json::Value = serde_json::from_str(&line)?;
            if let Some(address) = parsed["fields"]["grpc_address"].as_str() {
                break address.parse()?;
            }
        };
        std::thread::spawn(move || log.for_each(drop));
        let mut channels = Vec::new();
        for _ in 0..8 {
            let endpoint = Channel::from_shared(format!("http://{address}"))?;
            channels.push(endpoint.connect().await?);
        }
        Ok(Self {
            child,
            channels,
            directory: directory.join("data"),
            records,
            start_seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kibibytes| kibibytes * 1024)
    }

    fn row(
        &self,
        name: &str,
        rate_per_second: f64,
        (achieved_per_second, histogram, refused): Measured,
    ) -> Row {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let row = Row {
            name: name.to_owned(),
            records: self.records,
            rate_per_second,
            achieved_per_second,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
            refused,
            rss_bytes: self.rss_bytes(),
            disk_bytes: size_of(&self.directory),
            start_seconds: self.start_seconds,
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
        row
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    };
    entries.flatten().map(|entry| size_of(&entry.path())).sum()
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds in microseconds")
}

/// What the rows are driven with.
struct Workload {
    /// Signals of persons that are not loaded, and of every other one that is.
    signals: Vec<v1::Signal>,
    questions: Vec<Vec<v1::Attribute>>,
    keys: Vec<v1::RecordKey>,
}

const SEED: u64 = 4_711;

/// Writes the records of the load as files; returns them, the workload and the number of records.
fn prepare(
    directory: &Path,
    records: usize,
    signal_count: usize,
) -> anyhow::Result<(Vec<PathBuf>, Workload, usize)> {
    let unbounded = GenerateOptions {
        persons: usize::MAX / 4,
        seed: SEED,
    };
    let mut workload = Workload {
        signals: Vec::new(),
        questions: Vec::new(),
        keys: Vec::new(),
    };
    let (mut loaded, mut persons) = (0, 0);
    let mut known: Vec<Signal> = Vec::new();
    let mut new: Vec<Signal> = Vec::new();
    for person in GeneratedPersons::new(&unbounded) {
        if loaded < records {
            loaded += person.records.len();
            persons += 1;
            for signal in &person.signals {
                if persons % 7 == 0 && workload.keys.len() < 100_000 {
                    workload.keys.push(v1::RecordKey {
                        source: signal.source.clone(),
                        record_id: signal.record_id.clone(),
                    });
                }
            }
            if persons % 11 == 0 && workload.questions.len() < 50_000 {
                let stated = person
                    .signals
                    .iter()
                    .filter(|signal| !signal.attributes.is_empty());
                let attributes = stated.map(|signal| signal_message(signal).attributes);
                workload.questions.extend(attributes);
            }
            if known.len() < signal_count / 2 && persons % 13 == 0 {
                known.extend(person.signals);
            }
        } else if new.len() < signal_count {
            new.extend(person.signals);
        } else {
            break;
        }
    }
    let mut known = known.iter();
    for signal in &new {
        workload.signals.push(signal_message(signal));
        workload.signals.extend(known.next().map(signal_message));
    }
    // What comes out of the generator person by person would come from the shops in no order.
    let mut order: Vec<usize> = (0..workload.signals.len()).collect();
    order.sort_by_key(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20);
    workload.signals = order
        .into_iter()
        .map(|index| workload.signals[index].clone())
        .collect();
    let files = directory.join("generated");
    let generated = Command::new(env!("CARGO_BIN_EXE_veridem"))
        .args(["generate", "--persons", &persons.to_string()])
        .args(["--seed", &SEED.to_string(), "--out"])
        .arg(&files)
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(generated.success(), "veridem generate failed");
    let sources = ["pos", "loyalty", "ecommerce", "cdp"];
    let paths = sources
        .iter()
        .map(|source| files.join(format!("{source}.csv")));
    Ok((paths.collect(), workload, loaded))
}

/// Calls at a fixed rate, whether or not answers keep up.
async fn drive<F, Fut>(rate: f64, seconds: u64, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    drive_count(rate, (rate * seconds as f64) as usize, call).await
}

async fn drive_count<F, Fut>(rate: f64, count: usize, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    let latencies = Arc::new(Mutex::new(histogram()));
    let mut calls = tokio::task::JoinSet::new();
    // One that is due while so many are on their way starts late, and its latency tells so.
    let on_their_way = Arc::new(Semaphore::new(1_000));
    let started = Instant::now();
    for index in 0..count {
        let due = started + Duration::from_secs_f64(index as f64 / rate);
        tokio::time::sleep_until(due.into()).await;
        let place = on_their_way.clone().acquire_owned().await?;
        let (answer, latencies) = (call(index), latencies.clone());
        calls.spawn(async move {
            let _place = place;
            match answer.await {
                Err(status) if status.code() == tonic::Code::ResourceExhausted => return Ok(false),
                answer => answer?,
            }
            latencies
                .lock()
                .await
                .saturating_record(due.elapsed().as_micros() as u64);
            Ok::<_, tonic::Status>(true)
        });
    }
    let mut answered = 0;
    while let Some(result) = calls.join_next().await {
        answered += u64::from(result??);
    }
    let achieved = answered as f64 / started.elapsed().as_secs_f64();
    let latencies = latencies.lock().await.clone();
    Ok((achieved, latencies, count as u64 - answered))
}

/// One call after the other, by one caller.
async fn call_in_turn<F, Fut>(seconds: u64, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>>,
{
    let mut latencies = histogram();
    let started = Instant::now();
    let mut index = 0;
    while started.elapsed().as_secs() < seconds {
        let called = Instant::now();
        call(index).await?;
        latencies.saturating_record(called.elapsed().as_micros() as u64);
        index += 1;
    }
    Ok((index as f64 / started.elapsed().as_secs_f64(), latencies, 0))
}

/// Signals at a fixed rate over 8 streams; the latency is from the moment at which a signal was due to its ack.
async fn stream(
    channels: &[Channel],
    rate: f64,
    signals: Vec<v1::Signal>,
) -> anyhow::Result<Measured> {
    let count = signals.len();
    let signals = Arc::new(signals);
    let started = Instant::now() + Duration::from_millis(50);
    let due = move |index: usize| started + Duration::from_secs_f64(index as f64 / rate);
    let mut streams = tokio::task::JoinSet::new();
    for (stream, channel) in channels.iter().enumerate() {
        let (signals, streams_in_all) = (signals.clone(), channels.len());
        let mut client = ResolutionServiceClient::new(channel.clone());
        streams.spawn(async move {
            let (requests, outgoing) = tokio::sync::mpsc::channel(1_024);
            let sending = tokio::spawn({
                let signals = signals.clone();
                async move {
                    for index in (stream..signals.len()).step_by(streams_in_all) {
                        tokio::time::sleep_until(due(index).into()).await;
                        let signal = Some(signals[index].clone());
                        if requests
                            .send(v1::SubmitSignalsRequest { signal })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                }
            });
            let mut answers = client
                .submit_signals(tokio_stream::wrappers::ReceiverStream::new(outgoing))
                .await?
                .into_inner();
            let mut latencies = histogram();
            let mut index = stream;
            while let Some(answer) = answers.next().await {
                let Some(v1::submit_signals_response::Outcome::Ack(_)) = answer?.outcome else {
                    anyhow::bail!("a signal was refused")
                };
                latencies.saturating_record(due(index).elapsed().as_micros() as u64);
                index += streams_in_all;
            }
            sending.await?;
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = histogram();
    while let Some(result) = streams.join_next().await {
        latencies.add(result??)?;
    }
    Ok((count as f64 / started.elapsed().as_secs_f64(), latencies, 0))
}

/// Till receipts that all carry one e-mail address, and the records of one identity.
fn worst_signals(records: usize) -> Vec<v1::Signal> {
    let attribute = |value| v1::Attribute { value: Some(value) };
    let signal = |index: usize, id: String, attributes| v1::Signal {
        signal_id: format!("worst-{index}"),
        source: "worst".to_owned(),
        record_id: id,
        event_time_ms: 1_760_000_000_000 + index as i64,
        kind: v1::SignalKind::Update.into(),
        attributes,
    };
    let shared = (0..records).map(|index| {
        let email = attribute(v1::attribute::Value::Email(
            "receipts77@shop.test".to_owned(),
        ));
        let phone = attribute(v1::attribute::Value::Phone(format!(
            "415-{:03}-{:04}",
            200 + index / 10_000,
            index % 10_000
        )));
        signal(index, format!("till-{index}"), vec![email, phone])
    });
    let one_person = (0..500).map(|index| {
        let name = attribute(v1::attribute::Value::Name(v1::PersonName {
            given: "Wilhelmina".to_owned(),
            family: "Oyelaranberg".to_owned(),
            ..Default::default()
        }));
        let born = attribute(v1::attribute::Value::BirthDate("1971-03-09".to_owned()));
        // Each value is held by fewer records than make it shared, and the next of the other kind overlaps: a chain of 500.
        let address = format!("w.oyelaranberg{}@mail.test", index / 90);
        let email = attribute(v1::attribute::Value::Email(address));
        let number = format!("415-736-{}", 1_000 + (index + 45) / 90);
        let phone = attribute(v1::attribute::Value::Phone(number));
        signal(
            records + index,
            format!("person-{index}"),
            vec![name, born, email, phone],
        )
    });
    shared.chain(one_person).collect()
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
    let config = write_config(directory.path(), &arguments.engine)?;
    let started = Instant::now();
    let loaded = Command::new(env!("CARGO_BIN_EXE_veridem"))
        .arg("load")
        .args(&files)
        .arg("--config")
        .arg(&config)
        .stderr(Stdio::null())
        .status()?;
    anyhow::ensure!(loaded.success(), "veridem load failed");
    let load_seconds = started.elapsed().as_secs_f64();
    let server = Server::start(directory.path(), &config, records as u64).await?;
    println!(
        "{records} records loaded in {load_seconds:.1} s ({:.0}/s); the server answers after {:.2} s with {:.0} MB",
        records as f64 / load_seconds,
        server.start_seconds,
        server.rss_bytes() as f64 / 1e6
    );
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
    let mut rows = Vec::new();
    let mut load_time = histogram();
    load_time.saturating_record((load_seconds * 1e6) as u64);
    rows.push(server.row(
        "veridem load",
        0.0,
        (records as f64 / load_seconds, load_time, 0),
    ));

    let client = |index: usize| {
        ResolutionServiceClient::new(server.channels[index % server.channels.len()].clone())
    };
    let questions = &workload.questions;
    let resolve = |index: usize| {
        let mut client = client(index);
        let request = v1::ResolveRequest {
            attributes: questions[index * 7 % questions.len()].clone(),
            max_identities: 5,
            ids_only: false,
        };
        async move { client.resolve(request).await.map(drop) }
    };
    for (name, rate) in [("Resolve", 1_000.0), ("Resolve, 3,000/s", 3_000.0)] {
        let measured = drive(rate, seconds, resolve).await?;
        rows.push(server.row(name, rate, measured));
    }
    let keys = &workload.keys;
    let lookup = |index: usize| {
        let mut client = client(index);
        let record = Some(keys[index * 7 % keys.len()].clone());
        async move {
            client
                .lookup_identity(v1::LookupIdentityRequest { record })
                .await
        }
    };
    let mut ids = Vec::new();
    for index in 0..2_000 {
        let identity = lookup(index).await?.into_inner().identity;
        ids.extend(identity.map(|identity| identity.identity_id));
    }
    for rate in [5_000.0, 20_000.0] {
        let measured = drive(rate, seconds, |index| {
            let call = lookup(index);
            async move { call.await.map(drop) }
        })
        .await?;
        rows.push(server.row("LookupIdentity", rate, measured));
        let measured = drive(rate, seconds, |index| {
            let mut client = client(index);
            let identity_id = ids[index % ids.len()].clone();
            async move {
                client
                    .get_identity(v1::GetIdentityRequest {
                        identity_id,
                        as_of: None,
                    })
                    .await
                    .map(drop)
            }
        })
        .await?;
        rows.push(server.row("GetIdentity", rate, measured));
    }

    let submit = |signals: Vec<v1::Signal>| {
        let channels = &server.channels;
        move |index: usize| {
            let mut client = ResolutionServiceClient::new(channels[index % channels.len()].clone());
            let signal = Some(signals[index % signals.len()].clone());
            async move {
                client
                    .submit_signal(v1::SubmitSignalRequest { signal })
                    .await
                    .map(drop)
            }
        }
    };
    let in_turn = submit(take_signals(per_row(500.0)));
    let measured = call_in_turn(seconds, in_turn).await?;
    rows.push(server.row("SubmitSignal, 1 caller at a time", 0.0, measured));
    let rate = 1_000.0;
    let measured = stream(&server.channels, rate, take_signals(per_row(rate))).await?;
    rows.push(server.row("SubmitSignals, 8 streams", rate, measured));
    let rate = 5_000.0;
    let measured = stream(&server.channels, rate, take_signals(per_row(rate))).await?;
    rows.push(server.row("SubmitSignals, 8 streams", rate, measured));
    let rate = 2_000.0;
    let (resolved, submitted) = tokio::join!(
        drive(500.0, seconds, resolve),
        stream(&server.channels, rate, take_signals(per_row(rate)))
    );
    let measured = resolved?;
    rows.push(server.row("Resolve while 2,000 signals/s come", 500.0, measured));
    let measured = submitted?;
    rows.push(server.row("SubmitSignals while Resolve runs", rate, measured));
    let worst = worst_signals(arguments.worst);
    let last = worst[worst.len() - 100..].to_vec();
    let tills = worst[arguments.worst - 100..arguments.worst].to_vec();
    stream(&server.channels, 100_000.0, worst).await?;
    let of_the_one = v1::LookupIdentityRequest {
        record: Some(v1::RecordKey {
            source: "worst".to_owned(),
            record_id: "person-0".to_owned(),
        }),
    };
    let found = client(0).lookup_identity(of_the_one).await?.into_inner();
    let members = found.identity.map_or(0, |identity| identity.members.len());
    anyhow::ensure!(members == 500, "the identity of 500 has {members} records");
    for (name, signals) in [
        ("SubmitSignal, value of 10,000", tills),
        ("SubmitSignal, identity of 500", last),
    ] {
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
        rows.push(server.row(name, 10.0, measured));
    }
    if let Some(path) = arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)? + "\n")?;
    }
    Ok(())
}
