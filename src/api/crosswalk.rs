//! The calls of `OperationsService` about what consumers hold: acknowledgements, cross references, reconciliation.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use veridem_proto::v1;
use veridem_proto::v1::reconcile_response::Outcome;

use super::operations::refused;
use super::resolution::identity_id;
use super::{Api, Caller, Right, convert, status};
use crate::clock;
use crate::publish::{Filter, Told};
use crate::resolver::{AuditSubject, Engine, EngineError, Moment, validate_id};
use crate::store::{
    EventKind, IdentityId, Store, StoreError, StoredEvent, StoredIdentity, StoredReference, Tenant,
    Write,
};

/// Events of an identity that are looked at to tell how far sinks are with it.
const MAX_EVENTS: usize = 100;
/// What a consumer calls one person, at most.
const MAX_REFERENCES: usize = 1_000;
const MAX_REASON_BYTES: usize = 1_024;
/// Identities in one message.
const MAX_HELD_AT_ONCE: usize = 10_000;
/// Identities that a consumer may hold.
const MAX_HELD: usize = 4_000_000;
/// Identities read at once.
const READ_AT_ONCE: usize = 10_000;
/// Events that a sink is told to repair at once.
const REPAIRED_AT_ONCE: usize = 1_000;
/// Answers that wait for a slow reader.
const MAX_ANSWERS: usize = 256;

/// How far a sink is with an identity of some events.
fn delivery(
    engine: &Engine,
    tenant: &Tenant,
    events: &[Arc<StoredEvent>],
    sink: &str,
    filter: &Filter,
    cursor: u64,
) -> Result<v1::Delivery, EngineError> {
    let store = engine.store().as_ref();
    let mut delivery = v1::Delivery {
        sink: sink.to_owned(),
        ..v1::Delivery::default()
    };
    let mut state = v1::DeliveryState::LeftOut;
    for event in events {
        if !filter.takes(store, tenant, event)? {
            continue;
        }
        let sequence = event.sequence;
        delivery.sequence = sequence;
        let failed = store.deliveries(tenant, sink, sequence - 1, 1)?;
        let failed = failed.into_iter().find(|(number, _)| *number == sequence);
        // What failed first holds up what follows.
        let is_held_up = matches!(
            state,
            v1::DeliveryState::Retrying | v1::DeliveryState::DeadLetter
        );
        match failed {
            Some((_, failed)) if !is_held_up => {
                delivery.last_error = failed.last_error;
                state = match failed.is_dead {
                    true => v1::DeliveryState::DeadLetter,
                    false => v1::DeliveryState::Retrying,
                };
            }
            None if !is_held_up && sequence > cursor => state = v1::DeliveryState::Waiting,
            None if !is_held_up => state = v1::DeliveryState::Delivered,
            _ => {}
        }
    }
    delivery.state = state.into();
    Ok(delivery)
}

impl Api {
    pub(super) async fn answer_ack_delivery(
        &self,
        request: Request<v1::AckDeliveryRequest>,
    ) -> Result<Response<v1::AckDeliveryResponse>, Status> {
        let caller = self.caller(&request, Right::Send)?;
        let request = request.into_inner();
        let sink = self.sink(&caller, &request.sink)?;
        if request.rejected.len() > MAX_REASON_BYTES {
            return Err(status::invalid("rejected", "has more than 1024 bytes"));
        }
        let (sequence, id) = (request.sequence, request.consumer_record_id);
        let name = request.sink;
        let is_taken = request.rejected.is_empty();
        self.ask("AckDelivery", move |engine| {
            let event = engine.store().event(&caller.tenant, sequence)?;
            let event = event.ok_or(EngineError::NotFound { what: "event" })?;
            let store = engine.store();
            let commit = |writes| {
                store.commit(&caller.tenant, store.in_force(&caller.tenant), writes)?;
                Ok(store.flush()?)
            };
            if event.kind == EventKind::Erased {
                let erased = event.identity.members.iter();
                let gone = erased.map(|record| Write::NoReferences(name.clone(), *record));
                return if is_taken {
                    commit(gone.collect())
                } else {
                    Ok(())
                };
            }
            // A person of whom no record is left is called nothing.
            let (false, Some(record)) = (id.is_empty(), event.identity.members.first()) else {
                return Ok(());
            };
            validate_id("consumer_record_id", &id)?;
            let reference = StoredReference {
                consumer_record_id: id,
                record: *record,
                sequence,
                acknowledged_at_ms: clock::now_ms(),
            };
            commit(vec![Write::Reference(name, reference)])
        })
        .await?;
        let outcome = if is_taken {
            Ok(())
        } else {
            Err(format!("the consumer refuses it: {}", request.rejected))
        };
        let awaited = sink.acknowledge(sequence, outcome).await.map_err(refused)?;
        Ok(Response::new(v1::AckDeliveryResponse { awaited }))
    }

    pub(super) async fn answer_list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let id = identity_id(request.into_inner().identity_id)?;
        let own = self.sinks.iter();
        let own = own.filter(|sink| sink.settings.tenant == caller.tenant);
        let sinks: Vec<_> = own
            .map(|sink| {
                let (settings, cursor) = (&sink.settings, sink.state().cursor);
                (settings.name.clone(), settings.filter.clone(), cursor)
            })
            .collect();
        let deliveries = self.ask("ListDeliveries", move |engine| {
            let identity = engine.store().identity(&caller.tenant, &id)?;
            let identity = identity.ok_or(EngineError::NotFound {
                what: "identity_id",
            })?;
            let events = engine.events_of(&caller.tenant, &identity, MAX_EVENTS)?;
            let sinks = sinks.iter();
            sinks
                .map(|(name, filter, cursor)| {
                    delivery(engine, &caller.tenant, &events, name, filter, *cursor)
                })
                .collect()
        });
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: deliveries.await?,
        }))
    }

    pub(super) async fn answer_list_cross_references(
        &self,
        request: Request<v1::ListCrossReferencesRequest>,
    ) -> Result<Response<v1::ListCrossReferencesResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let id = identity_id(request.into_inner().identity_id)?;
        let own = self
            .sinks
            .iter()
            .filter(|sink| sink.settings.tenant == caller.tenant);
        let sinks: Vec<String> = own.map(|sink| sink.settings.name.clone()).collect();
        let references = self.ask("ListCrossReferences", move |engine| {
            let living = engine
                .get_identity(&caller.tenant, &id, Moment::Now)?
                .living;
            let mut references = Vec::new();
            for identity in &living {
                for (number, key) in identity.members.iter().zip(&identity.member_keys) {
                    for sink in &sinks {
                        let found = engine.store().references(
                            &caller.tenant,
                            sink,
                            Some(*number),
                            MAX_REFERENCES,
                        )?;
                        references.extend(found.into_iter().map(|found| v1::CrossReference {
                            sink: sink.clone(),
                            consumer_record_id: found.consumer_record_id,
                            record: Some(convert::record_key_message(key)),
                            acknowledged_at_ms: found.acknowledged_at_ms,
                        }));
                    }
                }
            }
            Ok(references)
        });
        let references = references.await?;
        Ok(Response::new(v1::ListCrossReferencesResponse {
            references,
        }))
    }

    pub(super) async fn answer_reconcile(
        &self,
        request: Request<Streaming<v1::ReconcileRequest>>,
    ) -> Result<Response<ReceiverStream<Result<v1::ReconcileResponse, Status>>>, Status> {
        let caller = self.caller(&request, Right::Send)?;
        let (api, requests) = (self.clone(), request.into_inner());
        let (answers, outgoing) = mpsc::channel(MAX_ANSWERS);
        tokio::spawn(async move {
            let reconciled = tokio::select! {
                () = api.stop.cancelled() => Err(status::of(EngineError::Stopping)),
                () = answers.closed() => return,
                reconciled = api.reconcile(caller, requests, &answers) => reconciled,
            };
            if let Err(failed) = reconciled {
                // The caller may be gone.
                let _ = answers.send(Err(failed)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn reconcile(
        &self,
        caller: Caller,
        mut requests: Streaming<v1::ReconcileRequest>,
        answers: &mpsc::Sender<Result<v1::ReconcileResponse, Status>>,
    ) -> Result<(), Status> {
        let Some(first) = requests.next().await else {
            return Err(status::invalid("sink", "is missing"));
        };
        let first = first?;
        let sink = self.sink(&caller, &first.sink)?;
        let repairs = first.repair;
        if repairs {
            let subjects = vec![AuditSubject::Sink(first.sink.clone())];
            self.audit(&caller, "Reconcile", subjects).await?;
        }
        let state = sink.state();
        let mut comparison = Comparison {
            tenant: caller.tenant.clone(),
            filter: sink.settings.filter.clone(),
            // What comes after is on its way.
            told: Told {
                until: state.cursor,
                last_snapshot: state.last_snapshot,
            },
            held: FxHashSet::default(),
            summary: v1::ReconcileSummary::default(),
        };
        comparison.summary.as_of_sequence = state.cursor;
        let name = first.sink.clone();
        let mut next = Some(first);
        while let Some(request) = next {
            if !request.sink.is_empty() && request.sink != name {
                return Err(status::invalid("sink", "must be the same in every message"));
            }
            if request.held.len() > MAX_HELD_AT_ONCE {
                return Err(status::invalid("held", "has more than 10000 entries"));
            }
            let held = request.held;
            let (wrong, returned) = self
                .ask("Reconcile", move |engine| {
                    let wrong = comparison.judge(engine.store().as_ref(), held)?;
                    Ok((wrong, comparison))
                })
                .await?;
            comparison = returned;
            self.tell(
                wrong,
                repairs.then_some(&name),
                &caller,
                &mut comparison.summary,
                answers,
            )
            .await?;
            next = requests.next().await.transpose()?;
        }
        let mut after = None;
        loop {
            let (missing, last, returned) = self
                .ask("Reconcile", move |engine| {
                    let (missing, last) = comparison.missing(engine.store().as_ref(), after)?;
                    Ok((missing, last, comparison))
                })
                .await?;
            comparison = returned;
            self.tell(
                missing,
                repairs.then_some(&name),
                &caller,
                &mut comparison.summary,
                answers,
            )
            .await?;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let summary = Outcome::Summary(comparison.summary);
        let _ = answers
            .send(Ok(v1::ReconcileResponse {
                outcome: Some(summary),
            }))
            .await;
        Ok(())
    }

    /// Tells what is wrong, and has it delivered once more where that is wanted.
    async fn tell(
        &self,
        wrong: Vec<(v1::Discrepancy, u64)>,
        repair: Option<&String>,
        caller: &Caller,
        summary: &mut v1::ReconcileSummary,
        answers: &mpsc::Sender<Result<v1::ReconcileResponse, Status>>,
    ) -> Result<(), Status> {
        if let Some(name) = repair {
            let sink = self.sink(caller, name)?;
            let sequences: Vec<u64> = wrong
                .iter()
                .map(|(_, sequence)| *sequence)
                .filter(|it| *it > 0)
                .collect();
            for sequences in sequences.chunks(REPAIRED_AT_ONCE) {
                summary.repairs_queued += sink.repair(sequences.to_vec()).await.map_err(refused)?;
            }
        }
        for (discrepancy, _) in wrong {
            let outcome = Some(Outcome::Discrepancy(discrepancy));
            if answers
                .send(Ok(v1::ReconcileResponse { outcome }))
                .await
                .is_err()
            {
                return Err(Status::cancelled("the caller is gone"));
            }
        }
        Ok(())
    }
}

/// What a consumer holds beside what there is.
struct Comparison {
    tenant: Tenant,
    filter: Filter,
    told: Told,
    held: FxHashSet<IdentityId>,
    summary: v1::ReconcileSummary,
}

/// What is wrong, with the event that would mend it; 0 where none would.
type Wrong = Vec<(v1::Discrepancy, u64)>;

impl Comparison {
    fn judge(
        &mut self,
        store: &dyn Store,
        held: Vec<v1::HeldIdentity>,
    ) -> Result<Wrong, EngineError> {
        let mut wrong = Vec::new();
        for held in held {
            self.summary.held += 1;
            let mut discrepancy = v1::Discrepancy {
                held_version: held.version,
                ..v1::Discrepancy::default()
            };
            let id: Option<IdentityId> = held.identity_id.parse().ok();
            let identity = match &id {
                Some(id) => store.identity(&self.tenant, id)?,
                None => None,
            };
            discrepancy.identity_id = held.identity_id;
            let Some(identity) = identity else {
                self.summary.unknown += 1;
                discrepancy.set_kind(v1::DiscrepancyKind::Unknown);
                wrong.push((discrepancy, 0));
                continue;
            };
            if self.held.len() >= MAX_HELD {
                return Err(EngineError::invalid(
                    "held",
                    "has more than 4000000 identities",
                ));
            }
            self.held.insert(identity.id);
            discrepancy.version = identity.version;
            if let Some(ended) = &identity.ended {
                if ended.sequence <= self.told.until {
                    self.summary.ended += 1;
                    discrepancy.set_kind(v1::DiscrepancyKind::Ended);
                    let successors = ended.successors.iter().map(|id| id.to_string());
                    discrepancy.successor_identity_ids = successors.collect();
                    wrong.push((discrepancy, ended.sequence));
                }
            } else if identity.changed_at_sequence <= self.told.until {
                if identity.members.is_empty() {
                    self.summary.ended += 1;
                    discrepancy.set_kind(v1::DiscrepancyKind::Ended);
                    wrong.push((discrepancy, identity.changed_at_sequence));
                } else if identity.version != held.version {
                    let told = self
                        .filter
                        .latest(store, &self.tenant, &identity, self.told)?;
                    let least = told.as_ref().map_or(0, |told| told.identity.version);
                    // A consumer may have asked for more than the filter lets through.
                    if held.version < least || held.version > identity.version {
                        self.summary.stale += 1;
                        discrepancy.version = least;
                        discrepancy.set_kind(v1::DiscrepancyKind::Stale);
                        wrong.push((discrepancy, told.map_or(0, |told| told.sequence)));
                    }
                }
            }
        }
        Ok(wrong)
    }

    /// Living identities of a page that the consumer does not hold, and where the next page begins.
    fn missing(
        &mut self,
        store: &dyn Store,
        after: Option<IdentityId>,
    ) -> Result<(Wrong, Option<IdentityId>), StoreError> {
        let page = store.identities_after(&self.tenant, after, READ_AT_ONCE)?;
        let last = page.last().map(|identity| identity.id);
        let mut wrong = Vec::new();
        for identity in page {
            if !self.is_wanted(&identity) {
                continue;
            }
            // Of one that the filter lets nothing through of, the consumer was told nothing.
            if let Some(told) = self
                .filter
                .latest(store, &self.tenant, &identity, self.told)?
            {
                let mut discrepancy = v1::Discrepancy {
                    identity_id: identity.id.to_string(),
                    version: told.identity.version,
                    ..v1::Discrepancy::default()
                };
                discrepancy.set_kind(v1::DiscrepancyKind::Missing);
                wrong.push((discrepancy, told.sequence));
            }
        }
        self.summary.missing += wrong.len() as u64;
        Ok((wrong, last))
    }

    fn is_wanted(&self, identity: &StoredIdentity) -> bool {
        self.filter.holds(identity)
            && identity.changed_at_sequence <= self.told.until
            && !self.held.contains(&identity.id)
    }
}
