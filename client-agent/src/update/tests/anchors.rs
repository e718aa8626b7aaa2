//! Anchors that replace those of the unit file.

use crate::testing::server::Serve;
use crate::testing::{Author, Device, NOW, Server, UPTIME, ask, device, fetch, new_image, report, start};
use crate::update::record::State;
use crate::update::{AnchorsTaken, Answered, Ignored, Installed, Offered, Work};
use bellwether_manifests::anchors::AnchorsError;
use bellwether_manifests::cose::PrivateKey;
use bellwether_manifests::message::{GrantOptions, Moment};
use core::time::Duration;
use std::vec;

fn take_anchors(device: &mut Device, document: &[u8]) -> AnchorsTaken {
    device.take_anchors(UPTIME, &mut vec![0; 8192], document).unwrap()
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_random(&[number; 32]).unwrap()
}

fn offered(author: &Author) -> (Device, Server<'_>) {
    let (mut device, server) = (device(author), Server::new(author, new_image()));
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    (device, server)
}

#[test]
fn replaced_anchors_count_at_once_and_after_a_restart() {
    let author = Author::new();
    let mut device = device(&author);
    let new_author = key(20);
    let mut edition = author.edition(2);
    edition.author = &new_author;
    let document = author.replacing(&edition);
    assert_eq!(take_anchors(&mut device, &document), AnchorsTaken::Taken { edition: 2 });
    assert_eq!(take_anchors(&mut device, &document), AnchorsTaken::Known);
    let mut device = start(device.into_flash(), &author);
    assert_eq!((device.anchors_edition(), device.record().anchors_edition), (2, 2));
    let old = author.manifest(1, &new_image());
    assert!(matches!(device.offer(Duration::ZERO, &old).unwrap(), Offered::Refused { result: 5, .. }));
    let new = author.draft(1, &new_image()).sign(&new_author).unwrap();
    assert_eq!(device.offer(Duration::ZERO, &new).unwrap(), Offered::Stored);
}

#[test]
fn editions_follow_one_another_over_a_new_root_and_none_is_left_out() {
    let author = Author::new();
    let mut device = device(&author);
    let (second_root, third_root) = (key(30), key(31));
    let mut second = author.edition(2);
    second.root = &second_root;
    let mut third = author.edition(3);
    third.root = &third_root;
    let third = third.draft(author.vendor).sign(&[second_root.clone(), third_root.clone()]).unwrap();
    // The first root did not sign the third edition.
    assert_eq!(take_anchors(&mut device, &third), AnchorsTaken::Refused(AnchorsError::Threshold));
    let second = author.replacing(&second);
    assert_eq!(take_anchors(&mut device, &second), AnchorsTaken::Taken { edition: 2 });
    assert_eq!(take_anchors(&mut device, &third), AnchorsTaken::Taken { edition: 3 });
    assert_eq!(take_anchors(&mut device, &second), AnchorsTaken::Refused(AnchorsError::Edition(2)));
    assert_eq!(start(device.into_flash(), &author).anchors_edition(), 3);
}

#[test]
fn document_of_another_root_another_vendor_altered_or_too_long_is_refused() {
    let author = Author::new();
    let mut device = device(&author);
    let stranger = key(40);
    let mut foreign = author.edition(2);
    foreign.root = &stranger;
    let foreign = foreign.draft(author.vendor).sign(std::slice::from_ref(&stranger)).unwrap();
    assert_eq!(take_anchors(&mut device, &foreign), AnchorsTaken::Refused(AnchorsError::Threshold));
    let other = author.edition(2).draft([9; 16]).sign(std::slice::from_ref(&author.root)).unwrap();
    assert_eq!(take_anchors(&mut device, &other), AnchorsTaken::Refused(AnchorsError::Vendor));
    let document = author.replacing(&author.edition(2));
    for at in (0..document.len()).step_by(13) {
        let mut altered = document.clone();
        altered[at] ^= 1;
        assert!(matches!(take_anchors(&mut device, &altered), AnchorsTaken::Refused(_)), "byte {at}");
    }
    assert_eq!(take_anchors(&mut device, &vec![0; 4086]), AnchorsTaken::TooLong);
    assert_eq!(device.anchors_edition(), 1);
}

#[test]
fn stored_manifest_of_a_revoked_author_is_given_up_and_reported() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let new_author = key(20);
    let mut edition = author.edition(2);
    edition.author = &new_author;
    take_anchors(&mut device, &author.replacing(&edition));
    assert_eq!(device.record().state, State::None);
    report(&mut device, &mut server);
    assert_eq!(server.reported, [(Moment::Failed, 0)]);
}

#[test]
fn grant_and_image_of_a_revoked_author_or_distributor_are_given_up_and_reported() {
    let author = Author::new();
    let other = key(20);
    for (is_author, is_installed) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut device, mut server) = offered(&author);
        ask(&mut device, &mut server);
        if is_installed {
            fetch(&mut device, &server);
            assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
        }
        let mut edition = author.edition(2);
        *(if is_author { &mut edition.author } else { &mut edition.distributor }) = &other;
        let taken = take_anchors(&mut device, &author.replacing(&edition));
        assert_eq!(taken, AnchorsTaken::Taken { edition: 2 });
        assert_eq!((&device.record().state, device.record().outcome.result), (&State::None, 5));
        report(&mut device, &mut server);
        assert_eq!(server.reported.last(), Some(&(Moment::Failed, NOW + 1)));
    }
}

#[test]
fn update_goes_on_where_the_new_anchors_allow_it() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    let taken = take_anchors(&mut device, &author.replacing(&author.edition(2)));
    assert_eq!((taken, device.work()), (AnchorsTaken::Taken { edition: 2 }, Work::Fetch));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn descriptor_of_a_revoked_distributor_is_ignored() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let other = key(20);
    let mut edition = author.edition(2);
    edition.distributor = &other;
    take_anchors(&mut device, &author.replacing(&edition));
    assert_eq!(ask(&mut device, &mut server), Answered::Ignored(Ignored::Distributor));
}

#[test]
fn grant_that_waited_for_anchors_is_taken_when_they_are_there() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.options = GrantOptions { anchors_edition: Some(2), ..GrantOptions::default() };
    let needed = Answered::Ignored(Ignored::AnchorsNeeded { edition: 2 });
    assert_eq!(ask(&mut device, &mut server), needed);
    take_anchors(&mut device, &author.replacing(&author.edition(2)));
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
}

#[test]
fn unit_file_with_later_anchors_than_the_kept_ones_counts() {
    let author = Author::new();
    let mut device = device(&author);
    take_anchors(&mut device, &author.replacing(&author.edition(2)));
    let third = author.replacing(&author.edition(3));
    let anchors =
        bellwether_manifests::anchors::Anchors::initial(std::boxed::Box::leak(third.into_boxed_slice()));
    let facts = crate::update::Facts { anchors: anchors.unwrap(), ..crate::testing::facts(&author) };
    let random = crate::testing::CountingRandom(7);
    let device = crate::update::Updater::start(
        device.into_flash(),
        random,
        facts,
        crate::testing::memory(),
        Duration::ZERO,
    )
    .unwrap();
    assert_eq!(device.anchors_edition(), 3);
}

#[test]
fn time_of_issue_of_new_anchors_raises_the_floor_and_what_may_be_believed() {
    let author = Author::new();
    let mut device = device(&author);
    let before = device.record().time_floor;
    let mut late = author.edition(2).draft(author.vendor);
    late.issued = NOW + 500 * 86_400;
    let document = late.sign(std::slice::from_ref(&author.root)).unwrap();
    take_anchors(&mut device, &document);
    assert!(device.record().time_floor > before && device.now(UPTIME) >= late.issued);
    assert!(start(device.into_flash(), &author).now(Duration::ZERO) >= late.issued);
}

#[test]
fn delta_goes_on_after_anchors_as_well() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Delta(crate::testing::old_image());
    ask(&mut device, &mut server);
    take_anchors(&mut device, &author.replacing(&author.edition(2)));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}
