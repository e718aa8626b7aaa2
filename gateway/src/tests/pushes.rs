//! Manifests that are pushed, what the server hears of it, and the status file.

use std::sync::Arc;

use bellwether_manifests::link::{HintKind, Hints};
use bellwether_net::ThisMachine;
use bellwether_net::coap::Code;

use super::actors::{Device, Server, Site, Told, until};
use crate::testing::{Ask, BundleOf, World};

fn hints(server: &Server) -> Vec<(String, HintKind, String)> {
    let seen = server.seen();
    let batches = seen.hints.iter().flat_map(|batch| Hints::decode(batch).unwrap().0.iter());
    let mut hints: Vec<_> =
        batches.map(|hint| (hint.endpoint.to_owned(), hint.what, hint.detail.to_owned())).collect();
    hints.sort_by(|left, right| left.0.cmp(&right.0));
    hints
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_is_pushed_to_named_devices_and_the_server_hears_what_they_said() {
    let (server, world) = (Server::start(&["lamp-1", "lamp-2", "lamp-3"]), World::new());
    let site = Site::start(&server).await;
    let taker = Device::connect(&site, "lamp-1").await;
    let refuser = Device::connect_with(&site, "lamp-2", Told { result: 5, ..Told::default() }).await;
    let unnamed = Device::connect(&site, "lamp-3").await;
    let bundle = BundleOf { push: &["lamp-1", "lamp-2"], ..BundleOf::DEFAULT };
    assert_eq!(server.put_bundle(&world.bundle(&bundle)).await, Code::CHANGED);
    until("the hints", || hints(&server).len() == 2).await;
    let expected = [("lamp-1", HintKind::Pushed, ""), ("lamp-2", HintKind::Refused, "5")];
    assert_eq!(hints(&server), expected.map(|(name, what, detail)| (name.into(), what, detail.into())));
    assert_eq!(taker.told().manifests, [world.envelope()]);
    assert_eq!((refuser.told().manifests.len(), unnamed.told().manifests.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_comes_back_gets_the_manifest_again_until_it_has_asked() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let mut site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf { push: &["lamp-1"], ..BundleOf::DEFAULT })).await;
    for _ in 0..2 {
        let device = Device::connect(&site, "lamp-1").await;
        until("the manifest", || device.told().manifests.len() == 1).await;
        device.leave().await;
    }
    let device = Device::connect(&site, "lamp-1").await;
    device.ask(world.request(&Ask::default())).await;
    device.leave().await;
    // Also a gateway that was restarted knows that it has asked.
    site.reboot().await;
    let gateway = Arc::clone(&site.running().gateway);
    until("the server", || gateway.uplink.is_up()).await;
    let device = Device::connect(&site, "lamp-1").await;
    device.ask(world.request(&Ask::default())).await;
    assert_eq!(site.counters().pushes.taken.get(), 0);
    assert!(device.told().manifests.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_file_tells_how_the_gateway_is() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    device.ask(world.request(&Ask::default())).await;
    let read = || -> Option<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(site.config.status.as_ref()?).ok()?).ok()
    };
    until("the status", || read().is_some_and(|status| status["requests"]["answered_from_bundle"] == 1))
        .await;
    let status = read().unwrap();
    assert_eq!((&status["uplink"], &status["name"]), (&true.into(), &"gw-1".into()));
    assert_eq!(status["children"], serde_json::json!({ "listed": 1, "connected": 1 }));
    assert_eq!(status["bundles"][0]["campaign"], "spring");
    let text = std::fs::read(site.config.data.join("listening.json")).unwrap();
    let listening: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(listening["coaps"], site.running().address().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn second_gateway_in_one_folder_is_refused() {
    let server = Server::start(&[]);
    let site = Site::start(&server).await;
    let refused = crate::shell::start(Arc::new(ThisMachine), site.config.clone()).err().unwrap();
    assert!(matches!(refused, crate::shell::StartError::InUse(_)), "{refused}");
}
