//! Start and stop of the service.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Authenticator, incoming_from_json};
use crate::config::Config;
use crate::executor::Background;
use crate::index::{TantivyIndexes, prepare_search};
use crate::intake::{Intake, Quarantine, Registry, consume, watch};
use crate::resolver::{Engine, Ingest, Matcher, ModelChanges, Writer};
use crate::servers::{self, listen, serve_grpc, serve_http};
use crate::store::{Store, Tenant, open_store};
use crate::{console, gateway, objects, publish, telemetry};

/// Where the store lies in the data directory.
pub const STORE_DIRECTORY: &str = "store";
/// Where the indexes lie in the data directory.
pub const INDEX_DIRECTORY: &str = "index";

/// A running service.
pub struct Service {
    /// Where gRPC listens.
    pub grpc_address: SocketAddr,
    /// Where the console, the JSON gateway, metrics and health are.
    pub http_address: SocketAddr,
    /// The path below it that opens one session of the console.
    console_link: Option<String>,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    sinks: Vec<JoinHandle<()>>,
    /// Where sinks run.
    _publishing: Background,
    consumers: Vec<JoinHandle<()>>,
    committer: JoinHandle<()>,
    ingest: Ingest,
    writer: Writer,
    models: Arc<ModelChanges>,
    deadline: Duration,
}

/// Every flow needs somebody who answers for it: alerts name them.
fn warn_of_missing_owners(config: &Config) {
    let sources = (config.sources.iter()).map(|flow| ("source", &flow.name, &flow.owner));
    let consumers = (config.consumers.iter()).map(|flow| ("consumer", &flow.name, &flow.owner));
    let drops = (config.drops.iter()).map(|flow| ("drop", &flow.name, &flow.owner));
    let sinks = (config.sinks.iter()).map(|flow| ("sink", &flow.name, &flow.owner));
    for (kind, name, owner) in sources.chain(consumers).chain(drops).chain(sinks) {
        if owner.is_empty() {
            tracing::warn!(
                name,
                "this {kind} has no owner; name one in the configuration"
            );
        }
    }
}

impl Service {
    /// Opens the store and starts everything. Ports 0 are taken from the system.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        objects::use_ring();
        warn_of_missing_owners(&config);
        let metrics = telemetry::metrics_handle()?;
        let pack = config.pack.clone();
        let authenticator = Arc::new(Authenticator::new(config.principals.clone()));
        let mut tenants = authenticator.tenants();
        tenants.extend(config.sinks.iter().map(|sink| sink.tenant.clone()));
        tenants.extend(config.drops.iter().map(|files| files.tenant.clone()));
        tenants.extend(
            config
                .consumers
                .iter()
                .map(|consumer| consumer.tenant.clone()),
        );
        tenants.sort();
        tenants.dedup();
        let engine = {
            let (config, tenants) = (config.clone(), tenants.clone());
            tokio::task::spawn_blocking(move || open_engine(config, &tenants)).await??
        };
        // Listen before anything runs: a port that is taken ends the start with nothing to undo.
        let (grpc, grpc_address) = listen(config.grpc_address, "grpc_address").await?;
        let (http, http_address) = listen(config.http_address, "http_address").await?;
        let (ingest, writer) = Ingest::start(engine.clone(), &tenants)?;
        let quarantine = Quarantine::open(engine.store().clone(), &tenants)?;
        let intake = Intake::new(ingest.clone(), Registry::new(config.sources), quarantine);
        let stop = CancellationToken::new();
        // Events wait where cores are short, signals do not.
        let mut publishing = Background::default();
        let written = publish::WrittenEvents::default();
        let mut running = Vec::new();
        let mut sinks = Vec::new();
        for settings in config.sinks {
            let name = settings.name.clone();
            let (store, durable) = (engine.store().clone(), ingest.durable());
            let starting = publish::start(settings, written.clone(), store, durable, stop.clone());
            let started = publishing.spawn(starting)?.await?;
            let (sink, task) = started.with_context(|| format!("sink {name}"))?;
            running.push(sink);
            sinks.push(task);
        }
        let consumers = config.consumers.into_iter().map(|settings| {
            let consuming = consume(settings, intake.clone(), incoming_from_json, stop.clone());
            tokio::spawn(consuming)
        });
        let mut consumers: Vec<_> = consumers.collect();
        consumers.extend(config.drops.into_iter().map(|settings| {
            let jobs = engine.jobs().clone();
            let watching = watch(settings, pack.clone(), intake.clone(), jobs, stop.clone());
            tokio::spawn(watching)
        }));
        // Nobody waits for it: whoever searches before it is done waits as long as it takes.
        drop(tokio::task::spawn_blocking(prepare_search));
        let committer = tokio::spawn(commit_indexes(
            engine.clone(),
            config.index_commit_interval,
            stop.clone(),
        ));
        let models = ModelChanges::start(engine.clone(), &ingest, &tenants, stop.clone())?;
        let render = {
            let store = engine.store().clone();
            move || {
                if let Err(cause) = telemetry::show_counters(store.as_ref()) {
                    tracing::warn!(%cause, "the counters could not be read");
                }
                metrics.render()
            }
        };
        let api = Api {
            models: models.clone(),
            model_change_limit: config.model_change_limit,
            engine,
            ingest: ingest.clone(),
            intake,
            authenticator: authenticator.clone(),
            questions: Arc::default(),
            stewardship: Arc::new(config.stewardship.clone()),
            claims: Arc::default(),
            sinks: Arc::new(running),
            stop: stop.clone(),
        };
        let routes = api.routes().await?;
        let (pages, console_link) = console::router(routes.clone(), authenticator.clone())?;
        let pages = pages.merge(gateway::router(routes.clone(), authenticator, stop.clone()));
        let servers = vec![
            tokio::spawn(serve_grpc(routes, grpc, stop.clone())),
            tokio::spawn(serve_http(pages, render, http, stop.clone())),
        ];
        tracing::info!(%grpc_address, %http_address, "serving");
        Ok(Self {
            grpc_address,
            http_address,
            console_link,
            stop,
            servers,
            sinks,
            _publishing: publishing,
            consumers,
            committer,
            ingest,
            writer,
            models,
            deadline: config.shutdown_deadline,
        })
    }

    /// What opens one session of the console, where no principals are configured.
    pub fn console_address(&self) -> Option<String> {
        let link = self.console_link.as_ref()?;
        Some(format!("http://{}{link}", self.http_address))
    }

    /// Stops: no new calls, those that run have until the deadline; then everything accepted is made durable.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let tasks = self
            .servers
            .into_iter()
            .chain(self.sinks)
            .chain(self.consumers)
            .chain([self.committer]);
        servers::end(tasks, self.deadline).await;
        // One that weighs ends when it is done; at the deadline it is left, and begins anew at the next start.
        let models = self.models;
        let finished = async {
            while !models.are_finished() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(self.deadline, finished).await.is_err() {
            tracing::warn!("a model change is interrupted; it goes on at the next start");
        }
        drop(self.ingest);
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join());
        // A call that never ends holds the writer open; what was acknowledged is durable in any case.
        match tokio::time::timeout(self.deadline, joined).await {
            Ok(joined) => joined?,
            Err(_) => tracing::warn!(
                "calls still hold the writer at the shutdown deadline; they are left"
            ),
        }
        tracing::info!("stopped");
        Ok(())
    }
}

fn open_engine(config: Config, tenants: &[Tenant]) -> anyhow::Result<Arc<Engine>> {
    let directory = config.data_directory.clone();
    let engine = engine_in(config, &directory)?;
    for tenant in tenants {
        engine.open_tenant(tenant)?;
        if let Err(cause) = engine.store().warm_up(tenant) {
            // Whoever asks for what cannot be read will be told; everybody else is served.
            tracing::warn!(tenant = tenant.as_str(), %cause, "the caches could not be filled");
        }
    }
    Ok(Arc::new(engine))
}

/// The store of a data directory that has one and whose service does not run.
pub fn existing_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let directory = config.data_directory.join(STORE_DIRECTORY);
    anyhow::ensure!(
        directory.exists(),
        "{} does not exist; name the data directory in the configuration",
        directory.display()
    );
    Ok(open_store(
        &directory,
        config.store_engine,
        config.cache_bytes,
    )?)
}

/// An engine over store and index in a directory.
pub fn engine_in(config: Config, directory: &Path) -> anyhow::Result<Engine> {
    let store = open_store(
        &directory.join(STORE_DIRECTORY),
        config.store_engine,
        config.cache_bytes,
    )?;
    let matcher = Arc::new(Matcher::new(config.model, config.pack));
    let indexes = TantivyIndexes::new(directory.join(INDEX_DIRECTORY));
    Ok(Engine::new(store, matcher, Box::new(indexes)))
}

async fn commit_indexes(engine: Arc<Engine>, interval: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let engine = engine.clone();
        match tokio::task::spawn_blocking(move || engine.commit_indexes()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => {
                tracing::error!(%cause, "the index could not be committed; it is tried again")
            }
            Err(cause) => tracing::error!(%cause, "the index commit failed"),
        }
    }
}
