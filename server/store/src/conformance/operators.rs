//! What people need who run the server.

use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::campaign::stage::Stage;

use super::sample::{
    campaign, command, device, endpoint, event, gateway, identity, manifest, other_tenant, tenant,
};
use crate::Store;
use crate::campaign::Launch;
use crate::operators::Contact;

fn contact(name: &str, heard_at: u64) -> Contact {
    Contact { endpoint: endpoint(name), registered_at: 5, heard_at, address: format!("192.0.2.1:{heard_at}") }
}

/// Gauges show what is there, and of campaigns those that go on.
pub async fn figures_count_what_is_there(store: &dyn Store) {
    for name in ["lamp-1", "lamp-2"] {
        store.add_device(&tenant(), &device(name), &identity(name)).await.unwrap();
    }
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    let one = campaign(1);
    let manifest = crate::catalogue::Manifest { digest: one.manifest, ..manifest(1, 1) };
    store.add_manifest(&tenant(), &manifest).await.unwrap();
    let targeted = |name| event(1, name, EventKind::Targeted { class: "lamp".into() });
    let events = [targeted("lamp-1"), targeted("lamp-2"), event(1, "lamp-2", EventKind::Offered)];
    let launch = Launch { campaign: &one, events: &events, command: Some(&command(1)) };
    store.launch(&tenant(), launch).await.unwrap();

    let figures = store.figures(&tenant()).await.unwrap();
    assert_eq!((figures.events, figures.devices, figures.gateways), (3, 2, 1));
    let mut stages = figures.stages;
    stages.sort_by_key(|(_, stage, _)| *stage != Stage::Waiting);
    assert_eq!(stages, [(one.id, Stage::Waiting, 1), (one.id, Stage::Offered, 1)]);
    assert_eq!(store.figures(&other_tenant()).await.unwrap(), crate::operators::Figures::default());
}

/// The latest contact stays, whatever comes late.
pub async fn latest_contact_of_a_device_is_kept(store: &dyn Store) {
    assert_eq!(store.contact(&tenant(), &endpoint("lamp-1")).await.unwrap(), None);
    store.put_contacts(&tenant(), &[contact("lamp-1", 9), contact("lamp-2", 3)]).await.unwrap();
    store.put_contacts(&tenant(), &[contact("lamp-1", 7), contact("lamp-2", 4)]).await.unwrap();
    for (name, heard_at) in [("lamp-1", 9), ("lamp-2", 4)] {
        let kept = store.contact(&tenant(), &endpoint(name)).await.unwrap();
        assert_eq!(kept, Some(contact(name, heard_at)));
    }
    assert_eq!(store.contact(&other_tenant(), &endpoint("lamp-1")).await.unwrap(), None);
}
