//! The server under load: a process of its own over a loaded store.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tonic::transport::Channel;

use crate::client::Client;

/// A configuration for a server over `data` in a directory, with some lines more.
pub fn write_config(directory: &Path, engine: &str, lines: &[String]) -> anyhow::Result<PathBuf> {
    let config = directory.join("veridem.toml");
    let data = directory.join("data");
    std::fs::write(
        &config,
        format!(
            "data_directory = {data:?}\nstore_engine = {engine:?}\ngrpc_address = \"127.0.0.1:0\"\nhttp_address = \"127.0.0.1:0\"\nlog_format = \"json\"\n{}\n",
            lines.join("\n")
        ),
    )?;
    Ok(config)
}

/// A server process, killed when it is dropped.
pub struct Server {
    child: Child,
    /// For what is not measured.
    pub channel: Channel,
    pub clients: Vec<Client>,
    directory: PathBuf,
    pub start_seconds: f64,
    pub records: u64,
    /// What opens a session at the console.
    pub console_link: String,
}

impl Server {
    pub async fn start(directory: &Path, config: &Path, records: u64) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_veridem"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
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
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| anyhow::anyhow!("no output"))?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        let console_link = said.split_whitespace().nth(1).unwrap_or_default();
        let endpoint = Channel::from_shared(format!("http://{address}"))?;
        let channel = endpoint.connect().await?;
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(Client::connect(address).await?);
        }
        Ok(Self {
            child,
            channel,
            clients,
            directory: directory.join("data"),
            records,
            console_link: console_link.to_owned(),
            start_seconds: started.elapsed().as_secs_f64(),
        })
    }

    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kibibytes| kibibytes * 1024)
    }

    pub fn disk_bytes(&self) -> u64 {
        size_of(&self.directory)
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

/// Copies a directory with everything in it.
pub fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
