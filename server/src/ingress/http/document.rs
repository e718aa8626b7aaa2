//! The `OpenAPI` document: made from the handlers and the wire types, so that it can't say anything else.

use std::sync::LazyLock;

use axum::Json;
use bellwether_api::ErrorBody;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::{Answer, described};

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
    document.merge(open);
    document.info = InfoBuilder::new()
        .title("Bellwether")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Devices, releases and campaigns. Bytes are hexadecimal, times seconds since 1970.",
        ))
        .build();
    for operation in operations(&mut document) {
        operation.responses.responses.insert("default".to_owned(), refusal());
        name_apart(operation);
    }
    let components = document.components.get_or_insert_with(|| ComponentsBuilder::new().build());
    components.schemas.insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    let mut inner = Vec::new();
    ErrorBody::schemas(&mut inner);
    components.schemas.extend(inner);
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.security_schemes.insert(TOKEN.to_owned(), RefOr::T(bearer));
    document
}

/// Handlers are named within their noun, operations within the document.
fn name_apart(operation: &mut Operation) {
    let noun = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    let handler = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{noun}_{handler}"));
}

fn refusal() -> RefOr<utoipa::openapi::Response> {
    let body = Ref::from_schema_name(ErrorBody::name());
    let content = ContentBuilder::new().schema(Some(body)).build();
    let refusal =
        ResponseBuilder::new().description("why not, and what to do").content("application/json", content);
    RefOr::T(refusal.build())
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
        [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
    })
}

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
                assert_eq!(operation["security"].is_array(), path != "/health", "{name}");
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

    // A handler that comes in by `routes!` has its line in the document, or does not compile.
    #[test]
    fn no_route_comes_in_without_its_line_in_the_document() {
        let source = include_str!("../http.rs");
        for way_around in [".route(", ".nest(", ".fallback(", ".route_service("] {
            assert!(!source.contains(way_around), "{way_around} adds a route that no document tells of");
        }
    }
}
