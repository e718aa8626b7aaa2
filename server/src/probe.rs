//! Asks the server that works on a data folder whether it is well: `bellwether-server health`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_api::Readiness;
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

/// Why nobody said whether the server is well.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No server says where it listens.
    #[error("{} can't be read: no server is at work there, or it has not come that far", .0.display())]
    NotListening(PathBuf, #[source] std::io::Error),
    /// What it left there is not read.
    #[error("{} does not say where a server listens", .0.display())]
    Malformed(PathBuf),
    /// The token can't be read.
    #[error(transparent)]
    Token(#[from] SecretFileError),
    /// The server that listened there does not answer.
    #[error("{address} does not answer: {source}")]
    Silent {
        /// Where it listened.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Something else answers there.
    #[error("{0} answers, but not as this server does")]
    Foreign(SocketAddr),
}

#[derive(Deserialize)]
struct Listening {
    http: SocketAddr,
}

/// Asks over HTTP; where the server wants its token for that, with the token of the data folder.
///
/// # Errors
///
/// [`ProbeError`] where there is no answer; a server that is not well is one.
pub fn ask(data: &Path) -> Result<Readiness, ProbeError> {
    let file = data.join("listening.json");
    let text = std::fs::read(&file).map_err(|source| ProbeError::NotListening(file.clone(), source))?;
    let Listening { http } = serde_json::from_slice(&text).map_err(|_| ProbeError::Malformed(file))?;
    let address = near(http);
    // On loopback nobody is asked for it. The server may be gone, and another user's program have its port: that would be
    // given what commands the fleet.
    let token = if http.ip().is_loopback() { None } else { secret_file::read(&data.join("http.token"))? };
    let answer = exchange(address, token.as_ref().map(|token| token.as_str()))
        .map_err(|source| ProbeError::Silent { address, source })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|_| ProbeError::Foreign(address))
}

/// What this machine calls to reach a server that listens on all addresses.
fn near(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(at) if at.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        SocketAddr::V6(at) if at.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        at => at,
    }
}

fn exchange(address: SocketAddr, token: Option<&str>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let login =
        Zeroizing::new(token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n")));
    let request = Zeroizing::new(format!("GET /health/ready HTTP/1.0\r\nHost: {address}\r\n{}\r\n", &*login));
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Longer than the server waits for its own check of the disk where that is busy; what asks every half minute does not
/// wait longer either.
const WAIT: Duration = Duration::from_secs(5);
/// Five checks of a line each; what is longer is no answer of ours.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_on_all_addresses_is_asked_on_loopback() {
        let near = |text: &str| near(text.parse().expect("an address")).to_string();
        assert_eq!(near("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(near("[::]:8080"), "[::1]:8080");
        assert_eq!(near("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn whoever_has_the_port_of_a_server_that_is_gone_does_not_get_its_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let thief = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = thief.local_addr().expect("bound");
        let listening = format!("{{\"http\":\"{address}\"}}");
        std::fs::write(folder.path().join("listening.json"), listening).expect("written");
        let token = folder.path().join("http.token");
        std::fs::write(&token, "ab".repeat(32)).expect("written");
        let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&token, mine).expect("set");
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = thief.accept().expect("asked");
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                heard.extend(byte);
            }
            String::from_utf8(heard).expect("text")
        });
        assert!(matches!(ask(folder.path()), Err(ProbeError::Foreign(at)) if at == address));
        let heard = heard.join().expect("heard");
        assert!(heard.starts_with("GET /health/ready") && !heard.contains("abab"), "{heard}");
    }

    #[test]
    fn folder_without_a_server_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = ask(folder.path()).expect_err("no server");
        assert!(error.to_string().contains("listening.json"), "{error}");
    }
}
