//! What the world sees of the server's store, read over and over: whether anything in it goes back.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use bellwether_store::ledger::Scope;
use bellwether_store::{Store, Tenant};
use sha2::{Digest as _, Sha256};

use super::device::Digest;

/// Everything that was seen in the store so far.
#[derive(Debug, Default)]
pub struct Watch {
    identities: BTreeMap<Endpoint, IdentityState>,
    /// SHA-256 of every grant that was given, by identity, epoch and number.
    grants: BTreeMap<(Endpoint, u16, u64), Digest>,
    /// The ledger, as it was read.
    pub ledger: Vec<Event>,
    /// What was in the store when its disk was lost: the ledger, and digests of reports. An old backup has less.
    pub lost: (Vec<Event>, BTreeSet<Digest>),
    /// Rules that were broken, in words.
    pub broken: Vec<String>,
}

impl Watch {
    /// Reads what is there now.
    ///
    /// # Panics
    ///
    /// Where the store fails.
    pub async fn look(&mut self, store: &dyn Store, tenant: &Tenant, names: &[Endpoint]) {
        for name in names {
            let identity = store.identity(tenant, name).await.expect("the store");
            if let Some(identity) = identity {
                self.take(name, identity.state);
            }
        }
        self.read_on(store, tenant).await;
    }

    /// Reads the whole ledger again and holds it against what was read before.
    ///
    /// # Panics
    ///
    /// Where the store fails.
    pub async fn look_back(&mut self, store: &dyn Store, tenant: &Tenant) {
        let before = std::mem::take(&mut self.ledger);
        self.read_on(store, tenant).await;
        if !self.ledger.starts_with(&before) {
            self.broken.push("the ledger does not begin as it did before".to_owned());
        }
    }

    /// Takes that an old backup was put in the place of what was looked at last.
    pub fn put_back(&mut self) {
        self.lost.0.append(&mut self.ledger);
        for state in std::mem::take(&mut self.identities).into_values() {
            self.lost.1.extend(state.reports.iter().map(|kept| kept.digest));
            self.lost.1.extend(state.confirmed.values().map(|confirmed| confirmed.report));
        }
    }

    /// Gives the digest of a grant that was given.
    pub fn grant(&self, name: &Endpoint, epoch: u16, number: u64) -> Option<Digest> {
        self.grants.get(&(name.clone(), epoch, number)).copied()
    }

    /// Takes that a grant of these bytes was given.
    #[cfg(test)]
    pub(super) fn gave(&mut self, name: &str, epoch: u16, number: u64, digest: Digest) {
        let name = Endpoint::try_from(name).expect("a name");
        self.grants.insert((name, epoch, number), digest);
    }

    async fn read_on(&mut self, store: &dyn Store, tenant: &Tenant) {
        loop {
            let known = self.ledger.len() as u64;
            let more = store.events(tenant, Scope::All, known, EVENTS_AT_ONCE).await.expect("the store");
            if more.is_empty() {
                return;
            }
            for recorded in more {
                if recorded.seq != self.ledger.len() as u64 + 1 {
                    let text = format!("event {} follows event {}", recorded.seq, self.ledger.len());
                    self.broken.push(text);
                }
                self.ledger.push(recorded.event);
            }
        }
    }

    fn take(&mut self, name: &Endpoint, now: IdentityState) {
        if let Some(before) = self.identities.get(name) {
            self.broken.extend(went_back(name, before, &now));
        }
        for grant in &now.grants {
            let digest = Sha256::digest(&grant.message).into();
            let key = (name.clone(), grant.place.epoch, grant.number);
            let kept = *self.grants.entry(key).or_insert(digest);
            if kept != digest {
                self.broken.push(format!("grant {} of {name} has two forms", grant.number));
            }
            if grant.number > now.grant_highest {
                self.broken.push(format!("grant {} of {name} is above the highest", grant.number));
            }
        }
        self.identities.insert(name.clone(), now);
    }
}

fn went_back(name: &Endpoint, before: &IdentityState, now: &IdentityState) -> Vec<String> {
    let fell = [
        ("revision", now.revision < before.revision),
        ("place", now.place < before.place),
        ("highest grant number", now.grant_highest < before.grant_highest),
        ("highest counter", now.counter_highest < before.counter_highest),
        ("number of restores", now.restores < before.restores),
        ("oldest epoch with a seed", now.seed_oldest < before.seed_oldest),
        ("state without a new revision", now.revision == before.revision && now != before),
    ];
    let fell = fell.into_iter().filter(|(_, fell)| *fell);
    fell.map(|(what, _)| format!("the {what} of {name} in the store went back")).collect()
}

/// Events read at a time.
const EVENTS_AT_ONCE: u32 = 500;
