//! The OpenAPI document, put together from the table of routes and from the types that are read and written.

use std::sync::OnceLock;

use hyper::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::answer::{self, Answer, ErrorAnswer};
use super::call::{Access, Call, Kind, Route, TEXT_BYTES_MAX};
use super::route_table::ROUTES;

/// Errors that every path may have: what the query, the header or the method can be wrong in.
const EVERYWHERE: [u16; 3] = [400, 401, 405];

/// Errors of those that take a body.
const WITH_BODY: [u16; 3] = [408, 413, 415];

/// Errors of those that change or cause something.
const CHANGING: [u16; 2] = [403, 413];

/// The document.
pub(super) async fn document(_: Call) -> Answer {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| format!("{}\n", build()));
    Ok(answer::text_answer(StatusCode::OK, "application/json", text.clone()))
}

fn build() -> Value {
    // What is read may leave fields out, what is written has them all; so they are described apart.
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut read = settings().for_deserialize().into_generator();
    let mut written = settings().for_serialize().into_generator();
    let error = schema(&mut written, ErrorAnswer::<'static>::json_schema_of);
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut read, &mut written, &error);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut schemas = read.take_definitions(true);
    schemas.extend(written.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "smpp-gateway control port",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON throughout: `success`, and with errors a code and a sentence. A bearer token where one is set.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &Route, read: &mut SchemaGenerator, written: &mut SchemaGenerator, error: &Value) -> Value {
    let mut responses = Map::new();
    for (status, body, description) in route.answers {
        let content = match body {
            Some(body) => json!({"application/json": {"schema": schema(written, *body)}}),
            None => {
                json!({"text/plain": {}, "text/html": {}, "application/json": {}, "application/vnd.tcpdump.pcap": {}})
            }
        };
        responses.insert(status.to_string(), json!({"description": description, "content": content}));
    }
    let everywhere = EVERYWHERE.iter().filter(|_| route.access == Access::Token);
    let with_body = WITH_BODY.iter().filter(|_| route.body.is_some());
    let changing = CHANGING.iter().filter(|_| route.is_audited);
    for status in route.refusals.iter().chain(everywhere).chain(with_body).chain(changing) {
        let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let content = json!({"application/json": {"schema": error}});
        let answer = json!({"description": reason.unwrap_or_default(), "content": content});
        responses.entry(status.to_string()).or_insert(answer);
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": route.description,
        "parameters": parameters(route),
        "responses": responses,
    });
    if route.access == Access::Token {
        operation["security"] = json!([{"token": []}]);
    }
    if let Some(body) = route.body {
        let content = json!({"application/json": {"schema": schema(read, body)}});
        operation["requestBody"] = json!({"required": route.is_body_required, "content": content});
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '-', '.']).filter(|word| !word.is_empty() && !matches!(*word, "api" | "v1"));
    let words = words.map(|word| word.trim_matches(['{', '}']));
    let mut id = route.method.as_str().to_ascii_lowercase();
    words.for_each(|word| {
        id.push('_');
        id.push_str(word);
    });
    id
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}),
    );
    let in_query = route.query.iter().map(|parameter| {
        let schema = match parameter.kind {
            Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Kind::Text => json!({"type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX}),
            Kind::Place => json!({"type": "string", "pattern": "^[0-9]{1,9}-[0-9]{1,9}$"}),
            Kind::OneOf(words) => json!({"type": "string", "enum": words}),
        };
        json!({"name": parameter.name, "in": "query", "description": parameter.description, "schema": schema})
    });
    in_path.chain(in_query).collect()
}

fn schema(generator: &mut SchemaGenerator, of: super::call::SchemaOf) -> Value {
    Value::from(of(generator))
}

/// The schema of a type, for the table of routes.
pub(super) trait JsonSchemaOf: JsonSchema {
    /// A reference to it, and its definition in the generator.
    fn json_schema_of(generator: &mut SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<Self>()
    }
}

impl<T: JsonSchema> JsonSchemaOf for T {}
