//! Load on a real server process: `cargo bench --bench load -- --records 100000 --json FILE`.
//!
//! Loads generated retail signals through `SubmitSignals` on 8 streams as fast as they are taken, then drives each row of the
//! table open-loop at a fixed rate: latency counts from the moment at which a call was due, so that a slow answer also counts
//! against those that had to wait behind it (no coordinated omission).

#![expect(
    clippy::disallowed_methods,
    reason = "a load bench measures with the clock"
)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use tokio::sync::Mutex;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use veridem::api::signal_message;
use veridem::generate::{GenerateOptions, GeneratedPersons};
use veridem::resolver::Signal;
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;

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
    /// Seconds that each row is driven.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(serde::Serialize)]
struct Row {
    name: &'static str,
    rate_per_second: f64,
    achieved_per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    rss_bytes: u64,
    disk_bytes: u64,
    start_seconds: f64,
}

struct Server {
    child: Child,
    channel: Channel,
    directory: PathBuf,
    start_seconds: f64,
}

impl Server {
    async fn start(directory: &Path, engine: &str) -> anyhow::Result<Self> {
        let config = directory.join("veridem.toml");
        let data = directory.join("data");
        std::fs::write(
            &config,
            format!(
                "data_directory = {data:?}\nstore_engine = {engine:?}\ngrpc_address = \"127.0.0.1:0\"\nhttp_address = \"127.0.0.1:0\"\nlog_format = \"json\"\n"
            ),
        )?;
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_veridem"))
            .arg("serve")
            .arg("--config")
            .arg(&config)
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
        let channel = Channel::from_shared(format!("http://{address}"))?
            .connect()
            .await?;
        Ok(Self {
            child,
            channel,
            directory: data,
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
        name: &'static str,
        rate_per_second: f64,
        achieved_per_second: f64,
        histogram: &Histogram<u64>,
    ) -> Row {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let row = Row {
            name,
            rate_per_second,
            achieved_per_second,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
            rss_bytes: self.rss_bytes(),
            disk_bytes: size_of(&self.directory),
            start_seconds: self.start_seconds,
        };
        println!(
            "{name:<34}{rate_per_second:>9.0}{achieved_per_second:>10.0}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.0}{:>9.0}",
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

/// Signals of enough persons for the load and for what comes after it.
fn signals(records: usize, extra_signals: usize) -> (Vec<Signal>, Vec<Signal>) {
    let options = GenerateOptions {
        persons: usize::MAX / 4,
        seed: 4_711,
    };
    let mut load: Vec<Signal> = Vec::new();
    let mut extra: Vec<Signal> = Vec::new();
    let mut loaded = 0;
    for person in GeneratedPersons::new(&options) {
        if loaded < records {
            loaded += person.records.len();
            load.extend(person.signals);
        } else if extra.len() < extra_signals {
            extra.extend(person.signals);
        } else {
            break;
        }
    }
    load.sort_by(|left, right| {
        (left.event_time_ms, &left.signal_id).cmp(&(right.event_time_ms, &right.signal_id))
    });
    (load, extra)
}

/// Sends signals over `streams` streams as fast as they are taken; the latency is from hand-over to ack.
async fn load(
    channel: &Channel,
    signals: Vec<Signal>,
    streams: usize,
) -> anyhow::Result<(f64, Histogram<u64>)> {
    let signals = Arc::new(signals);
    let started = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for stream in 0..streams {
        let (signals, mut client) = (
            signals.clone(),
            ResolutionServiceClient::new(channel.clone()),
        );
        senders.spawn(async move {
            let (requests, outgoing) = tokio::sync::mpsc::channel(16);
            let (sent, mut sent_at) = tokio::sync::mpsc::unbounded_channel();
            let sending = tokio::spawn(async move {
                for signal in signals.iter().skip(stream).step_by(streams) {
                    let _ = sent.send(Instant::now());
                    if requests
                        .send(v1::SubmitSignalsRequest {
                            signal: Some(signal_message(signal)),
                        })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            });
            let mut answers = client
                .submit_signals(tokio_stream::wrappers::ReceiverStream::new(outgoing))
                .await?
                .into_inner();
            let mut latencies = histogram();
            while let Some(answer) = answers.next().await {
                let Some(v1::submit_signals_response::Outcome::Ack(_)) = answer?.outcome else {
                    anyhow::bail!("a signal was refused")
                };
                let since: Instant = sent_at
                    .recv()
                    .await
                    .ok_or_else(|| anyhow::anyhow!("an answer too many"))?;
                latencies.saturating_record(since.elapsed().as_micros() as u64);
            }
            sending.await?;
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = histogram();
    while let Some(result) = senders.join_next().await {
        latencies.add(result??)?;
    }
    Ok((
        signals.len() as f64 / started.elapsed().as_secs_f64(),
        latencies,
    ))
}

/// Calls at a fixed rate, whether or not answers keep up.
async fn drive<F, Fut>(rate: f64, seconds: u64, call: F) -> anyhow::Result<(f64, Histogram<u64>)>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    let count = (rate * seconds as f64) as usize;
    let latencies = Arc::new(Mutex::new(histogram()));
    let mut calls = tokio::task::JoinSet::new();
    let started = Instant::now();
    for index in 0..count {
        let due = started + Duration::from_secs_f64(index as f64 / rate);
        tokio::time::sleep_until(due.into()).await;
        let (answer, latencies) = (call(index), latencies.clone());
        calls.spawn(async move {
            answer.await?;
            latencies
                .lock()
                .await
                .saturating_record(due.elapsed().as_micros() as u64);
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(result) = calls.join_next().await {
        result??;
    }
    let achieved = count as f64 / started.elapsed().as_secs_f64();
    let latencies = latencies.lock().await.clone();
    Ok((achieved, latencies))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let _ = arguments.bench;
    let directory = tempfile::tempdir()?;
    let seconds = arguments.seconds;
    let submit_rate = 1_000.0;
    let extra_count = (submit_rate * seconds as f64) as usize * 2;
    let (loaded, extra) = signals(arguments.records, extra_count);
    let server = Server::start(directory.path(), &arguments.engine).await?;
    println!(
        "{:<34}{:>9}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "row", "rate/s", "achieved", "p50 ms", "p90", "p99", "p99.9", "max", "RSS MB", "disk MB"
    );
    let questions: Vec<_> = loaded
        .iter()
        .filter(|signal| !signal.attributes.is_empty())
        .step_by(37)
        .map(|signal| signal_message(signal).attributes)
        .collect();
    let keys: Vec<_> = loaded
        .iter()
        .step_by(29)
        .map(|signal| v1::RecordKey {
            source: signal.source.clone(),
            record_id: signal.record_id.clone(),
        })
        .collect();
    let mut rows = Vec::new();

    let (achieved, latencies) = load(&server.channel, loaded, 8).await?;
    rows.push(server.row("SubmitSignals, 8 streams, load", 0.0, achieved, &latencies));

    let resolve = |index: usize| {
        let mut client = ResolutionServiceClient::new(server.channel.clone());
        let request = v1::ResolveRequest {
            attributes: questions[index % questions.len()].clone(),
            max_identities: 5,
            ids_only: false,
        };
        async move { client.resolve(request).await.map(drop) }
    };
    for (name, rate) in [("Resolve", 500.0), ("Resolve, faster", 1_500.0)] {
        let (achieved, latencies) = drive(rate, seconds, resolve).await?;
        rows.push(server.row(name, rate, achieved, &latencies));
    }
    let (achieved, latencies) = drive(2_000.0, seconds, |index| {
        let mut client = ResolutionServiceClient::new(server.channel.clone());
        let record = Some(keys[index % keys.len()].clone());
        async move {
            client
                .lookup_identity(v1::LookupIdentityRequest { record })
                .await
                .map(drop)
        }
    })
    .await?;
    rows.push(server.row("LookupIdentity", 2_000.0, achieved, &latencies));

    let submit = |offset: usize| {
        let (channel, extra) = (&server.channel, &extra);
        move |index: usize| {
            let mut client = ResolutionServiceClient::new(channel.clone());
            let signal = Some(signal_message(&extra[offset + index]));
            async move {
                client
                    .submit_signal(v1::SubmitSignalRequest { signal })
                    .await
                    .map(drop)
            }
        }
    };
    let (achieved, latencies) = drive(submit_rate, seconds, submit(0)).await?;
    rows.push(server.row("SubmitSignal, durable", submit_rate, achieved, &latencies));
    let (resolved, submitted) = tokio::join!(
        drive(500.0, seconds, resolve),
        drive(submit_rate, seconds, submit(extra_count / 2))
    );
    let (achieved, latencies) = resolved?;
    rows.push(server.row(
        "Resolve while 1,000 signals/s come",
        500.0,
        achieved,
        &latencies,
    ));
    let (achieved, latencies) = submitted?;
    rows.push(server.row(
        "SubmitSignal while Resolve runs",
        submit_rate,
        achieved,
        &latencies,
    ));
    if let Some(path) = arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)? + "\n")?;
    }
    Ok(())
}
