//! The contract as data: its messages from their JSON form, and JSON Schema (2020-12) of the contract's messages, in the form in which
//! they are answered and published: fields under their own names, enumerations by name, 64-bit numbers as numbers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use anyhow::Context as _;
use prost::Message as _;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value, json};
use veridem_proto::v1;

/// The services and messages.
pub static CONTRACT: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(v1::DESCRIPTOR_SET).expect("what the build wrote can be read")
});

/// Schemas that refer to one another.
pub struct Definitions {
    /// What stands before a name in a reference.
    prefix: &'static str,
    open: VecDeque<MessageDescriptor>,
    finished: BTreeMap<String, Value>,
}

impl Definitions {
    /// None yet; `prefix` is where they will stand, for example `#/$defs/`.
    pub fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            open: VecDeque::new(),
            finished: BTreeMap::new(),
        }
    }

    /// A reference to a message, which will be among the definitions.
    pub fn reference(&mut self, message: &MessageDescriptor) -> Value {
        if !self.finished.contains_key(message.name()) {
            self.finished.insert(message.name().to_owned(), Value::Null);
            self.open.push_back(message.clone());
        }
        json!({ "$ref": format!("{}{}", self.prefix, message.name()) })
    }

    /// Every message that was referred to, with those that it refers to.
    pub fn finish(mut self) -> Map<String, Value> {
        while let Some(message) = self.open.pop_front() {
            let schema = self.message(&message);
            self.finished.insert(message.name().to_owned(), schema);
        }
        self.finished.into_iter().collect()
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.name().to_owned(), self.field(&field));
        }
        described(
            json!({ "type": "object", "properties": properties }),
            documentation(&message.parent_file(), message.path()),
        )
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let about = documentation(&field.parent_message().parent_file(), field.path());
        let schema = if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                unreachable!("the entries of a map are messages")
            };
            let value = entry.map_entry_value_field();
            json!({ "type": "object", "additionalProperties": self.kind(&value.kind()) })
        } else if field.cardinality() == Cardinality::Repeated {
            json!({ "type": "array", "items": self.kind(&field.kind()) })
        } else {
            self.kind(&field.kind())
        };
        described(schema, about)
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.reference(message),
            Kind::Enum(values) => {
                let names: Vec<String> = values
                    .values()
                    .map(|value| value.name().to_owned())
                    .collect();
                let about = documentation(&values.parent_file(), values.path());
                described(json!({ "type": "string", "enum": names }), about)
            }
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "integer", "minimum": 0 })
            }
            Kind::Int32
            | Kind::Int64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Sfixed32
            | Kind::Sfixed64 => json!({ "type": "integer" }),
        }
    }
}

fn described(mut schema: Value, about: String) -> Value {
    if !about.is_empty() && schema.get("description").is_none() {
        schema["description"] = json!(about);
    }
    schema
}

/// The comment before something of the contract.
pub fn documentation(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|it| it.path == path));
    let comment = location.map_or("", |location| location.leading_comments());
    let lines: Vec<&str> = comment.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}

/// A message from its JSON form, encoded; an empty text is an empty message. What is wrong is told without values.
pub fn read_json(descriptor: MessageDescriptor, text: &[u8]) -> Result<Vec<u8>, String> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .map_err(|cause| without_values(&cause))?;
    Ok(message.encode_to_vec())
}

/// A message as JSON text: fields under their own names, no number of ours is too large for a double.
pub fn json_of(message: &DynamicMessage) -> Result<String, serde_json::Error> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    let mut text = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// An encoded message as JSON text.
pub fn to_json(name: &str, message: &[u8]) -> anyhow::Result<String> {
    let descriptor = CONTRACT
        .get_message_by_name(name)
        .context("the contract has no such message")?;
    Ok(json_of(&DynamicMessage::decode(descriptor, message)?)?)
}

/// Where a JSON text is wrong. What serde says of it may hold what stands there.
fn without_values(cause: &serde_json::Error) -> String {
    let problem = match cause.classify() {
        serde_json::error::Category::Data => "does not fit the message; /openapi.json describes it",
        _ => "is no JSON",
    };
    format!("line {} column {}: {problem}", cause.line(), cause.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_text_is_told_without_its_values() {
        let message = |text: &str| {
            let descriptor = CONTRACT.get_message_by_name("veridem.v1.GetIdentityRequest");
            read_json(descriptor.expect("a message"), text.as_bytes())
        };
        assert_eq!(message(" \n"), Ok(Vec::new()));
        assert!(message(r#"{"identity_id": "x", "as_of_sequence": 7}"#).is_ok());
        assert!(
            message(r#"{"identityId": "x"}"#).is_ok(),
            "JSON names do as well"
        );
        for wrong in [
            r#"{"email": "ann@lee.org"}"#,
            r#"{"identity_id": ["ann@lee.org"]}"#,
            r#"{"ann@lee.org"#,
            "{} ann@lee.org",
        ] {
            let problem = message(wrong).expect_err(wrong);
            assert!(
                problem.starts_with("line 1 column") && !problem.contains("ann"),
                "{problem}"
            );
        }
    }
}
