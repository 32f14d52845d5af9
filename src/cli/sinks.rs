//! `veridem sinks`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use veridem_proto::v1;

use super::remote::{RemoteArguments, block_on, told};

/// The sinks of a running service: how they fare, what they have given up, and sending it again.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem sinks list\n  veridem sinks dead-letters erp\n  veridem sinks redrive erp --all\n  veridem sinks replay cdp --snapshot\n  veridem sinks replay cdp --from-time 2026-11-24T18:00:00Z\n  veridem sinks reconcile cdp held.csv --repair"
)]
pub struct SinksArguments {
    #[command(subcommand)]
    command: SinksCommand,
}

#[derive(clap::Subcommand)]
enum SinksCommand {
    /// Lists the sinks with their lag, retries and dead letters.
    List(RemoteArguments),
    /// Lists the events that a sink has given up, each with the reason.
    DeadLetters(SinkArguments),
    /// Sends dead letters again, as if they had never failed; what waits behind them follows.
    Redrive(DeadLettersArguments),
    /// Gives dead letters up for good; what waits behind them goes on.
    Discard(DeadLettersArguments),
    /// Delivers anew what a sink has had before.
    Replay(ReplayArguments),
    /// Compares what a consumer holds with what there is.
    Reconcile(ReconcileArguments),
}

#[derive(clap::Args)]
struct SinkArguments {
    /// The sink's name.
    sink: String,
    #[command(flatten)]
    remote: RemoteArguments,
}

#[derive(clap::Args)]
#[group(id = "which", required = true, args = ["sequence", "all"])]
struct DeadLettersArguments {
    #[command(flatten)]
    sink: SinkArguments,
    /// The sequence number of an event; may be given several times.
    #[arg(long, value_name = "NUMBER")]
    sequence: Vec<u64>,
    /// All of the sink.
    #[arg(long)]
    all: bool,
}

#[derive(clap::Args)]
#[group(id = "from", required = true, args = ["from_sequence", "from_time", "snapshot"])]
struct ReplayArguments {
    #[command(flatten)]
    sink: SinkArguments,
    /// Begin with this event.
    #[arg(long, value_name = "NUMBER")]
    from_sequence: Option<u64>,
    /// Begin with the first event that was decided then or later, for example 2026-11-24T18:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339)]
    from_time: Option<SystemTime>,
    /// Begin with the present state of every living identity; every event since follows.
    #[arg(long)]
    snapshot: bool,
}

#[derive(clap::Args)]
struct ReconcileArguments {
    #[command(flatten)]
    sink: SinkArguments,
    /// What the consumer holds: a CSV file with the columns identity_id and version.
    held: PathBuf,
    /// Deliver what is missing or wrong once more.
    #[arg(long)]
    repair: bool,
}

/// Identities in one message.
const HELD_AT_ONCE: usize = 5_000;

/// Dead letters asked for at once.
const PAGE: u32 = 1_000;

pub(super) fn run(arguments: SinksArguments) -> anyhow::Result<()> {
    block_on(async {
        match arguments.command {
            SinksCommand::List(remote) => list(&remote).await,
            SinksCommand::DeadLetters(arguments) => dead_letters(arguments).await,
            SinksCommand::Redrive(arguments) => redrive(arguments).await,
            SinksCommand::Discard(arguments) => discard(arguments).await,
            SinksCommand::Replay(arguments) => replay(arguments).await,
            SinksCommand::Reconcile(arguments) => reconcile(arguments).await,
        }
    })
}

async fn list(remote: &RemoteArguments) -> anyhow::Result<()> {
    let asked = remote.request(v1::ListSinksRequest {})?;
    let answer = remote.operations().await?.list_sinks(asked).await;
    let sinks = answer.map_err(told)?.into_inner().sinks;
    if sinks.is_empty() {
        println!("no sinks are configured for this tenant");
        return Ok(());
    }
    println!(
        "{:<20} {:<8} {:>12} {:>10} {:>8} {:>12}  owner, last failure",
        "sink", "kind", "cursor", "lag", "retries", "dead letters"
    );
    for sink in sinks {
        let mut notes = vec![sink.owner];
        if sink.down {
            notes.push("the consumer counts as down".to_owned());
        }
        notes.push(sink.last_error);
        notes.retain(|note| !note.is_empty());
        println!(
            "{:<20} {:<8} {:>12} {:>10} {:>8} {:>12}  {}",
            sink.name,
            sink.kind,
            sink.cursor,
            sink.lag,
            sink.retries,
            sink.dead_letters,
            notes.join("; ")
        );
    }
    Ok(())
}

async fn dead_letters(arguments: SinkArguments) -> anyhow::Result<()> {
    let mut client = arguments.remote.operations().await?;
    let (mut page_token, mut count) = (String::new(), 0);
    loop {
        let asked = arguments.remote.request(v1::ListDeadLettersRequest {
            sink: arguments.sink.clone(),
            page_size: PAGE,
            page_token,
        })?;
        let page = client.list_dead_letters(asked).await.map_err(told)?;
        let page = page.into_inner();
        count += page.dead_letters.len();
        for letter in page.dead_letters {
            let failed_at_ms = u64::try_from(letter.failed_at_ms).unwrap_or(0);
            let failed_at = UNIX_EPOCH + std::time::Duration::from_millis(failed_at_ms);
            println!(
                "{}  {}  {}  {} attempts, the last {}: {}",
                letter.sequence,
                letter.kind,
                letter.identity_id,
                letter.attempts,
                humantime::format_rfc3339_seconds(failed_at),
                letter.reason
            );
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            if count == 0 {
                println!("no dead letters");
            }
            return Ok(());
        }
    }
}

async fn redrive(arguments: DeadLettersArguments) -> anyhow::Result<()> {
    let DeadLettersArguments {
        sink,
        sequence,
        all,
    } = arguments;
    let asked = sink.remote.request(v1::RedriveDeadLettersRequest {
        sink: sink.sink,
        sequences: sequence,
        all,
    })?;
    let mut client = sink.remote.operations().await?;
    let answer = client.redrive_dead_letters(asked).await.map_err(told)?;
    println!("{} are sent again", answer.into_inner().redriven);
    Ok(())
}

async fn discard(arguments: DeadLettersArguments) -> anyhow::Result<()> {
    let DeadLettersArguments {
        sink,
        sequence,
        all,
    } = arguments;
    let asked = sink.remote.request(v1::DiscardDeadLettersRequest {
        sink: sink.sink,
        sequences: sequence,
        all,
    })?;
    let mut client = sink.remote.operations().await?;
    let answer = client.discard_dead_letters(asked).await.map_err(told)?;
    println!("{} are discarded", answer.into_inner().discarded);
    Ok(())
}

async fn replay(arguments: ReplayArguments) -> anyhow::Result<()> {
    use v1::replay_sink_request::From;
    let from = match (arguments.from_sequence, arguments.from_time) {
        (Some(sequence), _) => From::Sequence(sequence),
        (None, Some(time)) => {
            let since = time
                .duration_since(UNIX_EPOCH)
                .context("--from-time lies before 1970")?;
            From::TimeMs(since.as_millis().try_into()?)
        }
        (None, None) => From::Snapshot(arguments.snapshot),
    };
    let sink = arguments.sink;
    let asked = sink.remote.request(v1::ReplaySinkRequest {
        sink: sink.sink,
        from: Some(from),
    })?;
    let mut client = sink.remote.operations().await?;
    let answer = client.replay_sink(asked).await.map_err(told)?;
    println!(
        "it is replayed from event {}",
        answer.into_inner().first_sequence
    );
    Ok(())
}

/// A line of what a consumer holds.
#[derive(serde::Deserialize)]
struct Held {
    identity_id: String,
    version: u64,
}

async fn reconcile(arguments: ReconcileArguments) -> anyhow::Result<()> {
    use v1::reconcile_response::Outcome;
    let sink = arguments.sink;
    let path = arguments.held;
    let mut lines =
        csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut messages = vec![v1::ReconcileRequest {
        sink: sink.sink,
        repair: arguments.repair,
        held: Vec::new(),
    }];
    for line in lines.deserialize() {
        // The error names the line.
        let line: Held = line.with_context(|| path.display().to_string())?;
        if messages
            .last()
            .is_none_or(|last| last.held.len() >= HELD_AT_ONCE)
        {
            messages.push(v1::ReconcileRequest::default());
        }
        if let Some(last) = messages.last_mut() {
            last.held.push(v1::HeldIdentity {
                identity_id: line.identity_id,
                version: line.version,
            });
        }
    }
    let asked = sink.remote.request(tokio_stream::iter(messages))?;
    let mut client = sink.remote.operations().await?;
    let mut answers = client.reconcile(asked).await.map_err(told)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(told)? {
        match answer.outcome {
            Some(Outcome::Discrepancy(wrong)) => {
                let kind = match wrong.kind() {
                    v1::DiscrepancyKind::Missing => "missing".to_owned(),
                    v1::DiscrepancyKind::Stale => {
                        format!(
                            "version {} held, it is {}",
                            wrong.held_version, wrong.version
                        )
                    }
                    v1::DiscrepancyKind::Ended if wrong.successor_identity_ids.is_empty() => {
                        "has no records any more".to_owned()
                    }
                    v1::DiscrepancyKind::Ended => {
                        format!("went into {}", wrong.successor_identity_ids.join(", "))
                    }
                    v1::DiscrepancyKind::Unknown | v1::DiscrepancyKind::Unspecified => {
                        "there never was such an identity".to_owned()
                    }
                };
                println!("{}  {kind}", wrong.identity_id);
            }
            Some(Outcome::Summary(summary)) => println!(
                "{} held, as of event {}: {} missing, {} of another version, {} ended, {} unknown; {} are delivered once more",
                summary.held,
                summary.as_of_sequence,
                summary.missing,
                summary.stale,
                summary.ended,
                summary.unknown,
                summary.repairs_queued
            ),
            None => {}
        }
    }
    Ok(())
}
