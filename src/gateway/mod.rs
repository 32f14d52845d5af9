//! JSON over HTTP for who has no gRPC: the same calls with the same messages. A call is a POST to `/<service>/<method>`, as in
//! the Connect protocol (<https://connectrpc.com/docs/protocol>, unary calls); streams are JSON Lines. Every call goes through the
//! gRPC services in this process, so that both ways in know the same callers, limits and errors.

mod answer;
mod openapi;
mod stream;

pub use openapi::openapi;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prost_reflect::MethodDescriptor;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::api::{Authenticator, MAX_MESSAGE_BYTES, MAX_MODEL_BYTES, TENANT_KEY};
use crate::schema::{CONTRACT, read_json};
use answer::{Answer, refuse};

pub(crate) use answer::http_status;

const JSON: &str = "application/json";
const JSON_LINES: &str = "application/x-ndjson";
/// How long the caller will wait, milliseconds.
const TIMEOUT: &str = "connect-timeout-ms";
/// What is read, and how long, of a request that is too large, before it is refused.
const MAX_DROPPED_BYTES: usize = 16 << 20;
const DROPPING_TIME: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Gateway {
    routes: Routes,
    authenticator: Arc<Authenticator>,
    /// Ends streams and bodies that never end.
    stop: CancellationToken,
}

/// The routes of the gateway and of the description of itself.
pub fn router(
    routes: Routes,
    authenticator: Arc<Authenticator>,
    stop: CancellationToken,
) -> Router {
    let gateway = Gateway {
        routes,
        authenticator,
        stop,
    };
    let description = Bytes::from(openapi().to_string());
    Router::new()
        .route("/{service}/{method}", post(call))
        .route(
            "/openapi.json",
            get(move || std::future::ready(([(header::CONTENT_TYPE, JSON)], description.clone()))),
        )
        .with_state(gateway)
}

async fn call(
    State(gateway): State<Gateway>,
    Path((service, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        // Anyone who reaches the port may call: then only who asks for this machine by its name.
        if gateway.authenticator.is_open() {
            require_this_machine(&headers)?;
        }
        // The service asks once more; here, so that nothing is read of who may not call.
        let metadata = MetadataMap::from_headers(headers.clone());
        gateway.authenticator.authenticate(&metadata)?;
        let found = CONTRACT.get_service_by_name(&service);
        let found = found.and_then(|service| service.methods().find(|it| it.name() == method));
        let method = found.ok_or_else(|| {
            Status::unimplemented("there is no such call; /openapi.json lists all of them")
        })?;
        gateway.call(&method, &headers, body).await
    };
    answer.await.unwrap_or_else(|status| refuse(&status))
}

/// A body of at most so many bytes. Of one that has more the rest is dropped for a while: whoever still sends when the connection is
/// closed does not see the answer.
async fn whole(body: Body, most: usize) -> Result<Vec<u8>, Status> {
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Status::invalid_argument("the request ends too early"))?;
        if bytes.len() + part.len() > most {
            let rest = async {
                let mut left = MAX_DROPPED_BYTES;
                while let Some(Ok(part)) = parts.next().await
                    && part.len() < left
                {
                    left -= part.len();
                }
            };
            // It is the answer that counts.
            let _ = tokio::time::timeout(DROPPING_TIME, rest).await;
            return Err(Status::resource_exhausted(format!(
                "a request has at most {most} bytes"
            )));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

impl Gateway {
    async fn call(
        self,
        method: &MethodDescriptor,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Status> {
        let wanted = if method.is_client_streaming() {
            JSON_LINES
        } else {
            JSON
        };
        // Also keeps pages of other sites from calling through a browser: this type needs their leave first.
        if media_type(headers) != Some(wanted) {
            return Err(Status::invalid_argument(format!(
                "content-type must be {wanted}"
            )));
        }
        let timeout = timeout(headers)?;
        if method.is_client_streaming() {
            let stop = self.stop.clone();
            let (lines, slots) = stream::requests(body, method, stop.clone());
            let answer = self.ask(method, headers, lines).await?;
            return Ok(stream::answers(answer, Some(slots), stop));
        }
        let most = match method.parent_service().name() {
            "OperationsService" => MAX_MODEL_BYTES,
            _ => MAX_MESSAGE_BYTES,
        };
        let bytes = tokio::select! {
            () = self.stop.cancelled() => return Err(Status::unavailable("the service is stopping")),
            bytes = whole(body, most) => bytes?,
        };
        let message = read_json(method.input(), &bytes).map_err(Status::invalid_argument)?;
        let request = Body::from(answer::frame(&message));
        if method.is_server_streaming() {
            let stop = self.stop.clone();
            let answer = self.ask(method, headers, request).await?;
            return Ok(stream::answers(answer, None, stop));
        }
        let asked = async {
            let mut answer = self.ask(method, headers, request).await?;
            let message = answer
                .next()
                .await
                .unwrap_or_else(|| Err(Status::internal("no answer")))?;
            // An error may come after the message.
            match answer.next().await {
                Some(Err(status)) => Err(status),
                _ => Ok(([(header::CONTENT_TYPE, JSON)], message).into_response()),
            }
        };
        match timeout {
            None => asked.await,
            Some(timeout) => tokio::time::timeout(timeout, asked)
                .await
                .unwrap_or_else(|_| {
                    Err(Status::deadline_exceeded(
                        "the time that the caller gave is over",
                    ))
                }),
        }
    }

    /// Calls a gRPC service of this process.
    async fn ask(
        self,
        method: &MethodDescriptor,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Answer, Status> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(tonic::body::Body::new(body))
            .map_err(|cause| Status::internal(cause.to_string()))?;
        for name in [header::AUTHORIZATION.as_str(), TENANT_KEY] {
            if let Some(value) = headers.get(name) {
                let name = axum::http::HeaderName::from_static(name);
                request.headers_mut().insert(name, value.clone());
            }
        }
        let Ok(response) = self.routes.oneshot(request).await;
        Answer::of(response, method.output())
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok());
    let milliseconds = milliseconds.ok_or_else(|| {
        Status::invalid_argument(format!("{TIMEOUT} must be a number of milliseconds"))
    })?;
    Ok(Some(Duration::from_millis(milliseconds)))
}

/// Refuses what a page of another site can make a browser send: a name of its own that it lets point to this machine.
pub(crate) fn require_this_machine(headers: &HeaderMap) -> Result<(), Status> {
    let host = headers.get(header::HOST).map(HeaderValue::to_str);
    let Some(Ok(host)) = host else {
        return Ok(());
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if is_local {
        Ok(())
    } else {
        Err(Status::permission_denied(
            "without configured principals this machine must be called localhost or by its loopback address",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_principals_only_this_machine_is_called() {
        let allowed = |host: &'static str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            require_this_machine(&headers).is_ok()
        };
        for host in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "127.0.0.1",
        ] {
            assert!(allowed(host), "{host}");
        }
        for host in [
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.7:8080",
        ] {
            assert!(!allowed(host), "{host}");
        }
    }
}
