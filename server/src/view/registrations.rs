//! Who came and who went since the broker was told: the latest of each device, until it is acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use bellwether_api as api;
use bellwether_decide::device::Endpoint;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::core::Core;
use crate::registry::Change;

/// What is to be told of registrations; it outlives connections to the broker, not the server.
#[derive(Debug)]
pub(super) struct Registrations {
    changes: broadcast::Receiver<Change>,
    /// One a device, and so bounded by the fleet.
    untold: BTreeMap<Endpoint, api::Registration>,
    /// Published, and not acknowledged yet.
    under_way: BTreeMap<Endpoint, api::Registration>,
}

impl Registrations {
    /// Listens from now on.
    pub(super) fn of(core: &Core) -> Self {
        Self::hearing(core.registry.changes())
    }

    fn hearing(changes: broadcast::Receiver<Change>) -> Self {
        Self { changes, untold: BTreeMap::new(), under_way: BTreeMap::new() }
    }

    /// Takes in what happened until `now`.
    pub(super) fn take_in(&mut self, now: u64) {
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.note(change, now),
                Err(TryRecvError::Lagged(missed)) => missed_some(missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Waits between two connections, and takes in what happens meanwhile.
    pub(super) async fn wait(&mut self, core: &Core, how_long: Duration) {
        let end = tokio::time::sleep(how_long);
        tokio::pin!(end);
        loop {
            let change = tokio::select! {
                biased;
                () = &mut end => return,
                change = self.changes.recv() => change,
            };
            match change {
                Ok(change) => self.note(change, core.now()),
                Err(RecvError::Lagged(missed)) => missed_some(missed),
                Err(RecvError::Closed) => return end.await,
            }
        }
    }

    /// Gives one that is to be told, and counts it as under way.
    pub(super) fn next(&mut self) -> Option<(Endpoint, api::Registration)> {
        let (endpoint, registration) = self.untold.pop_first()?;
        self.under_way.insert(endpoint.clone(), registration.clone());
        Some((endpoint, registration))
    }

    /// Whether any was published since [`Self::were_told`].
    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// All that was under way is acknowledged.
    pub(super) fn were_told(&mut self) {
        self.under_way.clear();
    }

    /// The connection is lost: what was under way is to be told again, unless something newer is.
    pub(super) fn take_back(&mut self) {
        for (endpoint, registration) in std::mem::take(&mut self.under_way) {
            self.untold.entry(endpoint).or_insert(registration);
        }
    }

    fn note(&mut self, change: Change, at: u64) {
        let registration = api::Registration {
            endpoint: change.endpoint.to_string(),
            registered: change.address.is_some(),
            address: change.address.map(|address| address.to_string()),
            at,
        };
        self.untold.insert(change.endpoint, registration);
    }
}

fn missed_some(missed: u64) {
    tracing::info!(missed, "registrations came faster than they can be told");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, port: Option<u16>) -> Change {
        let address = port.map(|port| ([127, 0, 0, 1], port).into());
        Change { endpoint: Endpoint::try_from(name).expect("a name"), address }
    }

    fn told(registrations: &mut Registrations) -> Vec<(String, bool, u64)> {
        let all = std::iter::from_fn(|| registrations.next());
        all.map(|(endpoint, one)| (endpoint.to_string(), one.registered, one.at)).collect()
    }

    #[test]
    fn latest_of_each_device_is_told_and_again_until_it_is_acknowledged() {
        let (tell, changes) = broadcast::channel(8);
        let mut registrations = Registrations::hearing(changes);
        for change in [change("b", Some(1)), change("a", Some(2)), change("b", None)] {
            tell.send(change).expect("heard");
        }
        registrations.take_in(5);
        let first = [("a".to_owned(), true, 5), ("b".to_owned(), false, 5)];
        assert_eq!(told(&mut registrations), first);
        // The connection is lost; meanwhile one of them comes back.
        registrations.take_back();
        tell.send(change("b", Some(3))).expect("heard");
        registrations.take_in(6);
        assert_eq!(told(&mut registrations), [("a".to_owned(), true, 5), ("b".to_owned(), true, 6)]);
        assert!(registrations.are_under_way());
        registrations.were_told();
        registrations.take_back();
        assert_eq!(told(&mut registrations), []);
    }
}
