//! The page to watch: HTML from the server, for people with a browser.
//!
//! It asks and orders through the same rooms and verbs as every other fleet manager, and decides nothing. It is HTML and
//! forms first; htmx brings what happens into an open page. Nothing in it comes from elsewhere.

mod assets;
mod campaigns;
mod devices;
mod fleet;
mod frame;
mod headers;
mod live;
mod login;
mod plot;
mod releases;
mod session;
mod visitor;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use super::access::Tokens;
use super::http::scope;
use crate::core::Core;
use live::Feed;
use session::Sessions;

/// What the page needs to know between two requests; all of it is in memory.
pub struct Page {
    core: Arc<Core>,
    tokens: Arc<Tokens>,
    sessions: Sessions,
    feed: Feed,
}

impl Page {
    /// Opens the page on a server.
    #[must_use]
    pub fn new(core: Arc<Core>, tokens: Arc<Tokens>) -> Arc<Self> {
        Arc::new(Self { core, tokens, sessions: Sessions::default(), feed: Feed::default() })
    }

    /// Follows the ledger for those who watch, until the server ends.
    pub async fn follow(self: Arc<Self>) {
        self.feed.follow(&self.core).await;
    }

    /// Ends all streams of events, and lets nobody begin one any more.
    pub fn close(&self) {
        self.feed.close();
    }
}

/// Builds the routes of the page.
pub fn router(page: &Arc<Page>) -> Router {
    let tagged = middleware::from_fn_with_state(Arc::clone(&page.core), scope::tagged);
    Router::new()
        .route("/", get(fleet::front))
        .route("/login", get(login::form).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/assets/{edition}/{name}", get(assets::show))
        .route("/fleet", get(fleet::show))
        .route("/fleet/devices", get(fleet::devices))
        .route("/fleet/figures", get(fleet::figures))
        .route("/campaigns", get(campaigns::list))
        .route("/campaigns/{id}", get(campaigns::show))
        .route("/campaigns/{id}/live", get(campaigns::live))
        .route("/campaigns/{id}/devices", get(campaigns::devices))
        .route("/campaigns/{id}/{order}", post(campaigns::order))
        .route("/devices/{endpoint}", get(devices::show))
        .route("/devices/{endpoint}/read", post(devices::read))
        .route("/devices/{endpoint}/decommission", post(devices::decommission))
        .route("/releases", get(releases::list))
        .route("/releases/{class}/{component}/{version}", get(releases::release))
        .route("/releases/{class}/{component}/{version}/{order}", post(releases::order))
        .route("/manifests/{digest}", get(releases::show))
        .route("/manifests/{digest}/launch", post(releases::launch))
        .fallback(fleet::nowhere)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn(headers::strict))
        .layer(tagged)
        .with_state(Arc::clone(page))
}

/// Bytes of a form: a launch that names 900 devices.
const FORM_BYTES_MAX: usize = 64 * 1_024;
