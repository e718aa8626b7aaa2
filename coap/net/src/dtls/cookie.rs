//! Stateless cookies: a client shows that it receives at its address before anything is kept for it.

use std::net::{IpAddr, SocketAddr};

use bellwether_coap::Instant;
use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::record::{COOKIE_BYTES, ClientHello};

/// Makes and checks cookies bound to the peer's address and to the parameters of its `ClientHello`.
///
/// A cookie is good for one to two periods of [`PERIOD_S`], so the secret need not rotate.
///
/// Source: RFC 6347 §4.2.1.
pub(crate) struct Cookies {
    keyed: Hmac<Sha256>,
}

impl Cookies {
    /// Takes a secret as long as the block of SHA-256, drawn afresh for each engine.
    pub(crate) fn new(secret: [u8; SECRET_BYTES]) -> Self {
        Self { keyed: Hmac::new(&Key::<Hmac<Sha256>>::from(secret)) }
    }

    /// Makes the cookie that `from` must repeat.
    pub(crate) fn make(&self, from: SocketAddr, hello: &ClientHello<'_>, now: Instant) -> [u8; COOKIE_BYTES] {
        self.of_period(from, hello, period(now))
    }

    /// Tells whether `hello` repeats a cookie that was made for its sender lately.
    pub(crate) fn check(&self, from: SocketAddr, hello: &ClientHello<'_>, now: Instant) -> bool {
        let current = period(now);
        hello.cookie.len() == COOKIE_BYTES
            && [current, current.wrapping_sub(1)]
                .iter()
                .any(|&period| self.of_period(from, hello, period).ct_eq(hello.cookie).into())
    }

    fn of_period(&self, from: SocketAddr, hello: &ClientHello<'_>, period: u64) -> [u8; COOKIE_BYTES] {
        let mut mac = self.keyed.clone();
        mac.update(&period.to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&from.port().to_be_bytes());
        mac.update(hello.before_cookie);
        mac.update(hello.after_cookie);
        mac.finalize().into_bytes().into()
    }
}

fn period(now: Instant) -> u64 {
    now.0.as_secs() / PERIOD_S
}

/// Long enough for a round trip over the slowest link we serve, short enough to spoil a hoard of cookies.
const PERIOD_S: u64 = 60;

pub(crate) const SECRET_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::record::{client_hello, hello_verify_request, records};
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    /// A `ClientHello` with this random byte and cookie.
    fn hello(random: u8, cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend_from_slice(&[random; 32]);
        body.extend_from_slice(&[0, u8::try_from(cookie.len()).unwrap()]);
        body.extend_from_slice(cookie);
        body.extend_from_slice(&[0, 2, 0xc0, 0xa8, 1, 0]);
        let length = u8::try_from(body.len()).unwrap();
        let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, length + 12];
        datagram.extend_from_slice(&[1, 0, 0, length, 0, 1, 0, 0, 0, 0, 0, length]);
        datagram.extend_from_slice(&body);
        datagram
    }

    fn checks(cookies: &Cookies, from: &str, datagram: &[u8], now: Instant) -> bool {
        let record = records(datagram).next().unwrap().unwrap();
        let hello = client_hello(&record).unwrap().unwrap();
        cookies.check(from.parse().unwrap(), &hello, now)
    }

    fn cookie_for(cookies: &Cookies, from: &str, random: u8, now: Instant) -> Vec<u8> {
        let datagram = hello(random, b"");
        let record = records(&datagram).next().unwrap().unwrap();
        let first = client_hello(&record).unwrap().unwrap();
        let cookie = cookies.make(from.parse().unwrap(), &first, now);
        assert!(hello_verify_request(&first, &cookie).ends_with(&cookie));
        cookie.to_vec()
    }

    #[test]
    fn cookie_is_good_only_for_its_address_and_its_hello() {
        let cookies = Cookies::new([3; SECRET_BYTES]);
        let cookie = cookie_for(&cookies, "192.0.2.1:5684", 7, at(0));
        assert!(checks(&cookies, "192.0.2.1:5684", &hello(7, &cookie), at(1)));
        assert!(!checks(&cookies, "192.0.2.1:5685", &hello(7, &cookie), at(1)));
        assert!(!checks(&cookies, "192.0.2.2:5684", &hello(7, &cookie), at(1)));
        assert!(!checks(&cookies, "192.0.2.1:5684", &hello(8, &cookie), at(1)));
        assert!(!checks(&cookies, "192.0.2.1:5684", &hello(7, b""), at(1)));
    }

    #[test]
    fn cookie_expires_after_two_periods() {
        let cookies = Cookies::new([3; SECRET_BYTES]);
        let cookie = cookie_for(&cookies, "192.0.2.1:5684", 7, at(0));
        assert!(checks(&cookies, "192.0.2.1:5684", &hello(7, &cookie), at(2 * PERIOD_S - 1)));
        assert!(!checks(&cookies, "192.0.2.1:5684", &hello(7, &cookie), at(2 * PERIOD_S)));
    }

    #[test]
    fn cookie_of_another_secret_is_refused() {
        let cookie = cookie_for(&Cookies::new([3; SECRET_BYTES]), "192.0.2.1:5684", 7, at(0));
        let other = Cookies::new([4; SECRET_BYTES]);
        assert!(!checks(&other, "192.0.2.1:5684", &hello(7, &cookie), at(0)));
    }
}
