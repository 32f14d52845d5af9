//! The relay: a small process for a shop's back office. It takes signals over gRPC and JSON as the service does, keeps them on its own
//! disk, and passes them on while the line is there. What it acknowledges survives power loss.

mod backlog;
mod forward;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::api::Authenticator;
use crate::config::Principal;
use crate::{gateway, telemetry};
use backlog::Backlog;
use service::RelayService;

/// What happens to a signal for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenFull {
    /// It is refused with RESOURCE_EXHAUSTED: the till keeps it.
    #[default]
    Refuse,
    /// The oldest signals are lost.
    DropOldest,
}

/// What a relay runs with.
#[derive(Clone)]
pub struct RelaySettings {
    /// The gRPC address of the service, `http://host:50051`.
    pub upstream: String,
    /// The token for the service.
    pub token: Option<String>,
    /// Whose signals.
    pub tenant: String,
    /// Where signals wait.
    pub data_directory: PathBuf,
    /// gRPC listens here.
    pub grpc_address: SocketAddr,
    /// The JSON gateway, metrics and health are here.
    pub http_address: SocketAddr,
    /// Bytes of signals that may wait.
    pub max_bytes: u64,
    /// What happens beyond that.
    pub when_full: WhenFull,
    /// Who may send; empty: anyone on this machine.
    pub principals: Vec<Principal>,
}

/// A running relay.
pub struct Relay {
    /// Where gRPC listens.
    pub grpc_address: SocketAddr,
    /// Where the JSON gateway, metrics and health are.
    pub http_address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    backlog: Backlog,
}

/// How long a stop waits for calls that run.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

impl Relay {
    /// Opens the queue and starts everything. Ports 0 are taken from the system.
    pub async fn start(settings: RelaySettings) -> anyhow::Result<Self> {
        for address in [settings.grpc_address, settings.http_address] {
            anyhow::ensure!(
                address.ip().is_loopback() || !settings.principals.is_empty(),
                "{address} can be reached from other machines; give --client-token-file, or listen on 127.0.0.1"
            );
        }
        let metrics = telemetry::metrics_handle()?;
        let backlog = {
            let (directory, max_bytes) = (settings.data_directory.clone(), settings.max_bytes);
            let when_full = settings.when_full;
            tokio::task::spawn_blocking(move || Backlog::open(&directory, max_bytes, when_full))
                .await??
        };
        let bind = async |address: SocketAddr| {
            let listener = TcpListener::bind(address).await;
            listener.with_context(|| format!("cannot listen on {address}"))
        };
        let (grpc, http) = (
            bind(settings.grpc_address).await?,
            bind(settings.http_address).await?,
        );
        let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
        let stop = CancellationToken::new();
        let authenticator = Arc::new(Authenticator::new(settings.principals.clone()));
        let routes =
            RelayService::new(backlog.clone(), authenticator.clone(), stop.clone()).routes();
        let router = gateway::router(routes.clone(), authenticator.clone(), stop.clone())
            .merge(pages(metrics, backlog.clone()));
        let serve_grpc = {
            let stop = stop.clone();
            async move {
                let incoming = TcpIncoming::from(grpc).with_nodelay(Some(true));
                let server = tonic::transport::Server::builder().add_routes(routes);
                let served = server
                    .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
                    .await;
                if let Err(cause) = served {
                    tracing::error!(%cause, "the gRPC server failed");
                }
            }
        };
        let serve_http = {
            let stop = stop.clone();
            async move {
                let served = axum::serve(http, router)
                    .with_graceful_shutdown(stop.cancelled_owned())
                    .await;
                if let Err(cause) = served {
                    tracing::error!(%cause, "the HTTP server failed");
                }
            }
        };
        let forwarding = forward::run(settings, backlog.clone(), stop.clone());
        let tasks = vec![
            tokio::spawn(serve_grpc),
            tokio::spawn(serve_http),
            tokio::spawn(forwarding),
        ];
        tracing::info!(%grpc_address, %http_address, "relaying");
        Ok(Self {
            grpc_address,
            http_address,
            stop,
            tasks,
            backlog,
        })
    }

    /// Signals that wait.
    pub fn waiting(&self) -> u64 {
        self.backlog.waiting()
    }

    /// Stops; what waits is passed on after the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        for mut task in self.tasks {
            if tokio::time::timeout(SHUTDOWN_DEADLINE, &mut task)
                .await
                .is_err()
            {
                tracing::warn!("calls still ran at the shutdown deadline and were ended");
                task.abort();
            }
        }
        tracing::info!("stopped");
    }
}

fn pages(metrics: metrics_exporter_prometheus::PrometheusHandle, backlog: Backlog) -> axum::Router {
    axum::Router::new()
        .route("/health/live", get(|| std::future::ready("live\n")))
        .route("/health/ready", get(|| std::future::ready("ready\n")))
        .route(
            "/metrics",
            get(move || {
                backlog.show();
                std::future::ready(metrics.render())
            }),
        )
}
