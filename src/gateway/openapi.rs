//! The OpenAPI 3.1 description of the gateway, made from the contract and its comments.

use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value, json};

use super::{JSON, JSON_LINES, TIMEOUT};
use crate::api::TENANT_KEY;
use crate::schema::{CONTRACT, Definitions, documentation};

/// The whole document.
pub fn openapi() -> Value {
    let mut definitions = Definitions::new("#/components/schemas/");
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for service in CONTRACT.services() {
        let about = documentation(&service.parent_file(), service.path());
        tags.push(json!({ "name": service.name(), "description": about }));
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            paths.insert(
                path,
                json!({ "post": operation(&method, &mut definitions) }),
            );
        }
    }
    let mut schemas = definitions.finish();
    schemas.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Veridem",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The calls of the gRPC services as JSON over HTTP. Streams are JSON Lines.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "tags": tags,
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}

fn operation(method: &MethodDescriptor, definitions: &mut Definitions) -> Value {
    let about = documentation(&method.parent_service().parent_file(), method.path());
    let media = |is_stream| if is_stream { JSON_LINES } else { JSON };
    let (asked, answered) = (
        media(method.is_client_streaming()),
        media(method.is_server_streaming()),
    );
    let header = |name: &str, kind: &str, about: &str| json!({ "name": name, "in": "header", "schema": { "type": kind }, "description": about });
    json!({
        "operationId": format!("{}_{}", method.parent_service().name(), method.name()),
        "tags": [method.parent_service().name()],
        "summary": about.split_once(". ").map_or(about.as_str(), |(first, _)| first),
        "description": about,
        "parameters": [
            header(TENANT_KEY, "string", "The tenant; \"default\" where absent."),
            header(TIMEOUT, "integer", "How long the caller will wait, milliseconds."),
        ],
        "requestBody": {
            "required": true,
            "content": { asked: { "schema": definitions.reference(&method.input()) } },
        },
        "responses": {
            "200": {
                "description": if method.is_server_streaming() {
                    "An answer a line. One with the single field \"error\" stands for a line that was refused, or ends the stream."
                } else {
                    "The answer."
                },
                "content": { answered: { "schema": definitions.reference(&method.output()) } },
            },
            "default": {
                "description": "The call failed.",
                "content": { JSON: { "schema": { "$ref": "#/components/schemas/Error" } } },
            },
        },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "An error in the form of the Connect protocol.",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "string", "description": "The name of the gRPC code, for example \"invalid_argument\"." },
            "message": { "type": "string", "description": "What is wrong and what to do." },
            "details": { "type": "array", "items": { "type": "object", "properties": {
                "type": { "type": "string" },
                "value": { "type": "string", "contentEncoding": "base64" },
                "debug": { "type": "object" },
            } } },
        },
    })
}
