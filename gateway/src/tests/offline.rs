//! What goes on while the server is away, and what is made up for when it is back.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use bellwether_manifests::message::{Answer, Moment, content_format};
use bellwether_net::coap::Code;

use super::actors::{CHILD_KEY, Device, Server, Site, Told, until};
use crate::testing::{Ask, BundleOf, World};

async fn away(
    site: &Site,
    server: Server,
) -> (std::net::SocketAddr, Arc<std::sync::Mutex<super::actors::Seen>>) {
    let gateway = Arc::clone(&site.running().gateway);
    let left = server.stop().await;
    until("the end of the session", || !gateway.uplink.is_up()).await;
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_that_passed_through_is_given_again_while_the_server_is_away() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let mut site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    let first = device.ask(world.request(&Ask::default())).await;
    away(&site, server).await;
    let again = device.ask(world.request(&Ask { counter: 2, ..Ask::default() })).await;
    assert_eq!(again.payload, first.payload);
    site.reboot().await;
    let device = Device::connect(&site, "lamp-1").await;
    let again = device.ask(world.request(&Ask { counter: 3, ..Ask::default() })).await;
    assert_eq!(again.payload, first.payload);
    assert_eq!(site.counters().requests.from_kept.get(), 1);
    // Another question, or one that only the server can answer, must wait.
    for ask in [Ask { index: 1, ..Ask::default() }, Ask { options: &[1], ..Ask::default() }] {
        let response = device.ask(world.request(&ask)).await;
        assert_eq!((response.code, response.max_age.is_some()), (Code::SERVICE_UNAVAILABLE, true));
    }
    assert_eq!(site.counters().requests.put_off.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_served_from_the_bundle_after_a_restart_without_the_server() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let mut site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf { push: &["lamp-1"], ..BundleOf::DEFAULT })).await;
    let gateway = Arc::clone(&site.running().gateway);
    until("all frames", || gateway.cache.disk_bytes() == world.chain().framed().len() as u64).await;
    drop(gateway);
    server.stop().await;
    site.reboot().await;
    let device = Device::connect(&site, "lamp-1").await;
    until("the manifest", || device.told().manifests == [world.envelope()]).await;
    let response = device.ask(world.request(&Ask::default())).await;
    assert!(Answer::decode(&response.payload).unwrap().descriptor.is_some());
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
    let (response, _) = device.tell(Moment::Decrypted).await;
    assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
    until("Execute", || device.told().executes == 1).await;
    let (response, _) = device.tell(Moment::Installed).await;
    assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
    assert_eq!(site.running().gateway.outbox.len(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_is_served_beside_another_descriptor_for_the_same_question_that_passed_through() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let gateway = Arc::clone(&site.running().gateway);
    gateway.keep_descriptor(&world.carried_as(&[0x77; 5_000]).descriptor(1));
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    away(&site, server).await;
    let device = Device::connect(&site, "lamp-1").await;
    let response = device.ask(world.request(&Ask::default())).await;
    assert_eq!(response.code, Code::CHANGED);
    assert_eq!(Answer::decode(&response.payload).unwrap().descriptor, Some(&world.descriptor(1)[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_reports_are_delivered_in_order_after_a_restart_and_their_receipts_given() {
    let server = Server::start(&["lamp-1"]);
    let mut site = Site::start(&server).await;
    let (address, seen) = away(&site, server).await;
    let device = Device::connect(&site, "lamp-1").await;
    let (response, decrypted) = device.tell(Moment::Decrypted).await;
    assert_eq!((response.code, response.max_age.is_some()), (Code::SERVICE_UNAVAILABLE, true));
    let (_, installed) = device.tell(Moment::Installed).await;
    assert_eq!(device.report(decrypted.clone()).await.code, Code::SERVICE_UNAVAILABLE);
    assert_eq!(site.counters().reports.kept.get(), 2);
    site.halt().await;
    let server = Server::again(address, seen).await;
    site.boot();
    until("the reports", || server.seen().reports.len() == 2).await;
    let gateway = Arc::clone(&site.running().gateway);
    until("the receipts", || gateway.outbox.len() == (0, 2)).await;
    assert_eq!(server.seen().reports, [decrypted.clone(), installed]);
    let device = Device::connect(&site, "lamp-1").await;
    let response = device.report(decrypted.clone()).await;
    assert_eq!((response.code, response.content_format), (Code::CHANGED, Some(content_format::RECEIPT)));
    assert_eq!(response.payload, World::receipt("lamp-1", &decrypted));
    assert_eq!(server.seen().reports.len(), 2, "the receipt was here");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_comes_and_goes_is_found_again_each_time() {
    let (mut server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let gateway = Arc::clone(&site.running().gateway);
    let device = Device::connect(&site, "lamp-1").await;
    for round in 0..3 {
        let (address, seen) = away(&site, server).await;
        let report = World::report("lamp-1", 7, Moment::Failed, round);
        assert_eq!(device.report(report.clone()).await.code, Code::SERVICE_UNAVAILABLE);
        server = Server::again(address, seen).await;
        until("the server", || gateway.uplink.is_up()).await;
        until("the report", || server.seen().reports.contains(&report)).await;
        let request = world.request(&Ask { counter: u64::from(round), ..Ask::default() });
        assert_eq!(device.ask(request).await.code, Code::CHANGED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn report_goes_straight_to_the_server_and_its_receipt_straight_back() {
    let server = Server::start(&["lamp-1"]);
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    let (response, report) = device.tell(Moment::Decrypted).await;
    assert_eq!(response.payload, World::receipt("lamp-1", &report));
    assert_eq!((site.running().gateway.outbox.len(), device.told().executes), ((0, 0), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_can_keep_so_many_reports_and_no_more() {
    let server = Server::start(&["lamp-1", "lamp-2"]);
    let site = Site::start(&server).await;
    away(&site, server).await;
    let device = Device::connect(&site, "lamp-1").await;
    for random in 0..9 {
        device.report(World::report("lamp-1", 7, Moment::Failed, random)).await;
    }
    let reports = &site.counters().reports;
    assert_eq!((reports.kept.get(), reports.refused.get()), (4, 5));
    let other = Device::connect(&site, "lamp-2").await;
    other.tell(Moment::Failed).await;
    assert_eq!(reports.kept.get(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_must_ask_before_the_swap_is_not_told_to_start() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf { ask_go: true, ..BundleOf::DEFAULT })).await;
    away(&site, server).await;
    let device = Device::connect(&site, "lamp-1").await;
    device.tell(Moment::Decrypted).await;
    // The answer to this comes after an Execute would have.
    device.tell(Moment::Installed).await;
    assert_eq!(device.told().executes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_cannot_start_its_image_now_is_not_told_so_at_every_report() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    away(&site, server).await;
    let device = Device::connect_with(&site, "lamp-1", Told { declines: true, ..Told::default() }).await;
    device.tell(Moment::Decrypted).await;
    until("Execute", || device.told().executes == 1).await;
    for _ in 0..5 {
        device.tell(Moment::Decrypted).await;
    }
    // The answer to this comes after another Execute would have.
    device.tell(Moment::Installed).await;
    assert_eq!(device.told().executes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_that_was_reported_failed_is_given_no_more() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let mut site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.ask(world.request(&Ask::default())).await.code, Code::CHANGED);
    away(&site, server).await;
    device.tell(Moment::Failed).await;
    assert_eq!(device.ask(world.request(&Ask::default())).await.code, Code::SERVICE_UNAVAILABLE);
    site.reboot().await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.ask(world.request(&Ask::default())).await.code, Code::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_folder_holds_keys_of_links_in_one_file_and_nowhere_else() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let mut site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf { granted: &[], ..BundleOf::DEFAULT })).await;
    let device = Device::connect(&site, "lamp-1").await;
    device.ask(world.request(&Ask::default())).await;
    device.fetch(&world.root()).await;
    let (_, seen) = away(&site, server).await;
    device.tell(Moment::Decrypted).await;
    site.halt().await;
    drop(seen);
    let mut holding = Vec::new();
    let mut folders = vec![site.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap().windows(32).any(|bytes| bytes == CHILD_KEY) {
                holding.push(path);
            }
        }
    }
    assert_eq!(holding, [site.data().join("children")]);
    assert_eq!(std::fs::metadata(&holding[0]).unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(site.data()).unwrap().mode() & 0o777, 0o700);
}
