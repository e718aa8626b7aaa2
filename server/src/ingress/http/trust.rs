//! Anchors, manifests, the distributor's key and the server's health over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bellwether_api::{Anchors, Distributor, Health, Manifest};

use super::{Answer, Whole};
use crate::core::Core;

/// Says how the server is.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, body = Health)))]
pub(super) async fn health(State(core): State<Arc<Core>>) -> Answer<Health> {
    core.health().await.map(Json)
}

/// Shows the key that anchors must list.
#[utoipa::path(get, path = "/v1/distributor", tag = "trust", responses((status = 200, body = Distributor)))]
pub(super) async fn distributor(State(core): State<Arc<Core>>) -> Answer<Distributor> {
    Ok(Json(core.distributor()))
}

/// Takes an anchors document: the first one on its own word, each later one by the keys of the one before.
#[utoipa::path(put, path = "/v1/anchors", tag = "trust",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Anchors)))]
pub(super) async fn put_anchors(State(core): State<Arc<Core>>, Whole(document): Whole) -> Answer<Anchors> {
    core.put_anchors(&document).await.map(Json)
}

/// Shows the anchors that are in force.
#[utoipa::path(get, path = "/v1/anchors", tag = "trust", responses((status = 200, body = Anchors)))]
pub(super) async fn anchors(State(core): State<Arc<Core>>) -> Answer<Anchors> {
    core.anchors().await.map(Json)
}

/// Verifies and keeps a signed envelope.
#[utoipa::path(post, path = "/v1/manifests", tag = "manifests",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Manifest)))]
pub(super) async fn publish_manifest(
    State(core): State<Arc<Core>>,
    Whole(envelope): Whole,
) -> Answer<Manifest> {
    core.publish_manifest(&envelope).await.map(Json)
}

/// Lists manifests, the highest sequence number first.
#[utoipa::path(get, path = "/v1/manifests", tag = "manifests", responses((status = 200, body = [Manifest])))]
pub(super) async fn manifests(State(core): State<Arc<Core>>) -> Answer<Vec<Manifest>> {
    core.manifests().await.map(Json)
}
