//! Devices in bulk over HTTP. Not over MQTT: a broker is no way for unit files.
#![expect(unused_qualifications, reason = "the macro writes the type of the query out")]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use bellwether_api::{CheckImport, ImportFaults, ImportState, StageImport, UnitPage, UnitsReceived};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Checked};
use crate::core::Core;
use crate::refusal::Refusal;

/// Tells which lines of a list could not be enrolled; nothing is written.
#[utoipa::path(post, path = "/v1/imports/check", tag = "imports", request_body = CheckImport,
    responses((status = 200, body = ImportFaults)))]
pub(super) async fn check(
    State(core): State<Arc<Core>>,
    Checked(asked): Checked<CheckImport>,
) -> Answer<ImportFaults> {
    core.check_import(&asked).await.map(Json)
}

/// Keeps a piece of a list; nobody is enrolled before the import is committed.
#[utoipa::path(put, path = "/v1/imports/{id}/rows", tag = "imports", params(("id" = String, Path)),
    request_body = StageImport, responses((status = 200, body = ImportState)))]
pub(super) async fn stage(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    Checked(asked): Checked<StageImport>,
) -> Answer<ImportState> {
    core.stage_import(&id, &asked).await.map(Json)
}

/// Shows how far an import is.
#[utoipa::path(get, path = "/v1/imports/{id}", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, body = ImportState)))]
pub(super) async fn show(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Answer<ImportState> {
    core.import(&id).await.map(Json)
}

/// Enrols all devices of an import, or none; once.
#[utoipa::path(post, path = "/v1/imports/{id}/commit", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, body = ImportState)))]
pub(super) async fn commit(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Answer<ImportState> {
    core.commit_import(&id).await.map(Json)
}

/// How many unit files to give.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhichUnits {
    /// 1 to 1000; absent: 100.
    limit: Option<u32>,
}

/// Gives unit files that were not received yet; the same again until they were. They are secret.
#[utoipa::path(get, path = "/v1/imports/{id}/units", tag = "imports", params(("id" = String, Path), WhichUnits),
    responses((status = 200, body = UnitPage)))]
pub(super) async fn units(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    query: Result<Query<WhichUnits>, QueryRejection>,
) -> Answer<UnitPage> {
    let Query(which) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.import_units(&id, which.limit).await.map(Json)
}

/// Takes the receipt of unit files: they are not given again.
#[utoipa::path(post, path = "/v1/imports/{id}/received", tag = "imports", params(("id" = String, Path)),
    request_body = UnitsReceived, responses((status = 200, body = ImportState)))]
pub(super) async fn received(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    Checked(asked): Checked<UnitsReceived>,
) -> Answer<ImportState> {
    core.units_received(&id, asked).await.map(Json)
}
