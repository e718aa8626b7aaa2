//! Somebody between devices and server who holds every device's DTLS key, and alters, drops or swaps what passes.
//!
//! DTLS keys are not the keys of updates: an edge holds them and must not be able to do harm with them. Before a
//! gateway, with the keys of the links between it and its devices, it is a gateway that lies.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwether_net::coap::{Code, ExchangeId, Method, Request, Response};
use bellwether_net::{
    Event, NoService, PskTable, Secret, Security, SessionId, Shard, ShardConfig, ShardHandle,
};
use tokio::sync::mpsc::Receiver;

use crate::wait;

/// The one in between.
pub struct Meddler {
    inner: Arc<Inner>,
}

/// What a message is about, as its path tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Matter {
    /// Registration and its updates.
    Registration,
    /// A device's word to its gateway that it is there.
    Hello,
    /// An update request; its response is the answer.
    Question,
    /// A report; its response is the receipt.
    Report,
    /// Frame of this number.
    Frame(u32),
    /// A manifest that the server pushes.
    Manifest,
    /// The server's Execute.
    Execute,
    /// Anything else.
    Other,
}

/// Which half of an exchange passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Half {
    /// From who asks.
    Request,
    /// Back to it.
    Response,
}

/// A message that passes.
pub struct Passing<'a> {
    /// The device that it comes from or goes to.
    pub device: &'a str,
    /// What it is about.
    pub matter: Matter,
    /// Which half.
    pub half: Half,
    /// Its body, which may be altered.
    pub body: &'a mut Vec<u8>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It goes on, as altered.
    Pass,
    /// It goes no further; who asked gets 5.04.
    Lose,
    /// It goes on, as altered, after this time.
    Late(Duration),
}

type Rule = Box<dyn FnMut(Passing<'_>) -> Fate + Send>;

struct Inner {
    front: ShardHandle,
    keys: Arc<PskTable>,
    secrets: Mutex<HashMap<String, Vec<u8>>>,
    server: Mutex<Option<SocketAddr>>,
    rule: Mutex<Rule>,
    passed: Mutex<Vec<(String, Matter, Half)>>,
    /// By device: its newest session here, and its session with the server.
    sessions: Mutex<HashMap<String, SessionId>>,
    lines: tokio::sync::Mutex<HashMap<String, (ShardHandle, SessionId)>>,
}

impl Meddler {
    /// Opens a port for devices; everything passes as it is.
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    pub fn open() -> Self {
        let keys = Arc::<PskTable>::default();
        let security = Security::PskServer(Arc::clone(&keys) as _);
        let (front, events) = Shard::spawn(config(security), Box::new(NoService)).expect("a free port");
        let inner = Arc::new(Inner {
            front,
            keys,
            secrets: Mutex::default(),
            server: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            passed: Mutex::default(),
            sessions: Mutex::default(),
            lines: tokio::sync::Mutex::default(),
        });
        wait::beside(from_devices(Arc::clone(&inner), events));
        Self { inner }
    }

    /// What devices are to be told to call.
    pub fn uri(&self) -> String {
        format!("coaps://{}", self.inner.front.local_addr())
    }

    /// Says where the server is.
    ///
    /// # Panics
    ///
    /// Where the one in between died.
    pub fn stand_before(&self, server: SocketAddr) {
        *self.inner.server.lock().expect("alive") = Some(server);
    }

    /// Takes a device's DTLS key.
    ///
    /// # Panics
    ///
    /// Where it is none.
    pub fn admit(&self, device: &str, psk: Vec<u8>) {
        self.inner.keys.insert(device, Secret::new(psk.clone()).expect("a key"));
        self.inner.secrets.lock().expect("alive").insert(device.to_owned(), psk);
    }

    /// From now on, asks this about every message.
    ///
    /// # Panics
    ///
    /// Where the one in between died.
    pub fn rule(&self, rule: impl FnMut(Passing<'_>) -> Fate + Send + 'static) {
        *self.inner.rule.lock().expect("alive") = Box::new(rule);
    }

    /// Counts what came by of a device until now, lost ones included.
    ///
    /// # Panics
    ///
    /// Where the one in between died.
    pub fn count(&self, device: &str, matter: Matter, half: Half) -> usize {
        let passed = self.inner.passed.lock().expect("alive");
        passed.iter().filter(|one| (one.0.as_str(), one.1, one.2) == (device, matter, half)).count()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.inner.front.stop();
    }
}

impl Inner {
    fn ask(&self, device: &str, matter: Matter, half: Half, body: &mut Vec<u8>) -> Fate {
        self.passed.lock().expect("alive").push((device.to_owned(), matter, half));
        let mut rule = self.rule.lock().expect("alive");
        rule(Passing { device, matter, half, body })
    }

    /// The device's session with the server, made at its first message; `None` while the server takes none.
    async fn line(self: &Arc<Self>, device: &str) -> Option<(ShardHandle, SessionId)> {
        let mut lines = self.lines.lock().await;
        if let Some(line) = lines.get(device) {
            return Some(line.clone());
        }
        let psk = self.secrets.lock().expect("alive").get(device).cloned().expect("an admitted device");
        let server = self.server.lock().expect("alive").expect("a server behind");
        let key = Secret::new(psk).expect("a key");
        let security = Security::PskClient { identity: device.as_bytes().to_vec(), key };
        let (shard, events) = Shard::spawn(config(security), Box::new(NoService)).expect("a free port");
        let session = shard.connect(server).await.ok()?.session;
        tokio::spawn(from_server(Arc::clone(self), device.to_owned(), shard.clone(), events));
        lines.insert(device.to_owned(), (shard.clone(), session));
        Some((shard, session))
    }

    async fn carry(
        &self,
        device: &str,
        mut request: Request,
        to: &ShardHandle,
        session: SessionId,
    ) -> Response {
        let lost = Response::new(Code::GATEWAY_TIMEOUT);
        let matter = matter(&request);
        match self.ask(device, matter, Half::Request, &mut request.payload) {
            Fate::Pass => {}
            Fate::Late(time) => tokio::time::sleep(time).await,
            Fate::Lose => return lost,
        }
        // Hop-by-hop options are none of the other side's.
        request.other.clear();
        let Ok(mut response) = to.request(session, request).await else {
            // A peer that was killed knows the session no more; the next message makes another one.
            self.lines.lock().await.remove(device);
            return lost;
        };
        match self.ask(device, matter, Half::Response, &mut response.payload) {
            Fate::Pass => {}
            Fate::Late(time) => tokio::time::sleep(time).await,
            Fate::Lose => return lost,
        }
        response
    }
}

async fn from_devices(inner: Arc<Inner>, mut events: Receiver<Event>) {
    while let Some(event) = events.recv().await {
        let Event::Request { exchange, peer, request } = event else {
            continue;
        };
        let device = peer.identity.as_deref().expect("a device with a name").to_owned();
        inner.sessions.lock().expect("alive").insert(device.clone(), peer.session);
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let response = match inner.line(&device).await {
                Some((shard, session)) => inner.carry(&device, request, &shard, session).await,
                None => Response::new(Code::GATEWAY_TIMEOUT),
            };
            inner.front.respond(exchange, response);
        });
    }
}

async fn from_server(inner: Arc<Inner>, device: String, shard: ShardHandle, mut events: Receiver<Event>) {
    while let Some(event) = events.recv().await {
        if let Event::Request { exchange, request, .. } = event {
            let (inner, device, shard) = (Arc::clone(&inner), device.clone(), shard.clone());
            tokio::spawn(async move { to_device(&inner, &device, exchange, request, &shard).await });
        }
    }
}

async fn to_device(inner: &Inner, device: &str, exchange: ExchangeId, request: Request, shard: &ShardHandle) {
    let session = inner.sessions.lock().expect("alive").get(device).copied();
    let session = session.expect("a device that registered");
    let response = inner.carry(device, request, &inner.front, session).await;
    shard.respond(exchange, response);
}

fn matter(request: &Request) -> Matter {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method, path.as_slice()) {
        (_, ["rd", ..]) => Matter::Registration,
        (Method::Post, ["h"]) => Matter::Hello,
        (Method::Post, ["u"]) => Matter::Question,
        (Method::Post, ["u", "r"]) => Matter::Report,
        (Method::Get, ["f", _]) => Matter::Frame(request.block2.map_or(0, |block| block.number)),
        (Method::Put, ["5", "0", "0"]) => Matter::Manifest,
        (Method::Post, ["5", "0", "2"]) => Matter::Execute,
        _ => Matter::Other,
    }
}

fn config(security: Security) -> ShardConfig {
    let mut config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), security);
    config.coap.transmission.ack_timeout = Duration::from_millis(150);
    config.coap.transmission.processing_delay = Duration::from_millis(75);
    config
}
