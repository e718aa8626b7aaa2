//! The way in for gateways: presence, the list of their devices, what they have seen.
//!
//! Requests, reports and frames come the same way as from devices, in `super::coap`.

use std::sync::Arc;

use bellwether_decide::device::Endpoint;
use bellwether_manifests::link::{Child, Children, Hints};
use bellwether_manifests::message::List;
use bellwether_net::coap::{Code, ETag, Method, Request, Response};
use bellwether_net::{Peer, ShardHandle};
use lwm2m_rs::ContentFormat;
use zeroize::Zeroizing;

use crate::core::{Core, Counters};
use crate::gateways::Presence;
use crate::vault::{LINK_KEY, VaultError};

/// Tells whether a request is a gateway's own: of `/g`, by a peer that is an enrolled gateway.
pub(super) fn sender(core: &Core, peer: &Peer, request: &Request) -> Option<Endpoint> {
    (request.path.first()? == FOLDER).then_some(())?;
    core.gateways.named(peer.identity.as_deref()?)
}

/// Answers a gateway's own request; gives what is to be done once the answer has left.
pub(super) async fn answer(
    core: &Arc<Core>,
    shard: &ShardHandle,
    peer: &Peer,
    gateway: &Endpoint,
    request: &Request,
) -> (Response, bool) {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method, path.as_slice()) {
        (Method::Post, [_]) => present(core, shard, peer, gateway, request),
        (Method::Get, [_, "c"]) => (children(core, gateway, request).await, false),
        (Method::Post, [_, "t"]) => (hints(core, gateway, request).await, false),
        _ => (Response::new(Code::NOT_FOUND), false),
    }
}

fn present(
    core: &Core,
    shard: &ShardHandle,
    peer: &Peer,
    gateway: &Endpoint,
    request: &Request,
) -> (Response, bool) {
    let lifetime = match request.query_value("lt").map(str::parse::<u64>) {
        None => LIFETIME_S,
        Some(Ok(lifetime)) if (1..=LIFETIME_S_MAX).contains(&lifetime) => lifetime,
        Some(_) => return (Response::new(Code::BAD_REQUEST), false),
    };
    let now = core.steady();
    let presence = Presence {
        session: peer.session,
        shard: shard.clone(),
        address: peer.address,
        expires: now.saturating_add(lifetime),
    };
    match core.gateways.here(gateway, presence, now) {
        Some(came) => (Response::new(Code::CHANGED), came),
        None => (Response::new(Code::FORBIDDEN), false),
    }
}

async fn children(core: &Core, gateway: &Endpoint, request: &Request) -> Response {
    match list(core, gateway).await {
        Ok(Some((edition, document))) => {
            let etag = ETag::new(&edition.to_be_bytes()).ok();
            if etag.is_some_and(|etag| request.etags.contains(&etag)) {
                return Response { etag, ..Response::new(Code::VALID) };
            }
            let response = Response { etag, ..Response::new(Code::CONTENT) };
            response.with_payload(ContentFormat::CBOR.0, document.to_vec())
        }
        Ok(None) => Response::new(Code::FORBIDDEN),
        Err(error) => super::coap::failed(core, &*error),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the devices of a gateway with the keys of their links.
async fn list(core: &Core, gateway: &Endpoint) -> Result<Option<(u64, Zeroizing<Vec<u8>>)>, Failure> {
    // The edition first: a change in between leads to a list that is newer than it says, and is read again.
    let Some(row) = core.store.gateway(&core.tenant, gateway).await? else {
        return Ok(None);
    };
    let mut listed: Vec<(Endpoint, Zeroizing<[u8; 32]>)> = Vec::new();
    loop {
        let after = listed.last().map(|(endpoint, _)| endpoint.clone());
        let page = core.store.children(&core.tenant, gateway, after.as_ref(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        for enrolled in page {
            let Some(link) = enrolled.link else { continue };
            let endpoint = enrolled.device.endpoint;
            let opened = core.vault.open_sealed(LINK_KEY, endpoint.as_str(), &link.psk)?;
            let psk = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| VaultError::Malformed)?;
            listed.push((endpoint, Zeroizing::new(psk)));
        }
    }
    let children: Vec<Child<'_>> =
        listed.iter().map(|(endpoint, psk)| Child { endpoint: endpoint.as_str(), psk }).collect();
    let document = Children { edition: row.children_edition, children: List::new(&children) }.encode()?;
    Ok(Some((row.children_edition, document)))
}

async fn hints(core: &Arc<Core>, gateway: &Endpoint, request: &Request) -> Response {
    let Ok(Hints(hints)) = Hints::decode(&request.payload) else {
        Counters::count(&core.counters.malformed);
        return Response::new(Code::BAD_REQUEST);
    };
    match core.take_hints(gateway, &hints).await {
        Ok(()) => Response::new(Code::CHANGED),
        Err(error) => super::coap::failed(core, &error),
    }
}

/// First segment of the paths of gateways.
const FOLDER: &str = "g";

/// Presence of a gateway that names none: twice the period in which gateways say that they are here.
const LIFETIME_S: u64 = 120;

/// Longest presence: a day, beyond which nobody would notice that the gateway is gone.
const LIFETIME_S_MAX: u64 = 86_400;

/// Rows read at a time.
const PAGE: u32 = 1_000;
