//! Campaigns over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bellwether_api::{Campaign, LaunchCampaign};

use super::{Answer, Checked};
use crate::core::Core;

/// Launches a campaign, once per request id.
#[utoipa::path(post, path = "/v1/campaigns", tag = "campaigns", request_body = LaunchCampaign,
    responses((status = 200, body = Campaign)))]
pub(super) async fn launch(
    State(core): State<Arc<Core>>,
    Checked(asked): Checked<LaunchCampaign>,
) -> Answer<Campaign> {
    core.launch(&asked).await.map(Json)
}

/// Lists campaigns, the oldest first, without their devices.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns", responses((status = 200, body = [Campaign])))]
pub(super) async fn list(State(core): State<Arc<Core>>) -> Answer<Vec<Campaign>> {
    core.campaigns().await.map(Json)
}

/// Shows one campaign with all its devices.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = Campaign)))]
pub(super) async fn show(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Answer<Campaign> {
    core.campaign(&id).await.map(Json)
}

/// Ends a campaign: no new offers and no new grants.
#[utoipa::path(post, path = "/v1/campaigns/{id}/cancel", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = Campaign)))]
pub(super) async fn cancel(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Answer<Campaign> {
    core.cancel(&id).await.map(Json)
}
