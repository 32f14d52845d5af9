//! A real RabbitMQ server.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use crate::support::free_address;

/// Debian's own path: the one on the PATH wants to be root and changes the user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
pub const EXCHANGE: &str = "identities";
pub const QUEUE: &str = "cdp";

/// A RabbitMQ server that may be killed and started again on the same port and files.
pub struct RabbitMqServer {
    child: Child,
    directory: PathBuf,
    port: u16,
    pub url: String,
}

impl RabbitMqServer {
    /// None where no server is installed.
    pub async fn start(directory: &Path) -> Option<Self> {
        if !Path::new(SERVER).exists() {
            // Not through the test's own output, which is shown for failures only.
            let _ = writeln!(
                std::io::stderr(),
                "NOT RUN: rabbitmq-server is not installed (Debian package rabbitmq-server)"
            );
            return None;
        }
        let directory = directory.join("rabbitmq");
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("plugins"), "[].").expect("written");
        let port = free_address().port();
        let child = spawn(&directory, port);
        let server = Self {
            child,
            directory,
            port,
            url: format!("amqp://127.0.0.1:{port}/%2f"),
        };
        let channel = server.channel().await;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared = channel.exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        );
        declared.await.expect("an exchange");
        server.queue(&channel).await;
        let bound = channel.queue_bind(
            QUEUE.into(),
            EXCHANGE.into(),
            "retail.identity.*".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.expect("bound");
        Some(server)
    }

    pub fn kill(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.directory, self.port);
    }

    pub async fn channel(&self) -> Channel {
        for _ in 0..300 {
            let connection = Connection::connect(&self.url, ConnectionProperties::default());
            match tokio::time::timeout(Duration::from_secs(10), connection).await {
                Ok(Ok(connection)) => return connection.create_channel().await.expect("a channel"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("the server does not come up");
    }

    async fn queue(&self, channel: &Channel) -> usize {
        let declared = channel.queue_declare(
            QUEUE.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        );
        declared.await.expect("a queue").message_count() as usize
    }

    /// Takes everything out of the queue: the last part of the routing key, and the event.
    pub async fn messages(&self) -> Vec<(String, Value)> {
        let channel = self.channel().await;
        let mut messages = Vec::new();
        let get = || channel.basic_get(QUEUE.into(), BasicGetOptions { no_ack: true });
        while let Some(message) = get().await.expect("reads") {
            let kind = message
                .routing_key
                .as_str()
                .rsplit('.')
                .next()
                .unwrap_or_default();
            let event = serde_json::from_slice(&message.data).expect("JSON");
            messages.push((kind.to_owned(), event));
        }
        messages
    }
}

fn spawn(directory: &Path, port: u16) -> Child {
    let folder = |name: &str| directory.join(name);
    Command::new(SERVER)
        .env("HOME", directory)
        .env("RABBITMQ_NODENAME", format!("veridem{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", free_address().port().to_string())
        .env("ERL_EPMD_PORT", epmd_port(port).to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_MNESIA_BASE", folder("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder("log"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder("plugins"))
        .env("RABBITMQ_CONFIG_FILE", folder("none"))
        .env("RABBITMQ_PID_FILE", folder("pid"))
        .env("RABBITMQ_SERVER_START_ARGS", "+S 1:1")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs")
}

/// Of the name server of Erlang, which the node starts and leaves behind.
fn epmd_port(port: u16) -> u16 {
    if port > 60_000 {
        port - 20_000
    } else {
        port + 1
    }
}

impl Drop for RabbitMqServer {
    fn drop(&mut self) {
        self.kill();
        let port = epmd_port(self.port).to_string();
        let epmd = Command::new("epmd")
            .args(["-port", &port, "-kill"])
            .stdout(Stdio::null())
            .status();
        let _ = epmd;
    }
}
