//! Devices over HTTP.
#![expect(unused_qualifications, reason = "the macro writes the type of the query out")]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bellwether_api::{AddDevice, Device, Explanation, NewCredential, NewDevice, ReplaceCredential};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Checked};
use crate::core::Core;
use crate::refusal::Refusal;

/// Enrols a device; its unit data is in the answer and never shown again.
#[utoipa::path(post, path = "/v1/devices", tag = "devices", request_body = AddDevice,
    responses((status = 200, body = NewDevice)))]
pub(super) async fn add(
    State(core): State<Arc<Core>>,
    Checked(asked): Checked<AddDevice>,
) -> Answer<NewDevice> {
    core.add_device(&asked).await.map(Json)
}

/// Which devices to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichDevices {
    /// Only those with this tag.
    tag: Option<String>,
}

/// Lists devices by name.
#[utoipa::path(get, path = "/v1/devices", tag = "devices", params(WhichDevices),
    responses((status = 200, body = [Device])))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    query: Result<Query<WhichDevices>, QueryRejection>,
) -> Answer<Vec<Device>> {
    let Query(which) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.devices(which.tag.as_deref()).await.map(Json)
}

/// Shows one device.
#[utoipa::path(get, path = "/v1/devices/{endpoint}", tag = "devices", params(("endpoint" = String, Path)),
    responses((status = 200, body = Device)))]
pub(super) async fn show(State(core): State<Arc<Core>>, Path(endpoint): Path<String>) -> Answer<Device> {
    core.device(&endpoint).await.map(Json)
}

/// Tells the story of a device.
#[utoipa::path(get, path = "/v1/devices/{endpoint}/explain", tag = "devices", params(("endpoint" = String, Path)),
    responses((status = 200, body = Explanation)))]
pub(super) async fn explain(
    State(core): State<Arc<Core>>,
    Path(endpoint): Path<String>,
) -> Answer<Explanation> {
    core.explain(&endpoint).await.map(Json)
}

/// Makes a new DTLS credential; its unit data is in the answer, for the same request only.
#[utoipa::path(post, path = "/v1/devices/{endpoint}/credential", tag = "devices", request_body = ReplaceCredential,
    params(("endpoint" = String, Path, description = "Endpoint name")),
    responses((status = 200, body = NewCredential)))]
pub(super) async fn replace_credential(
    State(core): State<Arc<Core>>,
    Path(endpoint): Path<String>,
    Checked(asked): Checked<ReplaceCredential>,
) -> Answer<NewCredential> {
    core.replace_credential(&endpoint, &asked).await.map(Json)
}
