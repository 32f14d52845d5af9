//! `OperationsService`.

use std::io::{BufWriter, Write};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use veridem_matchers::{Model, Pack};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_server::OperationsService;

use super::auth::Caller;
use super::{Api, Right, convert, observe, page, status};
use crate::clock::{self, Stopwatch};
use crate::executor;
use crate::jobs::JobKind;
use crate::publish::{CommandError, DeadLetters, ReplayFrom, Sink};
use crate::resolver::{Abandoned, AuditSubject, AuditedCall, Engine, EngineError, Matcher};
use crate::store::{ModelPhase, Tenant, write_backup};

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for a slow reader; then the backup waits.
const CHUNKS_AHEAD: usize = 8;

/// Dropped with the call: when its caller goes away or its deadline is over, and when it is answered.
struct AbandonOnDrop(Abandoned);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Hands on what is written, chunk by chunk.
struct Chunks(mpsc::Sender<Result<v1::BackupResponse, Status>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let response = v1::BackupResponse {
            chunk: chunk.to_vec(),
        };
        self.0
            .blocking_send(Ok(response))
            .map_err(|_| std::io::Error::other("the caller has gone"))?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tonic::async_trait]
impl OperationsService for Api {
    async fn get_statistics(
        &self,
        request: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let counters = self
            .ask("GetStatistics", move |engine| {
                Ok(engine.store().counters(&caller.tenant)?)
            })
            .await?;
        let [
            events_created,
            events_updated,
            events_merged,
            events_split,
            events_erased,
        ] = counters.events;
        Ok(Response::new(v1::GetStatisticsResponse {
            signals: counters.signals,
            source_records: counters.source_records,
            identities: counters.identities,
            open_review_tasks: counters.open_review_tasks,
            overrides: counters.overrides,
            last_sequence: counters.last_sequence,
            events_created,
            events_updated,
            events_merged,
            events_split,
            events_erased,
        }))
    }

    type BackupStream = ReceiverStream<Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let caller = self.caller(&request, Right::Administer)?;
        self.audit(&caller, "Backup", Vec::new()).await?;
        tracing::info!(
            principal = caller.principal,
            tenant = caller.tenant.as_str(),
            "backup taken"
        );
        let (chunks, outgoing) = mpsc::channel(CHUNKS_AHEAD);
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || {
            let output = BufWriter::with_capacity(CHUNK_BYTES, Chunks(chunks.clone()));
            let (kind, name) = (JobKind::Backup, caller.tenant.as_str());
            let job = (engine.jobs()).begin(&caller.tenant, kind, name, &caller.principal);
            let written = write_backup(engine.store().as_ref(), Some(&caller.tenant), output);
            job.end(&written);
            if let Err(cause) = written {
                // Nobody listens where the caller has gone.
                let _ = chunks.blocking_send(Err(status::of(cause.into())));
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn preview_model(
        &self,
        request: Request<v1::PreviewModelRequest>,
    ) -> Result<Response<v1::PreviewModelResponse>, Status> {
        let caller = self.caller(&request, Right::Administer)?;
        let request = request.into_inner();
        let abandoned = Abandoned::default();
        let _caller_waits = AbandonOnDrop(abandoned.clone());
        let preview = self.work("PreviewModel", move |engine| {
            let matcher = wanted_matcher(engine, &caller.tenant, &request.model, &request.rules)
                .map_err(status::of)?;
            let threads = executor::available_threads().div_ceil(2);
            let (tenant, kind) = (&caller.tenant, JobKind::ModelPreview);
            let (jobs, name) = (engine.jobs(), &matcher.fingerprint);
            let job = jobs.begin(tenant, kind, name, &caller.principal);
            let preview = executor::run(threads, || {
                let entered = |stage| job.enter(stage);
                engine.preview_model(tenant, &matcher, &abandoned, &entered)
            });
            let preview = preview.map_err(|_| Status::internal("no thread can be started"))?;
            if !abandoned.is_set() {
                job.end(&preview);
            }
            let preview = preview.map_err(status::of)?;
            Ok((matcher.fingerprint, preview))
        });
        let (fingerprint, preview) = preview.await?;
        let largest = preview.largest.iter().map(|change| v1::IdentityChange {
            identity_id: change.id.to_string(),
            records_before: change.records_before as u32,
            records_after: change.records_after as u32,
            merged_identity_ids: change.merged.iter().map(|id| id.to_string()).collect(),
            split_into: change.split_into as u32,
        });
        Ok(Response::new(v1::PreviewModelResponse {
            fingerprint,
            identities: preview.identities,
            identities_after: preview.identities_after,
            identities_merged: preview.identities_merged,
            identities_ended: preview.identities_ended,
            identities_split: preview.identities_split,
            identities_updated: preview.identities_updated,
            identities_created: preview.identities_created,
            records_moved: preview.records_moved,
            events: preview.events,
            changed_share: preview.changed_share(),
            largest: largest.collect(),
        }))
    }

    async fn activate_model(
        &self,
        request: Request<v1::ActivateModelRequest>,
    ) -> Result<Response<v1::ActivateModelResponse>, Status> {
        let caller = self.caller(&request, Right::Administer)?;
        let request = request.into_inner();
        let limit = match request.limit {
            0.0 => self.model_change_limit,
            limit if limit > 0.0 && limit <= 1.0 => limit,
            _ => return Err(status::invalid("limit", "must be above 0 and at most 1")),
        };
        let tenant = caller.tenant.clone();
        let fingerprint = self
            .ask("ActivateModel", move |engine| {
                let matcher =
                    wanted_matcher(engine, &caller.tenant, &request.model, &request.rules)?;
                let now_ms = clock::now_ms();
                let call = AuditedCall {
                    principal: caller.principal.clone(),
                    call: "ActivateModel",
                    subjects: vec![AuditSubject::Model(matcher.fingerprint.clone())],
                    note: String::new(),
                };
                engine.audit(&caller.tenant, call, now_ms)?;
                engine.begin_model_change(
                    &caller.tenant,
                    &matcher,
                    &caller.principal,
                    limit,
                    now_ms,
                )?;
                tracing::info!(
                    principal = caller.principal,
                    tenant = caller.tenant.as_str(),
                    fingerprint = matcher.fingerprint,
                    "another model is asked for"
                );
                Ok(matcher.fingerprint)
            })
            .await?;
        self.models
            .carry_through(&tenant)
            .map_err(|_| Status::internal("no thread can be started"))?;
        Ok(Response::new(v1::ActivateModelResponse { fingerprint }))
    }

    async fn get_model(
        &self,
        request: Request<v1::GetModelRequest>,
    ) -> Result<Response<v1::GetModelResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let stored = self.ask("GetModel", move |engine| {
            engine.model_in_force(&caller.tenant)
        });
        let stored = stored.await?;
        Ok(Response::new(v1::GetModelResponse {
            fingerprint: stored.fingerprint,
            model: stored.model,
            rules: stored.pack,
        }))
    }

    async fn get_model_status(
        &self,
        request: Request<v1::GetModelStatusRequest>,
    ) -> Result<Response<v1::GetModelStatusResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let response = self.ask("GetModelStatus", move |engine| {
            let store = engine.store();
            let in_force = store.model(&caller.tenant)?;
            let record_numbers = store.counters(&caller.tenant)?.record_numbers;
            let mut response = v1::GetModelStatusResponse {
                fingerprint_in_force: in_force.map(|model| model.fingerprint).unwrap_or_default(),
                record_numbers,
                ..Default::default()
            };
            let Some(change) = store.model_change(&caller.tenant)? else {
                return Ok(response);
            };
            let phase = match change.phase {
                ModelPhase::Weighing(_) => v1::ModelPhase::Weighing,
                ModelPhase::Deciding { next, .. } => {
                    response.decided_records = next - 1;
                    v1::ModelPhase::Deciding
                }
                ModelPhase::Removing(_) => v1::ModelPhase::Removing,
                ModelPhase::Done { .. } => v1::ModelPhase::Done,
                ModelPhase::Refused {
                    changed,
                    identities,
                } => {
                    (response.changed_identities, response.identities) = (changed, identities);
                    v1::ModelPhase::Refused
                }
            };
            response.phase = phase.into();
            response.fingerprint = change.fingerprint;
            response.principal = change.principal;
            response.asked_at_ms = change.asked_at_ms;
            Ok(response)
        });
        Ok(Response::new(response.await?))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let jobs = self.engine.jobs().of(&caller.tenant).into_iter();
        Ok(Response::new(v1::ListJobsResponse {
            jobs: jobs.map(convert::job).collect(),
        }))
    }

    async fn list_sinks(
        &self,
        request: Request<v1::ListSinksRequest>,
    ) -> Result<Response<v1::ListSinksResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let tenant = caller.tenant.clone();
        let last = self
            .ask("ListSinks", move |engine| {
                Ok(engine.store().counters(&tenant)?.last_sequence)
            })
            .await?;
        let own = self
            .sinks
            .iter()
            .filter(|sink| sink.settings.tenant == caller.tenant);
        let sinks = own.map(|sink| {
            let (settings, state) = (&sink.settings, sink.state());
            v1::Sink {
                name: settings.name.clone(),
                kind: settings.kind.as_str().to_owned(),
                cursor: state.cursor,
                lag: last.saturating_sub(state.cursor) + state.retries,
                failed_attempts: state.failed_attempts,
                last_error: state.last_error,
                retries: state.retries,
                dead_letters: state.dead_letters,
                down: state.is_down,
                owner: settings.owner.clone(),
                service_level: settings.service_level,
                max_lag_ms: settings.max_lag.as_millis() as u64,
            }
        });
        Ok(Response::new(v1::ListSinksResponse {
            sinks: sinks.collect(),
        }))
    }

    async fn ack_delivery(
        &self,
        request: Request<v1::AckDeliveryRequest>,
    ) -> Result<Response<v1::AckDeliveryResponse>, Status> {
        self.answer_ack_delivery(request).await
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        self.answer_list_deliveries(request).await
    }

    async fn list_cross_references(
        &self,
        request: Request<v1::ListCrossReferencesRequest>,
    ) -> Result<Response<v1::ListCrossReferencesResponse>, Status> {
        self.answer_list_cross_references(request).await
    }

    type ReconcileStream = ReceiverStream<Result<v1::ReconcileResponse, Status>>;

    async fn reconcile(
        &self,
        request: Request<Streaming<v1::ReconcileRequest>>,
    ) -> Result<Response<Self::ReconcileStream>, Status> {
        self.answer_reconcile(request).await
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        self.answer_list_sources(request).await
    }

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<v1::ListQuarantineResponse>, Status> {
        self.answer_list_quarantine(request).await
    }

    async fn resubmit_quarantined(
        &self,
        request: Request<v1::ResubmitQuarantinedRequest>,
    ) -> Result<Response<v1::ResubmitQuarantinedResponse>, Status> {
        self.answer_resubmit_quarantined(request).await
    }

    async fn discard_quarantined(
        &self,
        request: Request<v1::DiscardQuarantinedRequest>,
    ) -> Result<Response<v1::DiscardQuarantinedResponse>, Status> {
        self.answer_discard_quarantined(request).await
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        self.sink(&caller, &request.sink)?;
        let size = page::size(request.page_size, 100, 1_000)?;
        let after = page::number(&request.page_token)?.unwrap_or(0);
        let response = self.ask("ListDeadLetters", move |engine| {
            dead_letters(engine, &caller.tenant, &request.sink, after, size)
        });
        Ok(Response::new(response.await?))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<v1::RedriveDeadLettersRequest>,
    ) -> Result<Response<v1::RedriveDeadLettersResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        let sink = self.sink(&caller, &request.sink)?;
        let named = named(request.sequences, request.all)?;
        let subjects = vec![AuditSubject::Sink(request.sink.clone())];
        self.audit(&caller, "RedriveDeadLetters", subjects).await?;
        let redriven = sink.redrive(named);
        let redriven = commanded("RedriveDeadLetters", redriven).await?;
        tracing::info!(
            principal = caller.principal,
            sink = request.sink,
            redriven,
            "dead letters are sent again"
        );
        Ok(Response::new(v1::RedriveDeadLettersResponse { redriven }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<v1::DiscardDeadLettersRequest>,
    ) -> Result<Response<v1::DiscardDeadLettersResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        let sink = self.sink(&caller, &request.sink)?;
        let named = named(request.sequences, request.all)?;
        let subjects = vec![AuditSubject::Sink(request.sink.clone())];
        self.audit(&caller, "DiscardDeadLetters", subjects).await?;
        let discarded = sink.discard(named);
        let discarded = commanded("DiscardDeadLetters", discarded).await?;
        tracing::warn!(
            principal = caller.principal,
            sink = request.sink,
            discarded,
            "dead letters are discarded"
        );
        Ok(Response::new(v1::DiscardDeadLettersResponse { discarded }))
    }

    async fn replay_sink(
        &self,
        request: Request<v1::ReplaySinkRequest>,
    ) -> Result<Response<v1::ReplaySinkResponse>, Status> {
        use v1::replay_sink_request::From;
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        let sink = self.sink(&caller, &request.sink)?;
        let from = match request.from {
            Some(From::Sequence(sequence)) if sequence > 0 => ReplayFrom::Sequence(sequence),
            Some(From::TimeMs(time_ms)) => ReplayFrom::Time(time_ms),
            Some(From::Snapshot(true)) => ReplayFrom::Snapshot,
            _ => {
                return Err(status::invalid(
                    "from",
                    "is missing; give a sequence number from 1 on, a time, or snapshot",
                ));
            }
        };
        let subjects = vec![AuditSubject::Sink(request.sink.clone())];
        self.audit(&caller, "ReplaySink", subjects).await?;
        let first_sequence = commanded("ReplaySink", sink.replay(from)).await?;
        tracing::info!(
            principal = caller.principal,
            sink = request.sink,
            first_sequence,
            "a sink is replayed"
        );
        Ok(Response::new(v1::ReplaySinkResponse { first_sequence }))
    }
}

/// The dead letters that a call names.
fn named(sequences: Vec<u64>, all: bool) -> Result<DeadLetters, Status> {
    match (all, sequences.is_empty()) {
        (true, true) => Ok(DeadLetters::All),
        (false, false) => Ok(DeadLetters::Of(sequences)),
        _ => Err(status::invalid("sequences", "give sequences or all")),
    }
}

/// What a running sink answers to a command.
async fn commanded(
    call: &'static str,
    command: impl Future<Output = Result<u64, CommandError>>,
) -> Result<u64, Status> {
    let stopwatch = Stopwatch::start();
    let result = command.await.map_err(refused);
    observe(call, stopwatch, result.as_ref().err());
    result
}

pub(super) fn refused(cause: CommandError) -> Status {
    status::of(match cause {
        CommandError::Stopping => EngineError::Stopping,
        CommandError::Store(cause) => cause.into(),
    })
}

/// A page of a sink's dead letters.
fn dead_letters(
    engine: &Engine,
    tenant: &Tenant,
    sink: &str,
    mut after: u64,
    size: usize,
) -> Result<v1::ListDeadLettersResponse, EngineError> {
    let store = engine.store();
    let mut response = v1::ListDeadLettersResponse::default();
    loop {
        // Those that are tried again lie between them.
        let deliveries = store.deliveries(tenant, sink, after, size)?;
        if deliveries.is_empty() {
            return Ok(response);
        }
        for (sequence, delivery) in deliveries {
            after = sequence;
            if !delivery.is_dead {
                continue;
            }
            let event = store.event(tenant, sequence)?;
            response.dead_letters.push(v1::DeadLetter {
                sequence,
                identity_id: event
                    .as_ref()
                    .map(|event| event.identity.id.to_string())
                    .unwrap_or_default(),
                kind: event
                    .map(|event| event.kind.as_str().to_owned())
                    .unwrap_or_default(),
                attempts: delivery.attempts,
                reason: delivery.last_error,
                failed_at_ms: delivery.failed_at_ms,
            });
            if response.dead_letters.len() == size {
                response.next_page_token = page::token(&after.to_be_bytes());
                return Ok(response);
            }
        }
    }
}

impl Api {
    /// A sink of the caller's tenant.
    pub(super) fn sink(&self, caller: &Caller, name: &str) -> Result<&Sink, Status> {
        self.sinks
            .iter()
            .find(|sink| sink.settings.name == name && sink.settings.tenant == caller.tenant)
            .ok_or_else(|| status::of(EngineError::NotFound { what: "sink" }))
    }
}

/// The model and rules that a caller names, those in force where it names none.
fn wanted_matcher(
    engine: &Engine,
    tenant: &Tenant,
    model: &str,
    rules: &str,
) -> Result<Matcher, EngineError> {
    if model.is_empty() && rules.is_empty() {
        return Err(EngineError::invalid(
            "model",
            "is missing; give a model, rules, or both",
        ));
    }
    let in_force = engine.matcher_of(tenant)?;
    let model = match model {
        "" => in_force.scorer.model().clone(),
        text => Model::from_json(text)
            .map_err(|cause| EngineError::invalid("model", cause.to_string()))?,
    };
    let pack = match rules {
        "" => in_force.pack.clone(),
        text => Pack::from_toml(text)
            .map_err(|cause| EngineError::invalid("rules", cause.to_string()))?,
    };
    Ok(Matcher::new(model, pack))
}
