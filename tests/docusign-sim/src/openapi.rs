//! Holds an exchange against DocuSign's own OpenAPI definitions.
//!
//! The definitions forbid nothing, so a misspelt member would pass them. Here every object is closed: members are
//! those of the 2022 specification and the additions of the 2026 SDK (`openapi/`), and no others.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use http::header::CONTENT_TYPE;
use jsonschema::Validator;
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::call::{Call, Reply};

const SPECIFICATION: &str = include_str!("../openapi/esignature-v2.1-users.json");
const ADDITIONS: &str = include_str!("../openapi/additions-2026.json");

static OPENAPI: LazyLock<OpenApi> = LazyLock::new(OpenApi::load);

/// An eSignature request and its answer, without the token.
#[derive(Debug, Clone, Serialize)]
pub struct Exchange {
    /// HTTP method.
    pub method: String,
    /// Path with `/restapi`.
    pub path: String,
    /// Query as sent.
    pub query: Option<String>,
    /// The request's body as text; empty where there is none.
    pub request_body: String,
    /// HTTP status.
    pub status: u16,
    /// The answer's content type; empty where there is none.
    pub content_type: String,
    /// The answer's body as text.
    pub response_body: String,
}

impl Exchange {
    pub(crate) fn of(call: &Call, reply: &Reply) -> Self {
        let content_type = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Self {
            method: call.method.to_string(),
            path: call.path.clone(),
            query: call.query.clone(),
            request_body: String::from_utf8_lossy(&call.body).into_owned(),
            status: reply.status,
            content_type: content_type.unwrap_or_default().to_owned(),
            response_body: String::from_utf8_lossy(&reply.body).into_owned(),
        }
    }
}

/// Whether DocuSign's specification knows this operation, its query parameters, its request body and its answer.
///
/// # Errors
///
/// Everything that does not fit, a line each.
pub fn check(exchange: &Exchange) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    match OPENAPI.operation(exchange) {
        Some(operation) => {
            OPENAPI.check_query(operation, exchange, &mut problems);
            OPENAPI.check_request(operation, exchange, &mut problems);
            OPENAPI.check_response(operation, exchange, &mut problems);
        }
        None => problems.push(format!("no operation {} {}", exchange.method, exchange.path)),
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

struct OpenApi {
    specification: Value,
    additions: Value,
    definitions: Value,
    // Compiled once each: a suite checks thousands of exchanges against a handful of definitions.
    validators: Mutex<HashMap<String, std::sync::Arc<Validator>>>,
}

impl OpenApi {
    #[allow(clippy::expect_used, reason = "both files are part of this crate")]
    fn load() -> Self {
        let specification: Value = serde_json::from_str(SPECIFICATION).expect("the specification is JSON");
        let additions: Value = serde_json::from_str(ADDITIONS).expect("the additions are JSON");
        let mut definitions = specification["definitions"].clone();
        for (name, definition) in definitions.as_object_mut().into_iter().flatten() {
            let added = additions["models"][name]["added"].as_array().into_iter().flatten();
            let added: Vec<&str> = added.filter_map(Value::as_str).collect();
            close(definition, &added);
        }
        Self {
            specification,
            additions,
            definitions,
            validators: Mutex::default(),
        }
    }

    /// The operation that this request names.
    fn operation(&self, exchange: &Exchange) -> Option<&Value> {
        let path = exchange.path.strip_prefix(self.specification["basePath"].as_str()?)?;
        let (_, methods) = self.specification["paths"]
            .as_object()?
            .iter()
            .find(|(template, _)| fits(template, path))?;
        methods.get(exchange.method.to_ascii_lowercase())
    }

    fn check_query(&self, operation: &Value, exchange: &Exchange, problems: &mut Vec<String>) {
        let known = parameters(operation, "query").filter_map(|parameter| parameter["name"].as_str());
        let list = "query GET /v2.1/accounts/{accountId}/users";
        let is_list = exchange.method == "GET" && exchange.path.ends_with("/users");
        let added = self.additions[list]["added"]
            .as_array()
            .filter(|_| is_list)
            .into_iter()
            .flatten();
        let known: Vec<&str> = known.chain(added.filter_map(Value::as_str)).collect();
        for (name, _) in form_urlencoded::parse(exchange.query.as_deref().unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                problems.push(format!("query parameter {name} is not in the specification"));
            }
        }
    }

    fn check_request(&self, operation: &Value, exchange: &Exchange, problems: &mut Vec<String>) {
        let schema = parameters(operation, "body")
            .next()
            .and_then(|parameter| parameter["schema"]["$ref"].as_str());
        match (schema, exchange.request_body.is_empty()) {
            (Some(schema), false) => self.check_json("request", schema, &exchange.request_body, problems),
            (None, false) => problems.push("the operation takes no body".to_owned()),
            (_, true) => {}
        }
    }

    fn check_response(&self, operation: &Value, exchange: &Exchange, problems: &mut Vec<String>) {
        let is_error = exchange.status >= 400;
        if is_error && !exchange.content_type.starts_with("application/json") {
            // Errors from in front of the API are pages, which the specification does not speak of.
            return;
        }
        let status = if is_error {
            "400".to_owned()
        } else {
            exchange.status.to_string()
        };
        match operation["responses"][&status]["schema"]["$ref"].as_str() {
            Some(schema) => self.check_json("response", schema, &exchange.response_body, problems),
            None => problems.push(format!("status {} is not in the specification", exchange.status)),
        }
    }

    fn check_json(&self, what: &str, schema: &str, text: &str, problems: &mut Vec<String>) {
        let body: Value = match serde_json::from_str(text) {
            Ok(body) => body,
            Err(error) => return problems.push(format!("the {what} is not JSON: {error}")),
        };
        match self.validator(schema) {
            Ok(validator) => problems.extend(
                validator
                    .iter_errors(&body)
                    .map(|error| format!("{what} at {}: {error}", error.instance_path())),
            ),
            Err(problem) => problems.push(problem),
        }
    }

    fn validator(&self, schema: &str) -> Result<std::sync::Arc<Validator>, String> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = validators.get(schema) {
            return Ok(std::sync::Arc::clone(validator));
        }
        let document = json!({ "definitions": self.definitions, "allOf": [{ "$ref": schema }] });
        let built = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft4)
            .build(&document);
        let validator = std::sync::Arc::new(built.map_err(|error| format!("the specification's {schema}: {error}"))?);
        validators.insert(schema.to_owned(), std::sync::Arc::clone(&validator));
        Ok(validator)
    }
}

/// Lets an object have its own members, the added ones, and no others. Two definitions were stubbed by whoever cut the
/// specification to size; without members of their own they stay open.
fn close(definition: &mut Value, added: &[&str]) {
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    properties.extend(added.iter().map(|name| ((*name).to_owned(), Value::Object(Map::new()))));
    definition["additionalProperties"] = Value::Bool(false);
}

fn parameters<'a>(operation: &'a Value, place: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    all.filter(move |parameter| parameter["in"] == place)
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || (wanted.starts_with('{') && !found.is_empty()) => {}
            _ => return false,
        }
    }
}
