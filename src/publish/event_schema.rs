//! JSON Schema of what is published, made from the contract: a file for each type of event. The files stand in the repository under
//! `proto/schemas/`; a version that was published only ever gains fields.

use serde_json::{Value, json};

use super::cloud_event::{SNAPSHOT, event_type};
use crate::schema::{CONTRACT, Definitions};
use crate::store::EventKind;

/// Every type of event with its schema.
pub fn event_schemas() -> Vec<(String, Value)> {
    let kinds = EventKind::ALL.iter().map(|kind| kind.as_str());
    kinds
        .chain([SNAPSHOT])
        .map(|kind| (event_type(kind), schema(kind)))
        .collect()
}

fn schema(kind: &str) -> Value {
    let data = CONTRACT
        .get_message_by_name("veridem.v1.PublishedEvent")
        .expect("the contract has it");
    let mut definitions = Definitions::new("#/$defs/");
    let data = definitions.reference(&data);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("https://veridem.dev/schemas/{}.json", event_type(kind)),
        "title": event_type(kind),
        "description": "A CloudEvent 1.0 in structured mode, without a mapping. Fields may be added: ignore what you do not know.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "sequence", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "description": "The same however often the event is delivered." },
            "source": { "type": "string", "description": "\"/veridem/<tenant>\"." },
            "type": { "const": event_type(kind) },
            "subject": { "type": "string", "description": "The identity's id." },
            "time": { "type": "string", "format": "date-time" },
            "datacontenttype": { "const": "application/json" },
            "sequence": { "type": "string", "description": "The sequence number (CloudEvents extension \"sequence\")." },
            "replay": { "type": "integer", "description": "How often the sink had been asked by then to deliver anew, by a replay or a repair; left out before the first. Of one identity what has a higher pair of replay and sequence is newer." },
            "data": {
                "allOf": [data, { "properties": { "kind": { "const": kind } } }],
                "required": [
                    "sequence", "kind", "occurred_at", "cause", "identity", "merged_identity_ids",
                    "split_into_identity_ids", "moved_records",
                ],
            },
        },
        "$defs": definitions.finish(),
    })
}
