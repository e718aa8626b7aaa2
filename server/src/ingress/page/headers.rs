//! What every answer of the page says to the browser: what it may load, who may frame it, and what it must not keep.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

/// Sets the headers that keep other sites, and whatever a device calls itself, from doing anything here.
pub(super) async fn strict(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in STRICT {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is for all, an asset, has said so.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Tells whether a request that changes something comes from a page of this server: the browser says from which site.
pub(super) fn is_own(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let origin = text("origin").and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
    let hosts = [text("host"), text("x-forwarded-host")];
    authority.is_some_and(|from| hosts.iter().flatten().any(|host| host.eq_ignore_ascii_case(from)))
}

/// Tells whether there is TLS before this server, as the proxy that ends it says.
pub(super) fn is_behind_tls(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
        || text("forwarded").is_some_and(|line| line.to_ascii_lowercase().contains("proto=https"))
}

const STRICT: [(header::HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Scripts and styles from here and from files alone: what a device calls itself can't be either.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        is_own(&Method::POST, &headers)
    }

    #[test]
    fn form_of_another_site_or_of_nobody_is_not_ours() {
        let host = ("host", "fleet.example:8080");
        assert!(own(&[host, ("origin", "http://fleet.example:8080")]));
        assert!(own(&[host, ("origin", "https://FLEET.example:8080"), ("sec-fetch-site", "same-origin")]));
        assert!(own(&[
            ("host", "10.0.0.1"),
            ("x-forwarded-host", "fleet.example"),
            ("origin", "https://fleet.example")
        ]));
        for other in [
            "http://evil.example",
            "http://fleet.example",
            "null",
            "",
            "http://fleet.example:8080.evil.example",
        ] {
            assert!(!own(&[host, ("origin", other)]), "{other}");
        }
        assert!(!own(&[host]) && !own(&[("origin", "http://fleet.example:8080")]));
        assert!(!own(&[host, ("origin", "http://fleet.example:8080"), ("sec-fetch-site", "same-site")]));
        assert!(is_own(&Method::GET, &HeaderMap::new()));
    }

    #[test]
    fn tls_is_believed_where_the_proxy_says_so() {
        let says = |name, value: &'static str| {
            is_behind_tls(&[(name, HeaderValue::from_static(value))].into_iter().collect())
        };
        let forwarded = header::HeaderName::from_static("forwarded");
        let proto = header::HeaderName::from_static("x-forwarded-proto");
        assert!(says(proto.clone(), "https") && says(forwarded.clone(), "for=192.0.2.1;Proto=HTTPS"));
        assert!(
            !says(proto, "http") && !says(forwarded, "for=192.0.2.1") && !is_behind_tls(&HeaderMap::new())
        );
    }
}
