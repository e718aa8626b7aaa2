//! Who asks for a page: found by their cookie, else sent to the login.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::de::DeserializeOwned;

use super::frame::Failed;
use super::session::{Asked, Session};
use super::{Page, headers, words};
use crate::ingress::access::Right;

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Their session.
    pub(super) session: Session,
    /// What names it.
    pub(super) cookie: String,
}

impl FromRequestParts<Arc<Page>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, page: &Arc<Page>) -> Result<Self, Response> {
        let asked = if is_of_page(parts.uri.path()) { Asked::ByPage } else { Asked::ByPerson };
        let found = cookie(&parts.headers).and_then(|cookie| {
            let session = page.sessions.find(&cookie, page.core.steady(), asked)?;
            Some(Self { session, cookie })
        });
        found.ok_or_else(|| to_login(parts))
    }
}

/// A form of this session's own.
pub(super) struct Sent<T> {
    /// Who sent it.
    pub(super) visitor: Visitor,
    /// What it says.
    pub(super) form: T,
}

/// A form of this session's own, by somebody who may operate.
pub(super) struct Order<T>(pub(super) Sent<T>);

/// A form with what shows that it is ours.
pub(super) trait Own {
    /// What the session's forms bring back.
    fn form_token(&self) -> &str;
}

impl<T: DeserializeOwned + Own> FromRequest<Arc<Page>> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, page: &Arc<Page>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, page).await?;
        let is_own = headers::is_own(&parts.method, &parts.headers);
        let refuse = |status, message: &str| Failed::new(status, message).answer(&visitor);
        if !is_own {
            return Err(refuse(StatusCode::FORBIDDEN, NOT_OURS));
        }
        let request = Request::from_parts(parts, body);
        let form = axum::Form::<T>::from_request(request, page).await;
        let form = form.map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.body_text()))?.0;
        if !visitor.session.admits(form.form_token()) {
            return Err(refuse(StatusCode::FORBIDDEN, NOT_OURS));
        }
        Ok(Self { visitor, form })
    }
}

impl<T: DeserializeOwned + Own> FromRequest<Arc<Page>> for Order<T> {
    type Rejection = Response;

    async fn from_request(request: Request, page: &Arc<Page>) -> Result<Self, Response> {
        let sent = Sent::<T>::from_request(request, page).await?;
        if sent.visitor.session.right == Right::Operate {
            return Ok(Self(sent));
        }
        Err(Failed::new(StatusCode::FORBIDDEN, READ_ONLY).answer(&sent.visitor))
    }
}

/// Tells whether open pages ask for this by themselves: figures every few seconds, and streams that they open again.
fn is_of_page(path: &str) -> bool {
    path == "/fleet/figures" || (path.starts_with("/campaigns/") && path.ends_with("/live"))
}

/// Reads the cookie of a session: over TLS only the one that nobody but this very host can have set, and over TLS.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    let ours = name_of(headers::is_behind_tls(headers));
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(name, value)| *name == ours && value.len() == COOKIE_BYTES);
    found.next().map(|(_, value)| value.to_owned())
}

/// Names the cookie. Over TLS its name forbids that anybody but this very host sets it: whoever answers in its place in the
/// clear, or under a neighbouring name, could have a browser watch and order in a session of theirs.
pub(super) const fn name_of(is_behind_tls: bool) -> &'static str {
    if is_behind_tls { "__Host-bellwether" } else { "bellwether" }
}

/// A person is sent to the login, and back afterwards; a script is told.
fn to_login(parts: &Parts) -> Response {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if text("hx-request").is_some() {
        let mut response = (StatusCode::UNAUTHORIZED, LOGGED_OUT).into_response();
        response.headers_mut().insert("hx-redirect", HeaderValue::from_static("/login"));
        return response;
    }
    let wants_page = text("accept").is_some_and(|accept| accept.contains("text/html"));
    if !wants_page {
        return (StatusCode::UNAUTHORIZED, LOGGED_OUT).into_response();
    }
    let back = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let is_page = parts.method == axum::http::Method::GET;
    if is_page && back != "/" {
        return Redirect::to(&format!("/login?next={}", words::segment(back))).into_response();
    }
    Redirect::to("/login").into_response()
}

/// 32 bytes in hexadecimal.
const COOKIE_BYTES: usize = 64;

const LOGGED_OUT: &str = "nobody is logged in here: log in at /login";
const NOT_OURS: &str = "This form did not come from a page of this server, or its session has ended. Go back, reload the \
     page, and send it again. Behind a proxy: let it pass the Host header on.";
const READ_ONLY: &str =
    "You are logged in with a token that only reads. Log in with the token of an operator to do this.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_asks_for_by_itself_is_told_from_what_a_person_does() {
        assert!(is_of_page("/fleet/figures") && is_of_page("/campaigns/7/live"));
        for person in ["/fleet", "/fleet/devices", "/campaigns/7", "/campaigns/7/devices", "/devices/live"] {
            assert!(!is_of_page(person), "{person}");
        }
    }

    fn read(line: &str, proto: &'static str) -> Option<String> {
        let proto = (header::HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(proto));
        let line = (header::COOKIE, HeaderValue::from_str(line).expect("a header"));
        cookie(&[line, proto].into_iter().collect())
    }

    #[test]
    fn cookie_is_found_among_others() {
        let value = "ab".repeat(32);
        assert_eq!(read(&format!("a=b; bellwether={value}; c=d"), "http").as_deref(), Some(&*value));
        for other in ["", "bellwether=", "bellwether=short", &format!("xbellwether={value}")] {
            assert_eq!(read(other, "http"), None, "{other}");
        }
    }

    // RFC 6265bis §4.1.3.2
    #[test]
    fn cookie_that_others_can_set_for_this_host_is_none_behind_tls() {
        let (own, planted) = ("ab".repeat(32), "cd".repeat(32));
        let both = format!("bellwether={planted}; __Host-bellwether={own}");
        assert_eq!(read(&both, "https").as_deref(), Some(&*own));
        assert_eq!(read(&format!("bellwether={planted}"), "https"), None);
        assert_eq!(read(&format!("__host-bellwether={planted}"), "https"), None);
        assert_eq!(
            read(&format!("__Host-bellwether={own}"), "http"),
            None,
            "no browser sends it in the clear"
        );
    }
}
