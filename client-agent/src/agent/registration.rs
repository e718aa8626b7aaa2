//! Register, update, de-register.
//!
//! Source: OMA LwM2M Core 1.1, §6.2.

use super::tree::REGISTERED_OBJECTS;
use alloc::string::String;
use alloc::vec::Vec;
use bellwether_coap::{Method, Request, Response};
use core::time::Duration;
use lwm2m_rs::{ContentFormat, digits};

/// Asks for a registration.
pub(crate) fn register(endpoint: &str, lifetime_s: u32) -> Request {
    Request::new(Method::Post, "/rd")
        .with_query(&(String::from("ep=") + endpoint))
        .with_query(&lifetime(lifetime_s))
        .with_query("lwm2m=1.1")
        .with_query("b=U")
        .with_payload(ContentFormat::LINK_FORMAT.0, REGISTERED_OBJECTS.as_bytes().to_vec())
}

/// Keeps a registration; `lifetime_s` only where it changed.
pub(crate) fn update(location: &[String], lifetime_s: Option<u32>) -> Request {
    let request = at(Method::Post, location);
    match lifetime_s {
        Some(lifetime_s) => request.with_query(&lifetime(lifetime_s)),
        None => request,
    }
}

/// Ends a registration.
pub(crate) fn deregister(location: &[String]) -> Request {
    at(Method::Delete, location)
}

/// Gives where the registration is, if the server made one.
pub(crate) fn location(response: Response) -> Option<Vec<String>> {
    (response.code.is_success() && !response.location_path.is_empty()).then_some(response.location_path)
}

/// Gives when to update: a whole exchange with its retransmissions before the end, or half of a short lifetime.
pub(crate) fn update_after(lifetime_s: u32) -> Duration {
    let lifetime = Duration::from_secs(u64::from(lifetime_s));
    lifetime.checked_sub(MAX_TRANSMIT_WAIT).filter(|wait| *wait >= MAX_TRANSMIT_WAIT).unwrap_or(lifetime / 2)
}

fn lifetime(seconds: u32) -> String {
    String::from("lt=") + &digits::text_of(seconds.into())
}

fn at(method: Method, location: &[String]) -> Request {
    let mut request = Request::new(method, "");
    request.path = location.to_vec();
    request
}

/// RFC 7252 §4.8.2.
const MAX_TRANSMIT_WAIT: Duration = Duration::from_secs(93);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn update_comes_a_whole_exchange_before_the_end_or_at_half_of_a_short_lifetime() {
        assert_eq!(update_after(300), Duration::from_secs(207));
        assert_eq!(update_after(60), Duration::from_secs(30));
    }

    #[test]
    fn registration_names_endpoint_lifetime_version_and_binding() {
        let request = register("lamp-1", 300);
        assert_eq!(request.path, ["rd"]);
        assert_eq!(request.query, ["ep=lamp-1", "lt=300", "lwm2m=1.1", "b=U"]);
    }

    #[test]
    fn update_goes_to_the_location_and_names_only_a_changed_lifetime() {
        let location = ["rd".into(), "x y".into()];
        assert_eq!(update(&location, None).path, location);
        assert_eq!(update(&location, Some(60)).query, ["lt=60"]);
    }
}
