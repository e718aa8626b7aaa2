//! The way in for devices: registration, update requests, frames, reports.

mod registration;

use std::sync::Arc;

use bellwether_decide::device::Endpoint;
use bellwether_manifests::message::content_format;
use bellwether_net::coap::{Code, ExchangeId, Method, Request, Response};
use bellwether_net::{Event, Peer, SessionId, ShardHandle};
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

use super::gateway;
use crate::caller::{self, Caller};
use crate::core::Core;
use crate::credentials;
use crate::frames;
use crate::metrics::{Asked, steady};
use crate::resolver::{RequestError, Sender};
use crate::sessions::{self, Task};

/// Serves the events of a shard until it stops.
pub async fn run(core: Arc<Core>, shard: ShardHandle, mut events: mpsc::Receiver<Event>) {
    let at_work = Arc::new(Semaphore::new(REQUESTS_AT_WORK_MAX));
    let (tasks, waiting) = mpsc::channel(sessions::TASKS_MAX);
    let keeper = tokio::spawn(sessions::keep(Arc::clone(&core), shard.clone(), waiting));
    while let Some(event) = events.recv().await {
        match event {
            Event::Connected(peer) => {
                let (peer, number) = credentials::named(peer);
                if let (Some(name), 2..) = (peer.identity, number) {
                    let core = Arc::clone(&core);
                    tokio::spawn(async move { core.credential_shown(&name, number).await });
                }
            }
            Event::Moved(peer) => {
                let (peer, _) = credentials::named(peer);
                if let Some(identity) = &peer.identity {
                    core.registry.moved(identity, peer.session, peer.address);
                    core.gateways.moved(identity, peer.session, peer.address);
                }
            }
            Event::KeyWanted { session, identity } => {
                tokio::spawn(supply_key(Arc::clone(&core), shard.clone(), session, identity));
            }
            // The keeper ends after this only.
            Event::Hibernated(dormant) => drop(tasks.send(Task::Sleep(dormant)).await),
            Event::SessionWanted(session) => drop(tasks.send(Task::Wake(session)).await),
            Event::Closed(peer, _) => {
                let (peer, _) = credentials::named(peer);
                if let Some(identity) = &peer.identity {
                    core.registry.forget_session(identity, peer.session);
                    core.gateways.forget_session(identity, peer.session);
                }
            }
            Event::Request { exchange, peer, request } => {
                let Ok(permit) = Arc::clone(&at_work).acquire_owned().await else {
                    return;
                };
                let (core, shard) = (Arc::clone(&core), shard.clone());
                let from = credentials::named(peer);
                tokio::spawn(async move {
                    in_its_scope(core, shard, exchange, from, request).await;
                    drop(permit);
                });
            }
        }
    }
    drop(tasks);
    if keeper.await.is_err() {
        tracing::error!("sleeping sessions were not all kept");
    }
}

/// Looks a key up for a handshake. The engine bounds how many of these there are.
async fn supply_key(core: Arc<Core>, shard: ShardHandle, session: SessionId, identity: Arc<str>) {
    let key = match core.dtls_key(&identity).await {
        Ok(key) => key,
        Err(error) => {
            core.blame_disk(&error);
            tracing::error!(error = &error as &dyn std::error::Error, "a DTLS key can't be looked up");
            None
        }
    };
    shard.supply_key(session, key);
}

/// Answers a request under an id of its own, which every line that is logged meanwhile carries.
async fn in_its_scope(
    core: Arc<Core>,
    shard: ShardHandle,
    exchange: ExchangeId,
    (peer, credential): (Peer, u64),
    request: Request,
) {
    let (asked, began) = (Asked::of(&request), steady());
    let way_out = WayOut { core: &core, shard: &shard, credential, exchange, asked, began };
    let caller = Caller { request_id: caller::drawn(&*core.machine), ..Caller::default() };
    let id = caller.request_id.as_str();
    let (path, sender, from) = (way_out.asked.path(), peer.identity.as_deref(), peer.address);
    let span = tracing::info_span!("request", id, door = "coap", path, peer = sender, %from);
    caller.scope(span, answer(&way_out, &peer, request)).await;
}

/// By what way one request came, and where its answer goes.
struct WayOut<'a> {
    core: &'a Arc<Core>,
    shard: &'a ShardHandle,
    /// The number of the credential that its session was made with.
    credential: u64,
    exchange: ExchangeId,
    asked: Asked,
    began: tokio::time::Instant,
}

impl WayOut<'_> {
    fn respond(&self, response: Response) {
        self.core.metrics.coap(self.asked, response.code, self.began.elapsed());
        self.shard.respond(self.exchange, response);
    }
}

async fn answer(way_out: &WayOut<'_>, peer: &Peer, request: Request) {
    let WayOut { core, shard, .. } = way_out;
    // Any message of a device that slept says that it listens, whatever it asks for.
    let woken = core.registry.heard_over(shard, peer, core.steady());
    let is_of_registrations = request.path.first().is_some_and(|first| first == "rd");
    answer_as_asked(way_out, peer, request).await;
    let Some(endpoint) = woken else { return };
    core.metrics.slept("woken");
    if !is_of_registrations {
        core.registry.heard(&endpoint, &peer.address.to_string(), core.now(), false);
        unread(&endpoint, core.contact(&endpoint).await);
    }
}

async fn answer_as_asked(way_out: &WayOut<'_>, peer: &Peer, request: Request) {
    let WayOut { core, shard, .. } = way_out;
    if let Some(name) = gateway::sender(core, peer, &request) {
        let (response, came) = gateway::answer(core, shard, peer, &name, &request).await;
        way_out.respond(response);
        if came {
            core.welcome_gateway(name);
        }
        return;
    }
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method, path.as_slice()) {
        (Method::Post, ["rd"]) => {
            let from = (peer, way_out.credential);
            let (response, registered) = registration::register(core, shard, from, &request).await;
            way_out.respond(response);
            if let Some(endpoint) = registered {
                core.registry.heard(&endpoint, &peer.address.to_string(), core.now(), true);
                let core = Arc::clone(core);
                // Beside the requests at work: it waits for a device, and they wait for the store at most.
                let acquaintance = async move {
                    core.get_to_know(&endpoint).await;
                    unread(&endpoint, core.count_what_it_runs(&endpoint).await);
                    unread(&endpoint, core.welcome(&endpoint).await);
                };
                tokio::spawn(acquaintance.in_current_span());
            }
        }
        (Method::Post, ["rd", location]) => {
            let (response, updated) = registration::update(core, (shard, peer), location, &request).await;
            way_out.respond(response);
            if let Some(endpoint) = updated {
                core.registry.heard(&endpoint, &peer.address.to_string(), core.now(), false);
                unread(&endpoint, core.contact(&endpoint).await);
            }
        }
        (Method::Delete, ["rd", location]) => {
            let gone = core.registry.deregister(location, (shard, peer));
            way_out.respond(registration::touched(core, gone, Code::DELETED).await.0);
        }
        (Method::Post, [.., "r"]) if request.content_format == Some(content_format::REPORT) => {
            let (receipt, start) = match core.report(&sender(core, peer), &request.payload).await {
                Ok(receipted) => (Ok(receipted.receipt), receipted.start),
                Err(error) => (Err(error), None),
            };
            way_out.respond(respond(core, receipt, content_format::RECEIPT));
            if let Some(endpoint) = start {
                core.execute(endpoint);
            }
        }
        _ => way_out.respond(other(core, peer, &request).await),
    }
}

fn unread<E: std::error::Error>(endpoint: &Endpoint, read: Result<(), E>) {
    if let Err(error) = read {
        tracing::error!(%error, device = %endpoint, "what waits for it can't be read");
    }
}

async fn other(core: &Arc<Core>, peer: &Peer, request: &Request) -> Response {
    if let Some(root) = frames::asked_root(request) {
        return match core.builder.body(&root).await {
            Ok(Some(body)) => core.frames.serve(peer, &body, request),
            Ok(None) => Response::new(Code::NOT_FOUND),
            Err(error) => failed(core, &error),
        };
    }
    let sender = sender(core, peer);
    match (request.method, request.content_format) {
        (Method::Post, Some(content_format::REQUEST)) => {
            let answer = core.resolve(&sender, &request.path, &request.payload).await;
            respond(core, answer, content_format::ANSWER)
        }
        _ => Response::new(Code::NOT_FOUND),
    }
}

fn respond(core: &Core, answer: Result<Vec<u8>, RequestError>, format: u16) -> Response {
    match answer {
        Ok(bytes) => Response::new(Code::CHANGED).with_payload(format, bytes),
        Err(RequestError::Malformed(_)) => Response::new(Code::BAD_REQUEST),
        Err(RequestError::NotAuthentic) => Response::new(Code::UNAUTHORIZED),
        Err(RequestError::Unknown) => Response::new(Code::FORBIDDEN),
        Err(error @ RequestError::Failed(_)) => failed(core, &error),
    }
}

pub(super) fn failed(core: &Core, error: &(dyn std::error::Error + 'static)) -> Response {
    core.blame_disk(error);
    core.metrics.failed("coap");
    core.health.doubt();
    if let Some(count) = core.quiet.failed.pass(core.now()) {
        tracing::error!(error, count, "requests of devices fail; told at most once a minute");
    }
    Response { max_age: Some(RETRY_S), ..Response::new(Code::SERVICE_UNAVAILABLE) }
}

fn sender(core: &Core, peer: &Peer) -> Sender {
    let identity = peer.identity.as_deref();
    let address = match identity.and_then(|identity| core.gateways.named(identity)) {
        Some(gateway) => format!("{} (gateway {gateway})", peer.address),
        None => peer.address.to_string(),
    };
    Sender { identity: identity.map(str::to_owned), address }
}

/// Requests that wait for the store or the builder at the same time; more wait in the shard's channel, and beyond
/// that they are answered 5.03.
const REQUESTS_AT_WORK_MAX: usize = 512;

/// Seconds after which a device may try again what failed here.
const RETRY_S: u32 = 15;
