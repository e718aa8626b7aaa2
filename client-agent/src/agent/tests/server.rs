//! A device without a gateway.

use super::*;

#[test]
fn push_to_receipt_goes_through_the_states_of_object_5() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    assert_eq!((world.read("/5/0/3").as_str(), world.read("/3/0/3").as_str()), ("0", "1.0.0"));
    world.push_manifest();
    assert_eq!(world.agent.firmware_state(), State::Downloading);
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert_eq!(world.server.reported.len(), 1);
    assert_eq!(world.ask_device(Method::Post, "/5/0/2", None).code, Code::CHANGED);
    assert_eq!(world.agent.firmware_state(), State::Updating);
    world.settle();
    assert!(world.events.ends_with(&[Event::TrialBegun, Event::Reboot]));
    world.reboot(true);
    assert_eq!((world.read("/5/0/3").as_str(), world.read("/5/0/5").as_str()), ("0", "1"));
    assert_eq!(world.read("/3/0/3"), "2.0.0");
    assert_eq!(world.agent.updater().running().digest, sha256(&new_image()));
    let moments: Vec<Moment> = world.server.reported.iter().map(|(moment, _)| *moment).collect();
    assert_eq!(moments, [Moment::Decrypted, Moment::Installed]);
    assert_eq!(world.registrations, 2);
}

#[test]
fn nothing_is_sent_between_a_manifest_and_the_event_that_it_is_stored() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    assert_eq!(world.agent.poll_event(), Some(Event::ManifestStored));
    assert_eq!(world.count("Post u"), 0);
}

#[test]
fn execute_before_the_image_is_verified_is_not_allowed() {
    let author = Author::new();
    let mut world = World::new(&author);
    assert_eq!(world.ask_device(Method::Post, "/5/0/2", None).code, Code::METHOD_NOT_ALLOWED);
    world.push_manifest();
    assert_eq!(world.ask_device(Method::Post, "/5/0/2", None).code, Code::METHOD_NOT_ALLOWED);
}

#[test]
fn failed_self_test_ends_idle_with_result_8_and_a_report() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    world.ask_device(Method::Post, "/5/0/2", None);
    world.reboot(false);
    assert_eq!((world.read("/5/0/3").as_str(), world.read("/5/0/5").as_str()), ("0", "8"));
    assert_eq!(world.server.reported.last().unwrap().0, Moment::Failed);
    assert_eq!(world.read("/3/0/3"), "1.0.0");
}

#[test]
fn altered_frame_is_asked_for_again_and_no_other() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.alter_frames = std::vec![3, 7, 7];
    world.push_manifest();
    world.settle();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    let frames = new_image().len().div_ceil(992);
    assert_eq!(world.count("Get f/"), frames + 3);
}

#[test]
fn manifest_with_wrong_signature_shows_result_5_and_state_0() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    let manifest = author.draft(1, &new_image()).sign(&author.stranger).unwrap();
    assert_eq!(world.push(manifest), Code::CHANGED);
    assert_eq!(
        (world.agent.firmware_state(), world.agent.firmware_result()),
        (State::Idle, UpdateResult::IntegrityFailure)
    );
    world.settle();
    assert_eq!(world.count("Post u"), 0);
}

#[test]
fn challenged_device_proves_itself_at_once_and_keeps_the_refusal() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.server.serve = Serve::Verdict(Said::Prove(b"echo".to_vec()));
    world.push_manifest();
    let (_, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
    let response = world.deliver(Route::Server, &request).unwrap();
    world.agent.handle_response(world.now, ticket, response).unwrap();
    world.server.serve = Serve::Verdict(Said::Refused(18));
    world.settle();
    assert_eq!(world.server.asked.last().unwrap().echo.as_deref(), Some(b"echo".as_slice()));
    assert_eq!((world.read("/5/0/3").as_str(), world.read("/5/0/5").as_str()), ("0", "8"));
    world.now = world.now.after(Duration::from_secs(100_000));
    world.settle();
    assert_eq!(world.count("Post u?"), 2);
}

#[test]
fn server_that_always_wants_a_proof_is_asked_ever_more_slowly() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.server.serve = Serve::Verdict(Said::Prove(b"echo".to_vec()));
    world.push_manifest();
    world.settle();
    assert_eq!(world.count("Post u?"), 2);
    let first = world.now;
    world.wait();
    let second = world.now;
    world.wait();
    assert!(second > first && world.now > second.after(Duration::from_secs(1)));
}

#[test]
fn later_is_kept() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.server.serve = Serve::Verdict(Said::Later(40));
    world.push_manifest();
    world.settle();
    assert_eq!(world.count("Post u?"), 1);
    assert_eq!(world.agent.poll_timeout(world.now), Some(world.now.after(Duration::from_secs(40))));
}

#[test]
fn registration_is_updated_before_its_lifetime_ends() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.wait();
    assert_eq!(world.now, Instant(Duration::from_secs(1 + 207)));
    assert_eq!(world.seen.last().unwrap(), "Post rd/1?");
}

#[test]
fn device_that_waits_for_execute_shows_itself_more_often() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    let updates = world.count("Post rd/1?");
    world.wait();
    assert_eq!(world.now, Instant(Duration::from_secs(1 + 60)));
    world.wait();
    assert_eq!(world.now, Instant(Duration::from_secs(1 + 120)));
    assert_eq!(world.count("Post rd/1?"), updates + 2);
}

#[test]
fn written_lifetime_is_told_in_an_update_at_once() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    assert_eq!(world.ask_device(Method::Put, "/1/0/1", Some((0, b"60".to_vec()))).code, Code::CHANGED);
    world.settle();
    assert_eq!(world.seen.last().unwrap(), "Post rd/1?lt=60");
    assert_eq!(world.read("/1/0/1"), "60");
}

#[test]
fn forgotten_registration_is_made_anew_at_once() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    // The server came back with an empty registry: its next number is another one.
    world.registrations = 6;
    world.wait();
    assert_eq!(world.registrations, 7);
    assert!(world.agent.is_registered());
}

#[test]
fn unanswered_request_gives_the_session_up_and_a_new_one_goes_on() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    let (_, ticket, _) = world.agent.poll_request(world.now).unwrap().unwrap();
    world.agent.handle_failure(world.now, ticket, Failure::TimedOut);
    assert_eq!(world.agent.poll_connect(world.now), None);
    world.now = world.agent.poll_timeout(world.now).unwrap();
    assert_eq!(world.agent.poll_connect(world.now), Some(Route::Server));
    world.agent.handle_connected(world.now, Route::Server);
    world.settle();
    world.wait();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert!(world.events.contains(&Event::Unanswered {
        route: Route::Server,
        purpose: Purpose::Ask,
        failure: Failure::TimedOut
    }));
}

#[test]
fn response_to_a_request_of_an_older_session_is_dropped() {
    let author = Author::new();
    let mut world = World::new(&author);
    let (_, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
    world.agent.handle_disconnected(world.now, Route::Server);
    let response = world.deliver(Route::Server, &request).unwrap();
    world.agent.handle_response(world.now, ticket, response).unwrap();
    assert!(!world.agent.is_registered());
}

#[test]
fn lost_receipt_makes_the_same_report_go_out_again() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    let mut first = None;
    while first.is_none() {
        let (_, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
        let response = world.deliver(Route::Server, &request).unwrap();
        if request.path == ["u", "r"] {
            first = Some(request.payload);
            world.agent.handle_failure(world.now, ticket, Failure::TimedOut);
        } else {
            world.agent.handle_response(world.now, ticket, response).unwrap();
        }
    }
    world.now = world.agent.poll_timeout(world.now).unwrap();
    assert_eq!(world.agent.poll_connect(world.now), Some(Route::Server));
    world.agent.handle_connected(world.now, Route::Server);
    world.settle();
    assert_eq!(world.agent.updater().pending_report(), None);
    assert_eq!(world.server.reported.len(), 1);
    assert_eq!(world.count("Post u/r"), 2);
}

#[test]
fn failed_update_is_asked_for_again_only_after_the_receipt_of_its_report() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.server.alter = Some(|parts| parts.installed[0] ^= 1);
    world.push_manifest();
    let (_, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
    let response = world.deliver(Route::Server, &request).unwrap();
    world.agent.handle_response(world.now, ticket, response).unwrap();
    let (_, ticket, report) = world.agent.poll_request(world.now).unwrap().unwrap();
    assert_eq!(report.path, ["u", "r"]);
    world.agent.handle_response(world.now, ticket, Response::new(Code::SERVICE_UNAVAILABLE)).unwrap();
    world.push_manifest();
    assert_eq!(world.agent.poll_request(world.now).unwrap(), None);
    world.server.alter = None;
    world.wait();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
}

#[test]
fn resource_that_is_gone_is_asked_for_again() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    for _ in 0..5 {
        let (_, ticket, request) = world.agent.poll_request(world.now).unwrap().unwrap();
        let response = world.deliver(Route::Server, &request).unwrap();
        world.agent.handle_response(world.now, ticket, response).unwrap();
    }
    world.server.forget_resources();
    world.settle();
    world.wait();
    assert_eq!(world.agent.firmware_state(), State::Downloaded);
    assert!(world.events.contains(&Event::ResourceGone));
}

#[test]
fn cancel_reports_the_grant_failed_and_shows_result_10() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.push_manifest();
    world.settle();
    assert_eq!(world.ask_device(Method::Post, "/5/0/10", None).code, Code::CHANGED);
    assert_eq!(
        (world.agent.firmware_state(), world.agent.firmware_result()),
        (State::Idle, UpdateResult::Cancelled)
    );
    world.settle();
    assert_eq!(world.server.reported.last().unwrap().0, Moment::Failed);
}

#[test]
fn package_uri_is_accepted_and_shown_as_an_unsupported_protocol() {
    let author = Author::new();
    let mut world = World::new(&author);
    let written = world.ask_device(Method::Put, "/5/0/1", Some((0, b"coaps://x/y".to_vec())));
    assert_eq!((written.code, world.read("/5/0/5").as_str()), (Code::CHANGED, "9"));
}

#[test]
fn stopping_ends_the_registration() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    world.agent.stop();
    world.settle();
    assert_eq!(world.seen.last().unwrap(), "Delete rd/1?");
    assert_eq!(world.events.last(), Some(&Event::Stopped));
    assert_eq!(world.agent.poll_request(world.now).unwrap(), None);
}

#[test]
fn execute_of_reboot_restarts_after_the_answer() {
    let author = Author::new();
    let mut world = World::new(&author);
    world.settle();
    assert_eq!(world.ask_device(Method::Post, "/3/0/4", None).code, Code::CHANGED);
    world.settle();
    assert_eq!(world.events.last(), Some(&Event::Reboot));
    world.reboot(true);
    assert!(world.agent.is_registered());
}
