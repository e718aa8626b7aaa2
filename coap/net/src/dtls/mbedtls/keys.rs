//! Keys that have to be looked up: the identity is in the clear, so the handshake waits before it is read.
//!
//! Where the identity comes in fragments, the last one to come waits: Mbed TLS asks for the key when it has them all.

use std::mem;
use std::sync::Arc;

use bellwether_coap::Instant;

use super::MbedTls;
use super::ffi::Found;
use super::session::{Key, Phase, Session};
use crate::SessionId;
use crate::dtls::Outputs;
use crate::dtls::record::{Record, records};
use crate::psk::{IDENTITY_BYTES_MAX, Lookup, Secret};

/// Whether a record of a handshake is read now.
enum Gate {
    /// It is; with the key of the identity that it names, if it names one.
    Open(Option<Found>),
    /// It waits, or it was dropped.
    Shut,
}

impl MbedTls {
    /// Acts on a record of a handshake, once the key that it needs is there.
    pub(super) fn on_handshake_record(
        &mut self,
        id: SessionId,
        record: &Record<'_>,
        now: Instant,
        out: &mut Outputs,
    ) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.note(record);
        }
        if let Gate::Open(found) = self.gate(id, record, out) {
            self.step(id, Some((record.bytes, found)), now, out);
        }
    }

    fn gate(&mut self, id: SessionId, record: &Record<'_>, out: &mut Outputs) -> Gate {
        let Some(session) = self.sessions.get_mut(&id) else { return Gate::Shut };
        let Phase::Handshake { key, exchange, .. } = &mut session.phase else { return Gate::Open(None) };
        let named = if self.server { exchange.add(record).and_then(name_of) } else { None };
        match (&mut *key, named) {
            (Key::Awaited { held, bytes, .. }, _) => {
                // The peer says again what has no room.
                if *bytes + record.bytes.len() <= HELD_BYTES_MAX {
                    *bytes += record.bytes.len();
                    held.push(record.bytes.into());
                }
                Gate::Shut
            }
            (Key::Known(found), Some(name)) if found.identity == name => Gate::Open(Some(found.clone())),
            (_, Some(name)) => self.look_up(id, name, record, out),
            (_, None) => Gate::Open(None),
        }
    }

    fn look_up(&mut self, id: SessionId, name: Arc<str>, record: &Record<'_>, out: &mut Outputs) -> Gate {
        let key = match self.keys.as_ref().map_or(Lookup::Nobody, |keys| keys.find(name.as_bytes())) {
            Lookup::Key(key) => Some(key),
            Lookup::Nobody => None,
            Lookup::Later if self.keys_awaited >= self.config.keys_awaited_max => {
                self.counters.keys_refused += 1;
                return Gate::Shut;
            }
            Lookup::Later => {
                self.await_key(id, name, record, out);
                return Gate::Shut;
            }
        };
        Gate::Open(Some(Found { identity: name, key }))
    }

    fn await_key(&mut self, id: SessionId, name: Arc<str>, record: &Record<'_>, out: &mut Outputs) {
        let Some(Session { phase: Phase::Handshake { key, .. }, .. }) = self.sessions.get_mut(&id) else {
            return;
        };
        let (held, bytes) = (vec![record.bytes.into()], record.bytes.len());
        *key = Key::Awaited { identity: Arc::clone(&name), held, bytes };
        self.keys_awaited += 1;
        self.counters.keys_asked += 1;
        out.key_wanted(id, name);
    }

    /// Goes on with a handshake whose key was looked up.
    pub(super) fn on_key(&mut self, id: SessionId, found: Option<Secret>, now: Instant, out: &mut Outputs) {
        let Some(Session { phase: Phase::Handshake { key, .. }, .. }) = self.sessions.get_mut(&id) else {
            return;
        };
        let held = match mem::replace(key, Key::Unasked) {
            Key::Awaited { identity, held, .. } => {
                *key = Key::Known(Found { identity, key: found });
                held
            }
            before => {
                *key = before;
                return;
            }
        };
        self.keys_awaited -= 1;
        for bytes in held {
            let Some(Ok(record)) = records(&bytes).next() else { continue };
            if self.sessions.get(&id).is_some_and(Session::is_live) {
                // The peer said its last flight more than once.
                self.read(id, &record, now, out);
            } else if let Gate::Open(found) = self.gate(id, &record, out) {
                self.step(id, Some((record.bytes, found)), now, out);
            }
        }
    }

    /// Gives back what a handshake that ended has taken of the bound on look-ups.
    pub(super) fn forget_key(&mut self, session: &Session) {
        if let Phase::Handshake { key: Key::Awaited { .. }, .. } = session.phase {
            self.keys_awaited -= 1;
        }
    }
}

/// Reads an identity as the name that it has to be for anybody to have it.
fn name_of(identity: &[u8]) -> Option<Arc<str>> {
    std::str::from_utf8(identity).ok().filter(|_| identity.len() <= IDENTITY_BYTES_MAX).map(Arc::from)
}

/// Bytes of records that wait for a key: the key exchange with the longest identity, the change of cipher and the
/// Finished are 430, and the peer may say them again a few times.
const HELD_BYTES_MAX: usize = 4_096;
