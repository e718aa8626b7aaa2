//! Gateways over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bellwether_api::{AddGateway, Device, Gateway, NewGateway};

use super::{Answer, Checked};
use crate::core::Core;

/// Enrols a gateway; its unit data is in the answer and never shown again.
#[utoipa::path(post, path = "/v1/gateways", tag = "gateways", request_body = AddGateway,
    responses((status = 200, body = NewGateway)))]
pub(super) async fn add(
    State(core): State<Arc<Core>>,
    Checked(asked): Checked<AddGateway>,
) -> Answer<NewGateway> {
    core.add_gateway(&asked).await.map(Json)
}

/// Lists gateways by name.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways", responses((status = 200, body = [Gateway])))]
pub(super) async fn list(State(core): State<Arc<Core>>) -> Answer<Vec<Gateway>> {
    core.list_gateways().await.map(Json)
}

/// Shows one gateway.
#[utoipa::path(get, path = "/v1/gateways/{name}", tag = "gateways", params(("name" = String, Path)),
    responses((status = 200, body = Gateway)))]
pub(super) async fn show(State(core): State<Arc<Core>>, Path(name): Path<String>) -> Answer<Gateway> {
    core.gateway(&name).await.map(Json)
}

/// Removes a gateway: its key ends at once, and its devices ask the server themselves.
#[utoipa::path(delete, path = "/v1/gateways/{name}", tag = "gateways", params(("name" = String, Path)),
    responses((status = 200, body = Gateway)))]
pub(super) async fn remove(State(core): State<Arc<Core>>, Path(name): Path<String>) -> Answer<Gateway> {
    core.remove_gateway(&name).await.map(Json)
}

/// Takes a device off the list of its gateway: from then on it asks the server itself.
#[utoipa::path(delete, path = "/v1/devices/{endpoint}/gateway", tag = "gateways",
    params(("endpoint" = String, Path)), responses((status = 200, body = Device)))]
pub(super) async fn detach(State(core): State<Arc<Core>>, Path(endpoint): Path<String>) -> Answer<Device> {
    core.detach_device(&endpoint).await.map(Json)
}
