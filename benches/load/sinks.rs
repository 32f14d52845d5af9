//! Sinks that take everything: a webhook in this process, and NATS where a server is installed. Elsewhere consumers have machines of their
//! own; here they give way to the service.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tonic::transport::Channel;
use veridem::executor::Background;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

#[cfg(feature = "nats")]
use crate::nats_server::NatsServer;

/// Running consumers.
pub struct Sinks {
    _consumers: Background,
    /// Runs as long as this lives.
    #[cfg(feature = "nats")]
    _nats: Option<NatsServer>,
    /// What the configuration of the service says of them.
    pub settings: String,
}

impl Sinks {
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/events", listener.local_addr()?);
        let taken = post(|_: axum::body::Bytes| std::future::ready(StatusCode::NO_CONTENT));
        let mut consumers = Background::default();
        consumers.spawn(async move {
            axum::serve(listener, Router::new().route("/events", taken)).await
        })?;
        let settings = format!(
            "\n[[sinks]]\nname = \"webhook\"\nkind = \"webhook\"\nurl = {url:?}\nsecret = \"known to both\"\nbatch = 100\n"
        );
        #[cfg(not(feature = "nats"))]
        {
            let _ = directory;
            println!("no NATS: built without --features nats");
            Ok(Self {
                _consumers: consumers,
                settings,
            })
        }
        #[cfg(feature = "nats")]
        {
            let mut settings = settings;
            let directory = directory.to_owned();
            let started = consumers.spawn(async move {
                let nats = NatsServer::start(&directory, 1 << 20)?;
                nats.stream().await;
                Some(nats)
            });
            let nats = started?.await?;
            if let Some(nats) = &nats {
                settings.push_str(&format!(
                    "\n[[sinks]]\nname = \"nats\"\nkind = \"nats\"\nurl = {:?}\nsubject = \"retail.identity\"\n",
                    nats.url
                ));
            }
            Ok(Self {
                _consumers: consumers,
                _nats: nats,
                settings,
            })
        }
    }
}

/// Delivers the whole feed into a sink anew, while the others have nothing to do; returns events a second.
pub async fn replay(channel: &Channel, sink: &str) -> anyhow::Result<f64> {
    let asked = v1::ReplaySinkRequest {
        sink: sink.to_owned(),
        from: Some(v1::replay_sink_request::From::Sequence(1)),
    };
    let mut client = OperationsServiceClient::new(channel.clone());
    client.replay_sink(asked).await?;
    let started = Instant::now();
    let sinks = settle(channel).await?;
    let seconds = started.elapsed().as_secs_f64();
    let found = sinks.into_iter().find(|known| known.name == sink);
    let found = found.ok_or_else(|| anyhow::anyhow!("no sink {sink}"))?;
    anyhow::ensure!(
        found.dead_letters == 0,
        "dead letters: {}",
        found.last_error
    );
    Ok(found.cursor as f64 / seconds)
}

/// Waits until no sink has anything left; returns how they fare.
pub async fn settle(channel: &Channel) -> anyhow::Result<Vec<v1::Sink>> {
    let mut client = OperationsServiceClient::new(channel.clone());
    loop {
        let listed = client.list_sinks(v1::ListSinksRequest {}).await?;
        let sinks = listed.into_inner().sinks;
        if sinks.iter().all(|sink| sink.lag == 0) {
            return Ok(sinks);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
