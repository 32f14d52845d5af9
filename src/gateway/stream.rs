//! Streams as JSON Lines: a line a message, in both directions. A line that is no message gets an error in its place, and the
//! stream goes on.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prost_reflect::MethodDescriptor;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;
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

/// What becomes of the lines of a request.
pub(super) struct Slots {
    slots: mpsc::Receiver<Slot>,
    /// The service answers each line; else a line that is refused ends the stream.
    each: bool,
}

/// Calls that answer each message of a stream, in the order of the messages.
const ANSWERING_EACH: &[&str] = &["SubmitSignals", "ResolveStream"];

/// The request's lines as gRPC messages, and what each line comes to; until `stop`.
pub(super) fn requests(
    body: Body,
    method: &MethodDescriptor,
    stop: CancellationToken,
) -> (Body, Slots) {
    let descriptor = method.input();
    let each = ANSWERING_EACH.contains(&method.name());
    let (messages, asked) = mpsc::channel::<Result<Bytes, Infallible>>(MAX_LINES);
    let (slots, slots_taken) = mpsc::channel(MAX_LINES);
    let reading = async move {
        let bytes = body
            .into_data_stream()
            .map(|data| data.map_err(std::io::Error::other));
        // Bytes, not text: what is no UTF-8 is a wrong line, not the end of the stream.
        let codec =
            AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), MAX_MESSAGE_BYTES);
        let mut lines = FramedRead::new(StreamReader::new(bytes), codec);
        let mut number = 0_u64;
        let mut was_too_long = false;
        loop {
            let line = match lines.next().await {
                Some(line) => line,
                // The codec goes on behind a line that is too long after it has ended once.
                None if std::mem::take(&mut was_too_long) => continue,
                None => return,
            };
            number += 1;
            let read = match line {
                Ok(line) if line.trim_ascii().is_empty() => continue,
                Ok(line) => read_json(descriptor.clone(), &line)
                    // Of one line only the column says something.
                    .map_err(|problem| problem.trim_start_matches("line 1 ").to_owned()),
                Err(AnyDelimiterCodecError::MaxChunkLengthExceeded) => {
                    was_too_long = true;
                    Err(format!("a line has at most {MAX_MESSAGE_BYTES} bytes"))
                }
                // The caller is gone.
                Err(AnyDelimiterCodecError::Io(_)) => return,
            };
            let (slot, message) = match read {
                Ok(message) => (Slot::Asked, Some(message)),
                Err(problem) => {
                    let status = Status::invalid_argument(format!("line {number}: {problem}"));
                    (Slot::Refused(status), None)
                }
            };
            let is_refused = message.is_none();
            if (each || is_refused) && slots.send(slot).await.is_err() {
                return;
            }
            // What is left out of such a stream would change what its end says.
            if is_refused && !each {
                return;
            }
            if let Some(message) = message
                && messages.send(Ok(frame(&message))).await.is_err()
            {
                return;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
    });
    let slots = Slots {
        slots: slots_taken,
        each,
    };
    (Body::from_stream(ReceiverStream::new(asked)), slots)
}

/// The answers, a line each, until the caller is gone or `stop`. Where each line of the request has an answer, one that was refused gets
/// an error in its place; any other error is the last line.
pub(super) fn answers(
    mut answer: Answer,
    slots: Option<Slots>,
    stop: CancellationToken,
) -> Response {
    let (lines, taken) = mpsc::channel::<Result<String, Infallible>>(MAX_LINES);
    tokio::spawn(async move {
        let mut slots = slots;
        loop {
            let next = tokio::select! {
                // Who is gone must not leave a call behind that waits for what may never come.
                () = lines.closed() => return,
                () = stop.cancelled() => return,
                next = next_line(&mut answer, &mut slots) => next,
            };
            let Some((line, is_last)) = next else { return };
            if lines.send(Ok(line + "\n")).await.is_err() || is_last {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(taken));
    ([(header::CONTENT_TYPE, JSON_LINES)], body).into_response()
}

/// The next line, and whether it is the last.
async fn next_line(answer: &mut Answer, slots: &mut Option<Slots>) -> Option<(String, bool)> {
    let told = |status: &Status| json!({ "error": error(status) }).to_string();
    let next = match slots {
        Some(Slots { slots, each: true }) => match slots.recv().await {
            Some(Slot::Refused(status)) => return Some((told(&status), false)),
            Some(Slot::Asked) | None => answer.next().await,
        },
        Some(Slots { slots, each: false }) => tokio::select! {
            Some(Slot::Refused(status)) = slots.recv() => return Some((told(&status), true)),
            next = answer.next() => next,
        },
        None => answer.next().await,
    };
    match next? {
        Ok(message) => Some((message, false)),
        Err(status) => Some((told(&status), true)),
    }
}
