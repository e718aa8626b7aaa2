//! Who may do what over HTTP: two tokens, one for those who operate the fleet and one for those who only watch it.

use axum::extract::Request;
use axum::http::Method;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::commands::dispatch::Verb;

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Right {
    /// Looks, and changes nothing.
    Watch,
    /// Does whatever can be done.
    Operate,
}

/// The tokens that the interface and the page take.
pub struct Tokens {
    operate: Zeroizing<String>,
    watch: Zeroizing<String>,
}

impl Tokens {
    /// Takes the texts of the tokens.
    #[must_use]
    pub fn new(operate: Zeroizing<String>, watch: Zeroizing<String>) -> Self {
        Self { operate, watch }
    }

    /// Tells whether somebody could guess a token by trying, which nothing slows down. The ones that the server draws have
    /// 64 letters.
    #[must_use]
    pub fn is_guessable(token: &str) -> bool {
        token.len() < TOKEN_BYTES_MIN
    }

    /// Tells what the bearer of a token may do; `None` for one that is none of ours. How long it takes tells nothing.
    #[must_use]
    pub fn right(&self, given: &[u8]) -> Option<Right> {
        let is = |token: &str| !token.is_empty() & bool::from(given.ct_eq(token.as_bytes()));
        let (operate, watch) = (is(&self.operate), is(&self.watch));
        match (operate, watch) {
            (true, _) => Some(Right::Operate),
            (_, true) => Some(Right::Watch),
            _ => None,
        }
    }
}

impl Right {
    /// Tells whether a request to the interface may be carried out with it.
    pub(super) fn allows(self, request: &Request) -> bool {
        self == Self::Operate || is_question(request.method(), request.uri().path())
    }
}

/// Tells whether a request changes nothing and shows no secret: what is only read, and the verbs that are questions.
fn is_question(method: &Method, path: &str) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return !shows_secrets(path);
    }
    let verb = path.strip_prefix("/v1/commands/").and_then(|verb| verb.split_once('/'));
    verb.and_then(|(noun, name)| Verb::find(noun, name)).is_some_and(|verb| !verb.is_change)
}

/// Tells whether what is read holds keys of devices: the unit files of an import. Who has one is that device.
fn shows_secrets(path: &str) -> bool {
    path.strip_prefix("/v1/imports/").is_some_and(|of_import| of_import.ends_with("/units"))
}

/// Bytes of a token that somebody chose: 128 random bits in the letters of base64, which nobody goes through at any speed.
pub const TOKEN_BYTES_MIN: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_that_has_not_the_room_for_128_random_bits_is_guessable() {
        assert!(Tokens::is_guessable("") && Tokens::is_guessable(&"x".repeat(21)));
        assert!(!Tokens::is_guessable(&"x".repeat(22)) && !Tokens::is_guessable(&"0".repeat(64)));
    }

    fn tokens() -> Tokens {
        Tokens::new(Zeroizing::new("operate".to_owned()), Zeroizing::new("watch".to_owned()))
    }

    #[test]
    fn each_token_has_its_right_and_nothing_else_has_any() {
        assert_eq!(tokens().right(b"operate"), Some(Right::Operate));
        assert_eq!(tokens().right(b"watch"), Some(Right::Watch));
        for other in ["", "operat", "operatE", "watchwatch", "operate\n"] {
            assert_eq!(tokens().right(other.as_bytes()), None, "{other:?}");
        }
        let empty = Tokens::new(Zeroizing::new(String::new()), Zeroizing::new(String::new()));
        assert_eq!(empty.right(b""), None);
    }

    #[test]
    fn who_only_watches_may_ask_but_change_nothing() {
        let asked = |method, path: &str| is_question(&method, path);
        assert!(asked(Method::GET, "/v1/devices"));
        assert!(asked(Method::POST, "/v1/commands/devices/list"));
        assert!(asked(Method::POST, "/v1/commands/campaigns/explain"));
        for path in
            ["/v1/devices", "/v1/commands/campaigns/pause", "/v1/commands/x/y", "/v1/commands/campaigns"]
        {
            assert!(!asked(Method::POST, path), "{path}");
        }
        for secret in ["/v1/imports/i-1/units", "/v1/imports/a%2Fb/units"] {
            assert!(!asked(Method::GET, secret) && !asked(Method::HEAD, secret), "{secret}");
        }
        assert!(asked(Method::GET, "/v1/imports/units") && asked(Method::GET, "/v1/imports/i-1"));
        assert!(!asked(Method::DELETE, "/v1/gateways/g") && !asked(Method::PUT, "/v1/anchors"));
    }
}
