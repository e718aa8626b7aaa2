//! The way up: one session with the server, over which everything goes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_manifests::message::Digest;
use bellwether_net::coap::{Method, RawOption, Request, Response, number};
use bellwether_net::{SessionId, ShardHandle};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::{Notify, OnceCell, Semaphore, watch};

/// Asks the server, if it can be reached.
#[derive(Debug)]
pub struct Uplink {
    link: watch::Sender<Option<Link>>,
    /// A request was not answered in time: the session may be dead.
    suspect: Notify,
    /// Longest wait for an answer.
    wait: Duration,
    forwards: Semaphore,
    /// Forwarded messages on their way, by digest: equal ones share one answer.
    sharing: Mutex<HashMap<Digest, Arc<OnceCell<Forwarded>>>>,
    tags: AtomicU32,
}

/// The session with the server.
#[derive(Clone)]
pub struct Link {
    /// The socket.
    pub shard: ShardHandle,
    /// The session on it.
    pub session: SessionId,
}

/// Why the server did not answer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UplinkError {
    /// There is no session with it.
    #[error("there is no session with the server")]
    Away,
    /// It did not answer in time; whether it acted is unknown.
    #[error("the server did not answer in time")]
    Silent,
    /// Too much is on its way already.
    #[error("too many requests are on their way to the server")]
    Busy,
}

/// What came of a forwarded message.
pub type Forwarded = Result<Arc<Response>, UplinkError>;

impl Uplink {
    /// Starts without a session; an answer is waited for as long as `wait`.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self {
            link: watch::Sender::new(None),
            suspect: Notify::new(),
            wait,
            forwards: Semaphore::new(FORWARDS_MAX),
            sharing: Mutex::default(),
            tags: AtomicU32::new(0),
        }
    }

    /// Tells the session that stands now, or that none does.
    pub fn set(&self, link: Option<Link>) {
        self.link.send_replace(link);
    }

    /// Ends the session and tells the server. It waits for the socket's thread.
    pub fn close(&self) {
        if let Some(link) = self.link.send_replace(None) {
            link.shard.stop();
        }
    }

    /// Whether a session stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Follows whether a session stands.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Link>> {
        self.link.subscribe()
    }

    /// Seconds after which a device may ask again while the server does not answer: as long as it is waited for here.
    #[must_use]
    pub fn retry_s(&self) -> u32 {
        u32::try_from(self.wait.as_secs()).unwrap_or(u32::MAX).max(1)
    }

    /// Waits until a request was not answered.
    pub async fn suspected(&self) {
        self.suspect.notified().await;
    }

    /// Sends a request to the server.
    ///
    /// # Errors
    ///
    /// [`UplinkError`] if no answer came. An answer with an error code is no error.
    pub async fn ask(&self, request: Request) -> Result<Response, UplinkError> {
        self.ask_within(self.wait, request).await
    }

    /// Sends a request whose answer takes many blocks.
    ///
    /// # Errors
    ///
    /// [`UplinkError`] if no answer came.
    pub async fn ask_at_length(&self, request: Request) -> Result<Response, UplinkError> {
        self.ask_within(self.wait.saturating_mul(LONG_ANSWER), request).await
    }

    async fn ask_within(&self, wait: Duration, request: Request) -> Result<Response, UplinkError> {
        let link = self.link.borrow().clone().ok_or(UplinkError::Away)?;
        match tokio::time::timeout(wait, link.shard.request(link.session, request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(bellwether_net::RequestError::NotTaken(_))) => Err(UplinkError::Busy),
            Ok(Err(_)) | Err(_) => {
                self.suspect.notify_one();
                Err(UplinkError::Silent)
            }
        }
    }

    /// Sends a child's message on as it came. Equal messages that are on their way at the same time are sent once.
    ///
    /// # Errors
    ///
    /// [`UplinkError`] if no answer came.
    pub async fn forward(&self, request: &Request) -> Forwarded {
        if !self.is_up() {
            return Err(UplinkError::Away);
        }
        let digest = digest_of(request);
        let cell = {
            let mut sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sharing.entry(digest).or_default())
        };
        let outcome = cell.get_or_init(|| self.forward_alone(request)).await.clone();
        let mut sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
        if sharing.get(&digest).is_some_and(|shared| Arc::ptr_eq(shared, &cell)) {
            sharing.remove(&digest);
        }
        outcome
    }

    async fn forward_alone(&self, request: &Request) -> Forwarded {
        let patience = self.wait;
        let permit = tokio::time::timeout(patience, self.forwards.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(UplinkError::Busy);
        };
        let tag = self.tags.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
        let forwarded = Request {
            path: request.path.clone(),
            query: request.query.clone(),
            content_format: request.content_format,
            accept: request.accept,
            payload: request.payload.clone(),
            // RFC 9175 §3.3: keeps the blocks of several children's messages to one resource apart.
            other: vec![RawOption { number: number::REQUEST_TAG, value: tag }],
            ..Request::new(Method::Post, "")
        };
        self.ask(forwarded).await.map(Arc::new)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("session", &self.session).finish_non_exhaustive()
    }
}

fn digest_of(request: &Request) -> Digest {
    let mut digest = Sha256::new();
    for text in request.path.iter().chain(["?".to_owned()].iter()).chain(&request.query) {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.update(request.content_format.unwrap_or_default().to_be_bytes());
    digest.update(&request.payload);
    digest.finalize().into()
}

/// Finds the address of a server.
///
/// # Errors
///
/// If the URI is none of `coaps`, or its host has no address.
pub async fn resolve(uri: &str) -> io::Result<SocketAddr> {
    let host = host_and_port(uri).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{uri:?} is not coaps://HOST:PORT"))
    })?;
    let mut addresses = tokio::net::lookup_host(&host).await?;
    addresses.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Gives the address to bind for talking to `server`.
#[must_use]
pub fn local_for(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
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

/// Waits for one answer in a long one: a list of a thousand devices takes a hundred blocks.
const LONG_ANSWER: u32 = 16;

/// RFC 7252 §6.2.
const COAPS_PORT: u16 = 5684;

/// Forwarded messages on their way at the same time. The server holds bodies of four per session; one is left for the
/// list of children.
const FORWARDS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_the_one_of_the_uri_or_of_coaps() {
        let read = |uri| host_and_port(uri).unwrap();
        assert_eq!(read("coaps://127.0.0.1:15684"), "127.0.0.1:15684");
        assert_eq!(read("coaps://server.example/"), "server.example:5684");
        assert_eq!(read("coaps://[::1]"), "[::1]:5684");
        assert_eq!(host_and_port("coap://a"), None);
        assert_eq!(host_and_port("coaps://a/b"), None);
    }

    #[test]
    fn messages_are_equal_only_with_path_query_format_and_body() {
        let request = Request::new(Method::Post, "/u/r").with_payload(65_100, vec![1, 2]);
        let digest = digest_of(&request);
        assert_eq!(digest, digest_of(&request.clone()));
        for other in [
            Request { path: vec!["u".into()], query: vec!["r".into()], ..request.clone() },
            Request { payload: vec![1, 3], ..request.clone() },
            Request { content_format: Some(65_103), ..request.clone() },
        ] {
            assert_ne!(digest, digest_of(&other));
        }
    }
}
