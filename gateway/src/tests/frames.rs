//! Frames: fetched once, verified, kept, and served from what is verified.

use std::sync::Arc;

use bellwether_net::coap::Code;

use super::actors::{Device, PATIENCE, Server, Site, until};
use crate::testing::{BundleOf, World};

const TWENTY: usize = 20;

fn names() -> Vec<String> {
    (0..TWENTY).map(|n| format!("lamp-{n:02}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_devices_at_a_time_cost_one_flight() {
    let (names, world) = (names(), Arc::new(World::new()));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = Server::start(&names);
    server.offer(&world);
    let site = Site::start(&server).await;
    let mut fetches = tokio::task::JoinSet::new();
    for name in names {
        let device = Device::connect(&site, name).await;
        let world = Arc::clone(&world);
        fetches.spawn(async move { device.fetch(&world.root()).await == world.chain().framed() });
    }
    assert!(fetches.join_all().await.into_iter().all(|right| right));
    let blocks = world.chain().layout().frames() as usize;
    assert_eq!(server.asked_twice(), 0);
    assert_eq!(server.seen().blocks.len(), blocks);
    let frames = &site.counters().frames;
    assert_eq!(frames.fetched_upstream.get(), blocks as u64);
    assert_eq!(frames.served.get(), (blocks * TWENTY) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_frame_is_fetched_again_and_never_given_on() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    server.seen().alter = 2;
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
    assert_eq!(site.counters().frames.altered_upstream.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_alters_always_leads_to_bad_gateway() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    server.seen().alter = u32::MAX;
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.frame(&world.root(), 0).await.code, Code::BAD_GATEWAY);
    // Nobody bothers the server again at once.
    assert_eq!(device.frame(&world.root(), 0).await.code, Code::BAD_GATEWAY);
    assert_eq!(server.seen().blocks.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_body_under_the_same_name_is_not_taken_and_the_first_stands() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    let first = device.frame(&world.root(), 0).await;
    let other = World::with_content(&vec![0xee; 200_000]);
    server.seen().bodies.insert(world.root(), other.chain().framed());
    assert_eq!(device.frame(&world.root(), 0).await.payload, first.payload);
    assert_eq!(device.frame(&other.root(), 0).await.code, Code::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_altered_while_the_gateway_was_off_is_fetched_again() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let mut site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    device.fetch(&world.root()).await;
    site.halt().await;
    let path = site.frame_file(&world.root());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10_000] ^= 0x80;
    std::fs::write(&path, bytes).unwrap();
    site.boot();
    let gateway = Arc::clone(&site.running().gateway);
    until("the server", || gateway.uplink.is_up()).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
    assert_eq!(site.counters().frames.altered_disk.get(), 1);
    let again = server.seen().blocks.iter().filter(|(_, number)| *number < 9).count();
    assert_eq!(again, 9, "what was right is not fetched again");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_survive_a_restart_in_the_middle_and_are_not_fetched_twice() {
    let (server, world) = (Server::start(&["lamp-1"]), World::with_content(&vec![1; 150_000]));
    server.offer(&world);
    let mut site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.frame(&world.root(), 20).await.code, Code::CONTENT);
    site.reboot().await;
    let gateway = Arc::clone(&site.running().gateway);
    until("the server", || gateway.uplink.is_up()).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
    // The block that was on its way when the gateway ended may have come twice.
    assert!(server.asked_twice() <= 1, "{}", server.asked_twice());
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_is_served_past_from_memory() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let mut site = Site::prepare(server.address());
    std::fs::create_dir_all(site.data().join("frames")).unwrap();
    std::os::unix::fs::symlink("/dev/full", site.frame_file(&world.root())).unwrap();
    site.boot();
    let gateway = Arc::clone(&site.running().gateway);
    until("the server", || gateway.family.len() == 1).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
    assert_eq!((site.counters().disk_errors.get(), server.asked_twice()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_is_fetched_ahead_and_served_while_the_server_is_away() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let site = Site::start(&server).await;
    assert_eq!(server.put_bundle(&world.bundle(&BundleOf::default())).await, Code::CHANGED);
    let gateway = Arc::clone(&site.running().gateway);
    let whole = world.chain().framed().len() as u64;
    until("all frames", || gateway.cache.disk_bytes() == whole).await;
    server.stop().await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.fetch(&world.root()).await, world.chain().framed());
}

#[tokio::test(flavor = "multi_thread")]
async fn child_that_asks_for_root_after_root_is_refused_and_others_are_served() {
    let (server, world) = (Server::start(&["lamp-1", "lamp-2"]), World::new());
    server.offer(&world);
    let site = Site::start(&server).await;
    let hostile = Device::connect(&site, "lamp-1").await;
    let mut codes = Vec::new();
    for n in 0..20 {
        codes.push(hostile.frame(&[n; 32], 0).await.code);
    }
    assert_eq!(codes.iter().filter(|code| **code == Code::NOT_FOUND).count(), 16);
    assert_eq!(codes.last(), Some(&Code::TOO_MANY_REQUESTS));
    let other = Device::connect(&site, "lamp-2").await;
    assert_eq!(other.fetch(&world.root()).await, world.chain().framed());
    // What somebody else has brought in is not new any more.
    assert_eq!(hostile.frame(&world.root(), 0).await.code, Code::CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn frame_that_is_not_here_is_put_off_while_the_server_is_away() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    server.stop().await;
    let response = device.frame(&world.root(), 0).await;
    assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
    assert!(response.max_age.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_waits_does_not_wait_for_the_pace_of_what_is_fetched_ahead() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.offer(&world);
    let site = Site::start(&server).await;
    // A block in a thousand seconds.
    server.put_bundle(&world.bundle(&BundleOf { bytes_per_s: 1, ..BundleOf::DEFAULT })).await;
    until("the first block", || !server.seen().blocks.is_empty()).await;
    let device = Device::connect(&site, "lamp-1").await;
    let fetched = tokio::time::timeout(PATIENCE, device.fetch(&world.root())).await;
    assert!(fetched.is_ok_and(|body| body == world.chain().framed()));
}
