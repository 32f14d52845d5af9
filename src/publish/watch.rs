//! Delivery to whoever watches the sink over gRPC. Whether an event has come through nobody but the watcher knows: it has to acknowledge
//! each.

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Failure, Outgoing};

/// Events that may wait for a slow watcher.
const MAX_WAITING: usize = 64;

/// An event on its way to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEvent {
    /// Its place in the feed.
    pub sequence: u64,
    /// The CloudEvent, JSON.
    pub cloud_event: String,
}

/// Where the watcher is, while there is one.
#[derive(Default)]
pub(super) struct Watch {
    watcher: Mutex<Option<mpsc::Sender<WatchedEvent>>>,
}

impl Watch {
    /// A watcher comes; one that was there gets no more.
    pub(super) fn attach(&self) -> mpsc::Receiver<WatchedEvent> {
        let (watcher, events) = mpsc::channel(MAX_WAITING);
        *self.watcher.lock() = Some(watcher);
        events
    }

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        let watcher = self.watcher.lock();
        watcher.as_ref().is_some_and(|watcher| !watcher.is_closed())
    }

    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let watcher = self.watcher.lock().clone();
        let gone = || Failure::unavailable("nobody watches");
        let watcher = watcher.ok_or_else(gone)?;
        for outgoing in events {
            let event = WatchedEvent {
                sequence: outgoing.sequence,
                cloud_event: outgoing.cloud_event()?.to_owned(),
            };
            watcher.send(event).await.map_err(|_| gone())?;
        }
        Ok(())
    }
}
