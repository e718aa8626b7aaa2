//! Bodies held for a peer between two of its blocks, bounded and timed.

use super::{Endpoint, Timer};
use crate::code::Code;
use crate::option::block::Block;
use crate::response::Response;
use crate::time::Instant;
use crate::timers::TimerKey;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// One body on its way in or out.
pub(super) struct HeldBody {
    serial: u64,
    pub(super) timer: TimerKey,
    key: BodyKey,
    pub(super) bytes: Vec<u8>,
    role: Role,
}

/// What the body is.
pub(super) enum Role {
    /// Blocks of a request so far.
    Receiving,
    /// A response being fetched; `head` is all of it but the payload.
    Serving { head: Response },
}

/// What a block of the peer belongs to: a hash over method, path, query, Accept and Request-Tags.
///
/// RFC 7959 §2.3 and §2.4 match blocks by endpoint and resource. The hash is not keyed: bodies
/// are looked up within one peer, which can only confuse its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BodyKey(u64);

/// A block of a request, taken in.
pub(super) enum Taken {
    /// That was the last one: this is the body.
    Whole(Vec<u8>),
    /// Answer so, with this Block1 option.
    Answer(Response, Option<Block>),
}

/// One block of a request as it came.
pub(super) struct Part<'a> {
    pub(super) block: Block,
    pub(super) size1: Option<u32>,
    pub(super) payload: &'a [u8],
}

impl BodyKey {
    pub(super) fn of(subject: &impl Hash) -> Self {
        let mut hasher = Fnv(FNV_OFFSET);
        subject.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// Takes one block of a request body (RFC 7959 §2.5, atomic: the application sees the whole).
    pub(super) fn take_part(&mut self, now: Instant, peer: P, key: BodyKey, part: &Part<'_>) -> Taken {
        let block = part.block;
        let length = part.payload.len();
        if length > block.size.bytes() || (block.more && length < block.size.bytes()) {
            return refuse(Code::BAD_REQUEST);
        }
        let held = self.take_body(peer, key, |role| matches!(role, Role::Receiving));
        let mut bytes = match (block.number, held) {
            // RFC 7959 §2.5: block 0 starts anew, whatever was there.
            (0, _) => Vec::new(),
            (_, Some(held)) if held.len() == block.offset_bytes() => held,
            (_, held) => {
                if let Some(held) = held {
                    self.hold_body(now, peer, key, held, Role::Receiving);
                }
                return refuse(Code::REQUEST_ENTITY_INCOMPLETE);
            }
        };
        let announced = part.size1.unwrap_or(0) as usize;
        if (bytes.len() + length).max(announced) > self.config.body_bytes_max {
            return self.refuse_too_large();
        }
        bytes.extend_from_slice(part.payload);
        if !block.more {
            return Taken::Whole(bytes);
        }
        if !self.hold_body(now, peer, key, bytes, Role::Receiving) {
            return refuse(Code::SERVICE_UNAVAILABLE);
        }
        // RFC 7959 §2.3: the server may ask for smaller blocks from here on.
        let size = block.size.min(self.config.block_size);
        let echo = Block { size, ..block };
        Taken::Answer(Response::new(Code::CONTINUE), Some(echo))
    }

    /// RFC 7959 §2.9.3: the response SHOULD carry in Size1 what the server would take.
    pub(super) fn refuse_too_large(&mut self) -> Taken {
        self.counters.bodies_refused += 1;
        let mut response = Response::new(Code::REQUEST_ENTITY_TOO_LARGE);
        response.size1 = u32::try_from(self.config.body_bytes_max).ok();
        Taken::Answer(response, None)
    }

    /// Keeps the body of a response for the blocks to come, if there is room.
    pub(super) fn keep_response(&mut self, now: Instant, peer: P, key: BodyKey, mut response: Response) {
        let bytes = core::mem::take(&mut response.payload);
        self.take_body(peer, key, |role| matches!(role, Role::Serving { .. }));
        self.hold_body(now, peer, key, bytes, Role::Serving { head: response });
    }

    /// Takes out a kept response, whole again.
    pub(super) fn take_response(&mut self, peer: P, key: BodyKey) -> Option<Response> {
        let mut taken = None;
        let bytes = self.take_body(peer, key, |role| match role {
            Role::Serving { head } => {
                taken = Some(head.clone());
                true
            }
            Role::Receiving => false,
        })?;
        let mut response = taken?;
        response.payload = bytes;
        Some(response)
    }

    fn take_body(
        &mut self,
        peer: P,
        key: BodyKey,
        mut is_wanted: impl FnMut(&Role) -> bool,
    ) -> Option<Vec<u8>> {
        let bodies = &mut self.peers.get_mut(&peer)?.bodies;
        let at = bodies.iter().position(|body| body.key == key && is_wanted(&body.role))?;
        let body = bodies.remove(at);
        self.wheel.cancel(body.timer);
        self.held_bytes -= body.bytes.len();
        Some(body.bytes)
    }

    /// Holds a body until its next block; `false` if all bodies together are too large.
    fn hold_body(&mut self, now: Instant, peer: P, key: BodyKey, bytes: Vec<u8>, role: Role) -> bool {
        self.make_room(peer);
        let serial = self.serial();
        let Some(known) = self.peers.get_mut(&peer) else {
            return false;
        };
        if self.held_bytes + bytes.len() > self.config.held_bytes_max {
            self.counters.bodies_refused += 1;
            return false;
        }
        self.held_bytes += bytes.len();
        let at = now.after(self.config.body_wait);
        let timer = self.wheel.insert(at, Timer::Body(peer, serial));
        known.bodies.push(HeldBody { serial, timer, key, bytes, role });
        true
    }

    fn make_room(&mut self, peer: P) {
        let bodies_max = self.config.bodies_per_peer_max.max(1);
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        while known.bodies.len() >= bodies_max {
            let oldest = known.bodies.remove(0);
            self.wheel.cancel(oldest.timer);
            self.held_bytes -= oldest.bytes.len();
            self.counters.bodies_refused += 1;
        }
    }

    pub(super) fn body_timeout(&mut self, peer: P, serial: u64) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        if let Some(at) = known.bodies.iter().position(|body| body.serial == serial) {
            self.held_bytes -= known.bodies.remove(at).bytes.len();
            self.counters.bodies_expired += 1;
        }
    }
}

fn refuse(code: Code) -> Taken {
    Taken::Answer(Response::new(code), None)
}

/// FNV-1a, 64 bits: short keys, no state to set up.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
