//! Frames in memory, served on the shard's own thread.
//!
//! What is served is public: ciphertext that only a grant opens. A path is `/f/<root in hexadecimal>`; block n of
//! it is frame n, whole.

pub mod count;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use bellwether_manifests::frame::{FrameChain, FrameError};
use bellwether_net::coap::{Block, BlockSize, Code, ETag, Method, Request, Response};
use bellwether_net::{Peer, Service};
use bellwether_store::Digest;

use self::count::FrameCounts;

/// Resources whose frames are in memory, the oldest forgotten first.
#[derive(Debug, Default)]
pub struct FrameCache {
    kept: RwLock<Kept>,
    counts: FrameCounts,
}

#[derive(Debug, Default)]
struct Kept {
    bodies: HashMap<Digest, Arc<Body>>,
    order: VecDeque<Digest>,
    bytes: usize,
}

/// All frames of one resource, one after the other.
#[derive(Debug)]
pub struct Body {
    framed: Vec<u8>,
    frames: u64,
    etag: Option<ETag>,
    root: Digest,
}

impl Body {
    /// Frames a content.
    ///
    /// # Errors
    ///
    /// [`FrameError`] for a content that has no frames.
    pub fn new(content: &[u8], block_bytes: u16) -> Result<Self, FrameError> {
        let chain = FrameChain::build(content, block_bytes)?;
        let root = chain.root();
        let frames = content.len().div_ceil(usize::from(block_bytes)) as u64;
        Ok(Self { framed: chain.framed(), frames, etag: ETag::new(&root[..8]).ok(), root })
    }

    /// The digest of the first frame, which names the resource.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Answers a request for one block; blocks of another size than the frames' are cut from the same bytes.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Response {
        let asked = request.block2.unwrap_or(Block::first(BlockSize::MAX));
        let size = asked.size.bytes();
        let from = usize::try_from(asked.number).unwrap_or(usize::MAX).saturating_mul(size);
        let Some(rest) = self.framed.get(from..).filter(|rest| !rest.is_empty()) else {
            return Response::new(Code::BAD_REQUEST);
        };
        let payload = &rest[..rest.len().min(size)];
        Response {
            etag: self.etag,
            max_age: Some(MAX_AGE_S),
            block2: Some(Block { more: rest.len() > size, ..asked }),
            size2: u32::try_from(self.framed.len()).ok(),
            ..Response::new(Code::CONTENT).with_payload(OCTET_STREAM, payload.to_vec())
        }
    }
}

impl FrameCache {
    /// Answers a request from a body, and counts what leaves.
    #[must_use]
    pub fn serve(&self, peer: &Peer, body: &Body, request: &Request) -> Response {
        let response = body.answer(request);
        if response.code == Code::CONTENT {
            self.counts.count(&body.root, body.frames, peer.identity.as_ref());
        }
        response
    }

    /// What left the server.
    #[must_use]
    pub fn counts(&self) -> &FrameCounts {
        &self.counts
    }

    /// Keeps a body; the oldest ones go where the bound would be passed.
    pub fn keep(&self, body: Body) -> Arc<Body> {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = kept.bodies.get(&body.root) {
            return Arc::clone(there);
        }
        let body = Arc::new(body);
        kept.bytes += body.framed.len();
        kept.order.push_back(body.root);
        kept.bodies.insert(body.root, Arc::clone(&body));
        kept.shrink();
        body
    }

    /// Bytes of frames in memory, and resources that they belong to.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        (kept.bytes, kept.bodies.len())
    }

    /// Finds the body of this root.
    #[must_use]
    pub fn get(&self, root: &Digest) -> Option<Arc<Body>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).bodies.get(root).map(Arc::clone)
    }
}

impl Kept {
    fn shrink(&mut self) {
        while self.bytes > BYTES_MAX && self.order.len() > 1 {
            let gone = self.order.pop_front().and_then(|oldest| self.bodies.remove(&oldest));
            self.bytes -= gone.map_or(0, |body| body.framed.len());
        }
    }
}

/// Serves frames that are in memory; everything else goes to the server's rooms.
pub struct FrameService(Arc<FrameCache>);

impl FrameService {
    /// Serves from this cache.
    #[must_use]
    pub fn new(cache: Arc<FrameCache>) -> Self {
        Self(cache)
    }
}

impl Service for FrameService {
    fn answer(&mut self, peer: &Peer, request: &Request) -> Option<Response> {
        let root = asked_root(request)?;
        Some(self.0.serve(peer, &*self.0.get(&root)?, request))
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

/// The location of a resource, relative to the request identifier's authority.
#[must_use]
pub fn location(root: &Digest) -> String {
    format!("/{FOLDER}/{}", hex::encode(root))
}

const FOLDER: &str = "f";
/// Content-Format of frames: bytes (RFC 7252 §12.3).
const OCTET_STREAM: u16 = 42;
/// What stands under a root never changes: as long as an option of four bytes and common caches allow, a year.
const MAX_AGE_S: u32 = 365 * 86_400;
/// Memory for frames: 16 images of 4 MiB, or hundreds of deltas.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn get(root: &Digest, number: u32) -> Request {
        Request::new(Method::Get, &location(root)).with_block2(Block::ask(number, BlockSize::MAX))
    }

    #[test]
    fn block_n_is_frame_n_and_the_last_one_says_so() {
        let content: Vec<u8> = (0..2_500u32).map(|at| at.to_le_bytes()[0]).collect();
        let body = Body::new(&content, 992).expect("framed");
        let root = body.root();
        let answers: Vec<Response> = (0..3).map(|number| body.answer(&get(&root, number))).collect();
        let lengths: Vec<usize> = answers.iter().map(|answer| answer.payload.len()).collect();
        assert_eq!(lengths, [1_024, 1_024, 516 + 32]);
        let more: Vec<bool> = answers.iter().map(|answer| answer.block2.expect("set").more).collect();
        assert_eq!(more, [true, true, false]);
    }

    #[test]
    fn block_past_the_end_is_a_bad_request() {
        let body = Body::new(&[1; 100], 992).expect("framed");
        let answer = body.answer(&get(&body.root(), 1));
        assert_eq!(answer.code, Code::BAD_REQUEST);
    }

    #[test]
    fn unknown_root_is_left_to_the_rooms() {
        let cache = Arc::new(FrameCache::default());
        let root = cache.keep(Body::new(&[1; 100], 992).expect("framed")).root();
        assert!(cache.get(&root).is_some());
        assert!(cache.get(&[0; 32]).is_none());
        assert_eq!(asked_root(&Request::new(Method::Get, "/f/zz")), None);
    }
}
