//! What is published stays what it was: schemas of events, and what vendors' mappings make of sample events.

use std::path::PathBuf;

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use veridem::gateway::openapi;
use veridem::publish::{Mapping, event_schemas, samples};
use veridem_proto::v1;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Value {
    let path = root().join(path);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

#[test]
fn the_published_schemas_are_those_of_the_contract() {
    let mut documents = event_schemas();
    documents.push(("openapi".to_owned(), openapi()));
    for (name, document) in documents {
        let published = read(&format!("proto/schemas/{name}.json"));
        let is_same = published == document;
        assert!(is_same, "run `veridem schemas --out proto/schemas`: {name}");
    }
}

/// What a consumer that was written for `old` would miss or misread in `new`.
fn breaks(old: &Value, new: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, before) in old.as_object().into_iter().flatten() {
        let here = format!("{place}/{key}");
        let after = &new[key];
        match key.as_str() {
            "description" | "title" | "$id" => {}
            // More may be required of us, never less.
            "required" => {
                let names = after.as_array().cloned().unwrap_or_default();
                let lost = before
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|name| !names.contains(name));
                found.extend(lost.map(|name| format!("{here}: {name} is no longer always there")));
            }
            _ if before.is_object() => {
                if after.is_object() {
                    found.extend(breaks(before, after, &here));
                } else {
                    found.push(format!("{here} is gone"));
                }
            }
            "allOf" => {
                let pairs = before
                    .as_array()
                    .into_iter()
                    .flatten()
                    .zip(after.as_array().into_iter().flatten());
                found.extend(pairs.flat_map(|(before, after)| breaks(before, after, &here)));
            }
            _ if before != after => found.push(format!("{here} was {before} and is {after}")),
            _ => {}
        }
    }
    found
}

/// The fixtures are what was ever published: what a version gains is added to them, and nothing goes.
#[test]
fn a_published_version_only_gains_fields() {
    for (name, schema) in event_schemas() {
        let published = read(&format!("tests/fixtures/event_schemas/{name}.json"));
        assert_eq!(breaks(&published, &schema, &name), Vec::<String>::new());
    }
}

#[test]
fn a_breaking_change_is_seen() {
    let (_, schema) = event_schemas().remove(0);
    assert_eq!(breaks(&schema, &schema, ""), Vec::<String>::new());
    let change = |pointer: &str, value: Value| {
        let mut changed = schema.clone();
        *changed.pointer_mut(pointer).expect(pointer) = value;
        breaks(&schema, &changed, "").len()
    };
    let golden = "/$defs/PublishedGoldenRecord/properties";
    assert_eq!(change(&format!("{golden}/email/type"), json!("integer")), 1);
    assert_eq!(change(&format!("{golden}/email"), json!(null)), 1);
    assert_eq!(
        change(
            &format!("{golden}/name/$ref"),
            json!("#/$defs/PostalAddress")
        ),
        1
    );
    assert_eq!(
        change(
            "/properties/type/const",
            json!("veridem.identity.created.v2")
        ),
        1
    );
    assert_eq!(change("/required/0", json!("data")), 1);
    assert_eq!(
        change(
            "/properties/data/allOf/1/properties/kind/const",
            json!("made")
        ),
        1
    );
    let mut more = schema.clone();
    more["$defs"]["PublishedGoldenRecord"]["properties"]["nickname"] = json!({ "type": "string" });
    assert_eq!(
        breaks(&schema, &more, ""),
        Vec::<String>::new(),
        "a new field breaks nobody"
    );
}

#[test]
fn what_is_published_fits_the_contract() {
    let pool = DescriptorPool::decode(v1::DESCRIPTOR_SET).expect("a descriptor set");
    let message = pool
        .get_message_by_name("veridem.v1.PublishedEvent")
        .expect("a message");
    for (id, data) in samples() {
        // Unknown fields are refused.
        let read = DynamicMessage::deserialize(message.clone(), &data);
        assert!(read.is_ok(), "{id}: {read:?}");
    }
}

#[test]
fn vendors_get_what_their_golden_files_say() {
    let mut names = Vec::new();
    for name in Mapping::shipped_names() {
        let text = Mapping::shipped(name).expect("it ships");
        let mapping = Mapping::of_requests(text, Default::default())
            .unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let shown = mapping
            .preview()
            .unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let golden = read(&format!("tests/fixtures/mappings/{name}.json"));
        let is_same = shown == golden;
        assert!(
            is_same,
            "if this is meant, run `veridem mapping preview {name} --json` and look at what changes"
        );
        names.push(name);
    }
    assert!(names.len() >= 7, "{names:?}");
}
