//! Streams as JSON Lines: a line a message, in both directions. A line that is no message gets an error in its place, and the
//! stream goes on.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prost_reflect::MessageDescriptor;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;
use tonic::Status;

use super::JSON_LINES;
use super::answer::{Answer, error, frame};
use crate::api::MAX_MESSAGE_BYTES;
use crate::schema::read_json;

/// Lines that may be on their way between caller and service.
const MAX_LINES: usize = 64;

/// What a line of the request comes to, in the order of the lines.
pub(super) enum Slot {
    /// The service will answer it.
    Asked,
    /// It is no message.
    Refused(Status),
}

/// The request's lines as gRPC messages, and what each line comes to.
pub(super) fn requests(body: Body, descriptor: MessageDescriptor) -> (Body, mpsc::Receiver<Slot>) {
    let (messages, asked) = mpsc::channel::<Result<Bytes, Infallible>>(MAX_LINES);
    let (slots, slots_taken) = mpsc::channel(MAX_LINES);
    tokio::spawn(async move {
        let bytes = body
            .into_data_stream()
            .map(|data| data.map_err(std::io::Error::other));
        let codec = LinesCodec::new_with_max_length(MAX_MESSAGE_BYTES);
        let mut lines = FramedRead::new(StreamReader::new(bytes), codec);
        let mut number = 0_u64;
        while let Some(line) = lines.next().await {
            number += 1;
            let read = match line {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => read_json(descriptor.clone(), line.as_bytes())
                    // Of one line only the column says something.
                    .map_err(|problem| problem.trim_start_matches("line 1 ").to_owned()),
                Err(LinesCodecError::MaxLineLengthExceeded) => {
                    Err(format!("a line has at most {MAX_MESSAGE_BYTES} bytes"))
                }
                // The caller is gone.
                Err(LinesCodecError::Io(_)) => return,
            };
            let (slot, message) = match read {
                Ok(message) => (Slot::Asked, Some(message)),
                Err(problem) => {
                    let status = Status::invalid_argument(format!("line {number}: {problem}"));
                    (Slot::Refused(status), None)
                }
            };
            if slots.send(slot).await.is_err() {
                return;
            }
            if let Some(message) = message
                && messages.send(Ok(frame(&message))).await.is_err()
            {
                return;
            }
        }
    });
    (Body::from_stream(ReceiverStream::new(asked)), slots_taken)
}

/// The answers, a line each; with slots, one for each line of the request. An error that ends the stream is its last line.
pub(super) fn answers(mut answer: Answer, slots: Option<mpsc::Receiver<Slot>>) -> Response {
    let (lines, taken) = mpsc::channel::<Result<String, Infallible>>(MAX_LINES);
    tokio::spawn(async move {
        let mut slots = slots;
        loop {
            let slot = match &mut slots {
                Some(slots) => slots.recv().await.unwrap_or(Slot::Asked),
                None => Slot::Asked,
            };
            let (line, is_last) = match slot {
                Slot::Refused(status) => (json!({ "error": error(&status) }).to_string(), false),
                Slot::Asked => match answer.next().await {
                    None => return,
                    Some(Ok(message)) => (message, false),
                    Some(Err(status)) => (json!({ "error": error(&status) }).to_string(), true),
                },
            };
            if lines.send(Ok(line + "\n")).await.is_err() || is_last {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(taken));
    ([(header::CONTENT_TYPE, JSON_LINES)], body).into_response()
}
