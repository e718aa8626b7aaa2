//! Campaigns over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bellwether_api::{Campaign, CampaignPage, DevicesOfCampaign, LaunchCampaign, ListCampaigns};

use super::{Answer, Checked};
use crate::core::Core;
use crate::refusal::Refusal;

/// Launches a campaign, once per request id.
#[utoipa::path(post, path = "/v1/campaigns", tag = "campaigns", request_body = LaunchCampaign,
    responses((status = 200, body = Campaign)))]
pub(super) async fn launch(
    State(core): State<Arc<Core>>,
    Checked(asked): Checked<LaunchCampaign>,
) -> Answer<Campaign> {
    core.launch(&asked).await.map(Json)
}

/// Lists a page of campaigns, the oldest first, without their devices.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns",
    params(("state" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = CampaignPage)))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    query: Result<Query<ListCampaigns>, QueryRejection>,
) -> Answer<CampaignPage> {
    let Query(asked) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.campaigns(&asked).await.map(Json)
}

/// Shows one campaign with a page of its devices.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "campaigns",
    params(("id" = String, Path), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Campaign)))]
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    query: Result<Query<DevicesOfCampaign>, QueryRejection>,
) -> Answer<Campaign> {
    let Query(page) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.campaign_page(&id, &page).await.map(Json)
}
