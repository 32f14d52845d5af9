//! The gRPC services: one file each, all of them thin: who asks, is it well formed, ask the resolver, put the answer into
//! messages.

mod auth;
mod convert;
mod crosswalk;
mod decisions;
pub(crate) mod mask;
mod operations;
mod page;
mod privacy;
mod quality;
mod quarantine;
mod records;
mod resolution;
mod status;
mod stewardship;

pub use auth::{Authenticator, Caller, Right, TENANT_KEY};
pub(crate) use convert::check_signal;
pub use convert::{incoming_from_json, signal_message};
pub(crate) use resolution::refusal;
pub(crate) use status::of as status_of;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::middleware;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Status};
use veridem_proto::v1;

use crate::clock::{self, Stopwatch};
use crate::config::StewardshipSettings;
use crate::executor::available_threads;
use crate::intake::Intake;
use crate::publish::Sink;
use crate::resolver::{
    AuditSubject, AuditedCall, Claims, Engine, EngineError, Ingest, ModelChanges,
};

/// The largest message that is taken, bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The largest message with a model, bytes.
pub(crate) const MAX_MODEL_BYTES: usize = 64 << 20;

/// Questions that may wait for their turn.
const MAX_WAITING: usize = 1_024;

/// Takes questions in turn, as many at once as there are cores, and refuses them where too many wait.
pub struct Questions {
    at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Questions {
    /// For this machine.
    pub fn new() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(available_threads())),
            waiting: AtomicUsize::new(0),
        }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        if let Ok(turn) = self.at_once.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let waiting = Waiting::enter(&self.waiting).ok_or(EngineError::Overloaded)?;
        let turn = self.at_once.clone().acquire_owned().await;
        drop(waiting);
        turn.map_err(|_| EngineError::Stopping)
    }
}

impl Default for Questions {
    fn default() -> Self {
        Self::new()
    }
}

/// A place among those that wait; given back also where the caller goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        (before < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every service needs.
#[derive(Clone)]
pub struct Api {
    /// Reads.
    pub engine: Arc<Engine>,
    /// Writes.
    pub ingest: Ingest,
    /// The way in for signals.
    pub intake: Intake,
    /// Who may call.
    pub authenticator: Arc<Authenticator>,
    /// How many questions are worked at and may wait.
    pub questions: Arc<Questions>,
    /// Model changes that run.
    pub models: Arc<ModelChanges>,
    /// The share of identities that a model change may end or split where the call does not say.
    pub model_change_limit: f64,
    /// What holds for the decisions of stewards.
    pub stewardship: Arc<StewardshipSettings>,
    /// Who works at which review task.
    pub claims: Arc<Claims>,
    /// Running sinks.
    pub sinks: Arc<Vec<Sink>>,
    /// Ends streams when the service stops.
    pub stop: CancellationToken,
}

impl Api {
    /// All services with health and reflection.
    pub async fn routes(self) -> anyhow::Result<Routes> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health
            .set_serving::<v1::resolution_service_server::ResolutionServiceServer<Self>>()
            .await;
        let (stop, authenticator) = (self.stop.clone(), self.authenticator.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            health
                .set_not_serving::<v1::resolution_service_server::ResolutionServiceServer<Self>>()
                .await;
            health
                .set_service_status("", tonic_health::ServingStatus::NotServing)
                .await;
        });
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let resolution = v1::resolution_service_server::ResolutionServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let stewardship =
            v1::stewardship_service_server::StewardshipServiceServer::new(self.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let operations = v1::operations_service_server::OperationsServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MODEL_BYTES);
        let privacy = v1::privacy_service_server::PrivacyServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let routes = Routes::new(health_service)
            .add_service(reflection)
            .add_service(resolution)
            .add_service(stewardship)
            .add_service(operations)
            .add_service(privacy);
        let masked = middleware::from_fn_with_state(authenticator, mask::mask);
        Ok(Routes::from(routes.into_axum_router().layer(masked)))
    }

    /// Who calls: whoever the console has signed in, or whoever the metadata name, as the layer around the services has found. Nothing from
    /// outside puts anything among the extensions.
    fn caller<T>(&self, request: &Request<T>, right: Right) -> Result<Caller, Status> {
        let caller = match request.extensions().get::<Caller>() {
            Some(caller) => caller.clone(),
            None => self.authenticator.authenticate(request.metadata())?,
        };
        caller.with(right)
    }

    /// Asks the engine away from the threads that serve connections.
    async fn ask<T: Send + 'static>(
        &self,
        call: &'static str,
        question: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.engine.clone();
        let stopwatch = Stopwatch::start();
        let result = async {
            let turn = self.questions.turn().await.map_err(status::of)?;
            // The turn lasts as long as the work, also where the caller goes away meanwhile.
            let answer = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                question(&engine)
            });
            answer
                .await
                .map_err(|_| Status::internal("the call failed"))?
                .map_err(status::of)
        }
        .await;
        observe(call, stopwatch, result.as_ref().err());
        result
    }

    /// Has work done that takes as long as a bulk job: it takes no turn among the questions, which it would hold all the while.
    async fn work<T: Send + 'static>(
        &self,
        call: &'static str,
        work: impl FnOnce(&Engine) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.engine.clone();
        let stopwatch = Stopwatch::start();
        let result = tokio::task::spawn_blocking(move || work(&engine)).await;
        let result = result
            .map_err(|_| Status::internal("the call failed"))
            .flatten();
        observe(call, stopwatch, result.as_ref().err());
        result
    }

    /// Writes a call down before it is carried out.
    async fn audit(
        &self,
        caller: &Caller,
        call: &'static str,
        subjects: Vec<AuditSubject>,
    ) -> Result<(), Status> {
        self.audit_because(caller, call, subjects, String::new())
            .await
    }

    /// [`Api::audit`] with what the caller said why.
    async fn audit_because(
        &self,
        caller: &Caller,
        call: &'static str,
        subjects: Vec<AuditSubject>,
        note: String,
    ) -> Result<(), Status> {
        let (engine, tenant) = (self.engine.clone(), caller.tenant.clone());
        let call = AuditedCall {
            principal: caller.principal.clone(),
            call,
            subjects,
            note,
        };
        let written =
            tokio::task::spawn_blocking(move || engine.audit(&tenant, call, clock::now_ms()));
        let written = written.await;
        written
            .map_err(|_| Status::internal("the call failed"))?
            .map_err(status::of)
    }

    /// Asks the engine for what a few look-ups bring: handing that to another thread would take longer than the answer.
    fn look_up<T>(
        &self,
        call: &'static str,
        question: impl FnOnce(&Engine) -> Result<T, EngineError>,
    ) -> Result<T, Status> {
        let stopwatch = Stopwatch::start();
        let result = question(&self.engine).map_err(status::of);
        observe(call, stopwatch, result.as_ref().err());
        result
    }
}

fn observe(call: &'static str, stopwatch: Stopwatch, error: Option<&Status>) {
    let code = error.map_or(tonic::Code::Ok, Status::code);
    metrics::histogram!("veridem_call_seconds", "call" => call).record(stopwatch.seconds());
    metrics::counter!("veridem_calls_total", "call" => call, "code" => format!("{code:?}"))
        .increment(1);
}
