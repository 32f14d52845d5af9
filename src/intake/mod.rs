//! Signals on their way in: checked against the source registry, then handed to the writer, or set aside with the reasons.

mod consumers;
mod drops;
mod quarantine;
mod registry;

pub use consumers::{ConsumerKind, ConsumerSettings, Parse, consume};
pub use drops::{DropMode, DropReject, DropResult, DropSettings, watch};
pub use quarantine::Quarantine;
pub(crate) use registry::day;
pub use registry::{Registry, SourceSettings, ValueRule, is_attribute};

use std::sync::Arc;

use crate::clock;
use crate::resolver::{Ack, EngineError, Ingest, Pending, Signal, answer, validate_signal};
use crate::store::{QuarantineContent, QuarantineId, StoredQuarantined, Tenant};

/// A signal as it comes.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The signal.
    pub signal: Signal,
    /// The version of the source's schema; empty where it says none.
    pub schema_version: String,
}

/// Takes signals, from whatever way in.
#[derive(Clone)]
pub struct Intake {
    ingest: Ingest,
    registry: Arc<Registry>,
    quarantine: Quarantine,
}

impl Intake {
    /// Over a writer.
    pub fn new(ingest: Ingest, registry: Registry, quarantine: Quarantine) -> Self {
        Self {
            ingest,
            registry: Arc::new(registry),
            quarantine,
        }
    }

    /// The source registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is set aside.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Hands a signal to the writer; waits while its queue is full. `origin` tells where it came in.
    pub async fn submit(
        &self,
        tenant: Tenant,
        incoming: Incoming,
        origin: &str,
    ) -> Result<Pending<Ack>, EngineError> {
        self.check(&tenant, &incoming, origin).await?;
        self.ingest.submit(tenant, incoming.signal).await
    }

    /// Hands a signal to the writer, or refuses it where the queue is full.
    pub async fn try_submit(
        &self,
        tenant: Tenant,
        incoming: Incoming,
        origin: &str,
    ) -> Result<Pending<Ack>, EngineError> {
        self.check(&tenant, &incoming, origin).await?;
        self.ingest.try_submit(tenant, incoming.signal)
    }

    /// Sets aside what is not allowed, durably; then it is refused with the reasons. What is no signal at all is the sender's to mend.
    async fn check(
        &self,
        tenant: &Tenant,
        incoming: &Incoming,
        origin: &str,
    ) -> Result<(), EngineError> {
        validate_signal(&incoming.signal, clock::now_ms())?;
        let reasons = self
            .registry
            .check(tenant, &incoming.signal, &incoming.schema_version);
        let signal = &incoming.signal;
        // Nothing is set aside of a person who was erased: the writer forgets it.
        let is_erased = || (self.quarantine.store()).is_erased(tenant, &signal.record_key());
        if reasons.is_empty() || is_erased()? {
            return Ok(());
        }
        let id = QuarantineId::of(&[&signal.source, &signal.signal_id]);
        let problem = reasons.join("; ");
        let entry = StoredQuarantined {
            content: QuarantineContent::signal(signal, &incoming.schema_version),
            origin: origin.to_owned(),
            reasons,
            received_at_ms: clock::now_ms(),
        };
        self.quarantine.put(tenant, id, entry).await?;
        if is_erased()? {
            self.quarantine.remove(tenant, [id].into()).await?;
            return Ok(());
        }
        Err(EngineError::Quarantined { problem })
    }

    /// Sets aside a message that is no signal; `place` names it for ever, so that it is set aside once however often it comes.
    pub async fn set_aside(
        &self,
        tenant: &Tenant,
        message: &[u8],
        origin: &str,
        place: &str,
        problem: String,
    ) -> Result<(), EngineError> {
        let entry = StoredQuarantined {
            content: QuarantineContent::message(message),
            origin: origin.to_owned(),
            reasons: vec![problem],
            received_at_ms: clock::now_ms(),
        };
        let id = QuarantineId::of(&[origin, place]);
        self.quarantine.put(tenant, id, entry).await
    }

    /// Submits what was set aside once more, mended where a mended signal is given; its entry goes once the signal is durable.
    /// With the answer comes the signal's id.
    pub async fn resubmit(
        &self,
        tenant: &Tenant,
        id: QuarantineId,
        mended: Option<Incoming>,
    ) -> Result<(String, Ack), EngineError> {
        let entry = self.quarantine.get(tenant, id).await?;
        let incoming = match (mended, entry.content) {
            (Some(mended), _) => mended,
            (
                None,
                QuarantineContent::Signal {
                    signal,
                    schema_version,
                },
            ) => Incoming {
                signal,
                schema_version,
            },
            (None, QuarantineContent::Message { .. }) => {
                return Err(EngineError::invalid(
                    "signal",
                    "is missing; what was set aside is no signal, give a mended one",
                ));
            }
        };
        let signal_id = incoming.signal.signal_id.clone();
        let ack = answer(
            self.try_submit(tenant.clone(), incoming, &entry.origin)
                .await?,
        )
        .await?;
        self.quarantine.remove(tenant, [id].into()).await?;
        Ok((signal_id, ack))
    }
}
