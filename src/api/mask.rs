//! What viewers are shown of persons: that there is a value, not which. It lies around all services, so that no call can forget it; what
//! goes to the console's pages is masked there, where an identity can be revealed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use tonic::metadata::MetadataMap;

use super::{Authenticator, Caller};
use crate::config::Role;
use crate::schema::CONTRACT;

/// What stands for the rest of a text, whatever its length.
pub(crate) const MASK: &str = "•••";

/// A text of a person, but for its first letter.
pub(crate) fn masked_text(text: &str) -> String {
    match text.chars().next() {
        Some(first) => format!("{first}{MASK}"),
        None => String::new(),
    }
}

/// What caused an event, without the signal's id.
pub(crate) fn masked_cause(cause: &str) -> &str {
    cause.split_once(' ').map_or(cause, |(kind, _)| kind)
}

/// The call that shows an identity unmasked, and is written down.
const REVEALS: &str = "RevealIdentity";
/// Whether a message is compressed, and its length.
const FRAME_HEADER_BYTES: usize = 5;

/// Says once for all who calls, and masks what viewers are answered. Who cannot be said is for the call to refuse.
pub(super) async fn mask(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut output = None;
    // The console has said who makes its calls, and masks its pages.
    if request.extensions().get::<Caller>().is_none() {
        let metadata = MetadataMap::from_headers(std::mem::take(request.headers_mut()));
        let caller = authenticator.authenticate(&metadata);
        *request.headers_mut() = metadata.into_headers();
        if let Ok(caller) = caller {
            if caller.role() == Role::Viewer {
                output = output_of(request.uri().path());
            }
            request.extensions_mut().insert(caller);
        }
    }
    let response = next.run(request).await;
    match output {
        None => response,
        Some(output) => response.map(|body| {
            let mut masking = Masking {
                output,
                waiting: BytesMut::new(),
            };
            Body::new(body.map_frame(move |frame| frame.map_data(|data| masking.pass(&data))))
        }),
    }
}

/// What a call answers, where it is one of ours and not there to reveal.
fn output_of(path: &str) -> Option<MessageDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let service = CONTRACT.get_service_by_name(service)?;
    let method = service.methods().find(|known| known.name() == method)?;
    (method.name() != REVEALS).then(|| method.output())
}

/// Masks the gRPC messages of a body, one after the other.
struct Masking {
    output: MessageDescriptor,
    /// What is not yet a whole message.
    waiting: BytesMut,
}

impl Masking {
    /// The whole messages that have come by now, masked. One that cannot be masked is not passed on: the caller sees that it is missing.
    fn pass(&mut self, data: &[u8]) -> Bytes {
        self.waiting.extend_from_slice(data);
        let mut masked = BytesMut::new();
        while let Some(header) = self.waiting.get(..FRAME_HEADER_BYTES) {
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            let is_compressed = header[0] != 0;
            if self.waiting.len() < FRAME_HEADER_BYTES + length {
                break;
            }
            self.waiting.advance(FRAME_HEADER_BYTES);
            let bytes = self.waiting.split_to(length);
            let message = DynamicMessage::decode(self.output.clone(), bytes);
            let Some(mut message) = message.ok().filter(|_| !is_compressed) else {
                tracing::error!("an answer to a viewer cannot be masked");
                continue;
            };
            mask_message(&mut message);
            let bytes = message.encode_to_vec();
            masked.put_u8(0);
            masked.put_u32(bytes.len() as u32);
            masked.extend_from_slice(&bytes);
        }
        masked.freeze()
    }
}

/// Masks what a message tells of persons, and all that is in it.
fn mask_message(message: &mut DynamicMessage) {
    let name = message.descriptor().full_name().to_owned();
    for (field, value) in message.fields_mut() {
        match (name.as_str(), field.name()) {
            // Their first letter would tell all, or much.
            ("veridem.v1.Attribute", "gender" | "birth_date") => {
                *value = Value::String(MASK.to_owned());
            }
            ("veridem.v1.Attribute", "email" | "phone")
            | ("veridem.v1.PersonName" | "veridem.v1.PostalAddress", _)
            | ("veridem.v1.Identifier" | "veridem.v1.CustomAttribute", "value")
            | ("veridem.v1.RecordKey", "record_id")
            | ("veridem.v1.CrossReference", "consumer_record_id")
            | ("veridem.v1.Override", "note" | "undo_note" | "approval_note") => {
                if let Value::String(text) = value {
                    *text = masked_text(text);
                }
            }
            ("veridem.v1.StatedValue", "normalised") => *value = Value::String(String::new()),
            ("veridem.v1.WatchedDelivery", "cloud_event") => {
                *value = Value::String(MASK.to_owned());
            }
            ("veridem.v1.IdentityEvent", "cause") => {
                if let Value::String(cause) = value {
                    *cause = masked_cause(cause).to_owned();
                }
            }
            _ => mask_value(value),
        }
    }
}

fn mask_value(value: &mut Value) {
    match value {
        Value::Message(message) => mask_message(message),
        Value::List(values) => values.iter_mut().for_each(mask_value),
        Value::Map(values) => values.values_mut().for_each(mask_value),
        _ => {}
    }
}
