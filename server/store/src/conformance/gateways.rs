//! Gateways and their devices.

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;

use super::sample::{
    NOW, add_fleet, campaign, child, device, endpoint, event, gateway, identity, other_tenant, tenant,
};
use crate::Store;
use crate::bounds::{BLOB_BYTES_MAX, NAME_BYTES_MAX};
use crate::campaign::Launch;
use crate::error::{AddError, StoreError, UpdateError};
use crate::gateway::{Gateway, KeptBundle};
use crate::sealed::Sealed;

/// What was enrolled is what is read.
pub async fn added_gateway_reads_back_and_lists_by_name(store: &dyn Store) {
    for name in ["gw-2", "gw-1", "gw-3"] {
        store.add_gateway(&tenant(), &gateway(name)).await.unwrap();
    }
    assert_eq!(store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap(), Some(gateway("gw-1")));
    assert_eq!(store.gateway(&tenant(), &endpoint("gw-9")).await.unwrap(), None);
    let first = store.gateways(&tenant(), None, 2).await.unwrap();
    assert_eq!(first, vec![gateway("gw-1"), gateway("gw-2")]);
    let second = store.gateways(&tenant(), Some(&endpoint("gw-2")), 2).await.unwrap();
    assert_eq!(second, vec![gateway("gw-3")]);
}

/// The name is the DTLS identity, so one that is taken by either is taken for both.
pub async fn gateway_and_device_never_share_a_name(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let refused = store.add_device(&tenant(), &device("gw-1"), &identity("gw-1")).await;
    assert!(matches!(refused, Err(AddError::Exists)));
    assert_eq!(store.device(&tenant(), &endpoint("gw-1")).await.unwrap(), None);
    for taken in ["lamp-1", "gw-1"] {
        let other = Gateway { uri: "coaps://thief.example".into(), ..gateway(taken) };
        let refused = store.add_gateway(&tenant(), &other).await;
        assert!(matches!(refused, Err(AddError::Exists)), "{taken}");
    }
    assert_eq!(store.gateways(&tenant(), None, 10).await.unwrap(), vec![gateway("gw-1")]);
}

/// The gateway is told to read its list again by the edition.
pub async fn device_of_a_gateway_reads_back_and_raises_the_list_s_edition(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &child("lamp-1", "gw-1"), &identity("lamp-1")).await.unwrap();
    let kept = store.device(&tenant(), &endpoint("lamp-1")).await.unwrap();
    assert_eq!(kept, Some(child("lamp-1", "gw-1")));
    let kept = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    assert_eq!(kept.children_edition, gateway("gw-1").children_edition + 1);
    assert_eq!(kept.bundle_edition, gateway("gw-1").bundle_edition);
}

/// No device hangs on a gateway that nobody enrolled.
pub async fn device_of_a_missing_gateway_is_refused(store: &dyn Store) {
    let refused = store.add_device(&tenant(), &child("lamp-1", "gw-1"), &identity("lamp-1")).await;
    assert!(matches!(refused, Err(AddError::Store(StoreError::NoParent))));
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), None);
}

/// A list has its gateway's devices only, page by page.
pub async fn children_page_by_name_and_others_are_left_out(store: &dyn Store) {
    for name in ["gw-1", "gw-2"] {
        store.add_gateway(&tenant(), &gateway(name)).await.unwrap();
    }
    for (name, gateway) in [("lamp-3", "gw-1"), ("lamp-1", "gw-1"), ("lamp-2", "gw-2"), ("lamp-4", "gw-1")] {
        store.add_device(&tenant(), &child(name, gateway), &identity(name)).await.unwrap();
    }
    store.add_device(&tenant(), &device("lamp-0"), &identity("lamp-0")).await.unwrap();
    let (tenant, gateway) = (tenant(), endpoint("gw-1"));
    let first = store.children(&tenant, &gateway, None, 2).await.unwrap();
    assert_eq!(first, vec![child("lamp-1", "gw-1"), child("lamp-3", "gw-1")]);
    let second = store.children(&tenant, &gateway, Some(&endpoint("lamp-3")), 2).await.unwrap();
    assert_eq!(second, vec![child("lamp-4", "gw-1")]);
}

/// Those that a bundle is for: of this gateway, in this campaign, and in flight.
pub async fn devices_in_flight_behind_a_gateway_page_by_name(store: &dyn Store) {
    for name in ["gw-1", "gw-2"] {
        store.add_gateway(&tenant(), &gateway(name)).await.unwrap();
    }
    add_fleet(store, &tenant()).await;
    let children = [
        ("child-5", "gw-1"),
        ("child-4", "gw-2"),
        ("child-3", "gw-1"),
        ("child-2", "gw-1"),
        ("child-1", "gw-1"),
    ];
    for (name, gateway) in children {
        store.add_device(&tenant(), &child(name, gateway), &identity(name)).await.unwrap();
    }
    for id in [1, 2] {
        let targeted = |name| event(id, name, EventKind::Targeted { class: "lamp".into() });
        let events: Vec<Event> =
            children.map(|(name, _)| name).into_iter().chain(["lamp-1"]).map(targeted).collect();
        let launch = Launch { campaign: &campaign(id), events: &events, command: None };
        store.launch(&tenant(), launch).await.unwrap();
    }
    let events = [
        event(1, "lamp-1", EventKind::Offered),
        event(1, "child-5", EventKind::Offered),
        event(1, "child-4", EventKind::Offered),
        event(1, "child-3", EventKind::Asked),
        event(1, "child-2", EventKind::Installed { grant: 1 }),
        event(2, "child-1", EventKind::Offered),
    ];
    store.append(&tenant(), &events).await.unwrap();
    let behind = async |id, gateway, rows_max| {
        let found = store.in_flight_behind(&tenant(), CampaignId(id), &endpoint(gateway), rows_max).await;
        let name = |(device, track): (Endpoint, Track)| (device.to_string(), track.stage);
        found.unwrap().into_iter().map(name).collect::<Vec<_>>()
    };
    let (third, fifth) = (("child-3".to_owned(), Stage::Asked), ("child-5".to_owned(), Stage::Offered));
    assert_eq!(behind(1, "gw-1", 10).await, [third.clone(), fifth]);
    assert_eq!(behind(1, "gw-1", 1).await, [third]);
    assert_eq!(behind(1, "gw-2", 10).await, [("child-4".to_owned(), Stage::Offered)]);
    assert_eq!(behind(2, "gw-1", 10).await, [("child-1".to_owned(), Stage::Offered)]);
    assert_eq!(behind(1, "gw-3", 10).await, []);
}

/// What a removed gateway had the keys of is forgotten with it.
pub async fn removed_gateway_leaves_its_devices_without_a_link(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &child("lamp-1", "gw-1"), &identity("lamp-1")).await.unwrap();
    store.remove_gateway(&tenant(), &endpoint("gw-1")).await.unwrap();
    assert_eq!(store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap(), None);
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(device("lamp-1")));
    let missing = store.remove_gateway(&tenant(), &endpoint("gw-1")).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
}

/// A device that left its gateway asks the server itself.
pub async fn detached_device_is_no_child_any_more(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &child("lamp-1", "gw-1"), &identity("lamp-1")).await.unwrap();
    store.detach(&tenant(), &endpoint("lamp-1"), NOW + 900).await.unwrap();
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(device("lamp-1")));
    assert_eq!(store.children(&tenant(), &endpoint("gw-1"), None, 10).await.unwrap(), vec![]);
    let kept = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    assert_eq!(kept.children_edition, NOW + 900);
    for name in ["lamp-1", "lamp-2"] {
        let missing = store.detach(&tenant(), &endpoint(name), NOW).await;
        assert!(matches!(missing, Err(UpdateError::Missing)), "{name}");
    }
}

/// A gateway that is enrolled again under its name, or a store that was restored, gives no edition twice.
pub async fn bundle_editions_rise_and_are_never_below_the_clock(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    let next = |at| async move { store.next_bundle_edition(&tenant(), &endpoint("gw-1"), at).await.unwrap() };
    assert_eq!([next(NOW).await, next(NOW).await, next(NOW + 50).await], [NOW + 1, NOW + 2, NOW + 50]);
    let kept = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    assert_eq!(kept.bundle_edition, NOW + 50);
    let missing = store.next_bundle_edition(&tenant(), &endpoint("gw-2"), NOW).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
}

async fn with_campaign(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    add_fleet(store, &tenant()).await;
    let campaign = campaign(1);
    let launch = Launch { campaign: &campaign, events: &[], command: None };
    store.launch(&tenant(), launch).await.unwrap();
}

/// What a gateway holds of a campaign that ended is to be withdrawn, and given again where the campaign goes on.
pub async fn bundle_waits_for_what_its_campaign_comes_to(store: &dyn Store) {
    with_campaign(store).await;
    let (tenant, name, id) = (tenant(), endpoint("gw-1"), CampaignId(1));
    let edition = store.put_bundle(&tenant, &name, id, NOW + 60, NOW).await.unwrap();
    assert_eq!(edition, NOW + 1);
    let kept = KeptBundle {
        gateway: name.clone(),
        campaign: id,
        state: CampaignState::Running,
        edition,
        not_after: NOW + 60,
        withdrawn: false,
    };
    assert_eq!(store.bundles(&tenant, Some(&name), NOW).await.unwrap(), vec![kept.clone()]);
    assert_eq!(store.bundles(&tenant, None, NOW).await.unwrap(), vec![]);
    let cancelled = Event { device: None, ..event(1, "lamp-1", EventKind::Cancelled { by: By::default() }) };
    store.move_campaign(&tenant, id, CampaignState::Running, &[cancelled]).await.unwrap();
    let ended = KeptBundle { state: CampaignState::Cancelled, ..kept };
    assert_eq!(store.bundles(&tenant, None, NOW).await.unwrap(), vec![ended]);
    store.withdraw_bundle(&tenant, &name, id, edition - 1).await.unwrap();
    assert_eq!(store.bundles(&tenant, None, NOW).await.unwrap().len(), 1, "another edition was dropped");
    store.withdraw_bundle(&tenant, &name, id, edition).await.unwrap();
    assert_eq!(store.bundles(&tenant, None, NOW).await.unwrap(), vec![]);
    assert!(store.bundles(&tenant, Some(&name), NOW).await.unwrap()[0].withdrawn);
}

/// Nobody can use a bundle past its time, so nobody has to withdraw it.
pub async fn bundle_past_its_time_is_forgotten(store: &dyn Store) {
    with_campaign(store).await;
    let (tenant, name) = (tenant(), endpoint("gw-1"));
    store.put_bundle(&tenant, &name, CampaignId(1), NOW + 60, NOW).await.unwrap();
    assert_eq!(store.bundles(&tenant, Some(&name), NOW + 60).await.unwrap().len(), 1);
    assert_eq!(store.bundles(&tenant, Some(&name), NOW + 61).await.unwrap(), vec![]);
    let stranger = store.put_bundle(&tenant, &name, CampaignId(9), NOW + 60, NOW).await;
    assert!(matches!(stranger, Err(UpdateError::Store(StoreError::NoParent))));
    let missing = store.put_bundle(&tenant, &endpoint("gw-2"), CampaignId(1), NOW + 60, NOW).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
}

/// A gateway that is gone holds nothing that counts.
pub async fn bundles_of_a_removed_gateway_go_with_it(store: &dyn Store) {
    with_campaign(store).await;
    let (tenant, name) = (tenant(), endpoint("gw-1"));
    store.put_bundle(&tenant, &name, CampaignId(1), NOW + 60, NOW).await.unwrap();
    store.remove_gateway(&tenant, &name).await.unwrap();
    assert_eq!(store.bundles(&tenant, Some(&name), NOW).await.unwrap(), vec![]);
}

/// A value past its bound is the caller's fault and leaves nothing.
pub async fn value_past_its_bound_leaves_no_gateway(store: &dyn Store) {
    let long = Gateway { uri: "u".repeat(NAME_BYTES_MAX + 1), ..gateway("gw-1") };
    let large = Gateway { psk: Sealed::new(vec![0; BLOB_BYTES_MAX + 1]), ..gateway("gw-1") };
    for wrong in [long, large] {
        let refused = store.add_gateway(&tenant(), &wrong).await;
        assert!(matches!(refused, Err(AddError::Store(StoreError::OutOfBounds { .. }))));
    }
    assert_eq!(store.gateways(&tenant(), None, 10).await.unwrap(), vec![]);
}

/// A tenant neither sees nor moves another's gateways.
pub async fn tenants_have_gateways_apart(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    assert_eq!(store.gateway(&other_tenant(), &endpoint("gw-1")).await.unwrap(), None);
    assert_eq!(store.gateways(&other_tenant(), None, 10).await.unwrap(), vec![]);
    let missing = store.remove_gateway(&other_tenant(), &endpoint("gw-1")).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
    // Names are a tenant's own: what is a gateway here is a lamp there.
    store.add_device(&other_tenant(), &device("gw-1"), &identity("gw-1")).await.unwrap();
    assert_eq!(store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap(), Some(gateway("gw-1")));
}
