//! The service as a process that can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tonic::transport::Channel;

pub struct Process {
    child: Child,
    pub channel: Channel,
}

impl Process {
    pub async fn start(directory: &Path, engine: &str) -> Self {
        Self::start_with(directory, &format!("store_engine = {engine:?}\n")).await
    }

    /// Starts with further settings.
    pub async fn start_with(directory: &Path, settings: &str) -> Self {
        let config = directory.join("veridem.toml");
        let text = format!(
            "data_directory = {:?}\ngrpc_address = \"127.0.0.1:0\"\nhttp_address = \"127.0.0.1:0\"\nlog_format = \"json\"\nlog_filter = \"info\"\nindex_commit_interval = \"50ms\"\n{settings}",
            directory.join("data")
        );
        std::fs::write(&config, text).expect("the configuration is written");
        Self::spawn(&["serve".into(), "--config".into(), config.into()]).await
    }

    /// Runs a command of the binary that logs JSON and serves gRPC.
    pub async fn spawn(arguments: &[std::ffi::OsString]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veridem"));
        let mut child = command
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
        let mut said = Vec::new();
        let address = log.find_map(|line| {
            said.push(line.expect("a log line"));
            grpc_address(said.last().expect("a line"))
        });
        let address = address.unwrap_or_else(|| panic!("it does not listen: {said:?}"));
        // Someone has to read on, or the process would stop at a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("an address")
            .connect()
            .await
            .expect("it listens");
        Self { child, channel }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits until it has.
    #[allow(dead_code, reason = "for the test of chaos")]
    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").arg(&id).status().expect("kill runs");
        assert!(asked.success() && self.child.wait().expect("it ends").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn grpc_address(line: &str) -> Option<SocketAddr> {
    let parsed: serde_json::Value = serde_json::from_str(line).ok()?;
    parsed["fields"]["grpc_address"].as_str()?.parse().ok()
}
