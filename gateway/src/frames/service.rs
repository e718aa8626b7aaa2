//! Frames that are in memory, served on the socket's own thread.

use std::sync::Arc;

use bellwether_manifests::message::Digest;
use bellwether_net::coap::{Block, BlockSize, Code, ETag, Method, Request, Response};
use bellwether_net::{Peer, Service};

use super::body::Piece;
use super::cache::FrameCache;
use super::resource::Resource;
use crate::counters::Counters;

/// Serves frames that are in memory; everything else goes to the gateway's tasks.
pub struct FrameService {
    cache: Arc<FrameCache>,
    counters: Arc<Counters>,
}

impl FrameService {
    /// Serves from this cache.
    #[must_use]
    pub fn new(cache: Arc<FrameCache>, counters: Arc<Counters>) -> Self {
        Self { cache, counters }
    }
}

impl Service for FrameService {
    fn answer(&mut self, _: &Peer, request: &Request) -> Option<Response> {
        let resource = self.cache.in_memory(&asked_root(request)?)?;
        respond(&resource, request, &self.counters).ok()
    }
}

/// Answers with the block that is asked for; the error is how many bytes must be there first.
pub(super) fn respond(resource: &Resource, request: &Request, counters: &Counters) -> Result<Response, u64> {
    let asked = request.block2.unwrap_or(Block::first(BlockSize::MAX));
    match resource.piece(asked.number, asked.size.bytes()) {
        Piece::Missing(bytes) => Err(bytes),
        Piece::PastEnd => Ok(Response::new(Code::BAD_REQUEST)),
        Piece::Here { bytes, more } => {
            counters.frames.served.one();
            counters.frames.bytes_down.add(bytes.len() as u64);
            Ok(Response {
                etag: ETag::new(&resource.root()[..8]).ok(),
                max_age: Some(MAX_AGE_S),
                block2: Some(Block { more, ..asked }),
                size2: resource.total().and_then(|total| u32::try_from(total).ok()),
                ..Response::new(Code::CONTENT).with_payload(OCTET_STREAM, bytes)
            })
        }
    }
}

/// Reads the root that a request asks frames of: `GET /f/<64 digits>`.
#[must_use]
pub fn asked_root(request: &Request) -> Option<Digest> {
    let [folder, root] = request.path.as_slice() else {
        return None;
    };
    let mut digest = [0; 32];
    (request.method == Method::Get && folder == FOLDER).then_some(())?;
    hex::decode_to_slice(root, &mut digest).ok()?;
    Some(digest)
}

/// The path of a resource.
pub(super) fn location(root: &Digest) -> String {
    format!("/{FOLDER}/{}", hex::encode(root))
}

const FOLDER: &str = "f";

/// Content-Format of frames: bytes (RFC 7252 §12.3).
const OCTET_STREAM: u16 = 42;

/// What stands under a root never changes: a year, which an option of four bytes and common caches allow.
const MAX_AGE_S: u32 = 365 * 86_400;
