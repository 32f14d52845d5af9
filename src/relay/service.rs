//! The calls that a relay answers: those that bring signals. Everything else is the service's.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_server::{ResolutionService, ResolutionServiceServer};
use veridem_proto::v1::submit_signals_response::Outcome;

use super::backlog::Backlog;
use crate::api::{Authenticator, MAX_MESSAGE_BYTES, check_signal, refusal, status_of};
use crate::resolver::EngineError;

/// Answers of one stream that may be on their way.
const STREAM_WINDOW: usize = 512;

#[derive(Clone)]
pub(super) struct RelayService {
    backlog: Backlog,
    authenticator: Arc<Authenticator>,
    stop: CancellationToken,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl RelayService {
    pub(super) fn new(
        backlog: Backlog,
        authenticator: Arc<Authenticator>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            backlog,
            authenticator,
            stop,
        }
    }

    pub(super) fn routes(self) -> Routes {
        let service =
            ResolutionServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Routes::new(service)
    }

    /// Keeps a signal. Which identity it belongs to, the service decides later.
    async fn keep(
        &self,
        signal: Option<v1::Signal>,
        may_wait: bool,
    ) -> Result<v1::SignalAck, EngineError> {
        let signal = check_signal(signal)?;
        self.backlog.push(&signal, may_wait).await?;
        Ok(v1::SignalAck {
            signal_id: signal.signal_id,
            provisional: true,
            ..v1::SignalAck::default()
        })
    }
}

fn elsewhere<T>() -> Result<T, Status> {
    Err(Status::unimplemented(
        "a relay takes signals only; ask the service",
    ))
}

#[tonic::async_trait]
impl ResolutionService for RelayService {
    type SubmitSignalsStream = Outgoing<v1::SubmitSignalsResponse>;
    type ResolveStreamStream = Outgoing<v1::ResolveStreamResponse>;
    type WatchIdentitiesStream = ReceiverStream<Result<v1::WatchIdentitiesResponse, Status>>;

    async fn submit_signal(
        &self,
        request: Request<v1::SubmitSignalRequest>,
    ) -> Result<Response<v1::SubmitSignalResponse>, Status> {
        self.authenticator.authenticate(request.metadata())?;
        let ack = self.keep(request.into_inner().signal, false).await;
        let ack = Some(ack.map_err(status_of)?);
        Ok(Response::new(v1::SubmitSignalResponse { ack }))
    }

    async fn submit_signals(
        &self,
        request: Request<Streaming<v1::SubmitSignalsRequest>>,
    ) -> Result<Response<Self::SubmitSignalsStream>, Status> {
        self.authenticator.authenticate(request.metadata())?;
        let (service, mut requests) = (self.clone(), request.into_inner());
        let (answers, outgoing) = tokio::sync::mpsc::channel(STREAM_WINDOW);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    () = service.stop.cancelled() => return,
                    next = requests.next() => next,
                };
                let signal = match next {
                    None => return,
                    Some(Ok(request)) => request.signal,
                    Some(Err(failed)) => {
                        // The caller may be gone.
                        let _ = answers.send(Err(failed)).await;
                        return;
                    }
                };
                let signal_id = signal.as_ref().map(|signal| signal.signal_id.clone());
                let service = service.clone();
                // Many are made durable with one flush; the answers keep the order of the signals.
                let kept = tokio::spawn(async move { service.keep(signal, true).await });
                if answers
                    .send(Ok((signal_id.unwrap_or_default(), kept)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        let answers = ReceiverStream::new(outgoing).then(|kept| async move {
            let (signal_id, kept) = kept?;
            let kept = kept.await.unwrap_or(Err(EngineError::Stopping));
            Ok(match kept {
                Ok(ack) => v1::SubmitSignalsResponse {
                    outcome: Some(Outcome::Ack(ack)),
                },
                Err(cause) => refusal(signal_id, cause),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn resolve(
        &self,
        _: Request<v1::ResolveRequest>,
    ) -> Result<Response<v1::ResolveResponse>, Status> {
        elsewhere()
    }

    async fn resolve_stream(
        &self,
        _: Request<Streaming<v1::ResolveStreamRequest>>,
    ) -> Result<Response<Self::ResolveStreamStream>, Status> {
        elsewhere()
    }

    async fn get_identity(
        &self,
        _: Request<v1::GetIdentityRequest>,
    ) -> Result<Response<v1::GetIdentityResponse>, Status> {
        elsewhere()
    }

    async fn lookup_identity(
        &self,
        _: Request<v1::LookupIdentityRequest>,
    ) -> Result<Response<v1::LookupIdentityResponse>, Status> {
        elsewhere()
    }

    async fn search_identities(
        &self,
        _: Request<v1::SearchIdentitiesRequest>,
    ) -> Result<Response<v1::SearchIdentitiesResponse>, Status> {
        elsewhere()
    }

    async fn explain_match(
        &self,
        _: Request<v1::ExplainMatchRequest>,
    ) -> Result<Response<v1::ExplainMatchResponse>, Status> {
        elsewhere()
    }

    async fn explain_identity(
        &self,
        _: Request<v1::ExplainIdentityRequest>,
    ) -> Result<Response<v1::ExplainIdentityResponse>, Status> {
        elsewhere()
    }

    async fn wait_settled(
        &self,
        _: Request<v1::WaitSettledRequest>,
    ) -> Result<Response<v1::WaitSettledResponse>, Status> {
        elsewhere()
    }

    async fn list_identity_events(
        &self,
        _: Request<v1::ListIdentityEventsRequest>,
    ) -> Result<Response<v1::ListIdentityEventsResponse>, Status> {
        elsewhere()
    }

    async fn watch_identities(
        &self,
        _: Request<v1::WatchIdentitiesRequest>,
    ) -> Result<Response<Self::WatchIdentitiesStream>, Status> {
        elsewhere()
    }
}
