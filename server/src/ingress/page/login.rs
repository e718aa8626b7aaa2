//! Logging in by a token, and out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use askama::Template;
use axum::extract::{ConnectInfo, FromRequestParts, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::frame::{Frame, html};
use super::session::SESSION_S_MAX;
use super::visitor::{Visitor, cookie, name_of};
use super::{Page, headers};
use crate::caller;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    next: String,
    problem: Option<String>,
    is_local: bool,
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// What the form of the login says.
#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(deserialize_with = "secret")]
    token: Zeroizing<String>,
    #[serde(default)]
    who: String,
    #[serde(default)]
    next: String,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// Shows the form of the login; who is logged in is sent on.
pub(super) async fn form(
    State(page): State<Arc<Page>>,
    Query(asked): Query<Next>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    match Visitor::from_request_parts(&mut parts, &page).await {
        Ok(_) => Redirect::to(inside(&asked.next)).into_response(),
        Err(_) => show(&page, StatusCode::OK, &asked.next, None),
    }
}

/// Takes a token and begins a session.
///
/// Nobody has to wait because of wrong ones, whosever they were: behind a proxy all have one address. However often somebody
/// tries, they guess none, and a try costs less than the page that it is made on.
pub(super) async fn enter(
    State(page): State<Arc<Page>>,
    from: Option<Extension<ConnectInfo<SocketAddr>>>,
    request_headers: HeaderMap,
    Form(login): Form<Login>,
) -> Response {
    if !headers::is_own(&axum::http::Method::POST, &request_headers) {
        return show(&page, StatusCode::FORBIDDEN, &login.next, Some(NOT_OURS.to_owned()));
    }
    let Some(right) = page.tokens.right(login.token.trim().as_bytes()) else {
        return show(&page, StatusCode::UNAUTHORIZED, &login.next, Some(WRONG.to_owned()));
    };
    let who = login.who.trim();
    if who.len() > WHO_BYTES_MAX || who.chars().any(char::is_control) {
        return show(
            &page,
            StatusCode::BAD_REQUEST,
            &login.next,
            Some(format!("The name may have {WHO_BYTES_MAX} bytes.")),
        );
    }
    let who = Some(who.to_owned()).filter(|who| !who.is_empty());
    let Ok(random) = page.core.machine.random::<48>() else {
        let problem = "The server has no randomness now; its log says why.".to_owned();
        return show(&page, StatusCode::INTERNAL_SERVER_ERROR, &login.next, Some(problem));
    };
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(ConnectInfo(from))| from.ip());
    tracing::info!(who, ?right, %from, "logged in to the page");
    let named = page.sessions.begin(right, who, &Zeroizing::new(random), page.core.steady());
    let is_behind_tls = headers::is_behind_tls(&request_headers);
    with_cookie(Redirect::to(inside(&login.next)).into_response(), &named, SESSION_S_MAX, is_behind_tls)
}

/// Ends a session. It changes nothing but this, so that whoever may only watch may do it.
pub(super) async fn leave(State(page): State<Arc<Page>>, request_headers: HeaderMap) -> Response {
    if headers::is_own(&axum::http::Method::POST, &request_headers)
        && let Some(named) = cookie(&request_headers)
    {
        page.sessions.end(&named);
    }
    let is_behind_tls = headers::is_behind_tls(&request_headers);
    with_cookie(Redirect::to("/login").into_response(), "", 0, is_behind_tls)
}

fn show(page: &Page, status: StatusCode, next: &str, problem: Option<String>) -> Response {
    if let Some(problem) = &problem
        && let Some(count) = page.core.quiet.login.pass(page.core.now())
    {
        let request = caller::request_id();
        tracing::info!(problem, count, request, "not logged in to the page; told at most once a minute");
    }
    let is_local = page.core.config.http.ip().is_loopback();
    let next = inside(next).to_owned();
    html(status, &LoginPage { frame: Frame::outside(), next, problem, is_local })
}

/// A path of this server, and no other's: `//elsewhere` would be one.
fn inside(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && is_plain && next.len() <= NEXT_BYTES_MAX { next } else { "/fleet" }
}

fn with_cookie(mut response: Response, value: &str, seconds: u64, is_behind_tls: bool) -> Response {
    let secure = if is_behind_tls { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
        name_of(is_behind_tls)
    );
    if let Ok(mut line) = HeaderValue::from_str(&text) {
        line.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, line);
    }
    response
}

const WRONG: &str = "This token is not the right one.";
const NOT_OURS: &str = "This form did not come from a page of this server. Reload this page and try again. Behind a proxy: \
     let it pass the Host header on.";

/// As long as the name that an order in the ledger takes.
const WHO_BYTES_MAX: usize = 128;

/// A path of a page with its cursor.
const NEXT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::access::Tokens;
    use crate::testing;

    async fn answer(page: &Arc<Page>, token: &str) -> StatusCode {
        let text = |text| HeaderValue::from_static(text);
        let headers = [
            (header::HOST, text("fleet.example")),
            (header::ORIGIN, text("https://fleet.example")),
            (header::HeaderName::from_static("x-forwarded-proto"), text("https")),
        ];
        let from = Some(Extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000)))));
        let login = Login {
            token: Zeroizing::new(token.to_owned()),
            who: "kim".to_owned(),
            next: "/fleet".to_owned(),
        };
        enter(State(Arc::clone(page)), from, headers.into_iter().collect(), Form(login)).await.status()
    }

    // Behind a proxy all have one address: whoever knew no token could keep everybody out.
    #[tokio::test]
    async fn right_token_is_taken_at_once_however_many_wrong_ones_came_from_its_address() {
        let (core, _folder) = testing::core().await;
        let token = |text: &str| Zeroizing::new(text.to_owned());
        let page = Page::new(core, Arc::new(Tokens::new(token("operate"), token("watch"))));
        for n in 0..200 {
            assert_eq!(answer(&page, "wrong").await, StatusCode::UNAUTHORIZED, "{n}");
        }
        for right in ["operate", "watch"] {
            assert_eq!(answer(&page, right).await, StatusCode::SEE_OTHER, "{right}");
        }
        assert_eq!(page.core.quiet.login.pass(page.core.now()), None, "the log has one line of it");
    }

    #[test]
    fn nobody_is_sent_elsewhere_after_the_login() {
        assert_eq!(inside("/campaigns/3?after=a%2Fb"), "/campaigns/3?after=a%2Fb");
        for other in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "fleet", "/a b", "/a\r\nx: y"]
        {
            assert_eq!(inside(other), "/fleet", "{other:?}");
        }
    }
}
