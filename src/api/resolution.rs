//! `ResolutionService`.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_server::ResolutionService;

use super::{Api, Caller, Right, convert, observe, page, status};
use crate::clock::Stopwatch;
use crate::index::query_words;
use crate::resolver::{
    Ack, Engine, EngineError, Moment, Pending, RankedIdentity, answer, validate_attributes,
    validate_id,
};
use crate::store::IdentityId;

/// Answers of one stream that may be on their way.
const STREAM_WINDOW: usize = 1_024;
/// Events read at once.
const EVENT_BATCH: usize = 256;
/// Where signals come in here.
const ORIGIN: &str = "api";
const MAX_QUERY_BYTES: usize = 256;
const MAX_SEARCH_DEPTH: usize = 10_000;

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An answer to a signal of a stream: known at once, or on its way.
enum Outcome {
    Refused(String, EngineError),
    Pending(String, Pending<Ack>),
    Failed(Status),
}

/// The answer to a signal of a stream that is refused.
pub(crate) fn refusal(signal_id: String, error: EngineError) -> v1::SubmitSignalsResponse {
    let (code, reason, field) = status::parts(&error);
    let refusal = v1::SignalRefusal {
        signal_id,
        code: code as i32,
        reason: reason.to_owned(),
        field: field.to_owned(),
        message: error.to_string(),
    };
    v1::SubmitSignalsResponse {
        outcome: Some(v1::submit_signals_response::Outcome::Refusal(refusal)),
    }
}

fn ranked(identity: &RankedIdentity, ids_only: bool) -> v1::RankedIdentity {
    let mut message = convert::identity(&identity.identity);
    if ids_only {
        message.golden_record.clear();
    }
    v1::RankedIdentity {
        identity: Some(message),
        match_probability: identity.explanation.score.probability().0,
        decision: convert::decision(identity.explanation.score.decision).into(),
        best_record: Some(convert::record_key_message(&identity.best_record)),
        explanation: Some(convert::explanation(
            &identity.explanation,
            identity.shared_blocking_rules.clone(),
            None,
        )),
    }
}

impl Api {
    async fn resolve_one(
        &self,
        caller: Caller,
        request: v1::ResolveRequest,
    ) -> Result<v1::ResolveResponse, Status> {
        let attributes =
            convert::attributes("attributes", request.attributes).map_err(status::of)?;
        if attributes.is_empty() {
            return Err(status::invalid("attributes", "is empty; give at least one"));
        }
        validate_attributes("attributes", &attributes).map_err(status::of)?;
        let max_identities = match request.max_identities {
            0 => 10,
            asked if asked <= 100 => asked as usize,
            _ => return Err(status::invalid("max_identities", "must be 0 to 100")),
        };
        let (identities, provisional) = self
            .ask("Resolve", move |engine| {
                let identities = engine.resolve(&caller.tenant, &attributes, max_identities)?;
                Ok((identities, engine.is_provisional(&caller.tenant)?))
            })
            .await?;
        Ok(v1::ResolveResponse {
            provisional,
            identities: identities
                .iter()
                .map(|identity| ranked(identity, request.ids_only))
                .collect(),
        })
    }

    /// Takes the signals of a stream in order; the answers wait in `outcomes`, which bounds how many are on their way.
    async fn take_signals(
        self,
        caller: Caller,
        mut requests: Streaming<v1::SubmitSignalsRequest>,
        outcomes: mpsc::Sender<Outcome>,
    ) {
        loop {
            let next = tokio::select! {
                () = self.stop.cancelled() => return,
                next = requests.next() => next,
            };
            let outcome = match next {
                None => return,
                Some(Err(failed)) => Outcome::Failed(failed),
                Some(Ok(request)) => {
                    let signal_id = request
                        .signal
                        .as_ref()
                        .map(|signal| signal.signal_id.clone())
                        .unwrap_or_default();
                    let tenant = caller.tenant.clone();
                    let submitted = match convert::incoming(request.signal) {
                        Ok(incoming) => self.intake.submit(tenant, incoming, ORIGIN).await,
                        Err(error) => Err(error),
                    };
                    match submitted {
                        Ok(pending) => Outcome::Pending(signal_id, pending),
                        Err(error) => Outcome::Refused(signal_id, error),
                    }
                }
            };
            let last = matches!(outcome, Outcome::Failed(_));
            if outcomes.send(outcome).await.is_err() || last {
                return;
            }
        }
    }

    async fn watch(
        self,
        caller: Caller,
        mut from: u64,
        events: mpsc::Sender<Result<v1::WatchIdentitiesResponse, Status>>,
    ) {
        let mut durable = self.ingest.durable();
        loop {
            durable.mark_seen();
            let last = durable.sequence(&caller.tenant);
            while from <= last {
                let tenant = caller.tenant.clone();
                let page = self
                    .ask("WatchIdentities", move |engine| {
                        Ok(engine.store().events(&tenant, from, EVENT_BATCH)?)
                    })
                    .await;
                let page = match page {
                    Ok(page) => page,
                    Err(failed) => {
                        // The caller may be gone already; there is nobody else to tell.
                        let _ = events.send(Err(failed)).await;
                        return;
                    }
                };
                if page.is_empty() {
                    break;
                }
                for event in page.into_iter().take_while(|event| event.sequence <= last) {
                    from = event.sequence + 1;
                    if events
                        .send(Ok(v1::WatchIdentitiesResponse {
                            event: Some(convert::event(&event)),
                            delivery: None,
                        }))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = events.closed() => return,
                goes_on = durable.changed() => if !goes_on { return },
            }
        }
    }
}

#[tonic::async_trait]
impl ResolutionService for Api {
    type SubmitSignalsStream = Outgoing<v1::SubmitSignalsResponse>;
    type ResolveStreamStream = Outgoing<v1::ResolveStreamResponse>;
    type WatchIdentitiesStream = ReceiverStream<Result<v1::WatchIdentitiesResponse, Status>>;

    async fn submit_signal(
        &self,
        request: Request<v1::SubmitSignalRequest>,
    ) -> Result<Response<v1::SubmitSignalResponse>, Status> {
        let stopwatch = Stopwatch::start();
        let caller = self.caller(&request, Right::Send)?;
        let result = async {
            let incoming = convert::incoming(request.into_inner().signal)?;
            let signal_id = incoming.signal.signal_id.clone();
            let submitted = self.intake.try_submit(caller.tenant, incoming, ORIGIN);
            let ack = answer(submitted.await?).await?;
            Ok(v1::SubmitSignalResponse {
                ack: Some(convert::ack_message(signal_id, ack)),
            })
        };
        let result = result.await.map_err(status::of);
        observe("SubmitSignal", stopwatch, result.as_ref().err());
        result.map(Response::new)
    }

    async fn submit_signals(
        &self,
        request: Request<Streaming<v1::SubmitSignalsRequest>>,
    ) -> Result<Response<Self::SubmitSignalsStream>, Status> {
        let caller = self.caller(&request, Right::Send)?;
        let (outcomes, answers) = mpsc::channel(STREAM_WINDOW);
        tokio::spawn(
            self.clone()
                .take_signals(caller, request.into_inner(), outcomes),
        );
        let answers = ReceiverStream::new(answers).then(|outcome| async {
            match outcome {
                Outcome::Failed(failed) => Err(failed),
                Outcome::Refused(signal_id, error) => Ok(refusal(signal_id, error)),
                Outcome::Pending(signal_id, pending) => Ok(match answer(pending).await {
                    Ok(ack) => v1::SubmitSignalsResponse {
                        outcome: Some(v1::submit_signals_response::Outcome::Ack(
                            convert::ack_message(signal_id, ack),
                        )),
                    },
                    Err(error) => refusal(signal_id, error),
                }),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn resolve(
        &self,
        request: Request<v1::ResolveRequest>,
    ) -> Result<Response<v1::ResolveResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        self.resolve_one(caller, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn resolve_stream(
        &self,
        request: Request<Streaming<v1::ResolveStreamRequest>>,
    ) -> Result<Response<Self::ResolveStreamStream>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let api = self.clone();
        let answers = request.into_inner().then(move |request| {
            let (api, caller) = (api.clone(), caller.clone());
            async move {
                let request = request?;
                let result = match request.request {
                    Some(question) => api.resolve_one(caller, question).await,
                    None => Err(status::invalid("request", "is missing")),
                };
                let outcome = match result {
                    Ok(response) => v1::resolve_stream_response::Outcome::Response(response),
                    Err(failed) => {
                        use tonic_types::StatusExt;
                        let reason = failed
                            .get_details_error_info()
                            .map(|info| info.reason)
                            .unwrap_or_default();
                        v1::resolve_stream_response::Outcome::Refusal(v1::ResolveRefusal {
                            code: failed.code() as i32,
                            reason,
                            message: failed.message().to_owned(),
                        })
                    }
                };
                Ok(v1::ResolveStreamResponse {
                    request_id: request.request_id,
                    outcome: Some(outcome),
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_identity(
        &self,
        request: Request<v1::GetIdentityRequest>,
    ) -> Result<Response<v1::GetIdentityResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let id = identity_id(request.identity_id)?;
        let moment = request.as_of.map_or(Moment::Now, |as_of| match as_of {
            v1::get_identity_request::AsOf::AsOfSequence(sequence) => Moment::Event(sequence),
            v1::get_identity_request::AsOf::AsOfTimeMs(time_ms) => Moment::Time(time_ms),
        });
        let question = move |engine: &Engine| {
            let resolution = engine.get_identity(&caller.tenant, &id, moment)?;
            let provisional = moment == Moment::Now && engine.is_provisional(&caller.tenant)?;
            Ok((resolution, provisional))
        };
        let (resolution, provisional) = if moment == Moment::Now {
            self.look_up("GetIdentity", question)?
        } else {
            // The way back may lead over many events.
            self.ask("GetIdentity", question).await?
        };
        let lineage = resolution.ended.iter().filter_map(|identity| {
            let ended = identity.ended.as_ref()?;
            let successor_identity_ids = ended.successors.iter().map(|id| id.to_string()).collect();
            Some(v1::IdentitySuccession {
                identity_id: identity.id.to_string(),
                successor_identity_ids,
                sequence: ended.sequence,
            })
        });
        let lineage = lineage.collect();
        Ok(Response::new(v1::GetIdentityResponse {
            identities: resolution
                .living
                .iter()
                .map(|identity| convert::identity(identity))
                .collect(),
            lineage,
            provisional,
        }))
    }

    async fn lookup_identity(
        &self,
        request: Request<v1::LookupIdentityRequest>,
    ) -> Result<Response<v1::LookupIdentityResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let key = convert::record_key("record", request.into_inner().record)?;
        let (identity, provisional) = self.look_up("LookupIdentity", move |engine| {
            let identity = engine.lookup_identity(&caller.tenant, &key)?;
            Ok((identity, engine.is_provisional(&caller.tenant)?))
        })?;
        Ok(Response::new(v1::LookupIdentityResponse {
            provisional,
            identity: Some(convert::identity(&identity)),
        }))
    }

    async fn search_identities(
        &self,
        request: Request<v1::SearchIdentitiesRequest>,
    ) -> Result<Response<v1::SearchIdentitiesResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        if request.query.len() > MAX_QUERY_BYTES || query_words(&request.query).is_empty() {
            return Err(status::invalid(
                "query",
                "must hold 1 to 256 bytes with at least one letter or digit",
            ));
        }
        let size = page::size(request.page_size, 20, 100)?;
        let skip = page::number(&request.page_token)?.unwrap_or(0) as usize;
        if skip > MAX_SEARCH_DEPTH {
            return Err(status::invalid(
                "page_token",
                "lies too deep; ask with more words",
            ));
        }
        let identities = self
            .ask("SearchIdentities", move |engine| {
                engine.search(&caller.tenant, &request.query, skip, size + 1)
            })
            .await?;
        let next_page_token = if identities.len() > size {
            page::token(&((skip + size) as u64).to_be_bytes())
        } else {
            String::new()
        };
        Ok(Response::new(v1::SearchIdentitiesResponse {
            identities: identities
                .iter()
                .take(size)
                .map(|identity| convert::identity(identity))
                .collect(),
            next_page_token,
        }))
    }

    async fn explain_match(
        &self,
        request: Request<v1::ExplainMatchRequest>,
    ) -> Result<Response<v1::ExplainMatchResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let (left, right) = (
            convert::record_key("left", request.left)?,
            convert::record_key("right", request.right)?,
        );
        if left == right {
            return Err(status::invalid("right", "is the same record as left"));
        }
        let found = self
            .ask("ExplainMatch", move |engine| {
                engine.explain_match(&caller.tenant, &left, &right)
            })
            .await?;
        let id = |id: Option<IdentityId>| id.map(|id| id.to_string()).unwrap_or_default();
        Ok(Response::new(v1::ExplainMatchResponse {
            explanation: Some(convert::explanation(
                &found.explanation,
                found.shared_blocking_rules,
                found.word,
            )),
            left_identity_id: id(found.identities.0),
            right_identity_id: id(found.identities.1),
            why_not: found.why_not,
        }))
    }

    async fn explain_identity(
        &self,
        request: Request<v1::ExplainIdentityRequest>,
    ) -> Result<Response<v1::ExplainIdentityResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let id = identity_id(request.identity_id)?;
        let moment = request.as_of.map_or(Moment::Now, |as_of| match as_of {
            v1::explain_identity_request::AsOf::AsOfSequence(sequence) => Moment::Event(sequence),
            v1::explain_identity_request::AsOf::AsOfTimeMs(time_ms) => Moment::Time(time_ms),
        });
        let response = self.ask("ExplainIdentity", move |engine| {
            let identity = engine.explain_identity(&caller.tenant, &id, moment)?;
            let explain = |(left, right)| {
                let found = engine.explain_match(&caller.tenant, &left, &right)?;
                Ok(v1::ExplainedPair {
                    left: Some(convert::record_key_message(&left)),
                    right: Some(convert::record_key_message(&right)),
                    explanation: Some(convert::explanation(
                        &found.explanation,
                        found.shared_blocking_rules,
                        found.word,
                    )),
                })
            };
            let pairs = identity
                .pairs
                .into_iter()
                .map(explain)
                .collect::<Result<_, EngineError>>()?;
            Ok(v1::ExplainIdentityResponse {
                identity: Some(convert::identity(&identity.identity)),
                pairs,
                events: identity.events.iter().map(convert::event).collect(),
            })
        });
        Ok(Response::new(response.await?))
    }

    async fn wait_settled(
        &self,
        request: Request<v1::WaitSettledRequest>,
    ) -> Result<Response<v1::WaitSettledResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let mut durable = self.ingest.durable();
        let mut settled_at = None;
        loop {
            durable.mark_seen();
            let tenant = caller.tenant.clone();
            // Every step of a model change ends with a flush, which wakes this.
            if settled_at.is_none() {
                settled_at = self.look_up("WaitSettled", move |engine| {
                    let is_settled = !engine.is_provisional(&tenant)?;
                    let counters = is_settled.then(|| engine.store().counters(&tenant));
                    Ok(counters.transpose()?.map(|counters| counters.last_sequence))
                })?;
            }
            let sequence = durable.sequence(&caller.tenant);
            if settled_at.is_some_and(|settled_at| settled_at <= sequence) {
                return Ok(Response::new(v1::WaitSettledResponse { sequence }));
            }
            let goes_on = tokio::select! {
                () = self.stop.cancelled() => false,
                goes_on = durable.changed() => goes_on,
            };
            if !goes_on {
                return Err(status::of(EngineError::Stopping));
            }
        }
    }

    async fn list_identity_events(
        &self,
        request: Request<v1::ListIdentityEventsRequest>,
    ) -> Result<Response<v1::ListIdentityEventsResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 1_000)?;
        let from = page::number(&request.page_token)?.unwrap_or(request.from_sequence);
        let durable = self.ingest.durable().sequence(&caller.tenant);
        let events = self
            .ask("ListIdentityEvents", move |engine| {
                Ok(engine.store().events(&caller.tenant, from, size)?)
            })
            .await?;
        let events: Vec<_> = events
            .iter()
            .take_while(|event| event.sequence <= durable)
            .collect();
        let next = events
            .last()
            .filter(|last| last.sequence < durable)
            .map(|last| page::token(&(last.sequence + 1).to_be_bytes()));
        Ok(Response::new(v1::ListIdentityEventsResponse {
            events: events.into_iter().map(convert::event).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn watch_identities(
        &self,
        request: Request<v1::WatchIdentitiesRequest>,
    ) -> Result<Response<Self::WatchIdentitiesStream>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        if !request.sink.is_empty() {
            // Whoever watches a sink takes the place of its consumer.
            let caller = caller.with(Right::Send)?;
            return self.watch_sink(&caller, &request).await;
        }
        let from = request.from_sequence.max(1);
        let (events, outgoing) = mpsc::channel(EVENT_BATCH);
        tokio::spawn(self.clone().watch(caller, from, events));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

impl Api {
    async fn watch_sink(
        &self,
        caller: &Caller,
        request: &v1::WatchIdentitiesRequest,
    ) -> Result<Response<<Self as ResolutionService>::WatchIdentitiesStream>, Status> {
        let sink = self.sink(caller, &request.sink)?;
        if request.from_sequence > 0 {
            let problem = "must not be given with a sink, which knows how far it has come; ReplaySink sends it back";
            return Err(status::invalid("from_sequence", problem));
        }
        let watched = sink.watch().await.map_err(super::operations::refused)?;
        let Some(mut watched) = watched else {
            return Err(status::invalid(
                "sink",
                "is not of the kind \"watch\": it delivers by itself",
            ));
        };
        // What waits here is lost with the call, and comes again.
        let (events, outgoing) = mpsc::channel(1);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    () = events.closed() => return,
                    event = watched.recv() => event,
                };
                let response = match event {
                    Some(event) => Ok(v1::WatchIdentitiesResponse {
                        event: None,
                        delivery: Some(v1::WatchedDelivery {
                            sequence: event.sequence,
                            cloud_event: event.cloud_event,
                        }),
                    }),
                    None => Err(Status::aborted("somebody else watches the sink now")),
                };
                let is_last = response.is_err();
                if events.send(response).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

pub(super) fn identity_id(id: String) -> Result<IdentityId, Status> {
    validate_id("identity_id", &id).map_err(status::of)?;
    // What is no id at all was never issued either.
    id.parse().map_err(|_| {
        status::of(EngineError::NotFound {
            what: "identity_id",
        })
    })
}
