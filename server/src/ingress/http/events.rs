//! The ledger over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use bellwether_api::{EventPage, ListEvents};

use super::Answer;
use crate::core::Core;
use crate::refusal::Refusal;

/// Lists a page of the ledger, the oldest first: what happened, who ordered it and why.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("since" = Option<u64>, Query), ("limit" = Option<u32>, Query), ("campaign" = Option<String>, Query),
        ("endpoint" = Option<String>, Query), ("acts" = Option<bool>, Query)),
    responses((status = 200, body = EventPage)))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    query: Result<Query<ListEvents>, QueryRejection>,
) -> Answer<EventPage> {
    let Query(asked) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.events(&asked).await.map(Json)
}
