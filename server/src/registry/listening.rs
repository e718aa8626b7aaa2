//! Which registered devices listen: those in queue mode do for a while after their last message.

use std::sync::{PoisonError, RwLock};

use bellwether_decide::device::Endpoint;
use bellwether_decide::queue_mode::{self, Listening, Reach, Silence};
use bellwether_net::{Peer, SessionId, ShardHandle};

use super::{Kept, Registration, Registry, Told};

/// A device in queue mode: since when nothing came of it. Times are those of [`Core::steady`](crate::core::Core::steady).
#[derive(Clone, Debug)]
pub struct Queue {
    /// When it was heard last.
    pub heard: u64,
    /// Seconds of silence before that, of one that is known from before this start.
    pub before_s: u64,
    /// When it did not acknowledge something.
    pub missed: Option<u64>,
    /// Who it is on its socket, which hears of it what the rooms do not: frames from memory, and parts of what is whole
    /// later.
    pub peer: Option<Peer>,
}

impl Queue {
    /// Begins with a message that came now.
    #[must_use]
    pub fn heard(now: u64, peer: Option<Peer>) -> Self {
        Self { heard: now, before_s: 0, missed: None, peer }
    }

    /// Goes on with one that was heard last before this start, at a time of the wall clock; `now` by that clock, and by
    /// the one that never steps.
    #[must_use]
    pub fn silent_since(at: u64, (now, steady): (u64, u64)) -> Self {
        Self { before_s: now.saturating_sub(at), ..Self::heard(steady, None) }
    }

    fn silence(&self, shard: &ShardHandle, now: u64) -> Silence {
        let here = now.saturating_sub(self.heard).saturating_add(self.before_s);
        let on_the_socket = self.peer.as_ref().map(|peer| shard.silence(peer).as_secs());
        let silent_s = on_the_socket.map_or(here, |there| there.min(here));
        let missed_s = self.missed.map(|at| now.saturating_sub(at));
        Silence { silent_s, missed_s: missed_s.filter(|missed_s| *missed_s <= silent_s) }
    }
}

impl Registration {
    /// Tells whether its device listens now.
    #[must_use]
    pub fn listening(&self, awake_s: u64, now: u64) -> Listening {
        queue_mode::listening(self.silence(now), awake_s)
    }

    /// Tells for how long nothing came of its device; `None` where it is in no queue mode.
    #[must_use]
    pub fn silence(&self, now: u64) -> Option<Silence> {
        self.queue.as_ref().map(|queue| queue.silence(&self.shard, now))
    }
}

impl Registry {
    /// Starts empty; `awake_s`: seconds for which devices in queue mode listen after their last message.
    #[must_use]
    pub fn new(awake_s: u64) -> Self {
        Self { kept: RwLock::default(), awake_s }
    }

    /// Tells whether a registered device listens now; `None` where it is not registered.
    #[must_use]
    pub fn listening(&self, endpoint: &Endpoint, now: u64) -> Option<Listening> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let registration = kept.of(endpoint).filter(|one| one.expires >= now)?;
        Some(registration.listening(self.awake_s, now))
    }

    /// Tells whether a registered device can be offered something now: not while its answers are awaited, or while it sleeps.
    /// `None` where it is not registered.
    #[must_use]
    pub fn is_ready(&self, endpoint: &Endpoint, now: u64) -> Option<bool> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let registration = kept.of(endpoint)?;
        (registration.expires >= now)
            .then(|| registration.told != Told::Awaited && registration.listening(self.awake_s, now).hears())
    }

    /// Tells how a device can be reached now; one whose answers are awaited can't be yet.
    #[must_use]
    pub fn reach(&self, endpoint: &Endpoint, now: u64) -> Reach {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        match kept.of(endpoint).filter(|one| one.expires >= now) {
            Some(one) if !one.listening(self.awake_s, now).hears() => Reach::Asleep,
            Some(one) if one.told != Told::Awaited => Reach::Here,
            _ => Reach::Away,
        }
    }

    /// Notes that a message came over a session; gives the device whose it is where it was taken for asleep.
    pub fn heard_over(&self, shard: &ShardHandle, peer: &Peer, now: u64) -> Option<Endpoint> {
        // Most devices are in no queue mode, and need no place in the queue of those who write.
        let is_of =
            |one: &Registration| one.queue.is_some() && one.session == peer.session && one.is_of(shard, peer);
        let endpoint = {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            let endpoint = kept.sessions.get(&peer.session)?;
            kept.of(endpoint).filter(|one| is_of(one))?.endpoint.clone()
        };
        let awake_s = self.awake_s;
        let mut kept = self.write();
        let registration = kept.of_mut(&endpoint).filter(|one| is_of(one))?;
        // Of what the socket has just heard it knows already: what the rooms knew before counts.
        let queue = registration.queue.as_mut()?;
        let before = Queue { peer: None, ..queue.clone() };
        *queue = Queue::heard(now, Some(peer.clone()));
        let was_asleep = !queue_mode::listening(Some(before.silence(shard, now)), awake_s).hears();
        was_asleep.then_some(endpoint)
    }

    /// Notes that something came of a device, by whatever way.
    pub fn awake(&self, endpoint: &Endpoint, now: u64) {
        {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            if kept.of(endpoint).is_none_or(|one| one.queue.is_none()) {
                return;
            }
        }
        let mut kept = self.write();
        if let Some(queue) = kept.of_mut(endpoint).and_then(|one| one.queue.as_mut()) {
            *queue = Queue::heard(now, queue.peer.take());
        }
    }

    /// Notes that a device in queue mode did not acknowledge what was sent over this session: it sleeps. `false` of one that
    /// is in no queue mode.
    pub fn missed(&self, endpoint: &Endpoint, session: SessionId, now: u64) -> bool {
        let mut kept = self.write();
        let registration = kept.of_mut(endpoint).filter(|one| one.session == session);
        let queue = registration.and_then(|one| one.queue.as_mut());
        queue.map(|queue| queue.missed = Some(now)).is_some()
    }

    /// Notes what a device says of its queue mode when it renews its registration.
    pub fn turn_queue_mode(&self, location: &str, is_on: bool, now: u64) {
        let mut kept = self.write();
        let Some(registration) = kept.by_location.get_mut(location) else { return };
        let was_on = registration.queue.is_some();
        match (was_on, is_on) {
            (false, true) => registration.queue = Some(Queue::heard(now, None)),
            (true, false) => registration.queue = None,
            _ => return,
        }
        kept.in_queue_mode = if is_on { kept.in_queue_mode + 1 } else { kept.in_queue_mode - 1 };
    }

    /// Counts the registrations in queue mode.
    #[must_use]
    pub fn count_in_queue_mode(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).in_queue_mode
    }
}

impl Kept {
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<&Registration> {
        self.by_location.get(self.locations.get(endpoint)?)
    }

    fn of_mut(&mut self, endpoint: &Endpoint) -> Option<&mut Registration> {
        self.by_location.get_mut(self.locations.get(endpoint)?)
    }
}

/// Seconds for which a device in queue mode listens where nothing else is said: `MAX_TRANSMIT_WAIT` of RFC 7252 §4.8.2, as
/// LwM2M proposes.
pub const AWAKE_S: u64 = 93;
