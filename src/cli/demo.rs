//! `veridem demo`: the whole service in a temporary folder, on the sample signals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use rustc_hash::FxHashMap;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use veridem_matchers::{Evaluation, RecordKey, evaluate};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;

use super::serve::stop_requested;
use crate::api::signal_message;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::lifecycle::Service;
use crate::publish::{Mapping, SinkKind, SinkSettings, sign};
use crate::resolver::Signal;
use crate::telemetry;

/// Starts the whole service in a temporary folder and streams the sample signals of every source through its gRPC API.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  veridem demo --exit")]
pub struct DemoArguments {
    /// Stop after the summary.
    #[arg(long)]
    exit: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

const SAMPLE_SIGNALS: &str = include_str!("../../datasets/retail_sample/signals.jsonl");
const SAMPLE_TRUTH: &str = include_str!("../../datasets/retail_sample/truth.csv");
const WEBHOOK_SECRET: &str = "demo secret of the erp sink";
/// How long the sinks may take to receive everything.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(60);
/// Resolve calls whose latency is measured, and how many run at once.
const RESOLVE_CALLS: usize = 2_000;
const RESOLVE_CALLERS: usize = 4;

/// What the demo did.
#[derive(serde::Serialize)]
struct Summary {
    signals_by_source: BTreeMap<String, u64>,
    signals_accepted: u64,
    source_records: u64,
    identities: u64,
    merges: u64,
    splits: u64,
    review_tasks: u64,
    events: u64,
    delivered_to_erp: u64,
    delivered_to_cdp: u64,
    signals_per_second: f64,
    resolve_calls: usize,
    resolve_p50_ms: f64,
    resolve_p99_ms: f64,
    evaluation: Evaluation,
}

pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<()> {
    telemetry::start_logging("warn", telemetry::LogFormat::Text)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(demo(arguments))
}

async fn demo(arguments: &DemoArguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let erp = Erp::start().await?;
    let feed = folder.path().join("cdp.jsonl");
    let mut config = Config::for_directory(folder.path().join("data"));
    if arguments.exit {
        // Nobody will call from outside: any free port serves, also where a service runs already.
        config.grpc_address.set_port(0);
        config.http_address.set_port(0);
    }
    config.sinks = vec![
        sink(
            "erp",
            SinkKind::Webhook {
                url: erp.url.clone(),
                secret: Some(WEBHOOK_SECRET.to_owned()),
                authorization_file: None,
            },
            ERP_MAPPING,
        )?,
        sink("cdp", SinkKind::File { path: feed.clone() }, CDP_MAPPING)?,
    ];
    let service = Service::start(config).await?;
    let say = |text: String| {
        if !arguments.json {
            println!("{text}");
        }
    };
    say(format!("Veridem runs in {}", folder.path().display()));
    say(format!(
        "  gRPC     {}   (reflection and health are on)",
        service.grpc_address
    ));
    if let Some(address) = service.console_address() {
        say(format!("  console  {address}"));
    }
    say(format!(
        "  metrics  http://{}/metrics",
        service.http_address
    ));
    let channel = Channel::from_shared(format!("http://{}", service.grpc_address))?
        .connect()
        .await?;
    let summary = exercise(channel, &erp, &feed).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print_summary(&summary);
    }
    if !arguments.exit {
        println!("\nThe service goes on; stop it with Ctrl-C. The folder is removed then.");
        stop_requested().await?;
    }
    service.stop().await
}

/// What the ERP calls things.
const ERP_MAPPING: &[(&str, &str)] = &[
    ("BusinessPartner.ExternalId", "identity.identity_id"),
    ("BusinessPartner.FirstName", "identity.golden.name.given"),
    ("BusinessPartner.LastName", "identity.golden.name.family"),
    ("BusinessPartner.EmailAddress", "identity.golden.email"),
    ("BusinessPartner.PhoneNumber", "identity.golden.phone"),
    (
        "BusinessPartner.Address.Street",
        "identity.golden.address.street",
    ),
    (
        "BusinessPartner.Address.City",
        "identity.golden.address.city",
    ),
    (
        "BusinessPartner.Address.PostalCode",
        "identity.golden.address.postcode",
    ),
    ("Operation", "kind"),
    ("ReplacedIds", "merged_identity_ids"),
    ("SplitIntoIds", "split_into_identity_ids"),
];

/// What the CDP calls things.
const CDP_MAPPING: &[(&str, &str)] = &[
    ("user_id", "identity.identity_id"),
    ("event", "kind"),
    ("traits", "identity.golden"),
    ("source_ids", "identity.members"),
    ("merged_user_ids", "merged_identity_ids"),
    ("split_user_ids", "split_into_identity_ids"),
];

fn sink(name: &str, kind: SinkKind, mapping: &[(&str, &str)]) -> anyhow::Result<SinkSettings> {
    let fields = mapping
        .iter()
        .map(|(target, path)| ((*target).to_owned(), (*path).to_owned()))
        .collect();
    let mapping = Mapping::of_fields(fields).map_err(anyhow::Error::msg)?;
    Ok(SinkSettings {
        mapping,
        ..SinkSettings::new(name, kind)
    })
}

/// An HTTP receiver in the place of an ERP: counts the events whose signature is right.
struct Erp {
    url: String,
    received: Arc<AtomicU64>,
}

impl Erp {
    async fn start() -> anyhow::Result<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let counter = received.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/customers", listener.local_addr()?);
        let receive = move |headers: HeaderMap, body: Bytes| {
            let counter = counter.clone();
            async move {
                let header = |name: &str| {
                    headers
                        .get(name)
                        .and_then(|value| value.to_str().ok())
                        .unwrap_or_default()
                        .to_owned()
                };
                let timestamp = header("webhook-timestamp").parse().unwrap_or(0);
                if header("webhook-signature")
                    != sign(WEBHOOK_SECRET, &header("webhook-id"), timestamp, &body)
                {
                    return StatusCode::UNAUTHORIZED;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                StatusCode::NO_CONTENT
            }
        };
        let router = Router::new().route("/customers", post(receive));
        let listener = listener.tap_io(|connection| {
            if let Err(cause) = connection.set_nodelay(true) {
                tracing::warn!(%cause, "answers of the receiver may be slow");
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, received })
    }
}

async fn exercise(channel: Channel, erp: &Erp, feed: &std::path::Path) -> anyhow::Result<Summary> {
    let signals: Vec<Signal> = SAMPLE_SIGNALS
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("sample signals")?;
    let mut signals_by_source: BTreeMap<String, u64> = BTreeMap::new();
    for signal in &signals {
        *signals_by_source.entry(signal.source.clone()).or_default() += 1;
    }
    let stopwatch = Stopwatch::start();
    submit(channel.clone(), &signals).await?;
    let seconds = stopwatch.seconds();
    let mut operations = OperationsServiceClient::new(channel.clone());
    let statistics = operations
        .get_statistics(v1::GetStatisticsRequest {})
        .await?
        .into_inner();
    await_delivery(&mut operations).await?;
    let mut latencies = resolve_latencies(&channel, &signals).await?;
    latencies.sort_by(f64::total_cmp);
    let percentile =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] * 1_000.0;
    let delivered_to_cdp =
        std::io::BufRead::lines(std::io::BufReader::new(std::fs::File::open(feed)?)).count() as u64;
    Ok(Summary {
        signals_by_source,
        signals_accepted: statistics.signals,
        source_records: statistics.source_records,
        identities: statistics.identities,
        merges: statistics.events_merged,
        splits: statistics.events_split,
        review_tasks: statistics.open_review_tasks,
        events: statistics.last_sequence,
        delivered_to_erp: erp.received.load(Ordering::Relaxed),
        delivered_to_cdp,
        signals_per_second: signals.len() as f64 / seconds,
        resolve_calls: latencies.len(),
        resolve_p50_ms: percentile(0.5),
        resolve_p99_ms: percentile(0.99),
        evaluation: evaluate_against_truth(channel).await?,
    })
}

async fn submit(channel: Channel, signals: &[Signal]) -> anyhow::Result<()> {
    let requests: Vec<_> = signals
        .iter()
        .map(|signal| v1::SubmitSignalsRequest {
            signal: Some(signal_message(signal)),
        })
        .collect();
    let count = requests.len();
    let mut answers = ResolutionServiceClient::new(channel)
        .submit_signals(tokio_stream::iter(requests))
        .await?
        .into_inner();
    let mut accepted = 0;
    while let Some(answer) = answers.next().await {
        match answer?.outcome {
            Some(v1::submit_signals_response::Outcome::Ack(_)) => accepted += 1,
            Some(v1::submit_signals_response::Outcome::Refusal(refusal)) => {
                bail!("signal refused: {} {}", refusal.field, refusal.message)
            }
            None => bail!("an answer without outcome"),
        }
    }
    anyhow::ensure!(
        accepted == count,
        "{accepted} of {count} signals were answered"
    );
    Ok(())
}

async fn await_delivery(operations: &mut OperationsServiceClient<Channel>) -> anyhow::Result<()> {
    let stopwatch = Stopwatch::start();
    loop {
        let sinks = operations
            .list_sinks(v1::ListSinksRequest {})
            .await?
            .into_inner()
            .sinks;
        if sinks.iter().all(|sink| sink.lag == 0) {
            return Ok(());
        }
        if stopwatch.seconds() > DELIVERY_DEADLINE.as_secs_f64() {
            bail!(
                "events were not delivered in {} s",
                DELIVERY_DEADLINE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Seconds of `Resolve` calls with the attributes of sample signals.
async fn resolve_latencies(channel: &Channel, signals: &[Signal]) -> anyhow::Result<Vec<f64>> {
    let step = (signals.len() / RESOLVE_CALLS).max(1);
    let questions: Vec<_> = signals
        .iter()
        .filter(|signal| !signal.attributes.is_empty())
        .step_by(step)
        .map(|signal| signal_message(signal).attributes)
        .take(RESOLVE_CALLS)
        .collect();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..RESOLVE_CALLERS {
        let mut client = ResolutionServiceClient::new(channel.clone());
        let questions: Vec<_> = questions
            .iter()
            .skip(caller)
            .step_by(RESOLVE_CALLERS)
            .cloned()
            .collect();
        callers.spawn(async move {
            let mut latencies = Vec::with_capacity(questions.len());
            for attributes in questions {
                let stopwatch = Stopwatch::start();
                client
                    .resolve(v1::ResolveRequest {
                        attributes,
                        max_identities: 5,
                        ids_only: false,
                    })
                    .await?;
                latencies.push(stopwatch.seconds());
            }
            Ok::<_, tonic::Status>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(result) = callers.join_next().await {
        latencies.extend(result??);
    }
    Ok(latencies)
}

/// Rebuilds the partition from the event feed, as a consumer would, and evaluates it.
async fn evaluate_against_truth(channel: Channel) -> anyhow::Result<Evaluation> {
    let mut client = ResolutionServiceClient::new(channel);
    let mut identity_of: FxHashMap<RecordKey, String> = FxHashMap::default();
    let mut page_token = String::new();
    loop {
        let page = client
            .list_identity_events(v1::ListIdentityEventsRequest {
                from_sequence: 1,
                page_size: 1_000,
                page_token,
            })
            .await?
            .into_inner();
        for identity in page.events.into_iter().filter_map(|event| event.identity) {
            for member in identity.members {
                identity_of.insert(
                    RecordKey::new(member.source, member.record_id),
                    identity.identity_id.clone(),
                );
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let mut numbers: FxHashMap<String, u64> = FxHashMap::default();
    let mut couples = Vec::new();
    for row in csv::Reader::from_reader(SAMPLE_TRUTH.as_bytes()).records() {
        let row = row?;
        let key = RecordKey::new(&row[0], &row[1]);
        let id = identity_of
            .get(&key)
            .with_context(|| format!("record {key} is in no identity"))?;
        let next = numbers.len() as u64;
        couples.push((*numbers.entry(id.clone()).or_insert(next), row[2].parse()?));
    }
    Ok(evaluate(&couples))
}

fn print_summary(summary: &Summary) {
    let sources: Vec<String> = summary
        .signals_by_source
        .iter()
        .map(|(source, count)| format!("{source} {count}"))
        .collect();
    println!("\nSignals");
    println!(
        "  accepted              {:>8}   ({})",
        summary.signals_accepted,
        sources.join(", ")
    );
    println!("  source records        {:>8}", summary.source_records);
    println!(
        "  signals per second    {:>8.0}   durable, one stream",
        summary.signals_per_second
    );
    println!("Identities");
    println!("  identities            {:>8}", summary.identities);
    println!("  merges                {:>8}", summary.merges);
    println!("  splits                {:>8}", summary.splits);
    println!("  review tasks          {:>8}", summary.review_tasks);
    println!("Events");
    println!("  published             {:>8}", summary.events);
    println!(
        "  delivered to ERP      {:>8}   signed webhook",
        summary.delivered_to_erp
    );
    println!(
        "  delivered to CDP      {:>8}   JSON Lines file",
        summary.delivered_to_cdp
    );
    println!("Resolve");
    println!(
        "  calls                 {:>8}   {RESOLVE_CALLERS} callers",
        summary.resolve_calls
    );
    println!("  latency p50           {:>8.2} ms", summary.resolve_p50_ms);
    println!("  latency p99           {:>8.2} ms", summary.resolve_p99_ms);
    println!(
        "Against the sample's truth ({} persons)",
        summary.evaluation.true_clusters
    );
    println!(
        "  {:<20}  {:>9} {:>9} {:>9}",
        "", "precision", "recall", "F1"
    );
    for (name, measure) in [
        ("pairs", summary.evaluation.pairwise),
        ("B-cubed", summary.evaluation.b_cubed),
    ] {
        println!(
            "  {name:<20}  {:>9.4} {:>9.4} {:>9.4}",
            measure.precision, measure.recall, measure.f1
        );
    }
}
