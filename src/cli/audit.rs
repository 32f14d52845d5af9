//! `veridem audit`.

use std::time::{Duration, UNIX_EPOCH};

use veridem_proto::v1;

use super::remote::{RemoteArguments, block_on, told};
use crate::store::{AuditHead, StoredAuditEntry};

/// The audit log of a running service: who made which call, when and why.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem audit list\n  veridem audit verify\n  veridem audit verify --seen 1200:5f0c…"
)]
pub struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(clap::Subcommand)]
enum AuditCommand {
    /// Lists all entries, oldest first.
    List(RemoteArguments),
    /// Computes the hash of every entry anew: fails where one was changed, taken out or put between.
    Verify(VerifyArguments),
}

#[derive(clap::Args)]
struct VerifyArguments {
    /// What an earlier `verify` printed of the last entry: fails where the log does not hold it any more. A log that was written anew as
    /// a whole shows in nothing else.
    #[arg(long, value_name = "NUMBER:HASH", value_parser = head_of)]
    seen: Option<AuditHead>,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Entries asked for at once.
const PAGE: u32 = 1_000;

pub(super) fn run(arguments: AuditArguments) -> anyhow::Result<()> {
    block_on(async {
        match arguments.command {
            AuditCommand::List(remote) => for_each_entry(&remote, print).await,
            AuditCommand::Verify(arguments) => verify(&arguments).await,
        }
    })
}

fn head_of(text: &str) -> Result<AuditHead, String> {
    let parsed = text.split_once(':').and_then(|(number, hash)| {
        let mut head = AuditHead {
            number: number.parse().ok()?,
            ..AuditHead::default()
        };
        hex::decode_to_slice(hash, &mut head.hash).ok()?;
        Some(head)
    });
    parsed.ok_or_else(|| "must be a number, a colon and 64 hexadecimal digits".to_owned())
}

async fn for_each_entry(
    remote: &RemoteArguments,
    mut each: impl FnMut(StoredAuditEntry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut client = remote.stewardship().await?;
    let mut page_token = String::new();
    loop {
        let asked = remote.request(v1::ListAuditEntriesRequest {
            page_size: PAGE,
            page_token,
        })?;
        let page = client.list_audit_entries(asked).await.map_err(told)?;
        let page = page.into_inner();
        for entry in page.audit_entries {
            each(stored(entry)?)?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn stored(entry: v1::AuditEntry) -> anyhow::Result<StoredAuditEntry> {
    let number = entry.number;
    let hash = |bytes: Vec<u8>| {
        let hash = bytes.try_into();
        hash.map_err(|_| anyhow::anyhow!("entry {number} holds a hash that is not 32 bytes long"))
    };
    Ok(StoredAuditEntry {
        number,
        at_ms: entry.at_ms,
        principal: entry.principal,
        call: entry.call,
        subjects: entry.subjects,
        note: entry.note,
        note_salt: entry.note_salt.try_into().unwrap_or_default(),
        note_hash: hash(entry.note_hash)?,
        events: (entry.last_event > 0).then_some((entry.first_event, entry.last_event)),
        previous_hash: hash(entry.previous_hash)?,
        hash: hash(entry.hash)?,
    })
}

fn print(entry: StoredAuditEntry) -> anyhow::Result<()> {
    let at = UNIX_EPOCH + Duration::from_millis(entry.at_ms.max(0) as u64);
    let mut line = format!(
        "{:>6}  {}  {}  {}",
        entry.number,
        humantime::format_rfc3339_seconds(at),
        entry.principal,
        entry.call
    );
    if !entry.subjects.is_empty() {
        line += &format!("  {}", entry.subjects.join(", "));
    }
    if let Some((first, last)) = entry.events {
        line += &format!("  events {first} to {last}");
    }
    if !entry.note.is_empty() {
        line += &format!("  {:?}", entry.note);
    }
    println!("{line}");
    Ok(())
}

async fn verify(arguments: &VerifyArguments) -> anyhow::Result<()> {
    let mut last = AuditHead::default();
    let mut has_seen = arguments.seen.is_none_or(|seen| seen == last);
    for_each_entry(&arguments.remote, |entry| {
        anyhow::ensure!(
            entry.follows(&last),
            "entry {} is not what was written after entry {}: the log was changed",
            entry.number,
            last.number
        );
        last = entry.head();
        has_seen |= arguments.seen == Some(last);
        Ok(())
    })
    .await?;
    if let Some(seen) = arguments.seen.filter(|_| !has_seen) {
        anyhow::bail!(
            "entry {} is gone, or is not the one that was seen: the log was cut or written anew",
            seen.number
        );
    }
    println!(
        "{} entries, none changed; the last one is {}:{}",
        last.number,
        last.number,
        hex::encode(last.hash)
    );
    Ok(())
}
