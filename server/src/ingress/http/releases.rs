//! Releases over HTTP.
#![expect(unused_qualifications, reason = "the macro writes the type of the query out")]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use bellwether_api::{FrameCount, Release};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Whole};
use crate::core::Core;
use crate::refusal::Refusal;

/// The image is the body; what it is stands in the query.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishRelease {
    /// Class name.
    class: String,
    /// Component name.
    component: String,
    /// Version, `2.1.0`.
    version: String,
}

/// Keeps an image under class, component and version.
#[utoipa::path(post, path = "/v1/releases", tag = "releases", params(PublishRelease),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Release)))]
pub(super) async fn publish(
    State(core): State<Arc<Core>>,
    query: Result<Query<PublishRelease>, QueryRejection>,
    Whole(image): Whole,
) -> Answer<Release> {
    let Query(what) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.publish_release(&what.class, &what.component, &what.version, &image).await.map(Json)
}

/// Lists releases by class, the newest version first.
#[utoipa::path(get, path = "/v1/releases", tag = "releases", responses((status = 200, body = [Release])))]
pub(super) async fn list(State(core): State<Arc<Core>>) -> Answer<Vec<Release>> {
    core.releases().await.map(Json)
}

/// Says how many frames of each resource left the server since it started, and to whom.
#[utoipa::path(get, path = "/v1/frames", tag = "releases", responses((status = 200, body = [FrameCount])))]
pub(super) async fn frames(State(core): State<Arc<Core>>) -> Answer<Vec<FrameCount>> {
    Ok(Json(core.frames_sent()))
}
