//! Datagrams between addresses under one seed: lost, doubled, late, out of order, from another address than before.
//!
//! Time is tokio's, so under a paused clock a run is a discrete event simulation. Everything that a datagram meets is
//! drawn when it is sent; what a [`Socket`] receives, and when, follows from the seed and from the order of sends alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::dice::Dice;
use super::trace::{Trace, now};

/// What datagrams meet on their way, each way by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Conditions {
    /// Of a thousand datagrams, so many are lost.
    pub loss_permille: u32,
    /// Of a thousand, so many come twice.
    pub duplicate_permille: u32,
    /// Of a thousand, so many are overtaken by later ones; the others keep their order.
    pub reorder_permille: u32,
    /// Shortest time on the way, in milliseconds.
    pub delay_least_ms: u64,
    /// Longest, without what reordering adds.
    pub delay_most_ms: u64,
    /// What a datagram that is overtaken, or comes a second time, takes longer at the most.
    pub late_most_ms: u64,
}

impl Conditions {
    /// Nothing is lost, and 20 ms each way.
    pub const CALM: Self = Self {
        loss_permille: 0,
        duplicate_permille: 0,
        reorder_permille: 0,
        delay_least_ms: 20,
        delay_most_ms: 20,
        late_most_ms: 0,
    };
}

/// Where nothing goes through for a while.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// Nowhere.
    All,
    /// To and from one socket, by the address that it was bound to.
    Host(SocketAddr),
    /// To and from all sockets of one machine.
    Machine(IpAddr),
    /// Between two sockets, both ways.
    Link(SocketAddr, SocketAddr),
}

/// What one socket sent to another, by the addresses that they were bound to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Datagrams handed over.
    pub sent: u64,
    /// Their bytes, of UDP payload.
    pub sent_bytes: u64,
    /// Of those, the ones that did not arrive.
    pub lost: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// The longest datagram.
    pub longest: usize,
}

/// The network; clones are the same one.
#[derive(Clone, Debug)]
pub struct Network(Arc<Mutex<State>>);

/// A bound address; dropping it unbinds.
#[derive(Debug)]
pub struct Socket {
    network: Network,
    local: SocketAddr,
    arrived: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    conditions: Conditions,
    outages: Vec<Outage>,
    sockets: BTreeMap<SocketAddr, Bound>,
    /// As whom a socket that was bound elsewhere is seen, by its bound address; most are seen as they are bound.
    seen_as: BTreeMap<SocketAddr, SocketAddr>,
    /// Addresses that a translator has given to another since.
    gone: BTreeSet<SocketAddr>,
    counts: BTreeMap<(SocketAddr, SocketAddr), Count>,
    /// When the latest datagram of a pair that keeps its order arrives.
    in_order: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    serial: u64,
    trace: Option<Trace>,
}

#[derive(Debug)]
struct Bound {
    inbox: BinaryHeap<Reverse<Arrival>>,
    arrived: Arc<Notify>,
    is_unplugged: bool,
}

/// Ordered by time, then by the order of sends.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Arrival {
    due: Instant,
    serial: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Outage {
    scope: Scope,
    from: Instant,
    until: Instant,
}

impl Network {
    /// Makes an empty network; `trace` is told of every datagram.
    pub fn new(seed: u64, conditions: Conditions, trace: Option<Trace>) -> Self {
        Self(Arc::new(Mutex::new(State {
            dice: Dice::new(seed, "network"),
            conditions,
            outages: Vec::new(),
            sockets: BTreeMap::new(),
            seen_as: BTreeMap::new(),
            gone: BTreeSet::new(),
            counts: BTreeMap::new(),
            in_order: BTreeMap::new(),
            serial: 0,
            trace,
        })))
    }

    /// Binds an address.
    ///
    /// # Panics
    ///
    /// Where it is bound: a program of the world was started twice.
    pub fn bind(&self, local: SocketAddr) -> Socket {
        let arrived = Arc::new(Notify::new());
        let bound = Bound { inbox: BinaryHeap::new(), arrived: Arc::clone(&arrived), is_unplugged: false };
        let before = self.state().sockets.insert(local, bound);
        assert!(before.is_none(), "{local} is bound already");
        Socket { network: self.clone(), local, arrived }
    }

    /// Changes what datagrams meet that are sent from now on.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.state().conditions = conditions;
    }

    /// Lets nothing through in `scope` that is sent from `from` to `until`.
    pub fn plan_outage(&self, scope: Scope, from: Instant, until: Instant) {
        self.state().outages.push(Outage { scope, from, until });
    }

    /// Lets an address translator forget a socket: from its next datagram on it is seen as `public`, and what is sent to
    /// the address it was seen as before is lost.
    ///
    /// # Panics
    ///
    /// Where somebody is seen as `public` already, or was.
    pub fn rebind(&self, local: SocketAddr, public: SocketAddr) {
        let mut state = self.state();
        let taken = state.sockets.contains_key(&public) || state.seen_as.values().any(|seen| *seen == public);
        assert!(!taken && !state.gone.contains(&public), "{public} is in use");
        let before = state.seen_as.insert(local, public).unwrap_or(local);
        state.gone.insert(before);
        state.note(local, &format!("is seen as {public}, was {before}"));
    }

    /// Pulls the plug of a socket: nothing it sends leaves, nothing reaches it, until it is bound anew.
    pub fn unplug(&self, local: SocketAddr) {
        if let Some(bound) = self.state().sockets.get_mut(&local) {
            bound.inbox.clear();
            bound.is_unplugged = true;
        }
    }

    /// Names the sockets that are bound to an address of a machine now.
    pub fn bound_to(&self, ip: IpAddr) -> Vec<SocketAddr> {
        let state = self.state();
        let live = state.sockets.iter().filter(|(local, bound)| local.ip() == ip && !bound.is_unplugged);
        live.map(|(local, _)| *local).collect()
    }

    /// Gives the address that a socket is seen as.
    pub fn public(&self, local: SocketAddr) -> SocketAddr {
        self.state().public(local)
    }

    /// Gives what was sent so far, by sender and receiver.
    pub fn counts(&self) -> BTreeMap<(SocketAddr, SocketAddr), Count> {
        self.state().counts.clone()
    }

    /// Gives the bytes that all have sent so far.
    pub fn bytes(&self) -> u64 {
        self.state().counts.values().map(|count| count.sent_bytes).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Socket {
    /// Gives the address that it was bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends a datagram; nobody is told whether it arrives.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) {
        self.network.state().send(self.local, to, bytes);
    }

    /// Takes the next datagram that has arrived, and where it came from.
    pub fn try_recv(&self) -> Option<(Vec<u8>, SocketAddr)> {
        self.network.state().receive(self.local)
    }

    /// Waits for the next datagram. Cancelling loses nothing.
    pub async fn recv(&self) -> (Vec<u8>, SocketAddr) {
        loop {
            if let Some(received) = self.try_recv() {
                return received;
            }
            self.readable().await;
        }
    }

    /// Waits until something may have arrived. Cancelling loses nothing.
    pub async fn readable(&self) {
        let arrived = self.arrived.notified();
        let next = self.network.state().next_arrival(self.local);
        match next {
            Some(due) if due <= now() => {}
            Some(due) => {
                tokio::select! {
                    biased;
                    () = sleep_until(due) => {}
                    () = arrived => {}
                }
            }
            None => arrived.await,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.state().sockets.remove(&self.local);
    }
}

impl State {
    fn public(&self, local: SocketAddr) -> SocketAddr {
        self.seen_as.get(&local).copied().unwrap_or(local)
    }

    /// The socket behind an address that somebody sends to.
    fn local_of(&self, public: SocketAddr) -> Option<SocketAddr> {
        if self.gone.contains(&public) {
            return None;
        }
        let translated = self.seen_as.iter().find(|(_, seen)| **seen == public).map(|(local, _)| *local);
        translated.or_else(|| Some(public).filter(|local| !self.seen_as.contains_key(local)))
    }

    fn send(&mut self, local: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.sockets.get(&local).is_none_or(|bound| bound.is_unplugged) {
            return;
        }
        let receiver = self.local_of(to);
        let pair = (local, receiver.unwrap_or(to));
        let conditions = self.conditions;
        let lost = self.dice.happens(conditions.loss_permille);
        let doubled = self.dice.happens(conditions.duplicate_permille);
        let cut = receiver.is_none_or(|receiver| self.is_out(local, receiver));
        let count = self.counts.entry(pair).or_default();
        count.sent += 1;
        count.sent_bytes += bytes.len() as u64;
        count.longest = count.longest.max(bytes.len());
        if lost || cut {
            count.lost += 1;
            let why = if cut { "cut" } else { "lost" };
            return self
                .note(local, &format!("{} bytes to {}, {why}: {:016x}", bytes.len(), pair.1, hash(bytes)));
        }
        count.duplicated += u64::from(doubled);
        let due = self.draw_arrival(pair);
        self.deliver(local, to, due, bytes);
        if doubled {
            let due = due + self.draw_late();
            self.deliver(local, to, due, bytes);
        }
    }

    fn draw_arrival(&mut self, pair: (SocketAddr, SocketAddr)) -> Instant {
        let conditions = self.conditions;
        let delay = self.dice.between(conditions.delay_least_ms, conditions.delay_most_ms);
        let due = now() + Duration::from_millis(delay);
        if self.dice.happens(conditions.reorder_permille) {
            return due + self.draw_late();
        }
        let latest = self.in_order.entry(pair).or_insert(due);
        *latest = due.max(*latest);
        *latest
    }

    fn draw_late(&mut self) -> Duration {
        Duration::from_millis(self.dice.between(0, self.conditions.late_most_ms))
    }

    fn deliver(&mut self, local: SocketAddr, to: SocketAddr, due: Instant, bytes: &[u8]) {
        let from = self.public(local);
        self.serial += 1;
        let late = due.duration_since(now()).as_millis();
        self.note(local, &format!("{} bytes to {to} in {late} ms: {:016x}", bytes.len(), hash(bytes)));
        let arrival = Arrival { due, serial: self.serial, from, to, bytes: bytes.to_vec() };
        let receiver = self.local_of(to).and_then(|receiver| self.sockets.get_mut(&receiver));
        if let Some(bound) = receiver.filter(|bound| !bound.is_unplugged) {
            bound.inbox.push(Reverse(arrival));
            bound.arrived.notify_one();
        }
    }

    fn receive(&mut self, local: SocketAddr) -> Option<(Vec<u8>, SocketAddr)> {
        loop {
            let inbox = &mut self.sockets.get_mut(&local)?.inbox;
            if inbox.peek()?.0.due > now() {
                return None;
            }
            let Reverse(arrival) = inbox.pop()?;
            // The translator may have forgotten it while it was on its way.
            if !self.gone.contains(&arrival.to) {
                return Some((arrival.bytes, arrival.from));
            }
        }
    }

    fn next_arrival(&self, local: SocketAddr) -> Option<Instant> {
        Some(self.sockets.get(&local)?.inbox.peek()?.0.due)
    }

    fn is_out(&self, one: SocketAddr, other: SocketAddr) -> bool {
        let now = now();
        self.outages.iter().any(|outage| {
            let concerned = match outage.scope {
                Scope::All => true,
                Scope::Host(host) => host == one || host == other,
                Scope::Machine(ip) => ip == one.ip() || ip == other.ip(),
                Scope::Link(a, b) => (a, b) == (one, other) || (b, a) == (one, other),
            };
            concerned && outage.from <= now && now < outage.until
        })
    }

    fn note(&self, who: SocketAddr, what: &str) {
        if let Some(trace) = &self.trace {
            trace.note(&who, &what);
        }
    }
}

/// Enough to see in a trace that two datagrams differ.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(super::dice::FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(super::dice::FNV_PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(future)
    }

    fn drain(socket: &Socket) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| socket.try_recv()).map(|(bytes, _)| bytes).collect()
    }

    async fn pass(ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    #[test]
    fn calm_network_delivers_in_order_after_its_delay() {
        run(async {
            let network = Network::new(1, Conditions::CALM, None);
            let (one, other) = (network.bind(at(1)), network.bind(at(2)));
            let before = now();
            for byte in 0..100 {
                one.send_to(&[byte], at(2));
            }
            for byte in 0..100 {
                assert_eq!(other.recv().await, (vec![byte], at(1)));
            }
            assert_eq!(now() - before, Duration::from_millis(20));
        });
    }

    #[test]
    fn loss_and_copies_come_at_their_rates() {
        run(async {
            let conditions = Conditions { loss_permille: 300, duplicate_permille: 100, ..Conditions::CALM };
            let network = Network::new(7, conditions, None);
            let (one, other) = (network.bind(at(1)), network.bind(at(2)));
            for _ in 0..10_000 {
                one.send_to(b"x", at(2));
            }
            pass(1000).await;
            let arrived = drain(&other).len() as u64;
            let count = network.counts()[&(at(1), at(2))];
            assert_eq!((count.sent, count.sent_bytes), (10_000, 10_000));
            assert!((2_800..3_200).contains(&count.lost), "{count:?}");
            assert!((600..800).contains(&count.duplicated), "{count:?}");
            assert_eq!(arrived, 10_000 - count.lost + count.duplicated);
        });
    }

    #[test]
    fn only_what_is_drawn_for_it_is_overtaken() {
        run(async {
            let conditions = Conditions { delay_most_ms: 500, ..Conditions::CALM };
            let network = Network::new(3, conditions, None);
            let (one, other) = (network.bind(at(1)), network.bind(at(2)));
            let send = || (0..200).for_each(|byte| one.send_to(&[byte], at(2)));
            send();
            pass(2000).await;
            assert!(drain(&other).is_sorted());
            network.set_conditions(Conditions { reorder_permille: 200, late_most_ms: 900, ..conditions });
            send();
            pass(2000).await;
            assert!(!drain(&other).is_sorted());
        });
    }

    #[test]
    fn rebound_socket_is_seen_elsewhere_and_its_old_address_is_dead() {
        run(async {
            let network = Network::new(1, Conditions::CALM, None);
            let (device, server) = (network.bind(at(1)), network.bind(at(2)));
            server.send_to(b"on its way", at(1));
            network.rebind(at(1), at(9001));
            server.send_to(b"old", at(1));
            device.send_to(b"hello", at(2));
            assert_eq!(server.recv().await, (b"hello".to_vec(), at(9001)));
            server.send_to(b"new", at(9001));
            assert_eq!(device.recv().await, (b"new".to_vec(), at(2)));
            network.rebind(at(1), at(9002));
            server.send_to(b"old", at(9001));
            pass(100).await;
            assert_eq!(device.try_recv(), None);
        });
    }

    #[test]
    fn outage_cuts_its_scope_for_its_time_alone() {
        run(async {
            let network = Network::new(1, Conditions::CALM, None);
            let (one, other, third) = (network.bind(at(1)), network.bind(at(2)), network.bind(at(3)));
            let start = now();
            let (from, until) = (start + Duration::from_millis(10), start + Duration::from_millis(20));
            network.plan_outage(Scope::Link(at(2), at(1)), from, until);
            for ms in [5, 10, 19, 20] {
                sleep_until(start + Duration::from_millis(ms)).await;
                one.send_to(&[u8::try_from(ms).unwrap()], at(2));
                one.send_to(&[0], at(3));
            }
            pass(100).await;
            assert_eq!(drain(&other), [[5], [20]]);
            assert_eq!(drain(&third).len(), 4);
        });
    }

    #[test]
    fn unbound_address_loses_what_is_sent_to_it_and_can_be_bound_again() {
        run(async {
            let network = Network::new(1, Conditions::CALM, None);
            let one = network.bind(at(1));
            drop(network.bind(at(2)));
            one.send_to(b"lost", at(2));
            let other = network.bind(at(2));
            one.send_to(b"heard", at(2));
            assert_eq!(other.recv().await.0, b"heard");
        });
    }

    #[test]
    fn unplugged_socket_neither_sends_nor_receives() {
        run(async {
            let network = Network::new(1, Conditions::CALM, None);
            let (one, other) = (network.bind(at(1)), network.bind(at(2)));
            other.send_to(b"on its way", at(1));
            network.unplug(at(1));
            other.send_to(b"later", at(1));
            one.send_to(b"its last words", at(2));
            pass(100).await;
            assert_eq!((one.try_recv(), other.try_recv()), (None, None));
        });
    }

    #[test]
    fn same_seed_gives_the_same_trace_and_another_seed_another() {
        let trace_of = |seed| {
            run(async {
                let trace = Trace::start(0);
                let conditions = Conditions { loss_permille: 300, delay_most_ms: 90, ..Conditions::CALM };
                let network = Network::new(seed, conditions, Some(trace.clone()));
                let (one, other) = (network.bind(at(1)), network.bind(at(2)));
                for byte in 0..50 {
                    one.send_to(&[byte], at(2));
                    pass(7).await;
                    if let Some((bytes, from)) = other.try_recv() {
                        other.send_to(&bytes, from);
                    }
                }
                trace.hash()
            })
        };
        assert_eq!(trace_of(5), trace_of(5));
        assert_ne!(trace_of(5), trace_of(6));
    }
}
