//! Publishing: every identity event to every sink, in order, at least once. The outbox is the event feed itself, written in the
//! commit of the state; a sink is a cursor in it.

mod cloud_event;
mod file;
mod mapping;
mod webhook;

pub use cloud_event::{cloud_event, event_data};
pub use mapping::Mapping;
pub use webhook::sign;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::resolver::Durable;
use crate::store::{Store, StoreError, StoredEvent, Tenant, Write};

/// Where a sink delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// HTTP POST of one CloudEvent.
    Webhook {
        /// The address.
        url: String,
        /// Signs each delivery with HMAC-SHA256.
        secret: Option<String>,
    },
    /// One CloudEvent a line, appended.
    File {
        /// The file.
        path: PathBuf,
    },
}

/// A sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSettings {
    /// Its name, under which its cursor is kept.
    pub name: String,
    /// Where it delivers.
    pub kind: SinkKind,
    /// Whose events.
    pub tenant: Tenant,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// What becomes of an event's fields.
    pub mapping: Mapping,
}

/// How a sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// The last event that it has acknowledged.
    pub acknowledged_sequence: u64,
    /// Attempts that failed in a row.
    pub failed_attempts: u64,
    /// Why the last one failed, without personal values.
    pub last_error: String,
}

/// A running sink.
pub struct Sink {
    /// Its settings.
    pub settings: SinkSettings,
    state: Arc<Mutex<SinkState>>,
}

impl Sink {
    /// How it fares now.
    pub fn state(&self) -> SinkState {
        self.state.lock().clone()
    }
}

/// Events read from the outbox at once.
const BATCH: usize = 256;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

enum Target {
    Webhook(webhook::Webhook),
    File(file::EventFile),
}

impl Target {
    async fn deliver(&mut self, events: &[(u64, serde_json::Value)]) -> Result<u64, DeliveryError> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(&events[0].1).await.map(|()| events[0].0),
            Self::File(file) => file.append(events),
        }
    }
}

/// Why an attempt failed; never holds what was to be delivered.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DeliveryError(String);

/// Starts a sink; it runs until `stop`.
pub fn start(
    settings: SinkSettings,
    store: Arc<dyn Store>,
    durable: Durable,
    stop: CancellationToken,
) -> Result<(Sink, tokio::task::JoinHandle<()>), anyhow::Error> {
    let acknowledged_sequence = store.sink_cursor(&settings.tenant, &settings.name)?;
    let state = Arc::new(Mutex::new(SinkState {
        acknowledged_sequence,
        ..SinkState::default()
    }));
    let target = match &settings.kind {
        SinkKind::Webhook { url, secret } => Target::Webhook(webhook::Webhook::new(
            url,
            secret.clone(),
            settings.timeout,
        )?),
        SinkKind::File { path } => Target::File(file::EventFile::open(path)?),
    };
    let sink = Sink {
        settings: settings.clone(),
        state: state.clone(),
    };
    let worker = Worker {
        settings,
        store,
        durable,
        state,
        target,
        delays: delays(),
    };
    Ok((sink, tokio::spawn(worker.run(stop))))
}

struct Worker {
    settings: SinkSettings,
    store: Arc<dyn Store>,
    durable: Durable,
    state: Arc<Mutex<SinkState>>,
    target: Target,
    /// The waits of the failures in a row.
    delays: ExponentialBackoff,
}

/// Doubled each time, with jitter, without end: an event is never given up.
fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_RETRY)
        .with_max_delay(LONGEST_RETRY)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            self.durable.mark_seen();
            let wait = match self.drain(&stop).await {
                Ok(()) => None,
                Err(cause) => Some(self.failed(&cause.to_string())),
            };
            let woken = async {
                match wait {
                    Some(wait) => {
                        tokio::time::sleep(wait).await;
                        true
                    }
                    None => self.durable.changed().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                goes_on = woken => if !goes_on { return },
            }
        }
    }

    /// Delivers everything that waits.
    async fn drain(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            let from = self.state.lock().acknowledged_sequence + 1;
            let events = self.waiting(from)?;
            let mut rest = events.as_slice();
            if rest.is_empty() {
                return Ok(());
            }
            while !rest.is_empty() && !stop.is_cancelled() {
                let acknowledged = self.target.deliver(rest).await?;
                let delivered = rest
                    .iter()
                    .take_while(|(sequence, _)| *sequence <= acknowledged)
                    .count();
                rest = &rest[delivered..];
                metrics::counter!("veridem_deliveries_total", "sink" => self.settings.name.clone())
                    .increment(delivered as u64);
                // The cursor may lag behind after a crash: a delivery is then repeated, never lost.
                self.store.commit(
                    &self.settings.tenant,
                    self.store.in_force(&self.settings.tenant),
                    vec![Write::SinkCursor(self.settings.name.clone(), acknowledged)],
                )?;
                self.delays = delays();
                *self.state.lock() = SinkState {
                    acknowledged_sequence: acknowledged,
                    ..SinkState::default()
                };
                self.show_lag()?;
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    fn waiting(&self, from: u64) -> Result<Vec<(u64, serde_json::Value)>, StoreError> {
        let events: Vec<StoredEvent> = self.store.events(&self.settings.tenant, from, BATCH)?;
        let durable = self.durable.sequence(&self.settings.tenant);
        Ok(events
            .iter()
            .take_while(|event| event.sequence <= durable)
            .map(|event| {
                (
                    event.sequence,
                    cloud_event(&self.settings.tenant, event, &self.settings.mapping),
                )
            })
            .collect())
    }

    fn show_lag(&self) -> Result<(), StoreError> {
        let last = self.store.counters(&self.settings.tenant)?.last_sequence;
        let lag = last.saturating_sub(self.state.lock().acknowledged_sequence);
        metrics::gauge!("veridem_sink_lag_events", "sink" => self.settings.name.clone())
            .set(lag as f64);
        Ok(())
    }

    /// Notes a failure; returns how long to wait.
    fn failed(&mut self, cause: &str) -> Duration {
        let mut state = self.state.lock();
        state.failed_attempts += 1;
        cause.clone_into(&mut state.last_error);
        metrics::counter!("veridem_delivery_failures_total", "sink" => self.settings.name.clone())
            .increment(1);
        tracing::warn!(
            sink = self.settings.name,
            attempt = state.failed_attempts,
            cause,
            "delivery failed; it is tried again"
        );
        self.delays.next().unwrap_or(LONGEST_RETRY)
    }
}
