//! Which server is registered with, and what it reads and writes in the private object.

use super::*;
use crate::testing::{NOW, UPTIME};
use crate::update::AnchorsTaken;
use crate::update::facts::COMPONENTS_MAX;
use crate::update::request::Held;
use crate::update::verify::{Against, verify};
use bellwether_manifests::definition::DEFINITION_BYTES_MAX;
use bellwether_manifests::message::{StableAnswers, predict};

const SECOND: &str = "coaps://second.example:5684/u";

#[test]
fn server_that_a_verdict_names_is_registered_with_and_grants_the_update() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.said_once = Some(Said::Elsewhere(std::vec![SECOND]));
    world.push_manifest();
    world.settle();
    assert!(world.events.contains(&Event::SentElsewhere { server: Some(1) }));
    assert_eq!((world.agent.firmware_state(), world.agent.server()), (State::Downloaded, 1));
    assert_eq!((world.tried.as_slice(), world.registrations), ([0, 1].as_slice(), 2));
    assert_eq!(world.ask_device(Method::Post, "/5/0/2", None).code, Code::CHANGED);
}

#[test]
fn update_that_is_elsewhere_does_not_go_over_the_gateway() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.said_once = Some(Said::Elsewhere(std::vec![SECOND]));
    world.push_manifest();
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert_eq!((world.count_at_gateway("Post u?"), world.count_at_gateway("Get f/")), (1, 0));
    // The next one does.
    let newer = world.server.manifest(2);
    world.push(newer);
    world.settle();
    assert_eq!(world.count_at_gateway("Post u?"), 2);
}

#[test]
fn servers_that_send_a_device_to_and_fro_are_asked_ever_more_slowly() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.server.serve = Serve::Verdict(Said::Elsewhere(std::vec![SECOND]));
    world.push_manifest();
    world.settle();
    assert_eq!(world.count("Post u?"), 2);
    let first = world.now;
    world.wait_until(|world| world.count("Post u?") == 4);
    assert!(world.now > first.after(Duration::from_secs(2)));
}

#[test]
fn server_that_cannot_be_reached_three_times_is_followed_by_the_next() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.unreachable = Some(0);
    world.reboot(true);
    world.wait_until(|world| world.agent.is_registered());
    assert_eq!((world.agent.server(), world.tried.as_slice()), (1, [0, 0, 0, 0, 1].as_slice()));
    world.unreachable = Some(1);
    world.agent.handle_disconnected(world.now, Route::Server);
    world.wait_until(|world| world.agent.is_registered());
    assert_eq!(world.agent.server(), 0);
}

#[test]
fn newer_anchors_are_taken_and_their_edition_is_told() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    assert_eq!(world.read("/26250/0/1"), "1");
    let document = author.replacing(&author.edition(2));
    let mut write =
        |document: &[u8]| world.ask_device(Method::Put, "/26250/0/0", Some((42, document.to_vec()))).code;
    assert_eq!((write(&document), write(&document)), (Code::CHANGED, Code::CHANGED));
    assert_eq!(write(&author.replacing(&author.edition(1))), Code::CONFLICT);
    let mut altered = author.replacing(&author.edition(3));
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(write(&altered), Code::UNAUTHORIZED);
    assert_eq!(write(&[0; 9000]), Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(world.read("/26250/0/1"), "2");
    world.settle();
    assert!(world.events.contains(&Event::AnchorsOffered(AnchorsTaken::Taken { edition: 2 })));
    world.reboot(true);
    assert_eq!(world.read("/26250/0/1"), "2");
}

#[test]
fn anchors_that_no_longer_know_the_author_end_his_update_with_a_report() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    let mut edition = author.edition(2);
    edition.author = &author.stranger;
    let document = author.replacing(&edition);
    world.ask_device(Method::Put, "/26250/0/0", Some((42, document)));
    world.settle();
    assert_eq!((world.agent.firmware_state(), world.moments().last()), (State::Idle, Some(&Moment::Failed)));
    assert!(world.events.contains(&Event::GivenUp));
}

#[test]
fn stable_answers_foretell_the_selector_of_a_request() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    let told = world.ask_device(Method::Get, "/26250/0/2", None).payload;
    let told = StableAnswers::decode(&told).unwrap();
    world.push_manifest();
    let mut twin = two_servers(factory_flash(), &author);
    twin.offer(UPTIME, &world.server.manifest(1)).unwrap();
    let request = crate::testing::request(&mut twin);
    let envelope = world.server.manifest(1);
    let against = Against {
        facts: twin.facts(),
        anchors: twin.anchors(),
        held: [Held { running: twin.running(), slot_bytes: u32::MAX }; COMPONENTS_MAX],
        sequences: [0; COMPONENTS_MAX],
        now: NOW,
    };
    let followed = verify(&envelope, &against).unwrap();
    let mut scratch = [0; DEFINITION_BYTES_MAX];
    let definition = followed.component.definition(&mut scratch).unwrap().unwrap();
    let foretold = predict::selector(&definition, &told, followed.manifest).unwrap();
    assert_eq!(foretold, world.server.selector_of(&request));
}

#[test]
fn registration_lists_the_private_object() {
    let author = Author::new();
    let mut world = World::new(&author);
    let (_, _, request) = world.agent.poll_request(world.now).unwrap().unwrap();
    let objects = String::from_utf8(request.payload).unwrap();
    assert!(objects.split(',').any(|link| link == "</26250/0>"), "{objects}");
}
