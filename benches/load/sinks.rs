//! Sinks that take everything: a webhook in this process, and NATS where a server is installed.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tonic::transport::Channel;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

/// Running consumers.
pub struct Sinks {
    nats: Option<Child>,
    /// What the configuration of the service says of them.
    pub settings: String,
}

impl Sinks {
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/events", listener.local_addr()?);
        let taken = post(|_: axum::body::Bytes| std::future::ready(StatusCode::NO_CONTENT));
        tokio::spawn(
            async move { axum::serve(listener, Router::new().route("/events", taken)).await },
        );
        let mut settings = format!(
            "\n[[sinks]]\nname = \"webhook\"\nkind = \"webhook\"\nurl = {url:?}\nsecret = \"known to both\"\nbatch = 100\n"
        );
        let nats = start_nats(directory, &mut settings).await?;
        Ok(Self { nats, settings })
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        if let Some(nats) = &mut self.nats {
            let _ = nats.kill();
            let _ = nats.wait();
        }
    }
}

#[cfg(not(feature = "nats"))]
async fn start_nats(_: &Path, _: &mut String) -> anyhow::Result<Option<Child>> {
    println!("no NATS: built without --features nats");
    Ok(None)
}

#[cfg(feature = "nats")]
async fn start_nats(directory: &Path, settings: &mut String) -> anyhow::Result<Option<Child>> {
    use std::process::{Command, Stdio};

    use async_nats::jetstream;

    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let config = directory.join("nats.conf");
    let files = directory.join("nats");
    let text = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {files:?} }}\n");
    std::fs::write(&config, text)?;
    let mut command = Command::new("nats-server");
    let command = command.arg("-c").arg(&config);
    let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        println!("no NATS: nats-server is not installed");
        return Ok(None);
    };
    let url = format!("nats://127.0.0.1:{port}");
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let context = jetstream::new(options.connect(&url).await?);
    let stream = jetstream::stream::Config {
        name: "identities".into(),
        subjects: vec!["retail.identity.*".into()],
        ..Default::default()
    };
    let started = Instant::now();
    while context.get_or_create_stream(stream.clone()).await.is_err() {
        anyhow::ensure!(
            started.elapsed() < Duration::from_secs(20),
            "NATS does not start"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settings.push_str(&format!(
        "\n[[sinks]]\nname = \"nats\"\nkind = \"nats\"\nurl = {url:?}\nsubject = \"retail.identity\"\n"
    ));
    Ok(Some(child))
}

/// Waits until a sink has delivered everything that there was at the beginning; returns events a second.
pub async fn drain(channel: &Channel, sink: &str) -> anyhow::Result<f64> {
    let mut client = OperationsServiceClient::new(channel.clone());
    let asked = v1::ReplaySinkRequest {
        sink: sink.to_owned(),
        from: Some(v1::replay_sink_request::From::Sequence(1)),
    };
    client.replay_sink(asked).await?;
    let started = Instant::now();
    loop {
        let listed = client
            .list_sinks(v1::ListSinksRequest {})
            .await?
            .into_inner();
        let found = listed.sinks.into_iter().find(|known| known.name == sink);
        let found = found.ok_or_else(|| anyhow::anyhow!("no sink {sink}"))?;
        anyhow::ensure!(
            found.dead_letters == 0,
            "dead letters: {}",
            found.last_error
        );
        if found.lag == 0 {
            return Ok(found.cursor as f64 / started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until no sink has anything left.
pub async fn settle(channel: &Channel) -> anyhow::Result<()> {
    let mut client = OperationsServiceClient::new(channel.clone());
    loop {
        let listed = client
            .list_sinks(v1::ListSinksRequest {})
            .await?
            .into_inner();
        if listed.sinks.iter().all(|sink| sink.lag == 0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
