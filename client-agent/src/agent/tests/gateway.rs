//! A device with a gateway: honest, silent, away, lying.

use super::*;
use crate::testing::{self, UPTIME, device};
use crate::update::Ignored;
use bellwether_manifests::message::GrantOptions;

fn frames_of_new_image() -> usize {
    new_image().len().div_ceil(992)
}

/// What a gateway holds that got a bundle: the answer to a request that this device did not send itself.
fn bundle(author: &Author, server: &mut Server<'_>) -> Vec<u8> {
    let mut twin = device(author);
    twin.offer(UPTIME, &server.manifest(1)).unwrap();
    server.answer(&testing::request(&mut twin))
}

#[test]
fn update_goes_over_the_gateway_and_registration_to_the_server() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert_eq!(world.seen, ["Post rd?ep=lamp-1&lt=300&lwm2m=1.1&b=U"]);
    assert_eq!(world.count_at_gateway("Post u?"), 1);
    assert_eq!(world.count_at_gateway("Post u/r?"), 1);
    assert_eq!(world.count_at_gateway("Get f/"), frames_of_new_image());
}

#[test]
fn hello_is_said_after_the_handshake_and_every_minute() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    assert_eq!(world.count_at_gateway("Post h?"), 1);
    world.wait();
    assert_eq!(world.now, Instant(Duration::from_secs(61)));
    assert_eq!(world.count_at_gateway("Post h?"), 2);
}

#[test]
fn gateway_that_holds_a_grant_updates_a_device_whose_server_is_away() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.server_is_away = true;
    world.reboot(true);
    assert!(!world.agent.is_registered());
    world.gateway.as_mut().unwrap().bundle = Some(bundle(&author, &mut world.server));
    let manifest = world.server.manifest(1);
    assert_eq!(world.push_over_gateway(manifest), Code::CHANGED);
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    let result = world.ask_device_over(Route::Gateway, Method::Get, "/5/0/5", None);
    assert_eq!((result.code, result.payload.as_slice()), (Code::CONTENT, b"0".as_slice()));
    assert_eq!(world.ask_device_over(Route::Gateway, Method::Post, "/5/0/2", None).code, Code::CHANGED);
    world.settle();
    world.reboot(true);
    assert_eq!(world.agent.updater().running().digest, sha256(&new_image()));
    assert!(world.server.reported.is_empty() && world.agent.updater().pending_report().is_some());
    world.server_is_away = false;
    world.wait_until(|world| world.agent.updater().pending_report().is_none());
    let mut moments = world.moments();
    moments.sort_unstable();
    assert_eq!(moments, [Moment::Decrypted, Moment::Installed], "a gateway that put one off gets the other");
}

#[test]
fn silent_gateway_is_passed_by_once_it_does_not_answer_a_hello_either() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.conduct(Conduct::Silent);
    world.push_manifest();
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
    assert_eq!((world.count_at_gateway("Post u?"), world.count("Post u?")), (1, 1));
    let hello =
        Event::Unanswered { route: Route::Gateway, purpose: Purpose::Hello, failure: Failure::TimedOut };
    assert!(world.events.contains(&hello));
}

#[test]
fn step_that_stays_unanswered_three_times_goes_to_the_server() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.conduct(Conduct::Mute);
    world.push_manifest();
    world.wait_until(|world| world.count("Post u?") == 1);
    assert_eq!(world.count_at_gateway("Post u?"), 3);
    assert!(world.events.contains(&Event::Detour { purpose: Purpose::Ask }));
}

#[test]
fn gateway_that_cannot_be_reached_is_passed_by_at_once_and_used_when_it_is_back() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.conduct(Conduct::Away);
    world.reboot(true);
    world.push_manifest();
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert_eq!((world.count("Get f/"), world.count_at_gateway("")), (frames_of_new_image(), 0));
    world.conduct(Conduct::Forward);
    world.wait_until(|world| world.agent.is_connected(Route::Gateway));
    world.ask_device(Method::Post, "/5/0/10", None);
    world.settle();
    assert_eq!((world.count_at_gateway("Post u/r?"), world.moments().last()), (1, Some(&Moment::Failed)));
}

#[test]
fn session_that_ends_is_waited_for_once_before_the_server_is_asked() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.agent.handle_disconnected(world.now, Route::Gateway);
    world.push_manifest();
    world.settle();
    assert_eq!(world.count("Post u?"), 0);
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
    assert_eq!((world.count_at_gateway("Post u?"), world.count("Post u?")), (1, 0));
}

#[test]
fn session_that_ends_with_a_step_under_way_counts_as_a_failure_of_the_step() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    for _ in 0..3 {
        let (mut asked, mut now) = (None, world.now);
        while asked.is_none() {
            world.connect();
            asked = world
                .agent
                .poll_request(now)
                .unwrap()
                .inspect(|(_, ticket, request)| {
                    if request.path != ["u"] {
                        world.agent.handle_response(now, *ticket, Response::new(Code::CHANGED)).unwrap();
                    }
                })
                .filter(|(_, _, request)| request.path == ["u"]);
            now = now.after(Duration::from_secs(1));
            world.now = now;
        }
        assert_eq!(asked.unwrap().0, Route::Gateway);
        world.agent.handle_disconnected(world.now, Route::Gateway);
    }
    world.settle();
    assert_eq!(world.count("Post u?"), 1);
}

#[test]
fn altered_frames_are_fetched_from_the_server_after_three_and_the_grant_is_kept() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.conduct(Conduct::Alter);
    world.push_manifest();
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert_eq!((world.count_at_gateway("Get f/"), world.count("Get f/")), (3, frames_of_new_image()));
    assert_eq!(world.count_at_gateway("Post u?"), 1);
}

#[test]
fn gateway_that_alters_every_frame_ends_nothing_while_the_server_is_away() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.server_is_away = true;
    world.reboot(true);
    world.gateway.as_mut().unwrap().bundle = Some(bundle(&author, &mut world.server));
    world.conduct(Conduct::Alter);
    let manifest = world.server.manifest(1);
    world.push_over_gateway(manifest);
    world.wait_until(|world| world.count_at_gateway("Get f/") > 20);
    assert_eq!(world.agent.firmware_state(), State::Downloading);
    assert_eq!(world.agent.updater().pending_report(), None);
    world.conduct(Conduct::Forward);
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
}

#[test]
fn forged_verdict_ends_nothing_and_the_server_is_asked_after_three() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    // "Nothing to do", under the key of another request: right but for the nonce.
    let mut twin = device(&author);
    twin.offer(UPTIME, &world.server.manifest(1)).unwrap();
    world.server.serve = Serve::Verdict(Said::Nothing);
    let others = [0; 9].map(|_| testing::request(&mut twin));
    let replayed = world.server.answer(&others[8]);
    world.server.serve = Serve::Full;
    world.conduct(Conduct::Answer(replayed));
    world.push_manifest();
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
    assert_eq!((world.count_at_gateway("Post u?"), world.count("Post u?")), (3, 1));
    assert!(!world.events.contains(&Event::NothingToDo));
}

#[test]
fn invented_answer_is_ignored() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.conduct(Conduct::Answer(std::vec![0x81, 0x41, 0]));
    world.push_manifest();
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
    assert!(world.events.iter().any(|event| matches!(event, Event::AnswerIgnored(_))));
}

#[test]
fn replayed_grant_of_an_update_before_is_ignored_and_the_server_is_asked() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    let old = bundle(&author, &mut world.server);
    world.push_manifest();
    world.settle();
    world.ask_device(Method::Post, "/5/0/10", None);
    world.conduct(Conduct::Answer(old));
    world.settle();
    world.push_manifest();
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
    assert!(world.events.iter().any(|event| matches!(event, Event::AnswerIgnored(Ignored::Number { .. }))));
    assert_eq!(world.count("Post u?"), 1);
}

#[test]
fn gateway_is_tried_again_after_the_detour_and_kept_when_it_serves() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.conduct(Conduct::Decline(Code::BAD_GATEWAY, None));
    world.server.serve = Serve::Verdict(Said::Later(660));
    world.push_manifest();
    world.wait_until(|world| world.count("Post u?") == 1);
    assert_eq!(world.count_at_gateway("Post u?"), 3);
    world.conduct(Conduct::Forward);
    world.server.serve = Serve::Full;
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
    assert_eq!((world.count_at_gateway("Post u?"), world.count("Post u?")), (4, 1));
}

#[test]
fn wait_that_a_gateway_asks_for_is_kept_and_the_third_in_a_row_leads_to_the_server() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.conduct(Conduct::Decline(Code::SERVICE_UNAVAILABLE, Some(20)));
    world.push_manifest();
    let first = world.now;
    world.wait_until(|world| world.count("Post u?") == 1);
    assert_eq!(world.now, first.after(Duration::from_secs(40)));
    assert_eq!(world.count_at_gateway("Post u?"), 3);
}

#[test]
fn gateway_cannot_ask_for_a_longer_wait_than_the_longest_of_the_back_off() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.server_is_away = true;
    world.reboot(true);
    world.conduct(Conduct::Decline(Code::SERVICE_UNAVAILABLE, Some(u32::MAX)));
    let manifest = world.server.manifest(1);
    world.push_over_gateway(manifest);
    let first = world.now;
    world.wait_until(|world| world.count_at_gateway("Post u?") == 2);
    assert!(world.now <= first.after(Duration::from_mins(5)));
}

#[test]
fn report_that_the_gateway_keeps_is_repeated_until_the_receipt() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    while world.count_at_gateway("Get f/") < frames_of_new_image() {
        let (route, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
        let response = world.deliver(route, &request).unwrap();
        world.agent.handle_response(world.now, ticket, response).unwrap();
    }
    world.conduct(Conduct::Decline(Code::SERVICE_UNAVAILABLE, Some(20)));
    world.settle();
    assert_eq!((world.count_at_gateway("Post u/r?"), world.server.reported.len()), (1, 0));
    world.conduct(Conduct::Forward);
    world.wait_until(|world| world.agent.updater().pending_report().is_none());
    assert_eq!((world.count_at_gateway("Post u/r?"), world.count("Post u/r?")), (2, 0));
}

#[test]
fn report_goes_to_the_server_where_the_gateway_refuses_it() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    world.ask_device(Method::Post, "/5/0/10", None);
    world.conduct(Conduct::Decline(Code::UNAUTHORIZED, None));
    world.wait_until(|world| world.agent.updater().pending_report().is_none());
    assert_eq!((world.count_at_gateway("Post u/r?"), world.count("Post u/r?")), (4, 1));
}

#[test]
fn gateway_without_the_resource_is_passed_by_and_the_grant_is_not_asked_for_again() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    let (route, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
    let response = world.deliver(route, &request).unwrap();
    world.agent.handle_response(world.now, ticket, response).unwrap();
    world.conduct(Conduct::Decline(Code::NOT_FOUND, None));
    world.wait_until(|world| !world.moments().is_empty());
    assert_eq!((world.count("Get f/"), world.count_at_gateway("Post u?")), (frames_of_new_image(), 1));
    assert!(!world.events.contains(&Event::ResourceGone));
}

#[test]
fn gateway_cannot_replace_an_update_by_an_older_manifest() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    let (older, newer) = (world.server.manifest(1), world.server.manifest(2));
    world.push(newer);
    world.settle();
    assert_eq!(world.push_over_gateway(older.clone()), Code::CONFLICT);
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    // A server may: it knows why.
    assert_eq!(world.push(older), Code::CHANGED);
    assert_eq!(world.agent.firmware_state(), State::Downloading);
}

#[test]
fn gateway_can_neither_reset_nor_cancel_nor_read_the_device() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    let octets = |body: &[u8]| Some((42, body.to_vec()));
    for (method, path, body) in [
        (Method::Put, "/5/0/0", octets(&[0])),
        (Method::Put, "/5/0/1", octets(b"")),
        (Method::Post, "/5/0/10", None),
        (Method::Post, "/3/0/4", None),
        (Method::Get, "/3/0/2", None),
    ] {
        assert_eq!(world.ask_device_over(Route::Gateway, method, path, body).code, Code::UNAUTHORIZED);
    }
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
}

#[test]
fn wait_of_a_verdict_is_not_shortened_by_a_gateway_that_pushes_the_manifest_again() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.server.serve = Serve::Verdict(Said::Later(40));
    world.push_manifest();
    world.settle();
    let manifest = world.server.manifest(1);
    assert_eq!(world.push_over_gateway(manifest.clone()), Code::CHANGED);
    world.settle();
    assert_eq!(world.count_at_gateway("Post u?"), 1);
    world.push(manifest);
    world.settle();
    assert_eq!(world.count_at_gateway("Post u?"), 2);
}

#[test]
fn device_that_ends_tells_the_server_alone() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    let told = world.count_at_gateway("");
    world.agent.stop();
    world.now = world.now.after(Duration::from_hours(1));
    world.settle();
    assert_eq!(world.seen.last().unwrap(), "Delete rd/1?");
    assert_eq!(world.events.last(), Some(&Event::Stopped));
    assert_eq!(world.count_at_gateway(""), told);
}

#[test]
fn go_is_asked_over_the_gateway_after_its_execute() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.server.options = GrantOptions { ask_go: Some(true), ..GrantOptions::default() };
    world.push_manifest();
    world.settle();
    world.server.serve = Serve::Verdict(Said::Later(40));
    assert_eq!(world.ask_device_over(Route::Gateway, Method::Post, "/5/0/2", None).code, Code::CHANGED);
    world.settle();
    assert!(world.events.contains(&Event::GoWanted) && !world.events.contains(&Event::TrialBegun));
    world.server.serve = Serve::Verdict(Said::Go);
    world.wait_until(|world| world.events.last() == Some(&Event::Reboot));
    assert!(world.events.ends_with(&[Event::Go, Event::TrialBegun, Event::Reboot]));
    assert_eq!((world.count_at_gateway("Post u?"), world.count("Post u?")), (3, 0));
    world.reboot(true);
    assert_eq!(world.agent.updater().running().digest, sha256(&new_image()));
}

#[test]
fn gateway_cannot_take_a_grant_back() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.server.options = GrantOptions { ask_go: Some(true), ..GrantOptions::default() };
    world.push_manifest();
    world.settle();
    world.ask_device(Method::Post, "/5/0/2", None);
    // What a twin of the device is told is authentic, and not for this device's question.
    let mut twin = device(&author);
    twin.offer(UPTIME, &world.server.manifest(1)).unwrap();
    world.server.serve = Serve::Verdict(Said::Refused(18));
    let others = [0; 9].map(|_| testing::request(&mut twin));
    let replayed = world.server.answer(&others[8]);
    world.server.serve = Serve::Verdict(Said::Go);
    world.conduct(Conduct::Answer(replayed));
    world.wait_until(|world| world.events.last() == Some(&Event::Reboot));
    assert_eq!((world.count_at_gateway("Post u?"), world.count("Post u?")), (4, 1));
}

#[test]
fn request_of_a_device_whose_report_waits_for_the_gateway_waits_without_being_polled_for() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    world.conduct(Conduct::Decline(Code::BAD_GATEWAY, None));
    let newer = world.server.manifest(2);
    // Its request goes to the server now, and there is a report of the grant that it ended.
    world.push(newer);
    world.wait_until(|world| world.moments().last() == Some(&Moment::Failed) && world.count("Post u?") == 1);
    world.agent.handle_disconnected(world.now, Route::Gateway);
    assert_eq!(world.agent.poll_connect(world.now.after(Duration::from_secs(9))), Some(Route::Gateway));
    world.ask_device(Method::Post, "/5/0/10", None);
    world.now = world.now.after(Duration::from_secs(9));
    let newest = world.server.manifest(3);
    world.push(newest);
    assert!(world.agent.poll_request(world.now).unwrap().is_none_or(|(_, _, sent)| sent.path != ["u"]));
    assert!(world.agent.poll_timeout(world.now).is_none_or(|at| at > world.now));
}

#[test]
fn device_that_ends_is_not_woken_by_what_the_gateway_would_hear() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.agent.stop();
    let (_, _, request) = world.agent.poll_request(world.now).unwrap().unwrap();
    assert_eq!(request.method, Method::Delete);
    assert_eq!(world.agent.poll_timeout(world.now.after(Duration::from_hours(1))), None);
}

#[test]
fn closed_manifest_that_a_gateway_pushes_every_second_is_asked_for_ever_less() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.server.serve = Serve::Verdict(Said::Nothing);
    let manifest = world.server.manifest(1);
    for _ in 0..3_600 {
        world.push_over_gateway(manifest.clone());
        world.settle();
        world.now = world.now.after(Duration::from_secs(1));
    }
    assert!(world.count_at_gateway("Post u?") < 20, "{}", world.count_at_gateway("Post u?"));
    assert_eq!(world.push_over_gateway(manifest.clone()), Code::SERVICE_UNAVAILABLE);
    // The server may push as often as it likes.
    let asked = world.count_at_gateway("Post u?");
    for _ in 0..3 {
        assert_eq!(world.push(manifest.clone()), Code::CHANGED);
        world.settle();
    }
    assert_eq!(world.count_at_gateway("Post u?"), asked + 3);
}

#[test]
fn garbage_of_a_gateway_changes_neither_the_record_nor_what_the_server_reads() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    let (record, result) = (world.agent.updater().record().clone(), world.read("/5/0/5"));
    assert_eq!(world.push_over_gateway(b"garbage".to_vec()), Code::CHANGED);
    assert!(matches!(world.agent.poll_event(), Some(Event::ManifestRefused { .. })));
    assert_eq!(*world.agent.updater().record(), record);
    assert_eq!(world.read("/5/0/5"), result);
    // The gateway is told of its own.
    let told = world.ask_device_over(Route::Gateway, Method::Get, "/5/0/5", None);
    assert_ne!(told.payload, result.as_bytes());
}

#[test]
fn report_that_a_gateway_puts_off_for_a_day_is_repeated_ever_less() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    world.server_is_away = true;
    world.conduct(Conduct::Decline(Code::SERVICE_UNAVAILABLE, Some(16)));
    world.ask_device(Method::Post, "/5/0/10", None);
    let (told, end) = (world.count_at_gateway("Post u/r?"), world.now.after(Duration::from_hours(24)));
    while world.now < end {
        world.wait();
    }
    let told = world.count_at_gateway("Post u/r?") - told;
    assert!((250..600).contains(&told), "{told}");
}

#[test]
fn gateway_that_goes_on_ending_sessions_gets_ever_fewer_handshakes() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    let end = world.now.after(Duration::from_hours(1));
    let mut sessions = 0;
    while world.now < end {
        world.now = world.agent.poll_timeout(world.now).unwrap().max(world.now);
        world.settle();
        if world.agent.is_connected(Route::Gateway) {
            sessions += 1;
            world.agent.handle_disconnected(world.now, Route::Gateway);
        }
    }
    assert!((10..40).contains(&sessions), "{sessions}");
    // Nothing waits for the next one.
    world.push_manifest();
    let (route, _, request) = world.agent.poll_request(world.now).unwrap().expect("a question");
    assert_eq!((route, request.path), (Route::Server, std::vec!["u".to_string()]));
}

#[test]
fn gateway_that_grants_and_has_no_frame_is_asked_ever_less() {
    let author = Author::new();
    let mut world = World::with_gateway(&author);
    world.server_is_away = true;
    world.reboot(true);
    world.gateway.as_mut().unwrap().bundle = Some(bundle(&author, &mut world.server));
    world.conduct(Conduct::Frameless);
    let manifest = world.server.manifest(1);
    world.push_over_gateway(manifest);
    let end = world.now.after(Duration::from_hours(1));
    while world.now < end {
        world.wait();
    }
    assert!(world.count_at_gateway("Post u?") < 40, "{}", world.count_at_gateway("Post u?"));
    world.conduct(Conduct::Forward);
    world.wait_until(|world| world.agent.firmware_state() == State::Downloaded);
}
