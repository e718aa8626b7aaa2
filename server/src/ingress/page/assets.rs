//! What the page is made of beside its HTML: in the binary, and named by what is in it, so that browsers may keep it.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// One file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $name)),
        }
    };
}

static ASSETS: [Asset; 6] = [
    asset!("page.css", "text/css; charset=utf-8"),
    asset!("page.js", "text/javascript; charset=utf-8"),
    asset!("theme.js", "text/javascript; charset=utf-8"),
    asset!("htmx.min.js", "text/javascript; charset=utf-8"),
    asset!("htmx-sse.min.js", "text/javascript; charset=utf-8"),
    asset!("bell.svg", "image/svg+xml"),
];

/// Distinguishes these files from those of another version of the server.
pub(super) static EDITION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in &ASSETS {
        hash.update(asset.bytes);
    }
    hex::encode(&hash.finalize()[..6])
});

/// Gives a file.
pub(super) async fn show(Path((_edition, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = HeaderValue::from_static(asset.kind);
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], asset.bytes).into_response()
}
