//! Gateways: which devices each of them lists, and which of them are here. The lists are read from the store at the
//! start; presence is in memory, as registrations are.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use bellwether_decide::device::Endpoint;
use bellwether_net::{SessionId, ShardHandle};

/// A gateway that can be reached.
#[derive(Clone)]
pub struct Presence {
    /// Its session, on `shard`.
    pub session: SessionId,
    /// The socket that it came to.
    pub shard: ShardHandle,
    /// Where it is.
    pub address: SocketAddr,
    /// When it has to be heard again, by [`Core::steady`](crate::core::Core::steady).
    pub expires: u64,
}

/// Keeps the lists of all gateways, and who of them is here.
#[derive(Default)]
pub struct Gateways(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    by_name: HashMap<Endpoint, Listed>,
    /// The gateway of each device that has one.
    of: HashMap<Endpoint, Endpoint>,
}

#[derive(Default)]
struct Listed {
    children: BTreeSet<Endpoint>,
    presence: Option<Presence>,
}

impl Gateways {
    /// Adds a gateway without devices; one that is there stays as it is.
    pub fn add(&self, name: Endpoint) {
        self.write().by_name.entry(name).or_default();
    }

    /// Forgets a gateway and its list; returns how it was reached.
    pub fn remove(&self, name: &Endpoint) -> Option<Presence> {
        let mut kept = self.write();
        let gone = kept.by_name.remove(name)?;
        kept.of.retain(|_, gateway| gateway != name);
        gone.presence
    }

    /// Lists a device under a gateway, and under no other.
    pub fn attach(&self, name: &Endpoint, device: Endpoint) {
        let mut kept = self.write();
        kept.detach(&device);
        kept.by_name.entry(name.clone()).or_default().children.insert(device.clone());
        kept.of.insert(device, name.clone());
    }

    /// Takes a device off the list of its gateway, whose name it returns.
    pub fn detach(&self, device: &Endpoint) -> Option<Endpoint> {
        self.write().detach(device)
    }

    /// Gives the gateway of this DTLS identity, if it is one.
    #[must_use]
    pub fn named(&self, identity: &str) -> Option<Endpoint> {
        let name = Endpoint::try_from(identity).ok()?;
        self.read().by_name.contains_key(&name).then_some(name)
    }

    /// Tells whether the gateway of this DTLS identity lists the device.
    #[must_use]
    pub fn lists(&self, identity: &str, device: &Endpoint) -> bool {
        self.read().of.get(device).is_some_and(|gateway| gateway.as_str() == identity)
    }

    /// Gives the gateway that lists a device.
    #[must_use]
    pub fn of(&self, device: &Endpoint) -> Option<Endpoint> {
        self.read().of.get(device).cloned()
    }

    /// Counts the devices of a gateway.
    #[must_use]
    pub fn children_count(&self, name: &Endpoint) -> usize {
        self.read().by_name.get(name).map_or(0, |listed| listed.children.len())
    }

    /// Keeps how a gateway is reached; tells whether it was away, or comes over a new session. `None` for a name that
    /// is no gateway's.
    pub fn here(&self, name: &Endpoint, presence: Presence, now: u64) -> Option<bool> {
        let mut kept = self.write();
        let listed = kept.by_name.get_mut(name)?;
        let known = listed.presence.as_ref().is_some_and(|old| {
            old.expires >= now
                && old.session == presence.session
                && old.shard.local_addr() == presence.shard.local_addr()
        });
        listed.presence = Some(presence);
        Some(!known)
    }

    /// Ends what came over a session that is gone.
    pub fn forget_session(&self, identity: &str, session: SessionId) {
        let Ok(name) = Endpoint::try_from(identity) else {
            return;
        };
        if let Some(listed) = self.write().by_name.get_mut(&name) {
            listed.presence = listed.presence.take().filter(|presence| presence.session != session);
        }
    }

    /// Notes that a gateway goes on from another address, over the same session.
    pub fn moved(&self, identity: &str, session: SessionId, address: SocketAddr) {
        let Ok(name) = Endpoint::try_from(identity) else { return };
        let mut kept = self.write();
        let presence = kept.by_name.get_mut(&name).and_then(|listed| listed.presence.as_mut());
        if let Some(presence) = presence.filter(|presence| presence.session == session) {
            presence.address = address;
        }
    }

    /// Finds a gateway that can be reached now.
    #[must_use]
    pub fn present(&self, name: &Endpoint, now: u64) -> Option<Presence> {
        let kept = self.read();
        let presence = kept.by_name.get(name)?.presence.as_ref()?;
        (presence.expires >= now).then(|| presence.clone())
    }

    /// Ends the sessions of all gateways that are here: they shall know at once that nobody answers them.
    pub fn part(&self) {
        for presence in self.read().by_name.values().filter_map(|listed| listed.presence.as_ref()) {
            presence.shard.close(presence.session);
        }
    }

    /// Names the gateways that can be reached now, in the order of their names.
    #[must_use]
    pub fn all_present(&self, now: u64) -> Vec<Endpoint> {
        let kept = self.read();
        let here = kept.by_name.iter().filter(|(_, listed)| listed.is_here(now));
        let mut names: Vec<Endpoint> = here.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Tells whether the gateway that lists a device can be reached now.
    #[must_use]
    pub fn reaches(&self, device: &Endpoint, now: u64) -> bool {
        let kept = self.read();
        let listed = kept.of.get(device).and_then(|gateway| kept.by_name.get(gateway));
        listed.is_some_and(|listed| listed.is_here(now))
    }

    /// Names the devices of a gateway.
    #[must_use]
    pub fn children(&self, name: &Endpoint) -> Vec<Endpoint> {
        self.read()
            .by_name
            .get(name)
            .map(|listed| listed.children.iter().cloned().collect())
            .unwrap_or_default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Kept> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn detach(&mut self, device: &Endpoint) -> Option<Endpoint> {
        let gateway = self.of.remove(device)?;
        if let Some(listed) = self.by_name.get_mut(&gateway) {
            listed.children.remove(device);
        }
        Some(gateway)
    }
}

impl Listed {
    fn is_here(&self, now: u64) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.expires >= now)
    }
}

#[cfg(test)]
mod tests {
    use bellwether_net::{NoService, Security, Shard, ShardConfig};

    use super::*;

    const NOW: u64 = 1_000;

    fn name(text: &str) -> Endpoint {
        Endpoint::try_from(text).expect("a name")
    }

    fn presence(shard: &ShardHandle, session: u64) -> Presence {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        Presence { session: SessionId(session), shard: shard.clone(), address, expires: NOW + 60 }
    }

    fn shard() -> ShardHandle {
        let config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), Security::Plain);
        Shard::spawn(config, Box::new(NoService)).expect("a free port").0
    }

    fn with_lamp() -> Gateways {
        let gateways = Gateways::default();
        gateways.add(name("gw-1"));
        gateways.add(name("gw-2"));
        gateways.attach(&name("gw-1"), name("lamp-1"));
        gateways
    }

    #[test]
    fn gateway_speaks_for_the_devices_that_it_lists_alone() {
        let gateways = with_lamp();
        assert!(gateways.lists("gw-1", &name("lamp-1")));
        assert!(!gateways.lists("gw-2", &name("lamp-1")));
        assert!(!gateways.lists("gw-1", &name("lamp-2")));
        gateways.attach(&name("gw-2"), name("lamp-1"));
        assert!(!gateways.lists("gw-1", &name("lamp-1")));
        assert_eq!((gateways.children_count(&name("gw-1")), gateways.children_count(&name("gw-2"))), (0, 1));
    }

    #[test]
    fn removed_gateway_speaks_for_nobody() {
        let gateways = with_lamp();
        gateways.remove(&name("gw-1"));
        assert!(!gateways.lists("gw-1", &name("lamp-1")));
        assert_eq!((gateways.of(&name("lamp-1")), gateways.named("gw-1")), (None, None));
    }

    #[test]
    fn gateway_is_welcomed_when_it_was_away_or_comes_over_another_session() {
        let (gateways, shard) = (with_lamp(), shard());
        let here = |session, now| gateways.here(&name("gw-1"), presence(&shard, session), now);
        assert_eq!(here(1, NOW), Some(true));
        assert_eq!(here(1, NOW + 30), Some(false));
        assert_eq!(here(2, NOW + 30), Some(true));
        assert_eq!(here(2, NOW + 61), Some(true));
        assert_eq!(gateways.here(&name("gw-9"), presence(&shard, 1), NOW), None);
    }

    #[test]
    fn devices_are_reachable_while_their_gateway_is_here() {
        let (gateways, shard) = (with_lamp(), shard());
        assert!(!gateways.reaches(&name("lamp-1"), NOW));
        gateways.here(&name("gw-1"), presence(&shard, 1), NOW);
        assert_eq!(gateways.children(&name("gw-1")), [name("lamp-1")]);
        assert!(gateways.reaches(&name("lamp-1"), NOW + 60) && !gateways.reaches(&name("lamp-2"), NOW + 60));
        assert!(!gateways.reaches(&name("lamp-1"), NOW + 61));
        gateways.forget_session("gw-1", SessionId(7));
        assert!(gateways.present(&name("gw-1"), NOW).is_some());
        gateways.forget_session("gw-1", SessionId(1));
        assert!(gateways.present(&name("gw-1"), NOW).is_none());
    }
}
