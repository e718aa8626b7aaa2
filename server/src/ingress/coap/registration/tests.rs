use bellwether_api::{DecommissionDevice, ReplaceCredential};
use bellwether_decide::device::Device;
use bellwether_decide::identity::IdentityState;
use bellwether_keys::chain::ChainLength;
use bellwether_net::{NoService, SessionId, Shard, ShardConfig};
use bellwether_store::device::{EnrolledDevice, NewIdentity};
use bellwether_store::settings::Anchors;
use tempfile::TempDir;

use super::*;
use crate::testing;

/// A server with one device, and the socket that its registrations come to.
struct Place {
    core: Arc<Core>,
    shard: ShardHandle,
    _folder: TempDir,
}

async fn place(has_key: bool) -> Place {
    let (core, folder) = testing::core().await;
    let anchors = Anchors { edition: 1, document: b"anchors".to_vec(), stored_at: 1 };
    core.store.add_anchors(&core.tenant, &anchors).await.expect("kept");
    enrol(&core, has_key).await;
    let config = ShardConfig::new(([127, 0, 0, 1], 0).into(), bellwether_net::Security::Plain);
    let (shard, _) = Shard::spawn(config, Box::new(NoService)).expect("a free port");
    Place { core, shard, _folder: folder }
}

async fn enrol(core: &Core, has_key: bool) {
    let length = ChainLength::DEFAULT;
    let secrets = core.vault.new_secrets(LAMP, length).expect("randomness");
    let security = if has_key { Security::Psk { credential: secrets.sealed_psk } } else { Security::None };
    let device = EnrolledDevice {
        device: Device { endpoint: lamp(), class: "lamp".to_owned(), enabled: true, added_at: 1 },
        vendor: "lamps.example".to_owned(),
        security,
        link: None,
        credential: 1,
        next_credential: None,
        retired_at: None,
    };
    let identity = NewIdentity {
        id: lamp(),
        chain_length: length.get(),
        seed: secrets.sealed_seed,
        links: secrets.sealed_links,
        state: IdentityState::new(0),
    };
    core.store.add_device(&core.tenant, &device, &identity).await.expect("enrolled");
}

fn lamp() -> Endpoint {
    Endpoint::try_from(LAMP).expect("a name")
}

fn peer(identity: Option<&str>) -> Peer {
    Peer::new(SessionId(1), ([127, 0, 0, 1], 9).into(), identity.map(Into::into))
}

impl Place {
    fn arrival<'a>(&'a self, peer: &'a Peer) -> Arrival<'a> {
        Arrival { core: &self.core, shard: &self.shard, peer, credential: 1 }
    }

    async fn decommission(&self) {
        let asked = DecommissionDevice {
            request_id: "r-1".to_owned(),
            endpoint: LAMP.to_owned(),
            why: "scrapped".to_owned(),
            who: None,
        };
        self.core.decommission(&asked).await.expect("decommissioned");
    }

    async fn replace_credential(&self, at_once: bool) {
        let asked = ReplaceCredential {
            request_id: "r-1".to_owned(),
            at_once,
            again: false,
            why: "stolen".to_owned(),
            who: None,
        };
        self.core.replace_credential(LAMP, &asked).await.expect("replaced");
    }
}

impl Arrival<'_> {
    /// Goes on with a registration whose device was looked up.
    async fn goes_on(&self, admitted: Admitted) -> Result<(), Code> {
        let query = [format!("ep={LAMP}"), "lt=0".to_owned(), "lwm2m=1.2".to_owned()];
        let parameters = RegisterParameters::parse(&query).expect("parameters");
        let objects = ObjectList::parse(b"</1/0>,</3/0>").expect("objects");
        let entered = self.enter(admitted, &parameters, objects).await;
        entered.map(drop).map_err(|refused| refused.code)
    }

    async fn looked_up(&self) -> Admitted {
        self.admitted(LAMP).await.map_err(|refused| refused.code).expect("a device of theirs")
    }
}

// It stayed registered for as long as it had said, which may be for ever.
#[tokio::test]
async fn device_that_is_decommissioned_while_it_registers_does_not_stay() {
    for has_key in [false, true] {
        let place = place(has_key).await;
        let peer = peer(has_key.then_some(LAMP));
        let arrival = place.arrival(&peer);
        let admitted = arrival.looked_up().await;
        let mut changes = place.core.registry.changes();
        place.decommission().await;
        assert_eq!(arrival.goes_on(admitted).await, Err(Code::FORBIDDEN));
        assert_eq!(place.core.registry.count(), 0);
        let told = std::iter::from_fn(|| changes.try_recv().ok()).last();
        assert!(
            told.is_none_or(|change| change.address.is_none()),
            "whoever listens is told that it is gone"
        );
    }
}

#[tokio::test]
async fn device_that_is_decommissioned_once_it_is_registered_does_not_stay() {
    let place = place(false).await;
    let peer = peer(None);
    let arrival = place.arrival(&peer);
    let admitted = arrival.looked_up().await;
    arrival.goes_on(admitted).await.expect("registered");
    assert_eq!(place.core.registry.count(), 1);
    place.decommission().await;
    assert_eq!(place.core.registry.count(), 0);
}

#[tokio::test]
async fn registration_under_a_credential_that_is_replaced_at_once_meanwhile_does_not_stay() {
    let place = place(true).await;
    let peer = peer(Some(LAMP));
    let arrival = place.arrival(&peer);
    let admitted = arrival.looked_up().await;
    place.replace_credential(true).await;
    assert_eq!(arrival.goes_on(admitted).await, Err(Code::FORBIDDEN));
    assert_eq!(place.core.registry.count(), 0);
    assert!(
        arrival.admitted(LAMP).await.is_err(),
        "a request that was on its way when its session was closed"
    );
    let anew = Arrival { credential: 2, ..arrival };
    let admitted = anew.looked_up().await;
    anew.goes_on(admitted).await.expect("registered with the new one");
}

// Its session sleeps, so that nothing is closed.
#[tokio::test]
async fn registration_ends_with_the_credential_that_is_replaced_at_once() {
    let place = place(true).await;
    let peer = peer(Some(LAMP));
    let arrival = place.arrival(&peer);
    let admitted = arrival.looked_up().await;
    arrival.goes_on(admitted).await.expect("registered");
    place.replace_credential(true).await;
    assert_eq!(place.core.registry.count(), 0);
}

#[tokio::test]
async fn registration_goes_on_while_a_new_credential_begins_to_wait_and_while_others_are_ended() {
    let place = place(true).await;
    let peer = peer(Some(LAMP));
    let arrival = place.arrival(&peer);
    let admitted = arrival.looked_up().await;
    place.replace_credential(false).await;
    place.core.registry.ends();
    arrival.goes_on(admitted).await.expect("registered");
    assert_eq!(place.core.registry.count(), 1);
}

const LAMP: &str = "lamp-1";
