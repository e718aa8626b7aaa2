//! Alarms over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use bellwether_api::Alarm;

use super::Answer;
use crate::core::Core;

/// Lists alarms, the newest day first.
#[utoipa::path(get, path = "/v1/alarms", tag = "alarms", responses((status = 200, body = [Alarm])))]
pub(super) async fn list(State(core): State<Arc<Core>>) -> Answer<Vec<Alarm>> {
    core.alarms().await.map(Json)
}
