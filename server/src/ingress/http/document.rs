//! The `OpenAPI` document: made from the handlers and the wire types, so that it can't say anything else.

use std::sync::LazyLock;

use axum::Json;
use bellwether_api::ErrorBody;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, Required,
};

use super::{Answer, described};
use crate::commands::dispatch::{self, VERBS};

/// Gives the `OpenAPI` document of all routes.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", responses((status = 200, body = Object)))]
pub(super) async fn show() -> Answer<OpenApi> {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(openapi);
    Ok(Json(DOCUMENT.clone()))
}

/// Makes the `OpenAPI` document.
#[must_use]
pub fn openapi() -> OpenApi {
    let (open, mut document) = described();
    for operation in operations(&mut document) {
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, NO_SCOPES)]);
    }
    spell_out_verbs(&mut document);
    document.merge(open);
    document.info = InfoBuilder::new()
        .title("Bellwether")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Devices, releases and campaigns. Bytes are hexadecimal, times seconds since 1970.",
        ))
        .build();
    for operation in operations(&mut document) {
        for response in operation.responses.responses.values_mut() {
            // OpenAPI requires one, and what comes is told by its type.
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                "done".clone_into(&mut response.description);
            }
        }
        operation.responses.responses.insert("default".to_owned(), refusal());
        name_apart(operation);
    }
    let components = document.components.get_or_insert_with(|| ComponentsBuilder::new().build());
    components.schemas.extend(dispatch::schemas::<ErrorBody>());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.security_schemes.insert(TOKEN.to_owned(), RefOr::T(bearer));
    document
}

/// One handler takes every verb; the document has a path for each, with its own types.
fn spell_out_verbs(document: &mut OpenApi) {
    let Some(any) = document.paths.paths.remove(ANY_VERB).and_then(|item| item.post) else {
        return;
    };
    let components = document.components.get_or_insert_with(|| ComponentsBuilder::new().build());
    for verb in VERBS {
        let mut operation = any.clone();
        operation.summary = Some(verb.summary.to_owned());
        operation.operation_id = Some(format!("{}_{}", verb.noun, verb.name.replace('-', "_")));
        operation.parameters = None;
        let body = RequestBodyBuilder::new().content(JSON, json((verb.request.name)()));
        operation.request_body = Some(RefOr::T(body.required(Some(Required::True)).build()));
        let reply =
            ResponseBuilder::new().description("done").content(JSON, json((verb.reply.name)())).build();
        operation.responses.responses.insert("200".to_owned(), RefOr::T(reply));
        let path = ANY_VERB.replace("{noun}", verb.noun).replace("{verb}", verb.name);
        document.paths.paths.insert(path, PathItem::new(HttpMethod::Post, operation));
        components.schemas.extend((verb.request.schemas)());
        components.schemas.extend((verb.reply.schemas)());
    }
}

fn json(schema: String) -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build()
}

/// Handlers are named within their noun, operations within the document.
fn name_apart(operation: &mut Operation) {
    let noun = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    let handler = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{noun}_{handler}"));
}

fn refusal() -> RefOr<utoipa::openapi::Response> {
    let content = json(ErrorBody::name().into_owned());
    let refusal = ResponseBuilder::new().description("why not, and what to do").content(JSON, content);
    RefOr::T(refusal.build())
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
        [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
    })
}

const ANY_VERB: &str = "/v1/commands/{noun}/{verb}";
const JSON: &str = "application/json";
const TOKEN: &str = "token";
const NO_SCOPES: [&str; 0] = [];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(openapi()).expect("JSON")
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.push(reference.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    // OpenAPI 3.1 §4.8.17.1: `description` is required of a response.
    #[test]
    fn every_response_has_a_description() {
        for (path, methods) in document()["paths"].as_object().expect("paths") {
            for operation in methods.as_object().expect("methods").values() {
                for (status, response) in operation["responses"].as_object().expect("responses") {
                    assert!(response["description"].is_string(), "{path}: {status}");
                }
            }
        }
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a reference into this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_is_summarised_and_says_how_it_is_refused_and_who_may_ask() {
        let document = document();
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let name = format!("{method} {path}");
                assert!(operation["summary"].is_string(), "{name} has no summary");
                assert!(operation["responses"]["200"].is_object(), "{name} has no answer");
                assert!(operation["responses"]["default"].is_object(), "{name} has no refusal");
                let is_open =
                    ["/health", "/health/live", "/health/ready", "/metrics"].contains(&path.as_str());
                assert_eq!(operation["security"].is_array(), !is_open, "{name}");
            }
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let mut document = openapi();
        let mut names: Vec<_> =
            operations(&mut document).filter_map(|one| one.operation_id.clone()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_verb_has_a_path_with_its_own_types() {
        let document = document();
        for verb in VERBS {
            let operation = &document["paths"][format!("/v1/commands/{}/{}", verb.noun, verb.name)]["post"];
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(*body, format!("#/components/schemas/{}", (verb.request.name)()));
            assert_eq!(operation["summary"], verb.summary);
        }
    }

    // A handler that comes in by `routes!` has its line in the document, or does not compile.
    #[test]
    fn no_route_comes_in_without_its_line_in_the_document() {
        let source = include_str!("../http.rs");
        for way_around in [".route(", ".nest(", ".fallback(", ".route_service("] {
            assert!(!source.contains(way_around), "{way_around} adds a route that no document tells of");
        }
    }
}
