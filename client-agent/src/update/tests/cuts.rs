//! The power cut at every write of an update, and again at every write of what follows: the device always runs all old or
//! all new images, its place never goes back, and the update ends with its report received.
//!
//! A cut leaves of what was not committed whatever [`crate::testing::flash::Cut`] has: a beginning, a beginning and
//! garbage, nothing, or all; and of the writes before it all or none.

use super::walk::{Cut as Felt, Ended, Scenario, Walk};
use crate::testing::flash::{Cut, Torn};
use crate::testing::server::Serve;
use crate::testing::{Author, MemoryFlash, old_radio};
use crate::update::record::Place;
use std::vec::Vec;

/// How many of the cuts are tried.
struct Effort {
    /// What each cut leaves.
    cuts: Vec<Cut>,
    /// Every so-many-th write of the recovery.
    stride: usize,
}

impl Effort {
    /// Everything where the variable is set, as the soak does; else what a test run has the time for.
    fn of_this_run() -> Self {
        let all = std::env::var_os("BELLWETHER_ALL_CUTS").is_some();
        if all {
            return Self { cuts: Cut::all().collect(), stride: 1 };
        }
        let left = |torn, drops_earlier| Cut { torn, drops_earlier };
        Self { cuts: std::vec![left(Torn::Garbage, true), left(Torn::Half, false)], stride: 13 }
    }
}

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    cuts: usize,
    recovery_cuts: usize,
}

/// A device and its server as a cut leaves them.
type Left<'a> = (MemoryFlash, Walk<'a>);

/// Runs to the end; gives what a cut at each of its writes would have left.
fn finish<'a>(
    (mut flash, mut walk): Left<'a>,
    cut: Option<Cut>,
    name: &dyn core::fmt::Debug,
) -> Vec<Left<'a>> {
    let first = flash.writes;
    (flash.tape, flash.cut) = (cut.map(|_| Vec::new()), cut.unwrap_or_default());
    walk.log = cut.map(|_| Vec::new());
    for _ in 0..20 {
        match walk.boot(&mut flash) {
            Ok(Ended::Done) => {
                let (tape, log) =
                    (flash.tape.take().unwrap_or_default(), walk.log.take().unwrap_or_default());
                walk.assert_ended_well(flash, name);
                return rejoin(first, tape, &log);
            }
            Ok(Ended::Restart) => {}
            Err(Felt) => panic!("{name:?}: nothing cuts the power here"),
        }
    }
    panic!("{name:?}: the update does not end");
}

/// Puts flash and server together as they were before each write.
fn rejoin<'a>(first: u32, tape: Vec<MemoryFlash>, log: &[(u32, Walk<'a>)]) -> Vec<Left<'a>> {
    (first..)
        .zip(tape)
        .map(|(before, flash)| {
            let at = log.iter().rposition(|(writes, _)| *writes <= before).unwrap();
            (flash, log[at].1.clone())
        })
        .collect()
}

fn explore(name: &str, scenario: &Scenario) -> Tried {
    let author = Author::new();
    let effort = Effort::of_this_run();
    let mut tried = Tried::default();
    for cut in &effort.cuts {
        let start = (scenario.flash(), Walk::new(&author, scenario));
        for (n, left) in finish(start, Some(*cut), &name).into_iter().enumerate() {
            tried.cuts += 1;
            let recoveries = finish(left, Some(*cut), &(name, cut, n));
            // Other writes of the recovery after each cut, so that the stride leaves none out in the long run.
            for (m, left) in recoveries.into_iter().enumerate().skip(n % effort.stride).step_by(effort.stride)
            {
                tried.recovery_cuts += 1;
                finish(left, None, &(name, cut, n, m));
            }
        }
    }
    std::println!("{name}: {} cuts, {} recovery cuts", tried.cuts, tried.recovery_cuts);
    tried
}

/// The least that a walk of an update has: each write once for each way to cut it.
fn assert_thorough(tried: &Tried) {
    assert!(tried.cuts >= 30 && 2 * tried.recovery_cuts >= tried.cuts, "{tried:?}");
}

#[test]
fn full_update_survives_a_cut_and_another_one_after_it() {
    assert_thorough(&explore("full", &Scenario::default()));
}

#[test]
fn delta_update_survives_a_cut_and_another_one_after_it() {
    assert_thorough(&explore("delta", &Scenario::delta()));
}

#[test]
fn two_components_survive_a_cut_and_another_one_after_it() {
    let scenario = Scenario { radio: Some(Serve::Full), ..Scenario::delta() };
    assert_thorough(&explore("delta and full image", &scenario));
    let scenario = Scenario { radio: Some(Serve::Delta(old_radio())), ..Scenario::default() };
    assert_thorough(&explore("full image and delta", &scenario));
}

#[test]
fn failing_self_test_survives_a_cut_and_another_one_after_it() {
    assert_thorough(&explore("failing", &Scenario { fails: true, ..Scenario::default() }));
    let scenario = Scenario { fails: true, radio: Some(Serve::Full), ..Scenario::delta() };
    assert_thorough(&explore("failing, two components", &scenario));
}

#[test]
fn re_seeding_survives_a_cut_and_another_one_after_it() {
    assert_thorough(&explore("re-seeding", &Scenario { reseeds: true, ..Scenario::default() }));
    let early = Scenario { reseeds: true, shares: true, early: true, ..Scenario::default() };
    assert_thorough(&explore("re-seeding with shares, before the trial", &early));
    let scenario = Scenario { fails: true, reseeds: true, early: true, ..Scenario::default() };
    assert_thorough(&explore("re-seeding, then a failing self-test", &scenario));
}

#[test]
fn go_and_forward_survive_a_cut_and_another_one_after_it() {
    assert_thorough(&explore("go", &Scenario { asks_go: true, ..Scenario::default() }));
    let forward = Some(Place { epoch: 2, index: 1 });
    assert_thorough(&explore("forward", &Scenario { forward, ..Scenario::default() }));
}

#[test]
fn replaced_anchors_survive_a_cut_and_another_one_after_it() {
    let author = Author::new();
    let document = Some(author.replacing(&author.edition(2)));
    assert_thorough(&explore("anchors", &Scenario { anchors: document.clone(), ..Scenario::default() }));
    assert_thorough(&explore("late anchors", &Scenario { late_anchors: document, ..Scenario::default() }));
}
