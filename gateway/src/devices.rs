//! The way in for devices: hello, questions, frames, reports.

use std::sync::{Arc, PoisonError};

use bellwether_manifests::message::{Answer, Moment, Report, content_format};
use bellwether_net::coap::{Code, ExchangeId, Method, Request, Response};
use bellwether_net::{Event, Peer, ShardHandle};
use lwm2m_rs::Path;
use lwm2m_rs::table::{self, firmware_update};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc};

use crate::clock;
use crate::frames::asked_root;
use crate::gateway::{Gateway, Session};
use crate::held::{GrantKey, HeldGrant};
use crate::outbox::{KeepError, KeptReport};
use crate::question::Question;

/// Serves the events of the devices' socket until it stops.
pub async fn run(gateway: Arc<Gateway>, shard: ShardHandle, mut events: mpsc::Receiver<Event>) {
    let at_work = Arc::new(Semaphore::new(REQUESTS_AT_WORK_MAX));
    while let Some(event) = events.recv().await {
        match event {
            Event::Connected(peer) => greet(&gateway, &shard, &peer),
            Event::Closed(peer, reason) => {
                tracing::debug!(device = peer.identity.as_deref(), %reason, "session closed");
                part(&gateway, &peer);
            }
            // Keys are in memory and sessions stay there; where a device is matters to the socket alone.
            Event::Moved(_) | Event::KeyWanted { .. } | Event::Hibernated(_) | Event::SessionWanted(_) => {}
            Event::Request { exchange, peer, request } => {
                let Ok(permit) = Arc::clone(&at_work).acquire_owned().await else {
                    return;
                };
                let (gateway, shard) = (Arc::clone(&gateway), shard.clone());
                tokio::spawn(async move {
                    answer(&gateway, &shard, exchange, &peer, request).await;
                    drop(permit);
                });
            }
        }
    }
}

fn greet(gateway: &Gateway, shard: &ShardHandle, peer: &Peer) {
    let Some(name) = peer.identity.as_deref() else { return };
    let session = Session { id: peer.session, shard: shard.clone(), heard: clock::steady() };
    let mut connected = gateway.connected.lock().unwrap_or_else(PoisonError::into_inner);
    let news = connected.insert(name.to_owned(), session).is_none_or(|old| old.id != peer.session);
    drop(connected);
    if news {
        gateway.push_wake.notify_one();
    }
}

fn part(gateway: &Gateway, peer: &Peer) {
    let Some(name) = peer.identity.as_deref() else { return };
    let mut connected = gateway.connected.lock().unwrap_or_else(PoisonError::into_inner);
    if connected.get(name).is_some_and(|session| session.id == peer.session) {
        connected.remove(name);
    }
}

async fn answer(
    gateway: &Arc<Gateway>,
    shard: &ShardHandle,
    exchange: ExchangeId,
    peer: &Peer,
    request: Request,
) {
    let Some(child) = peer.identity.clone().filter(|name| gateway.family.has(name)) else {
        return shard.respond(exchange, Response::new(Code::FORBIDDEN));
    };
    let response = match (request.method, request.content_format) {
        // Sent on, it would be taken for the gateway's own word.
        (Method::Post, Some(_)) if is_for_peers_of_the_server(&request) => Response::new(Code::FORBIDDEN),
        (Method::Get, _) => match asked_root(&request) {
            Some(root) => gateway.frames.answer(&child, &root, &request).await,
            None => Response::new(Code::NOT_FOUND),
        },
        (Method::Post, Some(content_format::REQUEST)) => question(gateway, &child, &request).await,
        (Method::Post, Some(content_format::REPORT)) => {
            let (response, start) = report(gateway, &child, &request).await;
            shard.respond(exchange, response);
            if start {
                execute(gateway, &child, &request.payload).await;
            }
            return;
        }
        (Method::Post, _) if request.path == [HELLO] => {
            greet(gateway, shard, peer);
            gateway.push_wake.notify_one();
            Response::new(Code::CHANGED)
        }
        _ => Response::new(Code::NOT_FOUND),
    };
    shard.respond(exchange, response);
}

/// Whether a path is one where the server takes who sends for whom it is about: registrations, a gateway's presence.
fn is_for_peers_of_the_server(request: &Request) -> bool {
    request.path.first().is_none_or(|first| OF_PEERS.contains(&first.as_str()))
}

/// Answers an update request from a bundle, else asks the server, else answers from what passed through before.
async fn question(gateway: &Gateway, child: &str, request: &Request) -> Response {
    let Ok(question) = Question::read(&request.payload) else {
        gateway.counters.malformed.one();
        return Response::new(Code::BAD_REQUEST);
    };
    if question.key.id != child {
        gateway.counters.malformed.one();
        return Response::new(Code::FORBIDDEN);
    }
    gateway.notes.note_asked(child, &question.key.manifest);
    if let Some(answer) = from_bundle(gateway, &question) {
        gateway.counters.requests.answered_from_bundle.one();
        return answered(answer);
    }
    if let Ok(response) = gateway.uplink.forward(request).await {
        gateway.counters.requests.forwarded.one();
        if response.code == Code::CHANGED && response.content_format == Some(content_format::ANSWER) {
            keep(gateway, &question, &response.payload);
        }
        return passed_on(&response);
    }
    if let Some(answer) = from_kept(gateway, &question) {
        gateway.counters.requests.from_kept.one();
        return answered(answer);
    }
    gateway.counters.requests.put_off.one();
    put_off(gateway)
}

fn from_bundle(gateway: &Gateway, question: &Question) -> Option<Vec<u8>> {
    let now = question.judged_at(gateway.now());
    if question.fresh {
        return None;
    }
    let (_, grant) = gateway.shelf.grant(&question.key, now)?;
    if gateway.notes.is_spent(&question.key.id, grant.number) {
        return None;
    }
    write(gateway, question, &grant, now)
}

fn from_kept(gateway: &Gateway, question: &Question) -> Option<Vec<u8>> {
    let now = question.judged_at(gateway.now());
    if question.fresh {
        return None;
    }
    write(gateway, question, &gateway.notes.grant(&question.key, now)?, now)
}

fn write(gateway: &Gateway, question: &Question, grant: &HeldGrant, now: u64) -> Option<Vec<u8>> {
    let GrantKey { manifest, selector, .. } = &question.key;
    let descriptor =
        gateway.descriptor(manifest, selector, |descriptor| grant.is_described_by(descriptor, now));
    question.answer(grant, descriptor.as_deref(), now)
}

/// Keeps grant and descriptor of an answer that passed through.
fn keep(gateway: &Gateway, question: &Question, answer: &[u8]) {
    let Ok(answer) = Answer::decode(answer) else { return };
    if let Some(descriptor) = answer.descriptor {
        gateway.keep_descriptor(descriptor);
    }
    if let Some((key, grant)) = HeldGrant::read(answer.message).filter(|(key, _)| *key == question.key) {
        gateway.notes.keep_grant(&key, &grant);
    }
}

/// Brings a report to the server or keeps it; tells also whether the device may start its new image now.
async fn report(gateway: &Arc<Gateway>, child: &str, request: &Request) -> (Response, bool) {
    let Ok(report) = Report::decode(&request.payload) else {
        gateway.counters.malformed.one();
        return (Response::new(Code::BAD_REQUEST), false);
    };
    if report.place.id != child {
        gateway.counters.malformed.one();
        return (Response::new(Code::FORBIDDEN), false);
    }
    let digest = Sha256::digest(&request.payload).into();
    if let Some(receipt) = gateway.outbox.receipt(&digest) {
        gateway.counters.reports.receipts.one();
        return (receipted(receipt), false);
    }
    if report.moment != Moment::Decrypted && report.grant != 0 {
        gateway.notes.spend(child, report.grant);
    }
    // While earlier ones of the same device wait, this one waits behind them.
    let reached = if gateway.outbox.has_of(child) {
        gateway.uplink.is_up()
    } else {
        match gateway.uplink.forward(request).await {
            Ok(response) if !is_failure(response.code) => {
                gateway.counters.reports.forwarded.one();
                gateway.counters.reports.receipts.add(response.code.is_success().into());
                return (passed_on(&response), false);
            }
            outcome => outcome.is_ok(),
        }
    };
    let kept = keep_report(gateway, child, request, digest).await;
    (put_off(gateway), kept && !reached && may_start(gateway, child, &report))
}

/// Whether the server says that it can't act now: what it was told must be told again.
pub(crate) const fn is_failure(code: Code) -> bool {
    code.class() == 5
}

async fn keep_report(gateway: &Arc<Gateway>, child: &str, request: &Request, digest: [u8; 32]) -> bool {
    let report = KeptReport {
        digest,
        child: child.to_owned(),
        path: request.path.clone(),
        query: request.query.clone(),
        report: request.payload.clone(),
    };
    let keeper = Arc::clone(gateway);
    let known = gateway.outbox.is_kept(&digest);
    let kept = gateway.machine.beside(move || keeper.outbox.keep(report)).await;
    match kept {
        Ok(Ok(())) => {
            if !known {
                gateway.counters.reports.kept.one();
            }
            gateway.outbox_wake.notify_one();
            true
        }
        Ok(Err(error)) => {
            gateway.counters.reports.refused.one();
            if matches!(error, KeepError::Disk(_)) {
                gateway.counters.disk_errors.one();
            }
            tracing::warn!(device = child, %error, "a report is not kept");
            false
        }
        Err(_) => false,
    }
}

/// A bundle's campaign lets its devices start without the server: whoever was granted an image there and has it
/// verified in the spare slot is told to swap, unless it must ask first.
fn may_start(gateway: &Gateway, child: &str, report: &Report<'_>) -> bool {
    let grant = gateway.shelf.grant_numbered(child, report.grant, gateway.now());
    report.moment == Moment::Decrypted && grant.is_some_and(|grant| !grant.ask_go)
}

/// Tells a device to start its image, once in a while for the same report: what it answered, it will answer again.
async fn execute(gateway: &Gateway, child: &str, report: &[u8]) {
    let Some(session) = gateway.session(child) else { return };
    if !gateway.executes().admit(child, Sha256::digest(report).into(), clock::steady()) {
        return;
    }
    let path = Path::Resource(table::FIRMWARE_UPDATE.id, 0, firmware_update::UPDATE);
    let request = Request::new(Method::Post, &path.to_string());
    match session.shard.request(session.id, request).await {
        Ok(answer) => tracing::info!(device = child, answer = %answer.code, "told to start its new image"),
        Err(error) => {
            gateway.executes().forget(child);
            tracing::info!(device = child, %error, "Execute did not reach it");
        }
    }
}

fn answered(answer: Vec<u8>) -> Response {
    Response::new(Code::CHANGED).with_payload(content_format::ANSWER, answer)
}

fn receipted(receipt: Vec<u8>) -> Response {
    Response::new(Code::CHANGED).with_payload(content_format::RECEIPT, receipt)
}

/// What the server answered, without what belongs to the leg between the two.
fn passed_on(response: &Response) -> Response {
    Response {
        content_format: response.content_format,
        max_age: response.max_age,
        payload: response.payload.clone(),
        ..Response::new(response.code)
    }
}

fn put_off(gateway: &Gateway) -> Response {
    let max_age = Some(gateway.uplink.retry_s());
    Response { max_age, ..Response::new(Code::SERVICE_UNAVAILABLE) }
}

/// First segments of the server's paths for its own peers.
const OF_PEERS: [&str; 2] = ["g", "rd"];

/// Path of the greeting that devices repeat.
const HELLO: &str = "h";

/// Requests that wait for the disk or the server at the same time; more wait in the shard's channel, and beyond that
/// they are answered 5.03.
const REQUESTS_AT_WORK_MAX: usize = 1_024;
