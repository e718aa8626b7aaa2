//! The way in for fleet managers: HTTP with a bearer token, on loopback unless configured otherwise.
//!
//! Wire types in, commands out: every handler parses, asks the [`Core`], and answers. It decides nothing.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bellwether_api::{
    AddDevice, Alarm, Anchors, Campaign, Device, Distributor, ErrorBody, ErrorCode, Explanation, Health,
    LaunchCampaign, Manifest, NewDevice, Release,
};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::core::Core;
use crate::refusal::Refusal;

type Answer<T> = Result<Json<T>, Refusal>;

/// The token that every path but `/health` wants.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes the token's text.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    fn admits(&self, header: Option<&header::HeaderValue>) -> bool {
        let given =
            header.and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(self.0.as_bytes())))
    }
}

/// Builds the routes.
pub fn router(core: Arc<Core>, token: Token) -> Router {
    let guarded = Router::new()
        .route("/v1/distributor", get(distributor))
        .route("/v1/anchors", put(put_anchors).get(anchors))
        .route("/v1/releases", post(publish_release).get(releases))
        .route("/v1/manifests", post(publish_manifest).get(manifests))
        .route("/v1/devices", post(add_device).get(devices))
        .route("/v1/devices/{endpoint}", get(device))
        .route("/v1/devices/{endpoint}/explain", get(explain))
        .route("/v1/campaigns", post(launch).get(campaigns))
        .route("/v1/campaigns/{id}", get(campaign))
        .route("/v1/campaigns/{id}/cancel", post(cancel))
        .route("/v1/alarms", get(alarms))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(token), guard));
    Router::new().route("/health", get(health)).merge(guarded).with_state(core)
}

async fn guard(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    if token.admits(request.headers().get(header::AUTHORIZATION)) {
        return next.run(request).await;
    }
    let message = "the token is missing or wrong; the server keeps it in DATA/http.token".to_owned();
    answer_error(StatusCode::UNAUTHORIZED, ErrorBody { code: ErrorCode::Unauthorized, message })
}

async fn health(State(core): State<Arc<Core>>) -> Answer<Health> {
    core.health().await.map(Json)
}

async fn distributor(State(core): State<Arc<Core>>) -> Answer<Distributor> {
    Ok(Json(core.distributor()))
}

async fn put_anchors(State(core): State<Arc<Core>>, Whole(document): Whole) -> Answer<Anchors> {
    core.put_anchors(&document).await.map(Json)
}

async fn anchors(State(core): State<Arc<Core>>) -> Answer<Anchors> {
    core.anchors().await.map(Json)
}

/// The image is the body; what it is stands in the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishRelease {
    class: String,
    component: String,
    version: String,
}

async fn publish_release(
    State(core): State<Arc<Core>>,
    query: Result<Query<PublishRelease>, axum::extract::rejection::QueryRejection>,
    Whole(image): Whole,
) -> Answer<Release> {
    let Query(what) = query.map_err(|error| Refusal::invalid(error.body_text()))?;
    core.publish_release(&what.class, &what.component, &what.version, &image).await.map(Json)
}

async fn releases(State(core): State<Arc<Core>>) -> Answer<Vec<Release>> {
    core.releases().await.map(Json)
}

async fn publish_manifest(State(core): State<Arc<Core>>, Whole(envelope): Whole) -> Answer<Manifest> {
    core.publish_manifest(&envelope).await.map(Json)
}

async fn manifests(State(core): State<Arc<Core>>) -> Answer<Vec<Manifest>> {
    core.manifests().await.map(Json)
}

async fn add_device(State(core): State<Arc<Core>>, Checked(asked): Checked<AddDevice>) -> Answer<NewDevice> {
    core.add_device(&asked).await.map(Json)
}

async fn devices(State(core): State<Arc<Core>>) -> Answer<Vec<Device>> {
    core.devices().await.map(Json)
}

async fn device(State(core): State<Arc<Core>>, Path(endpoint): Path<String>) -> Answer<Device> {
    core.device(&endpoint).await.map(Json)
}

async fn explain(State(core): State<Arc<Core>>, Path(endpoint): Path<String>) -> Answer<Explanation> {
    core.explain(&endpoint).await.map(Json)
}

async fn launch(State(core): State<Arc<Core>>, Checked(asked): Checked<LaunchCampaign>) -> Answer<Campaign> {
    core.launch(&asked).await.map(Json)
}

async fn campaigns(State(core): State<Arc<Core>>) -> Answer<Vec<Campaign>> {
    core.campaigns().await.map(Json)
}

async fn campaign(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Answer<Campaign> {
    core.campaign(&id).await.map(Json)
}

async fn cancel(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Answer<Campaign> {
    core.cancel(&id).await.map(Json)
}

async fn alarms(State(core): State<Arc<Core>>) -> Answer<Vec<Alarm>> {
    core.alarms().await.map(Json)
}

/// A body of bytes within the bound; its refusal has our shape.
struct Whole(Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Bytes::from_request(request, state).await.map(Self).map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Refusal::too_large(format!("the body is larger than {BODY_BYTES_MAX} bytes"))
            }
            _ => Refusal::invalid(error.body_text()),
        })
    }
}

/// JSON whose refusal has our shape and names the field.
struct Checked<T>(T);

impl<T, S> FromRequest<S> for Checked<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(value) = Json::<T>::from_request(request, state)
            .await
            .map_err(|error| Refusal::invalid(error.body_text()))?;
        Ok(Self(value))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Some(source) = std::error::Error::source(&self) {
            tracing::error!(error = source, "a request failed");
        }
        let status = match self.code {
            ErrorCode::Invalid => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        answer_error(status, ErrorBody { code: self.code, message: self.message })
    }
}

fn answer_error(status: StatusCode, body: ErrorBody) -> Response {
    (status, Json(body)).into_response()
}

/// The largest image: what a 32 MiB flash holds.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
