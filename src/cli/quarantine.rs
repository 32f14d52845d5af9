//! `veridem quarantine`, `veridem sources`.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use prost::Message as _;
use veridem_proto::v1;

use super::job::read_text;
use super::remote::{RemoteArguments, block_on, told};
use crate::schema::{CONTRACT, read_json, to_json};

/// What a running service has set aside: signals that their source may not send as they are, and messages that are no signals.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem quarantine list\n  veridem quarantine show 0123456789abcdef0123456789abcdef > signal.json\n  veridem quarantine resubmit 0123456789abcdef0123456789abcdef --mended signal.json\n  veridem quarantine resubmit --all"
)]
pub struct QuarantineArguments {
    #[command(subcommand)]
    command: QuarantineCommand,
}

#[derive(clap::Subcommand)]
enum QuarantineCommand {
    /// Lists what is set aside, with the reasons and without values.
    List(RemoteArguments),
    /// Prints a signal as JSON, or a message that is none as it came.
    Show(OneArguments),
    /// Submits it once more, as it is or mended.
    Resubmit(ResubmitArguments),
    /// Gives it up for good.
    Discard(OneArguments),
}

#[derive(clap::Args)]
struct OneArguments {
    /// Its id, as `list` tells it.
    id: String,
    #[command(flatten)]
    remote: RemoteArguments,
}

#[derive(clap::Args)]
#[group(id = "which", required = true, args = ["id", "all"])]
struct ResubmitArguments {
    /// Its id, as `list` tells it.
    id: Option<String>,
    /// The signal as it should be, a JSON file.
    #[arg(long, value_name = "FILE", requires = "id")]
    mended: Option<PathBuf>,
    /// Everything, as it is: after a change of the registry.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// The sources that a running service knows.
#[derive(clap::Args)]
pub struct SourcesArguments {
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Entries asked for at once.
const PAGE: u32 = 1_000;

pub(super) fn run(arguments: QuarantineArguments) -> anyhow::Result<()> {
    block_on(async {
        match arguments.command {
            QuarantineCommand::List(remote) => list(&remote).await,
            QuarantineCommand::Show(arguments) => show(&arguments).await,
            QuarantineCommand::Resubmit(arguments) => resubmit(arguments).await,
            QuarantineCommand::Discard(arguments) => discard(arguments).await,
        }
    })
}

async fn entries(remote: &RemoteArguments) -> anyhow::Result<Vec<v1::Quarantined>> {
    let mut client = remote.operations().await?;
    let (mut page_token, mut entries) = (String::new(), Vec::new());
    loop {
        let asked = remote.request(v1::ListQuarantineRequest {
            page_size: PAGE,
            page_token,
        })?;
        let page = client
            .list_quarantine(asked)
            .await
            .map_err(told)?
            .into_inner();
        entries.extend(page.quarantined);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(entries);
        }
    }
}

async fn list(remote: &RemoteArguments) -> anyhow::Result<()> {
    let entries = entries(remote).await?;
    if entries.is_empty() {
        println!("nothing is set aside");
    }
    for entry in entries {
        let received = UNIX_EPOCH + Duration::from_millis(entry.received_at_ms.max(0) as u64);
        let source = entry
            .signal
            .map_or("no signal".to_owned(), |signal| signal.source);
        println!(
            "{}  {}  {source} through {}: {}",
            entry.quarantine_id,
            humantime::format_rfc3339_seconds(received),
            entry.origin,
            entry.reasons.join("; ")
        );
    }
    Ok(())
}

async fn show(arguments: &OneArguments) -> anyhow::Result<()> {
    use std::io::Write as _;
    let entries = entries(&arguments.remote).await?;
    let entry = entries
        .into_iter()
        .find(|entry| entry.quarantine_id == arguments.id);
    let entry = entry.context("nothing of that id is set aside")?;
    match entry.signal {
        Some(signal) => println!("{}", to_json("veridem.v1.Signal", &signal.encode_to_vec())?),
        None => std::io::stdout().write_all(&entry.message)?,
    }
    Ok(())
}

async fn resubmit(arguments: ResubmitArguments) -> anyhow::Result<()> {
    let signal = match &arguments.mended {
        None => None,
        Some(path) => Some(read_signal(path)?),
    };
    let ids = match arguments.id {
        Some(id) => vec![id],
        None => entries(&arguments.remote)
            .await?
            .into_iter()
            .map(|entry| entry.quarantine_id)
            .collect(),
    };
    let mut client = arguments.remote.operations().await?;
    let (mut accepted, mut refused) = (0, 0);
    for quarantine_id in ids {
        let asked = arguments.remote.request(v1::ResubmitQuarantinedRequest {
            quarantine_id: quarantine_id.clone(),
            signal: signal.clone(),
        })?;
        match client.resubmit_quarantined(asked).await {
            Ok(_) => accepted += 1,
            Err(status) => {
                refused += 1;
                println!("{quarantine_id}: {}", status.message());
            }
        }
    }
    println!("{accepted} accepted");
    anyhow::ensure!(refused == 0, "{refused} stay set aside");
    Ok(())
}

fn read_signal(path: &std::path::Path) -> anyhow::Result<v1::Signal> {
    let descriptor = CONTRACT.get_message_by_name("veridem.v1.Signal");
    let descriptor = descriptor.context("the contract has no signal")?;
    let bytes = read_json(descriptor, read_text(path)?.as_bytes())
        .map_err(|problem| anyhow::anyhow!("{}: {problem}", path.display()))?;
    Ok(v1::Signal::decode(bytes.as_slice())?)
}

async fn discard(arguments: OneArguments) -> anyhow::Result<()> {
    let asked = arguments.remote.request(v1::DiscardQuarantinedRequest {
        quarantine_ids: vec![arguments.id],
    })?;
    let mut client = arguments.remote.operations().await?;
    let answer = client.discard_quarantined(asked).await.map_err(told)?;
    println!("{} discarded", answer.into_inner().discarded);
    Ok(())
}

pub(super) fn sources(arguments: SourcesArguments) -> anyhow::Result<()> {
    block_on(async {
        let remote = arguments.remote;
        let asked = remote.request(v1::ListSourcesRequest {})?;
        let answer = remote.operations().await?.list_sources(asked).await;
        let sources = answer.map_err(told)?.into_inner().sources;
        if sources.is_empty() {
            println!("no sources are registered: any may send anything");
            return Ok(());
        }
        println!(
            "{:<20} {:>6} {:>12} {:>12} {:>10} {:>8} {:>6}  owner",
            "source", "trust", "signals/day", "max silence", "max delay", "in time", "rules"
        );
        for source in sources {
            let shown = |milliseconds| match milliseconds {
                0 => "-".to_owned(),
                _ => humantime::format_duration(Duration::from_millis(milliseconds)).to_string(),
            };
            let expected = match source.expected_signals_per_day {
                0 => "-".to_owned(),
                expected => expected.to_string(),
            };
            println!(
                "{:<20} {:>6} {:>12} {:>12} {:>10} {:>7}% {:>6}  {}",
                source.name,
                source.trust,
                expected,
                shown(source.max_silence_ms),
                shown(source.max_delay_ms),
                source.service_level * 100.0,
                source.rules,
                source.owner
            );
        }
        Ok(())
    })
}
