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

/// A mapping that ships, with settings of its own.
fn shipped(name: &str, settings: &[(&str, &str)]) -> Mapping {
    let text = Mapping::shipped(name).expect("it ships");
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Mapping::of_requests(text, settings.collect()).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

#[test]
fn vendors_get_what_their_golden_files_say() {
    let mut names = Vec::new();
    for name in Mapping::shipped_names() {
        let shown = shipped(name, &[])
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

/// What a vendor takes, written after what it has published: `tests/fixtures/vendors/`.
struct Vendor {
    schemas: boon::Schemas,
    requests: Vec<(String, regex::Regex, Option<boon::SchemaIndex>)>,
}

impl Vendor {
    fn of(name: &str) -> Self {
        let published = read(&format!("tests/fixtures/vendors/{name}.json"));
        let mut compiler = boon::Compiler::new();
        compiler.enable_format_assertions();
        let mut schemas = boon::Schemas::new();
        let requests = published["requests"].as_array().expect("a list");
        let requests = requests.iter().enumerate().map(|(index, request)| {
            let text = |field: &str| request[field].as_str().expect("a text").to_owned();
            let path = regex::Regex::new(&text("path")).expect("a pattern");
            let body = (!request["body"].is_null()).then(|| {
                let location = format!("file:///{name}-{index}.json");
                compiler
                    .add_resource(&location, request["body"].clone())
                    .expect("a document");
                compiler
                    .compile(&location, &mut schemas)
                    .unwrap_or_else(|cause| panic!("{name}: {cause:#}"))
            });
            (text("method"), path, body)
        });
        let requests = requests.collect();
        Self { schemas, requests }
    }

    fn judge(&self, request: &Value) -> Result<(), String> {
        let text = |field: &str| request[field].as_str().expect("a text");
        let known = self
            .requests
            .iter()
            .find(|(method, path, _)| method == text("method") && path.is_match(text("path")));
        match (known, request.get("body")) {
            (None, _) => Err(format!("there is no {} {}", text("method"), text("path"))),
            (Some((.., None)), None) => Ok(()),
            (Some((.., Some(schema))), Some(body)) => self
                .schemas
                .validate(body, *schema)
                .map_err(|cause| format!("{cause:#}")),
            (Some((.., schema)), _) => Err(format!("a body is wanted: {}", schema.is_some())),
        }
    }
}

#[test]
fn requests_fit_the_vendors_schemas() {
    let variants: &[(&str, &[(&str, &str)])] = &[
        ("netsuite_customer", &[("subsidiary", "1")]),
        (
            "sap_s4hana_business_partner",
            &[
                ("create", "yes"),
                ("grouping", "0001"),
                ("identification_type", "ZVERID"),
                ("source", "web"),
            ],
        ),
        (
            "sap_s4hana_business_partner",
            &[
                ("block_duplicates", "yes"),
                ("source", "pos"),
                ("region", "AU"),
            ],
        ),
        ("mparticle", &[("region", "AU")]),
    ];
    let plain = Mapping::shipped_names().map(|name| (name, [].as_slice()));
    for (name, settings) in plain.chain(variants.iter().copied()) {
        let vendor = Vendor::of(name);
        let shown = shipped(name, settings)
            .preview()
            .unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let mut judged = 0;
        for event in shown.as_array().expect("a list") {
            for request in event["requests"].as_array().expect("a list") {
                let taken = vendor.judge(request);
                assert_eq!(taken, Ok(()), "{name}, {}: {request:#}", event["event"]);
                judged += 1;
            }
        }
        assert!(judged >= 3, "{name}: {judged}");
    }
}

#[test]
fn a_vendor_s_schema_refuses_what_it_does_not_name() {
    let vendor = Vendor::of("sap_s4hana_business_partner");
    let path = "/sap/opu/odata/sap/API_BUSINESS_PARTNER/A_BusinessPartner('1000123')";
    let judge = |method: &str, field: &str, value: Value| {
        let mut request = json!({ "method": method, "path": path, "body": {} });
        request["body"][field] = value;
        vendor.judge(&request).is_ok()
    };
    assert!(judge("PATCH", "LastName", json!("x".repeat(40))));
    assert!(!judge("PATCH", "LastName", json!("x".repeat(41))));
    assert!(!judge("PATCH", "FamilyName", json!("x")));
    assert!(!judge("PATCH", "BirthDate", json!("1978-03-24T00:00:00")));
    assert!(!judge("PUT", "LastName", json!("x")));
    let vendor = Vendor::of("dynamics_365");
    let contact = |birth_date: &str| {
        vendor.judge(&json!({ "method": "PATCH", "path": "/api/data/v9.2/contacts(key='1')", "body": { "birthdate": birth_date } }))
    };
    assert_eq!(contact("1978-03-24"), Ok(()));
    assert!(contact("1978-02-30").is_err());
}
