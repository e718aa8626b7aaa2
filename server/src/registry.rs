//! Who is registered, and over which session it is reached. In memory: a device whose registration is lost is
//! told so at its next update, and registers again.

mod listening;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bellwether_decide::device::Endpoint;
use bellwether_net::{Peer, SessionId, ShardHandle};
use bellwether_store::operators::Contact;
use lwm2m_rs::registration::Version;
use lwm2m_rs::{ContentFormat, Path};
use tokio::sync::broadcast;

pub use listening::{AWAKE_S, Queue};

/// A registered device.
#[derive(Clone)]
pub struct Registration {
    /// Its name.
    pub endpoint: Endpoint,
    /// Its session, on `shard`.
    pub session: SessionId,
    /// The socket that it came to.
    pub shard: ShardHandle,
    /// Where it is.
    pub address: SocketAddr,
    /// Seconds until it has to be heard again.
    pub lifetime_s: u64,
    /// When its registration ends, by [`Core::steady`](crate::core::Core::steady).
    pub expires: u64,
    /// How it wants to be spoken to.
    pub speaks: Arc<Speaks>,
    /// Whether it has the object in which it tells its stable answers.
    pub lists_updates: bool,
    /// What it told there.
    pub told: Told,
    /// How far newer anchors came with it.
    pub anchors: Brought,
    /// Since when nothing came of it, where it is in queue mode.
    pub queue: Option<Queue>,
}

/// How far newer anchors came with a device.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Brought {
    /// It has those in force, or is being brought them.
    #[default]
    UpToDate,
    /// It has not: it did not answer, or takes none.
    Behind,
    /// The same, and it was heard of since, so that it can be tried again.
    BehindAndHeard,
}

/// What a device said of itself when it registered, as far as it matters for asking it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Speaks {
    /// Its LwM2M.
    pub version: Version,
    /// Content formats that it lists.
    pub formats: Vec<ContentFormat>,
    /// What stands before all its paths: empty, or such as `/lwm2m`.
    pub root: String,
}

impl Speaks {
    /// Writes a path as the device has it.
    #[must_use]
    pub fn uri_path(&self, path: Path) -> String {
        format!("{}{path}", self.root)
    }
}

/// The stable answers of a device, as far as they are known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Told {
    /// Nothing: it has no object for them, or did not answer.
    #[default]
    Nothing,
    /// They are being read; what it is offered waits for them.
    Awaited,
    /// Encoded, as it told them; they were read without an error.
    Answers(Arc<[u8]>),
}

/// A registration that was renewed or has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Touched {
    /// Whose it is.
    pub endpoint: Endpoint,
    /// Whether it came over another session before, or did when that could not be forgotten: one that sleeps is kept
    /// with it.
    pub from_another: bool,
}

/// A device came or went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its name.
    pub endpoint: Endpoint,
    /// Where it is; `None`: it can't be reached any more.
    pub address: Option<SocketAddr>,
}

/// Keeps registrations by location and by name.
pub struct Registry {
    kept: RwLock<Kept>,
    awake_s: u64,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(AWAKE_S)
    }
}

/// Where changes are told; who does not listen fast enough misses the oldest.
struct Changes(broadcast::Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(CHANGES_MAX))
    }
}

impl Changes {
    fn tell(&self, endpoint: &Endpoint, address: Option<SocketAddr>) {
        // Nobody listens where there is no broker.
        let _ = self.0.send(Change { endpoint: endpoint.clone(), address });
    }
}

#[derive(Default)]
struct Kept {
    by_location: HashMap<String, Registration>,
    /// When each registration ends, the next one first: nobody looks at all of them every second.
    ends: BTreeSet<(u64, String)>,
    locations: HashMap<Endpoint, String>,
    /// Whose a session is, by the session over which a device was heard last.
    sessions: HashMap<SessionId, Endpoint>,
    /// The last two addresses of each device, newest last: they outlive registrations, for alarms.
    addresses: HashMap<Endpoint, [Option<SocketAddr>; 2]>,
    changes: Changes,
    /// Heard, and not yet written down.
    heard: HashMap<Endpoint, Contact>,
    /// Who was heard of since newer anchors did not come to it.
    behind: BTreeSet<Endpoint>,
    /// Whose former registration may still be kept with a session that sleeps: nobody could forget it yet.
    former: HashSet<Endpoint>,
    /// How many of the registrations are in queue mode.
    in_queue_mode: usize,
    /// Goes up whenever somebody may not register any more.
    endings: u64,
}

impl Registry {
    /// Notes that a device was heard from this address; `registered`: that it registered just now.
    pub fn heard(&self, endpoint: &Endpoint, address: &str, now: u64, registered: bool) {
        let mut kept = self.write();
        let new =
            || Contact { endpoint: endpoint.clone(), registered_at: 0, heard_at: 0, address: String::new() };
        let contact = kept.heard.entry(endpoint.clone()).or_insert_with(new);
        contact.heard_at = now;
        address.clone_into(&mut contact.address);
        if registered {
            contact.registered_at = now;
        }
        let Kept { by_location, locations, behind, .. } = &mut *kept;
        let registration = locations.get(endpoint).and_then(|location| by_location.get_mut(location));
        if let Some(registration) = registration.filter(|one| one.anchors == Brought::Behind) {
            registration.anchors = Brought::BehindAndHeard;
            behind.insert(endpoint.clone());
        }
    }

    /// Keeps whether a device has the anchors in force, as it was found over this session.
    pub fn brought(&self, endpoint: &Endpoint, session: SessionId, has_all: bool) {
        let mut kept = self.write();
        let Kept { by_location, locations, .. } = &mut *kept;
        let found = locations.get(endpoint).and_then(|location| by_location.get_mut(location));
        if let Some(registration) = found.filter(|registration| registration.session == session) {
            registration.anchors = if has_all { Brought::UpToDate } else { Brought::Behind };
        }
    }

    /// Takes the registrations of devices that newer anchors did not come to, and that were heard of since.
    #[must_use]
    pub fn take_behind(&self, now: u64) -> Vec<Registration> {
        let mut kept = self.write();
        let Kept { by_location, locations, behind, .. } = &mut *kept;
        // Taken where it is found: one that is heard of between a look and a later note would be passed over for good.
        let mut due = Vec::new();
        behind.retain(|endpoint| {
            let found = locations.get(endpoint).and_then(|location| by_location.get_mut(location));
            let Some(registration) = found.filter(|one| one.anchors == Brought::BehindAndHeard) else {
                return false;
            };
            let is_due = registration.is_to_get_anchors(now);
            if is_due {
                registration.anchors = Brought::UpToDate;
                due.push(registration.clone());
            }
            !is_due
        });
        due
    }

    /// What was heard of a device and is not yet written down.
    #[must_use]
    pub fn last_heard(&self, endpoint: &Endpoint) -> Option<Contact> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).heard.get(endpoint).cloned()
    }

    /// Takes what was heard, to be written down, by name.
    #[must_use]
    pub fn take_heard(&self) -> Vec<Contact> {
        let mut heard: Vec<_> = std::mem::take(&mut self.write().heard).into_values().collect();
        heard.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        heard
    }

    /// Takes back what could not be written down; what was heard since counts.
    pub fn give_back(&self, contacts: Vec<Contact>) {
        let mut kept = self.write();
        for contact in contacts {
            kept.heard.entry(contact.endpoint.clone()).or_insert(contact);
        }
    }

    /// Listens to who comes and goes from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).changes.0.subscribe()
    }

    /// Registers a device under a location that nobody can guess; an older registration of it ends. Tells whether that
    /// one came over another session.
    pub fn register(&self, location: String, registration: Registration) -> bool {
        let mut kept = self.write();
        kept.heard(&registration.endpoint, registration.address);
        let old = kept.locations.insert(registration.endpoint.clone(), location.clone());
        let old = old.and_then(|old| kept.remove(&old));
        let from_another = old.is_some_and(|old| old.session != registration.session);
        let from_another = kept.has_former(&registration.endpoint, from_another);
        kept.sessions.insert(registration.session, registration.endpoint.clone());
        kept.changes.tell(&registration.endpoint, Some(registration.address));
        if registration.anchors == Brought::BehindAndHeard {
            kept.behind.insert(registration.endpoint.clone());
        }
        kept.ends.insert((registration.expires, location.clone()));
        kept.in_queue_mode += usize::from(registration.queue.is_some());
        kept.by_location.insert(location, registration);
        from_another
    }

    /// Tells how often somebody lost the right to register: who looks up whether a device may reads it before, and looks
    /// again where it has gone up once the device is registered.
    #[must_use]
    pub fn endings(&self) -> u64 {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).endings
    }

    /// Notes that somebody may not register any more, after that was written and before what they have here is ended.
    pub fn ends(&self) {
        self.write().endings += 1;
    }

    /// Takes a registration back whose device may not register any more.
    pub fn withdraw(&self, location: &str) {
        let mut kept = self.write();
        let Some(Registration { endpoint, .. }) = kept.remove(location) else { return };
        kept.locations.remove(&endpoint);
        kept.changes.tell(&endpoint, None);
    }

    /// Gives the LwM2M that a registration was made in.
    #[must_use]
    pub fn version(&self, location: &str) -> Option<Version> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.by_location.get(location).map(|registration| registration.speaks.version)
    }

    /// Renews a registration of the same device, with what it changed; `None` where there is no such one.
    pub fn update(
        &self,
        location: &str,
        (shard, peer): (&ShardHandle, &Peer),
        lifetime_s: Option<u64>,
        now: u64,
    ) -> Option<Touched> {
        let mut kept = self.write();
        let registration = kept.by_location.get_mut(location)?;
        if !registration.is_of(shard, peer) || registration.expires < now {
            return None;
        }
        let before = std::mem::replace(&mut registration.session, peer.session);
        registration.address = peer.address;
        registration.queue = registration.queue.take().map(|_| Queue::heard(now, Some(peer.clone())));
        registration.lifetime_s = lifetime_s.unwrap_or(registration.lifetime_s);
        let end = std::mem::replace(&mut registration.expires, expiry(registration.lifetime_s, now));
        let (next_end, endpoint) = (registration.expires, registration.endpoint.clone());
        kept.ends.remove(&(end, location.to_owned()));
        kept.ends.insert((next_end, location.to_owned()));
        let from_another = before != peer.session;
        if from_another {
            kept.sessions.remove(&before);
            kept.sessions.insert(peer.session, endpoint.clone());
        }
        let from_another = kept.has_former(&endpoint, from_another);
        Some(Touched { endpoint, from_another })
    }

    /// Notes that a device goes on from another address, over the same session.
    pub fn moved(&self, endpoint: &str, session: SessionId, address: SocketAddr) {
        let mut kept = self.write();
        let Ok(endpoint) = Endpoint::try_from(endpoint) else { return };
        let Kept { by_location, locations, changes, .. } = &mut *kept;
        let found = locations.get(&endpoint).and_then(|location| by_location.get_mut(location));
        if let Some(registration) = found.filter(|registration| registration.session == session) {
            registration.address = address;
            changes.tell(&endpoint, Some(address));
            kept.heard(&endpoint, address);
        }
    }

    /// Finds the registration that was made or renewed last over this session, and its location.
    #[must_use]
    pub fn of_session(&self, endpoint: &str, session: SessionId) -> Option<(String, Registration)> {
        let endpoint = Endpoint::try_from(endpoint).ok()?;
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let location = kept.locations.get(&endpoint)?;
        let registration = kept.by_location.get(location).filter(|one| one.session == session)?;
        Some((location.clone(), registration.clone()))
    }

    /// Ends a registration of the same device; `None` where there is no such one.
    pub fn deregister(&self, location: &str, (shard, peer): (&ShardHandle, &Peer)) -> Option<Touched> {
        let mut kept = self.write();
        if !kept.by_location.get(location).is_some_and(|registration| registration.is_of(shard, peer)) {
            // It may say again that it leaves, since what is kept of it could not be forgotten.
            let endpoint = Endpoint::try_from(peer.identity.as_deref()?).ok()?;
            return kept.has_left(&endpoint).then_some(Touched { endpoint, from_another: true });
        }
        let Registration { endpoint, session, .. } = kept.remove(location)?;
        kept.locations.remove(&endpoint);
        kept.changes.tell(&endpoint, None);
        let from_another = kept.has_former(&endpoint, session != peer.session);
        Some(Touched { endpoint, from_another })
    }

    /// Names the devices that are not registered, and of which a former registration may still be kept.
    #[must_use]
    pub fn left(&self) -> Vec<Endpoint> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let mut left: Vec<_> = kept.former.iter().filter(|one| kept.has_left(one)).cloned().collect();
        left.sort_unstable();
        left
    }

    /// Notes that nothing is kept of a device's former registration.
    pub fn former_is_forgotten(&self, endpoint: &Endpoint) {
        self.write().former.remove(endpoint);
    }

    /// Ends what came over a sleeping session of a socket that turned out to be lost, whosever it is. The numbers of
    /// other sockets' sessions mean nothing there: a forged connection ID must not end what came over plain UDP.
    pub fn forget_lost(&self, socket: SocketAddr, session: SessionId) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let location = kept.sessions.get(&session).and_then(|endpoint| kept.locations.get(endpoint));
        let found = location.and_then(|location| kept.by_location.get(location));
        let lost = found.filter(|one| one.session == session && one.shard.local_addr() == socket);
        let endpoint = lost.map(|one| one.endpoint.clone());
        drop(kept);
        if let Some(endpoint) = endpoint {
            self.forget_session(endpoint.as_str(), session);
        }
    }

    /// Ends what came over a session that is gone: the device can't be reached until it comes again.
    pub fn forget_session(&self, endpoint: &str, session: SessionId) {
        let mut kept = self.write();
        let Ok(endpoint) = Endpoint::try_from(endpoint) else {
            return;
        };
        let Some(location) = kept.locations.get(&endpoint).cloned() else {
            return;
        };
        if kept.by_location.get(&location).is_some_and(|registration| registration.session == session) {
            kept.remove(&location);
            kept.locations.remove(&endpoint);
            kept.changes.tell(&endpoint, None);
        }
    }

    /// Ends what is registered of a device, over whatever session.
    pub fn forget(&self, endpoint: &Endpoint) {
        let mut kept = self.write();
        let Some(location) = kept.locations.remove(endpoint) else { return };
        kept.remove(&location);
        kept.changes.tell(endpoint, None);
    }

    /// Finds a device that can be reached now.
    #[must_use]
    pub fn find(&self, endpoint: &Endpoint, now: u64) -> Option<Registration> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let registration = kept.by_location.get(kept.locations.get(endpoint)?)?;
        (registration.expires >= now).then(|| registration.clone())
    }

    /// Keeps what a device told of itself over this session; `None` where it told nothing.
    pub fn told(&self, endpoint: &Endpoint, session: SessionId, answers: Option<Arc<[u8]>>) {
        let mut kept = self.write();
        let Kept { by_location, locations, .. } = &mut *kept;
        let found = locations.get(endpoint).and_then(|location| by_location.get_mut(location));
        if let Some(registration) = found.filter(|registration| registration.session == session) {
            registration.told = answers.map_or(Told::Nothing, Told::Answers);
        }
    }

    /// Finds what a registered device told of itself.
    #[must_use]
    pub fn stable_answers(&self, endpoint: &Endpoint, now: u64) -> Option<Arc<[u8]>> {
        match self.find(endpoint, now)?.told {
            Told::Answers(answers) => Some(answers),
            Told::Nothing | Told::Awaited => None,
        }
    }

    /// Lists the registrations of devices that have the object for newer anchors, but those whose answers are awaited,
    /// in the order of their names.
    #[must_use]
    pub fn listing_updates(&self, now: u64) -> Vec<Registration> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let listing = kept.by_location.values().filter(|one| one.is_to_get_anchors(now));
        let mut listing: Vec<Registration> = listing.cloned().collect();
        listing.sort_unstable_by(|one, other| one.endpoint.cmp(&other.endpoint));
        listing
    }

    /// Forgets registrations that have ended; returns how many there were.
    pub fn sweep(&self, now: u64) -> usize {
        let mut kept = self.write();
        let mut ended = 0;
        while kept.ends.first().is_some_and(|(end, _)| *end < now) {
            let Some((_, location)) = kept.ends.pop_first() else { break };
            let Some(registration) = kept.remove(&location) else { continue };
            kept.locations.remove(&registration.endpoint);
            kept.changes.tell(&registration.endpoint, None);
            ended += 1;
        }
        ended
    }

    /// Gives the latest address of a device that is not this one.
    #[must_use]
    pub fn other_address(&self, endpoint: &Endpoint, address: &str) -> Option<String> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let known = kept.addresses.get(endpoint)?.iter().rev().flatten();
        known.map(ToString::to_string).find(|known| known != address)
    }

    /// Counts the registrations.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).by_location.len()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Whether its device has the object for newer anchors, and its answers are not awaited.
    fn is_to_get_anchors(&self, now: u64) -> bool {
        self.expires >= now && self.lists_updates && self.told != Told::Awaited
    }

    /// Whether this peer made it: over the same socket, since numbers of sessions mean something only there, and
    /// since a device with a key must not be spoken for by whoever needs none.
    fn is_of(&self, shard: &ShardHandle, peer: &Peer) -> bool {
        self.shard.local_addr() == shard.local_addr()
            && peer.identity.as_deref().is_none_or(|identity| identity == self.endpoint.as_str())
    }
}

/// When a lifetime ends; 0 is for ever.
#[must_use]
pub fn expiry(lifetime_s: u64, now: u64) -> u64 {
    if lifetime_s == 0 { u64::MAX } else { now.saturating_add(lifetime_s) }
}

/// Carries the end of something from one clock to another: as far ahead there, and never, where it never ends.
#[must_use]
pub fn carried(end: u64, now: u64, now_there: u64) -> u64 {
    if end == u64::MAX { end } else { now_there.saturating_add(end.saturating_sub(now)) }
}

impl Kept {
    fn remove(&mut self, location: &str) -> Option<Registration> {
        let registration = self.by_location.remove(location)?;
        self.in_queue_mode -= usize::from(registration.queue.is_some());
        self.ends.remove(&(registration.expires, location.to_owned()));
        self.sessions.remove(&registration.session);
        Some(registration)
    }

    /// Tells whether a former registration is to be forgotten, now or since an earlier time when that failed.
    fn has_former(&mut self, endpoint: &Endpoint, from_another: bool) -> bool {
        if from_another {
            self.former.insert(endpoint.clone());
        }
        self.former.contains(endpoint)
    }

    /// Tells whether a device is not registered and may still be kept as if it were.
    fn has_left(&self, endpoint: &Endpoint) -> bool {
        self.former.contains(endpoint) && !self.locations.contains_key(endpoint)
    }

    fn heard(&mut self, endpoint: &Endpoint, address: SocketAddr) {
        let [before, latest] = self.addresses.entry(endpoint.clone()).or_default();
        if *latest != Some(address) {
            *before = latest.replace(address);
        }
    }
}

/// Changes that wait for who listens: a fleet that comes back at once after an outage, at 100 bytes each.
const CHANGES_MAX: usize = 16_384;

#[cfg(test)]
mod tests;
