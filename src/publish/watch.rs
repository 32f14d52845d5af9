//! Delivery to whoever watches the sink over gRPC. Whether an event has come through nobody but the watcher knows: it has to acknowledge
//! each.

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Failure, Outgoing};

/// An event on its way to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEvent {
    /// Its place in the feed.
    pub sequence: u64,
    /// The CloudEvent, JSON.
    pub cloud_event: String,
}

/// The way to a watcher.
#[derive(Clone)]
pub(super) struct Watcher {
    events: mpsc::Sender<WatchedEvent>,
    gone: CancellationToken,
}

impl Watcher {
    /// A watcher, and what it will get, of which it has not acknowledged more than so many events.
    pub(super) fn new(most: usize) -> (Self, mpsc::Receiver<WatchedEvent>) {
        let (events, received) = mpsc::channel(most);
        let gone = CancellationToken::new();
        (Self { events, gone }, received)
    }
}

/// Where the watcher is, while there is one.
#[derive(Default)]
pub(super) struct Watch(Mutex<Option<Watcher>>);

impl Watch {
    pub(super) fn attach(&self, watcher: Watcher) {
        *self.0.lock() = Some(watcher);
    }

    /// Whoever watches gets no more; what is on its way fails at once.
    pub(super) fn detach(&self) {
        if let Some(watcher) = self.0.lock().take() {
            watcher.gone.cancel();
        }
    }

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        let watcher = self.0.lock();
        (watcher.as_ref()).is_some_and(|watcher| !watcher.events.is_closed())
    }

    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let watcher = self.0.lock().clone();
        let gone = || Failure::unavailable("nobody watches");
        let watcher = watcher.ok_or_else(gone)?;
        for outgoing in events {
            let event = WatchedEvent {
                sequence: outgoing.sequence,
                cloud_event: text_of(outgoing.cloud_event()?)?,
            };
            tokio::select! {
                () = watcher.gone.cancelled() => return Err(gone()),
                sent = watcher.events.send(event) => sent.map_err(|_| gone())?,
            }
        }
        Ok(())
    }
}

fn text_of(json: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(json);
    Ok(text
        .map_err(|cause| Failure::Rejected(cause.to_string()))?
        .to_owned())
}
