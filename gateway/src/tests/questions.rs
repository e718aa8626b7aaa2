//! Update requests: answered from a bundle, forwarded, or put off; and the bundles themselves.

use std::sync::Arc;

use bellwether_manifests::message::{Answer, Moment, content_format};
use bellwether_net::coap::{Code, Method, Request};

use super::actors::{Device, Server, Site, until};
use crate::testing::{self, Ask, BundleOf, CLOCK, FAR_CLOCK, GRANT, ISSUED, World};

fn grant_in(payload: &[u8]) -> u64 {
    let answer = Answer::decode(payload).unwrap();
    crate::held::HeldGrant::read(answer.message).unwrap().1.number
}

#[tokio::test(flavor = "multi_thread")]
async fn question_is_answered_from_the_bundle_without_the_server() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    let device = Device::connect(&site, "lamp-1").await;
    let response = device.ask(world.request(&Ask::default())).await;
    assert_eq!((response.code, response.content_format), (Code::CHANGED, Some(content_format::ANSWER)));
    assert_eq!(grant_in(&response.payload), GRANT);
    let answer = Answer::decode(&response.payload).unwrap();
    assert_eq!(answer.descriptor, Some(&world.descriptor(1)[..]));
    // What an earlier bundle held had expired by its clock; what this one holds has not.
    let response = device.ask(world.request(&Ask { counter: 2, options: &[CLOCK], ..Ask::default() })).await;
    assert_eq!(grant_in(&response.payload), GRANT);
    assert!(server.seen().requests.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bundle_does_not_hold_is_forwarded_as_it_came() {
    let (server, world) = (Server::start(&["lamp-1", "lamp-2"]), World::new());
    let site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    let (first, second) = (Device::connect(&site, "lamp-1").await, Device::connect(&site, "lamp-2").await);
    let asked = [
        // Another device, another place, and what only the server can act on.
        (&second, world.request(&Ask { id: "lamp-2", ..Ask::default() })),
        (&first, world.request(&Ask { index: 1, ..Ask::default() })),
        (&first, world.request(&Ask { options: &[1], ..Ask::default() })),
        (&first, world.request(&Ask { options: &[5], ..Ask::default() })),
        (&first, world.request(&Ask { options: &[7], ..Ask::default() })),
        (&first, world.request(&Ask { options: &[FAR_CLOCK], ..Ask::default() })),
    ];
    for (device, request) in &asked {
        assert_eq!(grant_in(&device.ask(request.clone()).await.payload), GRANT + 1);
    }
    let forwarded: Vec<Vec<u8>> = asked.into_iter().map(|(_, request)| request).collect();
    assert_eq!(server.seen().requests, forwarded);
    assert_eq!(site.counters().requests.forwarded.get(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_passed_on() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    server.seen().refuse = Some(Code::UNAUTHORIZED);
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(device.ask(world.request(&Ask::default())).await.code, Code::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_questions_on_their_way_are_sent_once() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    server.seen().gate = Some(Arc::clone(&gate));
    let site = Site::start(&server).await;
    let (first, second) = (Device::connect(&site, "lamp-1").await, Device::connect(&site, "lamp-1").await);
    let request = world.request(&Ask::default());
    let asking = async { tokio::join!(first.ask(request.clone()), second.ask(request.clone())) };
    let opening = async {
        until("the question", || server.seen().requests.len() == 1).await;
        let again = Request::new(Method::Post, "/h");
        // Both questions have come to the gateway when it has answered what came after them.
        first.send(again.clone()).await;
        second.send(again).await;
        gate.add_permits(9);
    };
    let ((one, two), ()) = tokio::join!(asking, opening);
    assert_eq!(one.payload, two.payload);
    assert_eq!(server.seen().requests.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_or_reports_in_anothers_name() {
    let (server, world) = (Server::start(&["lamp-1", "lamp-2"]), World::new());
    let site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    let thief = Device::connect(&site, "lamp-2").await;
    assert_eq!(thief.ask(world.request(&Ask::default())).await.code, Code::FORBIDDEN);
    let report = World::report("lamp-1", GRANT, Moment::Failed, 1);
    assert_eq!(thief.report(report).await.code, Code::FORBIDDEN);
    assert_eq!(thief.ask(b"garbage".to_vec()).await.code, Code::BAD_REQUEST);
    assert_eq!(thief.report(b"garbage".to_vec()).await.code, Code::BAD_REQUEST);
    assert_eq!(site.counters().malformed.get(), 4);
    assert!(server.seen().requests.is_empty() && server.seen().reports.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_that_are_not_believed_or_older_are_refused() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let _site = Site::start(&server).await;
    let bundle = |of: BundleOf<'_>| world.bundle(&of);
    assert_eq!(server.put_bundle(&bundle(BundleOf { edition: 3, ..BundleOf::DEFAULT })).await, Code::CHANGED);
    for (of, code) in [
        (BundleOf { edition: 2, ..BundleOf::DEFAULT }, Code::CONFLICT),
        (BundleOf { edition: 4, signed_by: 9, ..BundleOf::DEFAULT }, Code::UNAUTHORIZED),
        (BundleOf { edition: 4, author: 9, ..BundleOf::DEFAULT }, Code::UNAUTHORIZED),
        (BundleOf { edition: 4, not_after: ISSUED - 1, ..BundleOf::DEFAULT }, Code::UNAUTHORIZED),
    ] {
        assert_eq!(server.put_bundle(&bundle(of)).await, code);
    }
    assert_eq!(server.put_bundle(b"garbage").await, Code::BAD_REQUEST);
    assert_eq!(server.put("/b", 42, b"garbage").await, Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[tokio::test(flavor = "multi_thread")]
async fn bundle_that_looks_expired_is_kept_and_its_questions_are_forwarded() {
    // To a gateway whose clock is a year ahead, every bundle looks like this one.
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let looks_old = BundleOf { not_after: ISSUED + 1, push: &["lamp-1"], ..BundleOf::DEFAULT };
    assert_eq!(server.put_bundle(&world.bundle(&looks_old)).await, Code::CHANGED);
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(grant_in(&device.ask(world.request(&Ask::default())).await.payload), GRANT + 1);
    assert_eq!(site.running().gateway.shelf.len(), 1);
    assert!(device.told().manifests.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_bundle_answers_nothing_any_more() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    server.put_bundle(&world.bundle(&BundleOf { edition: 2, at_a_time: 0, ..BundleOf::DEFAULT })).await;
    let device = Device::connect(&site, "lamp-1").await;
    assert_eq!(grant_in(&device.ask(world.request(&Ask::default())).await.payload), GRANT + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_anchors_are_kept_and_put_out_what_the_old_distributor_signed() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let mut site = Site::start(&server).await;
    server.put_bundle(&world.bundle(&BundleOf::default())).await;
    let put = async |document: Vec<u8>| server.put("/a", content_format::ANCHORS, &document).await;
    assert_eq!(put(testing::anchors_with(2, 1, 5)).await, Code::CHANGED);
    assert_eq!(put(testing::anchors(2, 1)).await, Code::CONFLICT);
    assert_eq!(put(testing::foreign_anchors(3)).await, Code::UNAUTHORIZED);
    assert_eq!(put(b"garbage".to_vec()).await, Code::BAD_REQUEST);
    assert_eq!(site.running().gateway.shelf.len(), 0);
    assert_eq!(
        server.put_bundle(&world.bundle(&BundleOf { edition: 9, ..BundleOf::DEFAULT })).await,
        Code::UNAUTHORIZED
    );
    site.reboot().await;
    assert_eq!(&*site.running().gateway.trust.document(), &testing::anchors_with(2, 1, 5)[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_read_again_when_the_server_says_so_or_a_bundle_names_a_stranger() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let gateway = Arc::clone(&site.running().gateway);
    server.seen().children.push("lamp-2".to_owned());
    server.put_bundle(&world.bundle(&BundleOf { granted: &["lamp-1", "lamp-2"], ..BundleOf::DEFAULT })).await;
    until("the new child", || gateway.family.has("lamp-2")).await;
    let leaver = Device::connect(&site, "lamp-2").await;
    server.seen().children = vec!["lamp-1".to_owned()];
    let session = server.seen().session.unwrap();
    server.shard.request(session, Request::new(Method::Post, "/g/c")).await.unwrap();
    until("the end of the session", || gateway.session("lamp-2").is_none()).await;
    assert!(!gateway.family.has("lamp-2"));
    drop(leaver);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_cannot_speak_to_the_server_as_its_gateway() {
    let (server, world) = (Server::start(&["lamp-1"]), World::new());
    let site = Site::start(&server).await;
    let device = Device::connect(&site, "lamp-1").await;
    let report = World::report("lamp-1", GRANT, Moment::Failed, 1);
    for (path, query, format, body) in [
        // The server would count the gateway as gone a second later.
        ("/g", "lt=1", content_format::REQUEST, world.request(&Ask::default())),
        ("/g", "lt=1", content_format::REPORT, report.clone()),
        ("/rd", "ep=gw-1", content_format::REQUEST, world.request(&Ask::default())),
        ("/rd/r", "lt=1", content_format::REPORT, report),
    ] {
        let request = Request::new(Method::Post, path).with_query(query).with_payload(format, body);
        assert_eq!(device.send(request).await.code, Code::FORBIDDEN, "{path}");
    }
    assert!(!server.seen().presences.contains(&"lt=1".to_owned()));
}
