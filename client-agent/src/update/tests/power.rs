//! The power cut at every flash write of an update: the device always boots, and the update always ends.

use super::walk::{Cut, Ended, Scenario, Walk};
use crate::testing::server::Serve;
use crate::testing::{
    Author, CountingRandom, Server, UPTIME, factory_flash, facts, image, old_image, old_radio,
};
use crate::update::record::Place;
use crate::update::{Answered, Begun, Updater, Work};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

/// Runs to the end with the power cut at write number `cut`; gives how many boots it took.
fn update_with_cut(author: &Author, scenario: &Scenario, cut: u32) -> u32 {
    let mut walk = Walk::new(author, scenario);
    let mut flash = scenario.flash();
    flash.writes_left = Some(cut);
    for boots in 1..20 {
        match walk.boot(&mut flash) {
            Ok(Ended::Done) => {
                walk.assert_ended_well(flash, &cut);
                return boots;
            }
            Ok(Ended::Restart) => {}
            Err(Cut) => flash.power_on(),
        }
    }
    panic!("cut at write {cut}: the update does not end");
}

/// Counts the writes of an update that nothing disturbs.
fn writes(author: &Author, scenario: &Scenario) -> u32 {
    let mut walk = Walk::new(author, scenario);
    let mut flash = scenario.flash();
    loop {
        if matches!(walk.boot(&mut flash), Ok(Ended::Done)) {
            return flash.writes;
        }
    }
}

fn sweep(scenario: &Scenario) {
    let author = Author::new();
    let writes = writes(&author, scenario);
    let cut_short = (1..=writes).filter(|cut| update_with_cut(&author, scenario, *cut) > 3).count();
    // Three boots are the least: work, trial, report. Nearly every cut must have cost one more.
    assert!(cut_short > writes as usize / 2, "{cut_short} of {writes} cuts were felt");
}

fn small() -> Scenario {
    Scenario::default()
}

#[test]
fn power_cut_at_any_write_of_a_full_update_ends_with_the_new_image() {
    sweep(&Scenario { has_many_frames: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_delta_update_ends_with_the_new_image() {
    sweep(&Scenario { serve: Serve::Delta(old_image()), has_many_frames: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_two_components_ends_with_both_new() {
    for radio in [Serve::Full, Serve::Delta(old_radio())] {
        sweep(&Scenario { radio: Some(radio), ..Scenario::delta() });
    }
}

#[test]
fn power_cut_at_any_write_of_a_failing_self_test_ends_with_the_old_images() {
    sweep(&Scenario { fails: true, ..small() });
    sweep(&Scenario { fails: true, radio: Some(Serve::Full), ..Scenario::delta() });
}

#[test]
fn power_cut_at_any_write_of_a_re_seeding_leaves_both_sides_with_one_seed() {
    sweep(&Scenario { reseeds: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_re_seeding_with_shares_leaves_both_sides_with_one_seed() {
    sweep(&Scenario { reseeds: true, shares: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_re_seeding_before_the_trial_leaves_both_sides_with_one_seed() {
    sweep(&Scenario { reseeds: true, shares: true, early: true, ..small() });
}

#[test]
fn power_cut_at_any_write_starts_no_image_before_its_go() {
    sweep(&Scenario { asks_go: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_forward_ends_at_the_new_place_or_asks_again() {
    for place in [Place { epoch: 0, index: 9 }, Place { epoch: 2, index: 1 }] {
        sweep(&Scenario { forward: Some(place), ..small() });
    }
}

#[test]
fn power_cut_at_any_write_of_new_anchors_ends_with_them_in_force() {
    let author = Author::new();
    let document = Some(author.replacing(&author.edition(2)));
    sweep(&Scenario { anchors: document.clone(), ..small() });
    sweep(&Scenario { late_anchors: document, ..small() });
}

#[test]
fn power_cut_while_new_anchors_revoke_an_author_never_leaves_its_update_going_on() {
    let author = Author::new();
    let other = author.stranger.clone();
    let mut edition = author.edition(2);
    edition.author = &other;
    let document = author.replacing(&edition);
    for cut in 1..=2 {
        let mut flash = factory_flash();
        let mut server = Server::new(&author, image(2, 3_000));
        let mut device = Updater::start(
            &mut flash,
            CountingRandom(3),
            facts(&author),
            crate::testing::memory(),
            Duration::ZERO,
        )
        .unwrap();
        device.offer(UPTIME, &server.manifest(1)).unwrap();
        let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
        let length = device.ask(UPTIME, &mut scratch, &mut out).unwrap().unwrap();
        let answered = device.answer(UPTIME, &mut scratch, &server.answer(&out[..length])).unwrap();
        assert!(matches!(answered, Answered::Granted { .. }));
        while let Some(wanted) = device.frame_wanted() {
            device.frame(&server.frame(&wanted.root, wanted.number).unwrap()).unwrap();
        }
        device.install(&mut crate::testing::patcher()).unwrap();
        flash.writes_left = Some(cut);
        let mut device = Updater::start(
            &mut flash,
            CountingRandom(4),
            facts(&author),
            crate::testing::memory(),
            Duration::ZERO,
        )
        .unwrap();
        assert!(device.take_anchors(UPTIME, &mut vec![0; 8192], &document).is_err());
        flash.power_on();
        let mut device = Updater::start(
            &mut flash,
            CountingRandom(5),
            facts(&author),
            crate::testing::memory(),
            Duration::ZERO,
        )
        .unwrap();
        // Cut within the document, the old anchors count; after it, the open update is checked before it goes on.
        let expected = if cut == 1 { (1, Work::AwaitExecute) } else { (2, Work::Ask) };
        assert_eq!((device.anchors_edition(), device.work()), expected);
        if cut == 2 {
            // Not even by a server that has not heard of the anchors.
            assert_eq!(device.begin_trial().unwrap(), Begun::NotNow);
            let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
            assert_eq!(device.ask(UPTIME, &mut scratch, &mut out).unwrap(), None);
            assert_eq!(device.record().outcome.result, 5);
            assert!(device.owes_failure());
        }
    }
}

#[test]
fn two_cuts_in_a_row_end_with_the_new_image_as_well() {
    let author = Author::new();
    let scenario = Scenario { reseeds: true, ..small() };
    let writes = writes(&author, &scenario);
    for first in (1..writes).step_by(5) {
        let mut walk = Walk::new(&author, &scenario);
        let mut flash = scenario.flash();
        let mut cuts: Vec<u32> = vec![2, first];
        flash.writes_left = cuts.pop();
        let mut ended = false;
        for _ in 0..20 {
            match walk.boot(&mut flash) {
                Ok(Ended::Done) => {
                    ended = true;
                    break;
                }
                Ok(Ended::Restart) => {}
                Err(Cut) => flash.writes_left = cuts.pop(),
            }
        }
        assert!(ended, "cuts at write {first} and the second after it");
        flash.power_on();
        walk.assert_ended_well(flash, &first);
    }
}
