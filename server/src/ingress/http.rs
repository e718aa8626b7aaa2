//! The way in for fleet managers: HTTP with a bearer token, on loopback unless configured otherwise.
//!
//! Wire types in, commands out: every handler parses, asks the [`Core`], and answers. It decides nothing. A handler is
//! added with `routes!`, which takes none without its line in the `OpenAPI` document (`GET /v1/openapi.json`).

mod alarms;
mod asyncapi;
mod campaigns;
mod commands;
mod devices;
mod document;
mod events;
mod gateways;
mod health;
mod imports;
mod releases;
pub(super) mod scope;
mod trust;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use bellwether_api::{ErrorBody, ErrorCode};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Right, Tokens};
use crate::caller;
use crate::core::Core;
use crate::disk::Fault;
use crate::refusal::Refusal;

pub use asyncapi::asyncapi;
pub use document::openapi;

type Answer<T> = Result<Json<T>, Refusal>;

/// What the bearer of a request's token may do; every path wants one but those that say how the server is.
fn right_of(tokens: &Tokens, headers: &HeaderMap) -> Option<Right> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer ")).and_then(|given| tokens.right(given.as_bytes()))
}

/// Whether whoever reaches the listener may see how the server is: metrics, and what is wrong with it. They hold no
/// secret, but tell how large a fleet is and what it does, so it is so on loopback alone; elsewhere they want the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Openness(bool);

impl Openness {
    /// Judges by where the listener is bound.
    #[must_use]
    pub fn of(listener: SocketAddr) -> Self {
        Self(listener.ip().is_loopback())
    }
}

/// Builds the routes.
pub fn router(core: Arc<Core>, tokens: Arc<Tokens>, open_to: Openness) -> Router {
    let (mut open, _) = open_routes().split_for_parts();
    let (mut guarded, _) = guarded_routes().split_for_parts();
    let (watched, _) = watched_routes().split_for_parts();
    if open_to.0 {
        open =
            open.merge(watched.layer(middleware::from_fn_with_state(Arc::clone(&tokens), guard_from_afar)));
    } else {
        guarded = guarded.merge(watched);
    }
    let tagged = middleware::from_fn_with_state(Arc::clone(&core), scope::tagged);
    let guarded = guarded
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&core), watch_disk))
        .layer(middleware::from_fn_with_state(tokens, guard));
    open.merge(guarded).layer(tagged).with_state(core)
}

/// Routes that need no token.
fn open_routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new().routes(routes!(trust::health)).routes(routes!(health::live))
}

/// Routes that need no token on loopback.
fn watched_routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new().routes(routes!(health::ready)).routes(routes!(health::metrics))
}

/// Routes behind the token.
fn guarded_routes() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::new()
        .routes(routes!(document::show))
        .routes(routes!(asyncapi::asyncapi_document))
        .routes(routes!(trust::distributor))
        .routes(routes!(trust::put_anchors, trust::anchors))
        .routes(routes!(releases::publish, releases::list))
        .routes(routes!(releases::frames))
        .routes(routes!(trust::publish_manifest, trust::manifests))
        .routes(routes!(devices::add, devices::list))
        .routes(routes!(devices::show))
        .routes(routes!(devices::explain))
        .routes(routes!(devices::replace_credential))
        .routes(routes!(imports::check))
        .routes(routes!(imports::show))
        .routes(routes!(imports::stage))
        .routes(routes!(imports::commit))
        .routes(routes!(imports::units))
        .routes(routes!(imports::received))
        .routes(routes!(gateways::detach))
        .routes(routes!(gateways::add, gateways::list))
        .routes(routes!(gateways::show, gateways::remove))
        .routes(routes!(campaigns::launch, campaigns::list))
        .routes(routes!(campaigns::show))
        .routes(routes!(commands::run))
        .routes(routes!(alarms::list))
        .routes(routes!(events::list))
}

/// What the routes say of themselves: those that need no token, and those that do.
fn described() -> (OpenApi, OpenApi) {
    let mut open = open_routes().split_for_parts().1;
    open.merge(watched_routes().split_for_parts().1);
    (open, guarded_routes().split_for_parts().1)
}

async fn guard(State(tokens): State<Arc<Tokens>>, request: Request, next: Next) -> Response {
    let (status, code, message) = match right_of(&tokens, request.headers()) {
        Some(right) if right.allows(&request) => return next.run(request).await,
        Some(_) => (StatusCode::FORBIDDEN, ErrorCode::Forbidden, READ_ONLY),
        None => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, NO_TOKEN),
    };
    let (message, request_id) = (message.to_owned(), caller::request_id());
    answer_error(status, ErrorBody { code, message, request_id, retry_after_s: None })
}

/// Lets those pass without the token who ask this machine by a name that only means itself, and for themselves. A
/// browser whose page has its name point here says that name, and a proxy says for whom it asks.
async fn guard_from_afar(token: State<Arc<Tokens>>, request: Request, next: Next) -> Response {
    if is_local(request.headers()) { next.run(request).await } else { guard(token, request, next).await }
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let names_itself = host.and_then(|host| host.parse::<Authority>().ok()).is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    names_itself && PROXIED.iter().all(|name| !headers.contains_key(*name))
}

/// Passes on what a refusal says of the disk.
async fn watch_disk(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(fault) = response.extensions().get::<Fault>() {
        core.disk_fails(*fault);
    }
    response
}

/// A body of bytes within the bound; its refusal has our shape.
struct Whole(Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Bytes::from_request(request, state).await.map(Self).map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Refusal::too_large(format!("the body is larger than {BODY_BYTES_MAX} bytes"))
            }
            _ => Refusal::invalid(error.body_text()),
        })
    }
}

/// JSON whose refusal has our shape and names the field.
struct Checked<T>(T);

impl<T, S> FromRequest<S> for Checked<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(value) = Json::<T>::from_request(request, state)
            .await
            .map_err(|error| Refusal::invalid(error.body_text()))?;
        Ok(Self(value))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status_of(self.code);
        let fault = self.cause().and_then(Fault::of);
        let mut response = answer_error(status, self.body());
        if let Some(fault) = fault {
            response.extensions_mut().insert(fault);
        }
        response
    }
}

/// The status that says what kind of refusal it is.
pub(super) fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::StorageAway | ErrorCode::Asleep => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::BadAnswer => StatusCode::BAD_GATEWAY,
        ErrorCode::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn answer_error(status: StatusCode, body: ErrorBody) -> Response {
    let retry_after = body.retry_after_s.map(HeaderValue::from);
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

const NO_TOKEN: &str = "the token is missing or wrong; the server keeps it in DATA/http.token";
const READ_ONLY: &str = "this token only reads; the one in DATA/http.token may do this";

/// Headers in which proxies say for whom they ask. RFC 7239, RFC 9110 §7.6.3, and what came before.
const PROXIED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// The largest image: what a 32 MiB flash holds.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&'static str, &str)]) -> bool {
        let value = |text: &str| HeaderValue::from_str(text).expect("a header's value");
        is_local(
            &pairs.iter().map(|(name, text)| (header::HeaderName::from_static(name), value(text))).collect(),
        )
    }

    #[test]
    fn only_who_asks_this_machine_as_itself_and_for_itself_is_local() {
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.9.9.9"] {
            assert!(said(&[("host", host)]), "{host}");
        }
        for host in [
            "rebound.example:8080",
            "127.0.0.1.example",
            "localhost.example",
            "192.0.2.1",
            "",
            "a@localhost@b",
        ] {
            assert!(!said(&[("host", host)]), "{host}");
        }
        assert!(!said(&[]));
        for proxied in PROXIED {
            assert!(!said(&[("host", "127.0.0.1:8080"), (proxied, "192.0.2.1")]), "{proxied}");
        }
    }
}
