//! `veridem backup` and `veridem restore`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio_stream::StreamExt;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

use super::load::{NewData, ensure_no_store};
use super::remote::{block_on, connect, request, told};
use super::serve::read_config;
use crate::lifecycle::{STORE_DIRECTORY, existing_store};
use crate::store::{check_tenant, open_store, read_backup, write_backup};

/// Writes everything that a service holds into one file: from a running service over gRPC, consistent while it goes on, or from the
/// data directory of one that does not run.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  veridem backup --address http://127.0.0.1:50051 --out customers.backup\n  veridem backup --config veridem.toml --out customers.backup"
)]
pub struct BackupArguments {
    /// The gRPC address of a running service; without it the data directory is read.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The tenant asked for of a running service.
    #[arg(long, default_value = "default", requires = "address")]
    tenant: String,
    /// A file that holds the bearer token for the running service.
    #[arg(long, value_name = "FILE", requires = "address")]
    token_file: Option<PathBuf>,
    /// Settings that name the data directory, as for `veridem serve`.
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    config: Option<PathBuf>,
    /// Where the backup goes; must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes a data directory from a backup and checks it.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  veridem restore customers.backup --config veridem.toml\n  veridem serve --config veridem.toml"
)]
pub struct RestoreArguments {
    /// The backup.
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// Settings that name the data directory, as for `veridem serve`; it must not have a store yet.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn backup(arguments: &BackupArguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    anyhow::ensure!(!out.exists(), "{} exists; name a new file", out.display());
    // Whole under its name or not there at all.
    let directory = out.parent().filter(|parent| *parent != Path::new(""));
    let directory = directory.unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| format!("cannot write into {}", directory.display()))?;
    match &arguments.address {
        Some(address) => {
            block_on(fetch(arguments, address, &mut file))?;
        }
        None => {
            let config = read_config(arguments.config.clone())?;
            let store = existing_store(&config)?;
            write_backup(store.as_ref(), None, BufWriter::new(&mut file))?;
        }
    }
    file.as_file().sync_all()?;
    let bytes = file.as_file().metadata()?.len();
    file.persist(out)?;
    File::open(directory)?.sync_all()?;
    println!("{bytes} bytes in {}", out.display());
    Ok(())
}

async fn fetch(
    arguments: &BackupArguments,
    address: &str,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let asked = request(
        v1::BackupRequest {},
        &arguments.tenant,
        arguments.token_file.as_deref(),
    )?;
    let mut client = OperationsServiceClient::new(connect(address).await?);
    let mut chunks = client.backup(asked).await.map_err(told)?.into_inner();
    while let Some(response) = chunks.next().await {
        output.write_all(&response.map_err(told)?.chunk)?;
    }
    Ok(())
}

pub(super) fn restore(arguments: &RestoreArguments) -> anyhow::Result<()> {
    let config = read_config(arguments.config.clone())?;
    ensure_no_store(&config.data_directory)?;
    let file = File::open(&arguments.backup)
        .with_context(|| format!("cannot read {}", arguments.backup.display()))?;
    let new = NewData::begin(&config.data_directory)?;
    let directory = new.path().join(STORE_DIRECTORY);
    let entries = {
        let store = open_store(&directory, config.store_engine, config.cache_bytes)?;
        read_backup(store.as_ref(), BufReader::new(file))?
    };
    // Opened again, so that format and tenants are those of the backup.
    let store = open_store(&directory, config.store_engine, config.cache_bytes)?;
    for tenant in store.tenants() {
        let problems = check_tenant(store.as_ref(), &tenant)?;
        anyhow::ensure!(
            problems.is_empty(),
            "tenant {}: {}",
            tenant.as_str(),
            problems.join("; ")
        );
        println!(
            "tenant {}: {} source records, {} identities",
            tenant.as_str(),
            store.counters(&tenant)?.source_records,
            store.counters(&tenant)?.identities
        );
    }
    drop(store);
    new.finish()?;
    println!("{entries} entries in {}", config.data_directory.display());
    Ok(())
}
