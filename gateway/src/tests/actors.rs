//! A server and devices, played over real DTLS on the loopback.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bellwether_manifests::link::{Child, Children, GatewayUnit};
use bellwether_manifests::message::{Digest, List, Moment, Report, UpdateRequest, content_format, peek};
use bellwether_net::coap::{Block, BlockSize, Code, Method, Request, Response};
use bellwether_net::{
    DtlsConfig, Event, NoService, PskTable, Secret, Security, SessionId, Shard, ShardConfig, ShardHandle,
    ThisMachine,
};
use clap::Parser;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::frames::asked_root;
use crate::shell::{self, Running};
use crate::testing::{self, GRANT, World};

const NAME: &str = "gw-1";
const GATEWAY_KEY: [u8; 32] = [0x11; 32];
pub(super) const CHILD_KEY: [u8; 32] = [0x22; 32];
const ACK_TIMEOUT_MS: u64 = 100;

/// What the server does and has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) children: Vec<String>,
    pub(super) session: Option<SessionId>,
    /// Frames by root.
    pub(super) bodies: HashMap<Digest, Vec<u8>>,
    /// Blocks that were asked for, with their root.
    pub(super) blocks: Vec<(Digest, u32)>,
    /// Answers with altered frames that are still to be given.
    pub(super) alter: u32,
    /// Requests as they came.
    pub(super) requests: Vec<Vec<u8>>,
    /// Reports as they came.
    pub(super) reports: Vec<Vec<u8>>,
    /// Batches of hints as they came.
    pub(super) hints: Vec<Vec<u8>>,
    /// What requests are answered with; without it, by a grant.
    pub(super) refuse: Option<Code>,
    /// Requests and reports are held back until a permit is given.
    pub(super) gate: Option<Arc<tokio::sync::Semaphore>>,
    /// Presences that were told, as queries.
    pub(super) presences: Vec<String>,
}

/// A server.
pub(super) struct Server {
    pub(super) shard: ShardHandle,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(super) fn start(children: &[&str]) -> Self {
        let seen =
            Seen { children: children.iter().map(|name| (*name).to_owned()).collect(), ..Seen::default() };
        Self::start_at("127.0.0.1:0".parse().unwrap(), Arc::new(Mutex::new(seen))).unwrap()
    }

    /// Comes back where it was, with what it knew. Where another test has got its port meanwhile, it waits for that.
    pub(super) async fn again(address: SocketAddr, seen: Arc<Mutex<Seen>>) -> Self {
        seen.lock().unwrap().session = None;
        let coming = async {
            loop {
                match Self::start_at(address, Arc::clone(&seen)) {
                    Ok(server) => return server,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{address}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, coming).await.unwrap()
    }

    fn start_at(address: SocketAddr, seen: Arc<Mutex<Seen>>) -> io::Result<Self> {
        let keys = PskTable::new();
        keys.insert(NAME, Secret::new(GATEWAY_KEY.to_vec()).unwrap());
        let mut config = ShardConfig::new(address, Security::PskServer(Arc::new(keys)));
        config.coap.transmission.ack_timeout = Duration::from_millis(ACK_TIMEOUT_MS);
        let (shard, events) = Shard::spawn(config, Box::new(NoService))?;
        tokio::spawn(serve(shard.clone(), events, Arc::clone(&seen)));
        Ok(Self { shard, seen })
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.shard.local_addr()
    }

    /// Gives the frames of a world under their root.
    pub(super) fn offer(&self, world: &World) {
        self.seen().bodies.insert(world.root(), world.chain().framed());
    }

    /// Sends the gateway something over its session.
    pub(super) async fn put(&self, path: &str, format: u16, body: &[u8]) -> Code {
        until("the gateway to come", || self.seen().session.is_some()).await;
        let session = self.seen().session.unwrap();
        let request = Request::new(Method::Put, path).with_payload(format, body.to_vec());
        self.shard.request(session, request).await.unwrap().code
    }

    pub(super) async fn put_bundle(&self, bundle: &[u8]) -> Code {
        self.put("/b", content_format::BUNDLE, bundle).await
    }

    /// Blocks that were asked for more than once.
    pub(super) fn asked_twice(&self) -> usize {
        let seen = self.seen();
        let mut blocks = seen.blocks.clone();
        blocks.sort_unstable();
        blocks.dedup();
        seen.blocks.len() - blocks.len()
    }

    /// Goes away; what it knew stays in `seen`.
    pub(super) async fn stop(self) -> (SocketAddr, Arc<Mutex<Seen>>) {
        let (address, shard) = (self.address(), self.shard.clone());
        tokio::task::spawn_blocking(move || shard.stop()).await.unwrap();
        (address, self.seen)
    }
}

async fn serve(shard: ShardHandle, mut events: mpsc::Receiver<Event>, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.recv().await {
        if let Event::Request { exchange, peer, request } = event {
            let gate = seen.lock().unwrap().gate.clone().filter(|_| request.method == Method::Post);
            let (shard, seen) = (shard.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let response = answer(&mut seen.lock().unwrap(), peer.session, &request);
                if let Some(gate) = gate.filter(|_| request.path != ["g"]) {
                    gate.acquire().await.unwrap().forget();
                }
                shard.respond(exchange, response);
            });
        }
    }
}

fn answer(seen: &mut Seen, session: SessionId, request: &Request) -> Response {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method, path.as_slice()) {
        (Method::Post, ["g"]) => {
            seen.session = Some(session);
            seen.presences.push(request.query.join("&"));
            Response::new(Code::CHANGED)
        }
        (Method::Get, ["g", "c"]) => children(&seen.children),
        (Method::Post, ["g", "t"]) => {
            seen.hints.push(request.payload.clone());
            Response::new(Code::CHANGED)
        }
        (Method::Get, ["f", _]) => block(seen, request),
        (Method::Post, ["u"]) => {
            seen.requests.push(request.payload.clone());
            match seen.refuse {
                Some(code) => Response::new(code),
                None => granted(&request.payload),
            }
        }
        (Method::Post, ["u", "r"]) => {
            seen.reports.push(request.payload.clone());
            match seen.refuse {
                Some(code) => Response::new(code),
                None => receipt(&request.payload),
            }
        }
        _ => Response::new(Code::NOT_FOUND),
    }
}

fn children(names: &[String]) -> Response {
    let children: Vec<Child<'_>> =
        names.iter().map(|name| Child { endpoint: name, psk: &CHILD_KEY }).collect();
    let list = Children { edition: 1, children: List::new(&children) }.encode().unwrap();
    Response::new(Code::CONTENT).with_payload(60, list.to_vec())
}

fn block(seen: &mut Seen, request: &Request) -> Response {
    let root = asked_root(request).unwrap();
    let asked = request.block2.unwrap();
    seen.blocks.push((root, asked.number));
    let Some(body) = seen.bodies.get(&root) else {
        return Response::new(Code::NOT_FOUND);
    };
    let rest = &body[asked.offset_bytes()..];
    let mut payload = rest[..rest.len().min(1024)].to_vec();
    if seen.alter > 0 {
        seen.alter -= 1;
        payload[7] ^= 1;
    }
    let block2 = Some(Block { more: rest.len() > 1024, ..asked });
    Response { block2, ..Response::new(Code::CONTENT).with_payload(42, payload) }
}

fn granted(request: &[u8]) -> Response {
    let request = UpdateRequest::decode(peek::attached_payload(request).unwrap()).unwrap();
    let answer = World::new().answer(request.place.id, request.place.index, GRANT + 1);
    Response::new(Code::CHANGED).with_payload(content_format::ANSWER, answer)
}

fn receipt(report: &[u8]) -> Response {
    let id = Report::decode(report).unwrap().place.id;
    Response::new(Code::CHANGED).with_payload(content_format::RECEIPT, World::receipt(id, report))
}

/// A folder with a unit file, and the gateway that works there.
pub(super) struct Site {
    /// Is taken away with the site.
    _folder: TempDir,
    pub(super) config: Config,
    pub(super) running: Option<Running>,
}

impl Site {
    /// Starts a gateway that calls the server.
    pub(super) async fn start(server: &Server) -> Self {
        let mut site = Self::prepare(server.address());
        site.boot();
        let gateway = Arc::clone(&site.running().gateway);
        let wanted = server.seen().children.len();
        until("the list of children", || gateway.family.len() == wanted && gateway.uplink.is_up()).await;
        site
    }

    pub(super) fn prepare(server: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("gw-1.unit");
        let (uri, document) = (format!("coaps://{server}"), testing::anchors(1, 1));
        let servers = [uri.as_str()];
        let file =
            GatewayUnit { name: NAME, psk: &GATEWAY_KEY, servers: List::new(&servers), anchors: &document };
        std::fs::write(&unit, file.encode().unwrap()).unwrap();
        let data = folder.path().join("data");
        let status = folder.path().join("status.json");
        let ack = ACK_TIMEOUT_MS.to_string();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let config = Config::parse_from([
            "bellwether-gateway".to_owned(),
            format!("--unit={}", text(&unit)),
            format!("--data={}", text(&data)),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--status={}", text(&status)),
            format!("--ack-timeout-ms={ack}"),
        ]);
        Self { _folder: folder, config, running: None }
    }

    pub(super) fn boot(&mut self) {
        self.running = Some(shell::start(Arc::new(ThisMachine), self.config.clone()).unwrap());
    }

    /// Ends the gateway without a word, as the end of its process does, and starts it again.
    pub(super) async fn reboot(&mut self) {
        self.halt().await;
        self.boot();
    }

    pub(super) async fn halt(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub(super) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.config.data.clone()
    }

    pub(super) fn frame_file(&self, root: &Digest) -> PathBuf {
        self.data().join("frames").join(hex::encode(root))
    }

    pub(super) fn counters(&self) -> &crate::counters::Counters {
        &self.running().gateway.counters
    }
}

/// What a device was told by its gateway.
#[derive(Default)]
pub(super) struct Told {
    pub(super) manifests: Vec<Vec<u8>>,
    pub(super) executes: u32,
    /// Whether it answers 4.05 to them.
    pub(super) declines: bool,
    /// What it says to Update Result.
    pub(super) result: u8,
}

/// A device.
pub(super) struct Device {
    pub(super) name: String,
    shard: ShardHandle,
    session: SessionId,
    pub(super) told: Arc<Mutex<Told>>,
}

impl Device {
    pub(super) async fn connect(site: &Site, name: &str) -> Self {
        Self::connect_with(site, name, Told::default()).await
    }

    pub(super) async fn connect_with(site: &Site, name: &str, told: Told) -> Self {
        let key = Secret::new(CHILD_KEY.to_vec()).unwrap();
        let security = Security::PskClient { identity: name.as_bytes().to_vec(), key };
        let mut config = ShardConfig::new("127.0.0.1:0".parse().unwrap(), security);
        config.coap.transmission.ack_timeout = Duration::from_millis(ACK_TIMEOUT_MS);
        config.dtls = DtlsConfig { retransmit_first: Duration::from_millis(50), ..DtlsConfig::default() };
        let (shard, events) = Shard::spawn(config, Box::new(NoService)).unwrap();
        let told = Arc::new(Mutex::new(told));
        tokio::spawn(listen(shard.clone(), events, Arc::clone(&told)));
        let session = shard.connect(site.running().address()).await.unwrap().session;
        let device = Self { name: name.to_owned(), shard, session, told };
        assert_eq!(device.send(Request::new(Method::Post, "/h")).await.code, Code::CHANGED);
        device
    }

    pub(super) async fn send(&self, request: Request) -> Response {
        self.shard.request(self.session, request).await.unwrap()
    }

    pub(super) async fn ask(&self, request: Vec<u8>) -> Response {
        self.send(Request::new(Method::Post, "/u").with_payload(content_format::REQUEST, request)).await
    }

    pub(super) async fn report(&self, report: Vec<u8>) -> Response {
        self.send(Request::new(Method::Post, "/u/r").with_payload(content_format::REPORT, report)).await
    }

    /// Reports one moment of the bundle's grant.
    pub(super) async fn tell(&self, moment: Moment) -> (Response, Vec<u8>) {
        let report = World::report(&self.name, GRANT, moment, 1);
        (self.report(report.clone()).await, report)
    }

    pub(super) async fn frame(&self, root: &Digest, number: u32) -> Response {
        let path = format!("/f/{}", hex::encode(root));
        self.send(Request::new(Method::Get, &path).with_block2(Block::ask(number, BlockSize::MAX))).await
    }

    /// Fetches a whole resource, block by block.
    pub(super) async fn fetch(&self, root: &Digest) -> Vec<u8> {
        let mut body = Vec::new();
        for number in 0.. {
            let response = self.frame(root, number).await;
            assert_eq!(response.code, Code::CONTENT, "block {number}");
            body.extend_from_slice(&response.payload);
            if !response.block2.unwrap().more {
                break;
            }
        }
        body
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    pub(super) async fn leave(self) {
        let shard = self.shard.clone();
        tokio::task::spawn_blocking(move || shard.stop()).await.unwrap();
    }
}

async fn listen(shard: ShardHandle, mut events: mpsc::Receiver<Event>, told: Arc<Mutex<Told>>) {
    while let Some(event) = events.recv().await {
        let Event::Request { exchange, request, .. } = event else { continue };
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let mut told = told.lock().unwrap();
        let response = match (request.method, path.as_slice()) {
            (Method::Put, ["5", "0", "0"]) => {
                told.manifests.push(request.payload.clone());
                Response::new(Code::CHANGED)
            }
            (Method::Get, ["5", "0", "5"]) => {
                Response::new(Code::CONTENT).with_payload(0, told.result.to_string().into_bytes())
            }
            (Method::Post, ["5", "0", "2"]) => {
                told.executes += 1;
                Response::new(if told.declines { Code::METHOD_NOT_ALLOWED } else { Code::CHANGED })
            }
            _ => Response::new(Code::NOT_FOUND),
        };
        shard.respond(exchange, response);
    }
}

/// Waits until something holds; a test that waits in vain fails with what it waited for.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain for {what}");
}

pub(super) const PATIENCE: Duration = Duration::from_secs(30);
