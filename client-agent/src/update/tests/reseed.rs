//! Re-seeding: the confirming report leads to the next epoch, under a seed that both sides compute.

use crate::platform::{Flash, Region};
use crate::testing::server::Serve;
use crate::testing::{
    Author, CountingRandom, Device, MemoryFlash, NOW, SEED, Server, UPTIME, ask, device, factory_flash,
    facts, fetch, new_image, report, request, sha256, take,
};
use crate::update::record::{Place, Record, RecordStore};
use crate::update::{
    Answered, Begun, Ignored, Installed, Receipted, ShareOffer, Unusable, Updater, Work, trial,
};
use bellwether_keys::{ChainLength, Seed};
use bellwether_manifests::message::{Confirm, Moment};
use core::time::Duration;
use std::vec::Vec;

const NEXT_EPOCH: Place = Place { epoch: 1, index: 0 };

/// A device that offers its share, at the start of a chain of `length` links.
fn device_with(author: &Author, share_offer: ShareOffer, length: u64) -> Device {
    let mut flash = factory_flash();
    let length = ChainLength::try_from(length).unwrap();
    let record = Record::factory(0, Seed::new(SEED), length, crate::testing::BUILT);
    RecordStore::new().save(&mut flash, &record).unwrap();
    start(flash, author, share_offer)
}

fn start(flash: MemoryFlash, author: &Author, share_offer: ShareOffer) -> Device {
    let facts = crate::update::Facts { share_offer, ..facts(author) };
    Updater::start(flash, CountingRandom(7), facts, crate::testing::memory(), Duration::ZERO).unwrap()
}

fn boot(device: Device, author: &Author, self_test: bool) -> Device {
    let share_offer = device.facts().share_offer;
    let mut flash = device.into_flash();
    if trial::select(&mut flash).unwrap().on_trial {
        let settle = if self_test { trial::confirm } else { trial::roll_back };
        settle(&mut flash).unwrap();
        trial::select(&mut flash).unwrap();
    }
    start(flash, author, share_offer)
}

/// From the manifest to the verified image.
fn to_decrypted(device: &mut Device, server: &mut Server<'_>, sequence: u64) {
    device.offer(Duration::ZERO, &server.manifest(sequence)).unwrap();
    let answered = ask(device, server);
    assert!(matches!(answered, Answered::Granted { .. }), "{answered:?}");
    fetch(device, server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

/// Every byte of the record's region, both copies of it.
fn record_bytes(flash: &mut MemoryFlash) -> Vec<u8> {
    let mut bytes = std::vec![0; flash.bytes(Region::Record) as usize];
    flash.read(Region::Record, 0, &mut bytes).unwrap();
    bytes
}

fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn confirming_report_leads_to_the_next_epoch_and_the_old_seed_is_nowhere_in_flash() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.reseed = true;
    to_decrypted(&mut device, &mut server, 1);
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let device = boot(device, &author, true);
    assert_eq!((device.record().place, device.running().digest), (NEXT_EPOCH, sha256(&new_image())));
    assert_eq!(device.record().seed, Seed::new(SEED).next(crate::testing::ID, 0, None).unwrap());
    // Nothing was sent yet, so no later write has been here.
    let mut flash = device.into_flash();
    assert!(!holds(&record_bytes(&mut flash), &SEED));
    let mut device = crate::testing::start(flash, &author);
    report(&mut device, &mut server);
    assert_eq!((server.epoch, server.index, server.fork), (1, 0, device.record().fork));
}

#[test]
fn update_under_the_next_seed_goes_on_as_before() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.reseed = true;
    to_decrypted(&mut device, &mut server, 1);
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    // The confirm is not delivered: the request under the next seed tells of it.
    server.image = crate::testing::image(3, 9_000);
    to_decrypted(&mut device, &mut server, 2);
    let asked = server.asked.last().unwrap();
    assert_eq!((asked.place, asked.unconfirmed.map(|(grant, _)| grant)), (NEXT_EPOCH, Some(NOW + 1)));
    assert_eq!((server.epoch, server.fork), (1, device.record().fork));
    // The old reports are receipted under the keys of the epoch that is gone.
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    report(&mut device, &mut server);
    assert_eq!((server.epoch, server.index, device.record().place), (1, 1, Place { epoch: 1, index: 1 }));
}

#[test]
fn both_reports_that_wait_when_the_seed_goes_are_receipted_later() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.reseed = true;
    to_decrypted(&mut device, &mut server, 1);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let device = boot(device, &author, true);
    // And after a restart in between.
    let mut device = boot(device, &author, true);
    assert_eq!(device.record().reports.iter().flatten().count(), 2);
    report(&mut device, &mut server);
    let moments: Vec<Moment> = server.reported.iter().map(|(moment, _)| *moment).collect();
    assert_eq!(moments, [Moment::Decrypted, Moment::Installed]);
}

#[test]
fn receipt_under_the_next_seed_is_none_for_a_report_of_the_epoch_before() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.reseed = true;
    to_decrypted(&mut device, &mut server, 1);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    let waiting = device.pending_report().unwrap().0.to_vec();
    let mut receipt = server.receipt(&waiting).unwrap();
    let last = receipt.len() - 1;
    receipt[last] ^= 1;
    assert!(matches!(device.receipt(UPTIME, &receipt).unwrap(), Receipted::Ignored(_)));
    receipt[last] ^= 1;
    assert_eq!(device.receipt(UPTIME, &receipt).unwrap(), Receipted::Done(Moment::Decrypted));
}

#[test]
fn shares_make_a_seed_that_the_old_one_alone_does_not_give() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    (server.reseed, server.shares) = (true, true);
    to_decrypted(&mut device, &mut server, 1);
    assert!(server.asked[0].share.is_some());
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    assert_eq!(device.record().place, NEXT_EPOCH);
    assert_ne!(device.record().seed, Seed::new(SEED).next(crate::testing::ID, 0, None).unwrap());
    assert_eq!(device.record().share, None);
    // Both sides have the same seed: the report and the next request are understood.
    report(&mut device, &mut server);
    server.image = crate::testing::image(3, 9_000);
    to_decrypted(&mut device, &mut server, 2);
    assert_eq!(server.asked.last().unwrap().place, NEXT_EPOCH);
}

#[test]
fn share_stays_the_same_over_restarts_while_it_is_out_and_is_new_at_the_next_place() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    (server.reseed, server.shares) = (true, true);
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    server.answer(&request(&mut device));
    let mut device = boot(device, &author, true);
    let answer = server.answer(&request(&mut device));
    assert_eq!(server.asked[0].share, server.asked[1].share);
    assert!(matches!(take(&mut device, &answer), Answered::Granted { .. }));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    report(&mut device, &mut server);
    server.image = crate::testing::image(3, 9_000);
    device.offer(Duration::ZERO, &server.manifest(2)).unwrap();
    ask(&mut device, &mut server);
    assert_ne!(server.asked[1].share, server.asked[2].share);
}

#[test]
fn share_that_is_drawn_long_after_a_boot_is_in_flash_before_it_is_sent() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    server.confirm = Confirm::Decrypted;
    // The place moves without a restart, so no counter is reserved when the next share is drawn.
    to_decrypted(&mut device, &mut server, 1);
    assert!(device.drop_update(10).unwrap());
    report(&mut device, &mut server);
    device.offer(Duration::ZERO, &server.manifest(2)).unwrap();
    server.answer(&request(&mut device));
    let mut device = start(device.into_flash(), &author, ShareOffer::Always);
    server.answer(&request(&mut device));
    let [first, .., second, third] = &server.asked[..] else { panic!("three requests") };
    assert!(second.place.index == 1 && first.share != second.share);
    assert_eq!(second.share, third.share);
}

#[test]
fn share_is_offered_at_the_end_of_the_chain_always_or_never() {
    let author = Author::new();
    for (offer, length, expected) in [
        (ShareOffer::AtChainEnd, 1, true),
        (ShareOffer::AtChainEnd, 2, false),
        (ShareOffer::Always, 2, true),
        (ShareOffer::Never, 1, false),
    ] {
        let mut device = device_with(&author, offer, length);
        let mut server = Server::new(&author, new_image());
        server.chain_length = ChainLength::try_from(length).unwrap();
        device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
        server.answer(&request(&mut device));
        assert_eq!(server.asked[0].share.is_some(), expected, "{offer:?} with {length} links");
    }
}

#[test]
fn grant_with_another_share_than_the_one_that_was_sent_is_refused() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    (server.reseed, server.shares, server.alters_share) = (true, true, true);
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    assert_eq!(ask(&mut device, &mut server), Answered::Unusable(Unusable::Share));
    report(&mut device, &mut server);
    assert_eq!(server.reported, [(Moment::Failed, NOW + 1)]);
    assert_eq!(device.record().place, Place::default());
}

#[test]
fn signed_grant_of_a_stranger_changes_nothing() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    (server.reseed, server.shares, server.strange) = (true, true, true);
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    assert_eq!(ask(&mut device, &mut server), Answered::Ignored(Ignored::Signer));
    assert_eq!((device.record().grant_highest, device.work()), (0, Work::Ask));
}

#[test]
fn signed_grant_whose_key_was_wrapped_for_another_device_does_not_even_raise_the_number() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    (server.reseed, server.shares) = (true, true);
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    let wrong = server.grant_wrapped_by(&request(&mut device), &Seed::new([0xEE; 32]));
    assert_eq!(take(&mut device, &wrong), Answered::Ignored(Ignored::Signer));
    assert_eq!((device.record().grant_highest, device.pending_report()), (0, None));
}

#[test]
fn grant_that_does_not_re_seed_is_refused_at_the_last_index_and_one_that_does_is_not() {
    let author = Author::new();
    for reseed in [false, true] {
        let mut device = device_with(&author, ShareOffer::Never, 1);
        let mut server = Server::new(&author, new_image());
        server.chain_length = ChainLength::try_from(1).unwrap();
        server.reseed = reseed;
        device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
        let answered = ask(&mut device, &mut server);
        if reseed {
            assert!(matches!(answered, Answered::Granted { .. }), "{answered:?}");
        } else {
            assert_eq!(answered, Answered::Unusable(Unusable::ChainEnds));
        }
    }
}

#[test]
fn decrypted_report_that_re_seeds_leaves_the_grant_usable_until_it_is_installed() {
    let author = Author::new();
    let mut device = device_with(&author, ShareOffer::Always, 1024);
    let mut server = Server::new(&author, new_image());
    (server.reseed, server.shares, server.confirm) = (true, true, Confirm::Decrypted);
    to_decrypted(&mut device, &mut server, 1);
    assert_eq!((device.record().place, device.work()), (NEXT_EPOCH, Work::AwaitExecute));
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    assert_eq!((device.record().place, device.running().digest), (NEXT_EPOCH, sha256(&new_image())));
    report(&mut device, &mut server);
    assert_eq!(server.reported.last(), Some(&(Moment::Installed, NOW + 1)));
    assert_eq!((server.epoch, server.fork), (1, device.record().fork));
}

#[test]
fn image_that_fails_after_its_decrypted_report_re_seeded_is_reported_under_the_old_place() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    (server.reseed, server.confirm) = (true, Confirm::Decrypted);
    to_decrypted(&mut device, &mut server, 1);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, false);
    report(&mut device, &mut server);
    assert_eq!(server.reported.last(), Some(&(Moment::Failed, NOW + 1)));
    assert_eq!((server.epoch, device.record().place), (1, NEXT_EPOCH));
    let mut flash = device.into_flash();
    assert!(!holds(&record_bytes(&mut flash), &SEED));
}

#[test]
fn failed_update_does_not_re_seed_and_delta_does() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    (server.reseed, server.serve) = (true, Serve::Delta(crate::testing::old_image()));
    to_decrypted(&mut device, &mut server, 1);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, false);
    report(&mut device, &mut server);
    assert_eq!((device.record().place, &device.record().seed), (Place::default(), &Seed::new(SEED)));
    to_decrypted(&mut device, &mut server, 1);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    assert_eq!(boot(device, &author, true).record().place, NEXT_EPOCH);
}
