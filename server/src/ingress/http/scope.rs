//! The scope of one HTTP request: its id, who sent it and why, its line in the log, its count.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bellwether_decide::campaign::event::By;
use percent_encoding::percent_decode_str;

use crate::caller::{self, Caller};
use crate::commands::request::by;
use crate::core::Core;
use crate::metrics::steady;
use crate::refusal::Refusal;

/// Carries a request out under its id, which goes back with the answer: the caller's own where it is fit, else a
/// drawn one.
pub(crate) async fn tagged(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| caller::is_fit(id));
    let request_id = given.map_or_else(|| caller::drawn(&*core.machine), str::to_owned);
    let said = said(headers);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", id = request_id, door = "http", %method, path);
    let echo = HeaderValue::from_str(&request_id);
    let By { who, why, .. } = said.as_ref().cloned().unwrap_or_default();
    let caller = Caller { request_id, who, why };
    let mut response = caller.scope(span, counted(&core, said.map(drop), request, next)).await;
    if let Ok(echo) = echo {
        response.headers_mut().insert(REQUEST_ID, echo);
    }
    response
}

async fn counted(core: &Core, said: Result<(), Refusal>, request: Request, next: Next) -> Response {
    let (began, method) = (steady(), request.method().clone());
    let response = match said {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let (status, took) = (response.status(), began.elapsed());
    core.metrics.http(&method, status.as_u16(), took);
    // "Not ready" is no failure of this request: it has just been found out.
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        core.metrics.failed("http");
        core.health.doubt();
    }
    tracing::debug!(status = status.as_u16(), micros = took.as_micros(), "answered");
    response
}

/// Reads who sends a request and why, percent-encoded since headers hold no other letters than English ones. A
/// command says it in its body, which counts before this.
fn said(headers: &HeaderMap) -> Result<By, Refusal> {
    let (who, why) = (words(headers, WHO)?, words(headers, WHY)?);
    by(who.as_ref(), why.as_ref())
}

fn words(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().ok().and_then(|text| percent_decode_str(text).decode_utf8().ok());
    let text = text.ok_or_else(|| Refusal::invalid(format!("{name}: must be percent-encoded UTF-8")))?;
    Ok(Some(text.into_owned()))
}

const REQUEST_ID: &str = "x-request-id";
const WHO: &str = "x-bellwether-who";
const WHY: &str = "x-bellwether-why";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
        headers
    }

    #[test]
    fn words_are_read_in_any_letters_and_a_line_end_is_refused() {
        let said = |value| said(&headers(WHO, value)).map(|by| by.who);
        assert_eq!(said("J%C3%B6rg%20M").expect("said").as_deref(), Some("Jörg M"));
        let refused = said("a%0Ab").expect_err("a forged line");
        assert!(refused.message.starts_with("who: "), "{refused}");
        assert!(said("%FF").is_err());
    }
}
