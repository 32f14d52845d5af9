//! The relay: a small process for a shop's back office. It takes signals over gRPC and JSON as the service does, keeps them on its own
//! disk, and passes them on while the line is there. What it acknowledges survives power loss.

mod backlog;
mod forward;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Authenticator;
use crate::config::Principal;
use crate::servers::{self, listen, serve_grpc, serve_http};
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
        let (grpc, grpc_address) = listen(settings.grpc_address, "--grpc-address").await?;
        let (http, http_address) = listen(settings.http_address, "--http-address").await?;
        let stop = CancellationToken::new();
        let authenticator = Arc::new(Authenticator::new(settings.principals.clone()));
        let routes =
            RelayService::new(backlog.clone(), authenticator.clone(), stop.clone()).routes();
        let gateway = gateway::router(routes.clone(), authenticator, stop.clone());
        let render = {
            let backlog = backlog.clone();
            move || {
                backlog.show();
                metrics.render()
            }
        };
        let forwarding = forward::run(settings, backlog.clone(), stop.clone());
        let tasks = vec![
            tokio::spawn(serve_grpc(routes, grpc, stop.clone())),
            tokio::spawn(serve_http(gateway, render, http, stop.clone())),
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
        servers::end(self.tasks, SHUTDOWN_DEADLINE).await;
        tracing::info!("stopped");
    }
}
