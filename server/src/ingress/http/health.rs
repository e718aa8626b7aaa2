//! How the server is, for whoever watches it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bellwether_api::{Liveness, Readiness};

use crate::core::Core;
use crate::metrics::CONTENT_TYPE;

/// Says that the process answers.
#[utoipa::path(get, path = "/health/live", tag = "server", responses((status = 200, body = Liveness)))]
pub(super) async fn live(State(core): State<Arc<Core>>) -> Json<Liveness> {
    let uptime_s = core.now().saturating_sub(core.started);
    Json(Liveness { live: true, version: env!("CARGO_PKG_VERSION").to_owned(), uptime_s })
}

/// Says whether the server can do its work, and what is wrong. Needs no token where HTTP listens on loopback.
#[utoipa::path(get, path = "/health/ready", tag = "server",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(super) async fn ready(State(core): State<Arc<Core>>) -> Response {
    let readiness = core.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Gives all metrics as `OpenMetrics` text. Needs no token where HTTP listens on loopback.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(core): State<Arc<Core>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], core.metrics_text().await).into_response()
}
