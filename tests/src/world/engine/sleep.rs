//! Sessions that sleep: given out of the engine once they are idle, and brought back, as the DTLS engine does it.

use std::net::SocketAddr;
use std::time::Duration;

use bellwether_net::coap::Instant;
use bellwether_net::dtls::{Established, Outputs};
use bellwether_net::{Dormant, SessionId};

use super::wire::{SessionNumber, Window};
use super::{Bare, Role, Session, Stage};

/// A record that came for a session which is not here.
pub(super) struct Waiting {
    from: SocketAddr,
    sent: u64,
    payload: Vec<u8>,
}

impl Bare {
    pub(super) fn keeps_sleepers(&self) -> bool {
        matches!(self.role, Role::Server(_)) && self.config.hibernate_after.is_some()
    }

    /// Gives a session out; nothing of it stays.
    pub(super) fn hibernate(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(dormant) = session.put_to_sleep(id, now) {
            self.counters.sessions_hibernated += 1;
            out.hibernated(dormant);
        }
    }

    pub(super) fn hibernate_every(&mut self, now: Instant, out: &mut Outputs) {
        if !self.keeps_sleepers() {
            return;
        }
        let established = self.sessions.iter().filter(|(_, session)| session.is_established());
        let awake: Vec<_> = established.map(|(id, _)| *id).collect();
        for id in awake {
            self.hibernate(id, now, out);
        }
    }

    /// Lets a record wait until whoever keeps sessions has looked for its own; asks once.
    pub(super) fn on_record_of_absent(
        &mut self,
        from: SocketAddr,
        (number, sent, payload): (SessionNumber, u64, &[u8]),
        out: &mut Outputs,
    ) {
        let id = SessionId(number.0);
        let has_room = self.wanted.len() < self.config.wakes_max || self.wanted.contains_key(&id);
        if !self.keeps_sleepers() || !has_room {
            self.counters.rejected += 1;
            return;
        }
        let waiting = self.wanted.entry(id).or_default();
        if waiting.is_empty() {
            out.wanted(id);
        }
        if waiting.len() < WAITING_MAX {
            waiting.push(Waiting { from, sent, payload: payload.to_vec() });
        }
    }

    pub(super) fn wake(
        &mut self,
        id: SessionId,
        dormant: Option<Dormant>,
        now: Instant,
        out: &mut Outputs,
    ) -> bool {
        let waiting = self.wanted.remove(&id).unwrap_or_default();
        let Some(session) = dormant.and_then(|dormant| Session::woken(&dormant, now)) else { return false };
        self.counters.sessions_resumed += 1;
        out.resumed(Established {
            session: id,
            address: session.address,
            identity: session.identity.clone(),
            traffic: std::sync::Arc::clone(&session.traffic),
        });
        self.sessions.insert(id, session);
        for Waiting { from, sent, payload } in waiting {
            self.on_record(from, (SessionNumber(id.0), sent, &payload), now, out);
        }
        true
    }
}

impl Session {
    fn put_to_sleep(self, id: SessionId, now: Instant) -> Option<Dormant> {
        let (highest, came) = self.window.parts();
        let state: Vec<u8> =
            [self.nonce, self.sent, highest, came].iter().flat_map(|number| number.to_be_bytes()).collect();
        let age = self.age + now.0.saturating_sub(self.since.0);
        Some(Dormant::from_parts(id, self.identity?, self.address, age, state))
    }

    /// Its own numbers jump by its age, as those of DTLS do: a copy of it from before never uses one twice.
    fn woken(dormant: &Dormant, now: Instant) -> Option<Self> {
        let (numbers, []) = dormant.secret().as_chunks::<8>() else { return None };
        let &[nonce, sent, highest, came] = numbers else { return None };
        let [nonce, sent, highest, came] = [nonce, sent, highest, came].map(u64::from_be_bytes);
        let mut session = Self::begun(dormant.address, now, nonce, Stage::Established);
        session.identity = Some(std::sync::Arc::clone(&dormant.identity));
        session.number = Some(SessionNumber(dormant.session.0));
        session.sent = sent.max(dormant.age.as_secs().saturating_mul(NUMBERS_PER_S));
        session.window = Window::of(highest, came);
        session.age = dormant.age;
        Some(session)
    }
}

/// Records that wait for one session; more are lost, and sent again.
const WAITING_MAX: usize = 8;

/// Sequence numbers that a session is granted for each second of its age.
const NUMBERS_PER_S: u64 = 65_536;

/// No age yet.
pub(super) const NEW: Duration = Duration::ZERO;
