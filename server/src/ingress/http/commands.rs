//! The verbs over HTTP: the same JSON as over MQTT.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::{Answer, Whole};
use crate::commands::dispatch::Verb;
use crate::core::Core;
use crate::refusal::Refusal;

/// Carries out a verb.
#[utoipa::path(post, path = "/v1/commands/{noun}/{verb}", tag = "commands",
    params(("noun" = String, Path), ("verb" = String, Path)), request_body = Object,
    responses((status = 200, body = Object)))]
pub(super) async fn run(
    State(core): State<Arc<Core>>,
    Path((noun, name)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<Value> {
    let verb = Verb::find(&noun, &name).ok_or_else(|| unknown(&noun, &name))?;
    verb.carry_out(&core, &body).await.map(Json)
}

fn unknown(noun: &str, name: &str) -> Refusal {
    Refusal::not_found(format!("there is no verb {noun}/{name}; see GET /v1/openapi.json"))
}
