//! `veridem relay`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use bytesize::ByteSize;

use super::job::read_text;
use super::serve::stop_requested;
use crate::config::{Principal, Role};
use crate::relay::{Relay, RelaySettings, WhenFull};
use crate::store::{DurableQueue, Tenant};
use crate::telemetry::{self, LogFormat};

/// Takes signals in a shop's back office, keeps them on disk, and passes them on while the line is there.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem relay --upstream http://veridem.example.com:50051 --data /var/lib/veridem-relay --token-file /run/secrets/shop-token\n  veridem relay --data /var/lib/veridem-relay --list-refused"
)]
pub struct RelayArguments {
    /// The gRPC address of the service.
    #[arg(long, value_name = "URL", required_unless_present = "list_refused")]
    upstream: Option<String>,
    /// Where signals wait.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A file that holds the token for the service.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The tenant.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// gRPC listens here.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    grpc_address: SocketAddr,
    /// The JSON gateway, metrics and health are here.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http_address: SocketAddr,
    /// A file that holds the token of whoever sends; needed where others than this machine can reach the addresses.
    #[arg(long, value_name = "FILE")]
    client_token_file: Option<PathBuf>,
    /// Bytes of signals that may wait.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    max_size: ByteSize,
    /// What happens beyond that.
    #[arg(long, value_enum, default_value_t)]
    when_full: WhenFull,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// Print the signals that the service refused for good, a JSON line each, and end; the relay must not run.
    #[arg(long)]
    list_refused: bool,
}

fn token(path: &Option<PathBuf>) -> anyhow::Result<Option<String>> {
    let text = path.as_deref().map(read_text).transpose()?;
    Ok(text.map(|text| text.trim().to_owned()))
}

pub(super) fn run(arguments: RelayArguments) -> anyhow::Result<()> {
    if arguments.list_refused {
        return list_refused(&arguments);
    }
    let tenant = Tenant::try_from(arguments.tenant.clone()).map_err(anyhow::Error::msg)?;
    let mut principals = Vec::new();
    if let Some(token) = token(&arguments.client_token_file)? {
        anyhow::ensure!(
            token.len() >= 16,
            "--client-token-file: the token is shorter than 16 characters"
        );
        principals.push(Principal {
            name: "shop".to_owned(),
            token,
            tenants: vec![Tenant::default_tenant(), tenant],
            role: Role::Service,
        });
    }
    let settings = RelaySettings {
        upstream: arguments
            .upstream
            .clone()
            .context("--upstream is missing")?,
        token: token(&arguments.token_file)?,
        tenant: arguments.tenant,
        data_directory: arguments.data,
        grpc_address: arguments.grpc_address,
        http_address: arguments.http_address,
        max_bytes: arguments.max_size.as_u64(),
        when_full: arguments.when_full,
        principals,
    };
    telemetry::start_logging("info", arguments.log_format)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let relay = Relay::start(settings).await?;
            stop_requested().await?;
            relay.stop().await;
            Ok(())
        })
}

fn list_refused(arguments: &RelayArguments) -> anyhow::Result<()> {
    let queue = DurableQueue::open(&arguments.data)?;
    let mut after = None;
    loop {
        let entries = queue.refused(after, 1_000)?;
        let Some((last, _)) = entries.last() else {
            return Ok(());
        };
        after = Some(*last);
        for (_, signal) in entries {
            println!("{}", crate::schema::to_json("veridem.v1.Signal", &signal)?);
        }
    }
}
