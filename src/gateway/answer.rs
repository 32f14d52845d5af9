//! What a gRPC service answers, as JSON.

use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http_body_util::BodyExt;
use prost::Message as _;
use prost::bytes::{Buf, BufMut, Bytes, BytesMut};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::schema::json_of;

/// Flag and length before each message (gRPC over HTTP/2, "Length-Prefixed-Message").
const FRAME_HEAD_BYTES: usize = 5;

/// A message as it goes over the wire.
pub(super) fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(message);
    frame.freeze()
}

/// The messages that come, and the status at their end.
pub(super) struct Answer {
    body: tonic::body::Body,
    descriptor: MessageDescriptor,
    received: BytesMut,
    is_over: bool,
}

impl Answer {
    /// Fails where there is a status and no message.
    pub(super) fn of(
        response: Response<tonic::body::Body>,
        descriptor: MessageDescriptor,
    ) -> Result<Self, Status> {
        let (parts, body) = response.into_parts();
        check(&parts.headers)?;
        Ok(Self {
            body,
            descriptor,
            received: BytesMut::new(),
            is_over: false,
        })
    }

    /// The next message as JSON text, or how it ended.
    pub(super) async fn next(&mut self) -> Option<Result<String, Status>> {
        loop {
            if let Some(message) = self.take_message() {
                return Some(self.to_json(message));
            }
            if self.is_over {
                return None;
            }
            let Some(frame) = self.body.frame().await else {
                self.is_over = true;
                return None;
            };
            match frame.map(|frame| frame.into_data()) {
                Err(status) => {
                    self.is_over = true;
                    return Some(Err(status));
                }
                Ok(Ok(data)) => self.received.extend_from_slice(&data),
                Ok(Err(frame)) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    if let Err(status) = check(&trailers) {
                        self.is_over = true;
                        return Some(Err(status));
                    }
                }
            }
        }
    }

    fn take_message(&mut self) -> Option<Bytes> {
        let mut head = self.received.get(..FRAME_HEAD_BYTES)?;
        head.advance(1);
        let length = head.get_u32() as usize;
        if self.received.len() < FRAME_HEAD_BYTES + length {
            return None;
        }
        self.received.advance(FRAME_HEAD_BYTES);
        Some(self.received.split_to(length).freeze())
    }

    fn to_json(&self, message: Bytes) -> Result<String, Status> {
        let internal = |cause: &dyn std::fmt::Display| Status::internal(cause.to_string());
        let message = DynamicMessage::decode(self.descriptor.clone(), message)
            .map_err(|cause| internal(&cause))?;
        json_of(&message).map_err(|cause| internal(&cause))
    }
}

fn check(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// An error as an HTTP response.
pub(super) fn refuse(status: &Status) -> axum::response::Response {
    let mut response = (http_status(status.code()), axum::Json(error(status))).into_response();
    let details = status.get_error_details();
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let seconds = delay.as_secs_f64().ceil() as u64;
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// An error in the form of the Connect protocol.
pub(super) fn error(status: &Status) -> Value {
    let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default();
    let known = status.get_error_details();
    let details = details.details.iter().map(|detail| {
        let name = detail.type_url.rsplit('/').next().unwrap_or_default();
        let mut shown = json!({ "type": name, "value": STANDARD_NO_PAD.encode(&detail.value) });
        if let Some(info) = known
            .error_info()
            .filter(|_| name == "google.rpc.ErrorInfo")
        {
            shown["debug"] =
                json!({ "reason": info.reason, "domain": info.domain, "metadata": info.metadata });
        }
        shown
    });
    json!({
        "code": code_name(status.code()),
        "message": status.message(),
        "details": details.collect::<Vec<_>>(),
    })
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// As the Connect protocol maps them.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // "Client closed request": it has no name in the standard.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
