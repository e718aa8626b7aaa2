//! Where the server or the gateway is: a `coaps` URI of the unit file.

use std::io;
use std::net::SocketAddr;
use thiserror::Error;

/// Why a URI leads nowhere.
#[derive(Debug, Error)]
pub(crate) enum ServerError {
    /// Have the device added anew with a right URI.
    #[error("{0:?} is not coaps://HOST or coaps://HOST:PORT")]
    Uri(String),
    /// Check the name service.
    #[error("{host} has no address")]
    Resolve {
        /// Host and port.
        host: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Checks that a URI can be read, before the name service is asked.
///
/// # Errors
///
/// [`ServerError::Uri`].
pub(crate) fn check(uri: &str) -> Result<(), ServerError> {
    host_and_port(uri).map(drop).ok_or_else(|| ServerError::Uri(uri.to_owned()))
}

/// Finds the address of a server or gateway.
///
/// # Errors
///
/// [`ServerError`].
pub(crate) async fn resolve(uri: &str) -> Result<SocketAddr, ServerError> {
    let host = host_and_port(uri).ok_or_else(|| ServerError::Uri(uri.to_owned()))?;
    let failed = |source| ServerError::Resolve { host: host.clone(), source };
    let mut addresses = tokio::net::lookup_host(&host).await.map_err(failed)?;
    addresses.next().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))
}

/// Gives the address to bind for talking to `server`.
#[must_use]
pub(crate) fn local_for(server: SocketAddr) -> SocketAddr {
    let any = if server.is_ipv4() { "0.0.0.0".parse() } else { "::".parse() };
    SocketAddr::new(any.unwrap_or(server.ip()), 0)
}

/// Reads `HOST:PORT` of a URI; without a port it is the one of CoAP over DTLS.
fn host_and_port(uri: &str) -> Option<String> {
    let authority = uri.strip_prefix("coaps://")?.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return None;
    }
    let after_host = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    Some(if after_host.contains(':') { authority.to_owned() } else { format!("{authority}:{COAPS_PORT}") })
}

/// RFC 7252 §6.2.
const COAPS_PORT: u16 = 5684;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_the_one_of_the_uri_or_of_coaps() {
        let read = |uri| host_and_port(uri).unwrap();
        assert_eq!(read("coaps://127.0.0.1:15684"), "127.0.0.1:15684");
        assert_eq!(read("coaps://server.example/"), "server.example:5684");
        assert_eq!(read("coaps://[::1]"), "[::1]:5684");
        assert_eq!(read("coaps://[::1]:7"), "[::1]:7");
    }

    #[test]
    fn uri_with_a_path_or_another_scheme_is_refused() {
        for uri in ["coap://a", "coaps://", "coaps://a/b", "coaps://a@b", "a:5684"] {
            assert_eq!(host_and_port(uri), None, "{uri}");
        }
    }

    #[tokio::test]
    async fn numeric_address_needs_no_name_service() {
        let address = resolve("coaps://[::1]:9").await.unwrap();
        assert_eq!(address, "[::1]:9".parse().unwrap());
        assert!(local_for(address).is_ipv6());
    }
}
