//! Devices over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bellwether_api::{AddDevice, Device, Explanation, NewDevice};

use super::{Answer, Checked};
use crate::core::Core;

/// Enrols a device; its unit data is in the answer and never shown again.
#[utoipa::path(post, path = "/v1/devices", tag = "devices", request_body = AddDevice,
    responses((status = 200, body = NewDevice)))]
pub(super) async fn add(
    State(core): State<Arc<Core>>,
    Checked(asked): Checked<AddDevice>,
) -> Answer<NewDevice> {
    core.add_device(&asked).await.map(Json)
}

/// Lists devices by name.
#[utoipa::path(get, path = "/v1/devices", tag = "devices", responses((status = 200, body = [Device])))]
pub(super) async fn list(State(core): State<Arc<Core>>) -> Answer<Vec<Device>> {
    core.devices().await.map(Json)
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
