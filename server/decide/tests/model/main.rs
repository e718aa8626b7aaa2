//! Model check of the key-index table: every order of a bounded world's steps, by breadth.
//!
//! The server is the real `key_index::decide` with the operator's verbs. Around it: a device as the protocol's "What the
//! device keeps" says, a clone of its record, a network that loses, repeats, delays and reorders (which is all that a
//! gateway can do without keys, too: hold, replay, delay), power cuts, a restore of the server's store to a backup, a
//! restore of the device to an older record, and operators.
//!
//! What is asserted of every step is in `check.rs`, of every state in `fair.rs`. A violation prints the steps that
//! lead to it.
//!
//! States are seen by the number of faults that lead to them: a loss, a repetition, a power cut, a failure, a grant's
//! expiry, a copy, a backup that is restored. Delay and reordering are none: every order of the other steps is seen.
//! Not in it: shares of a seed (the table's tests have them), devices with a wrong clock, several manifests at a time.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

mod check;
mod device;
mod explore;
mod fair;
mod kept;
mod scenario;
mod server;
mod world;

use explore::{Explored, explore};
use scenario::{Faults, Scenario};

/// States of one scenario in one round: all with one fault, and a part of those with two. The eighteen scenarios take
/// a quarter of a minute on one core.
const STATES_MAX: usize = 42_000;

/// Rounds that the memory of a developer's machine holds: a gigabyte for each scenario in turn.
const ROUNDS_MAX: usize = 10;

/// Rounds to go: one, or as many as the environment's `ROUNDS` says; each adds as many states.
#[expect(clippy::disallowed_methods, reason = "`make soak` asks for more rounds by the environment")]
fn rounds() -> usize {
    let asked = std::env::var("ROUNDS").ok();
    asked.map_or(1, |text| text.parse().expect("ROUNDS is a number")).clamp(1, ROUNDS_MAX)
}

fn run(scenario: &Scenario) -> Explored {
    let explored = explore(scenario, STATES_MAX * rounds());
    println!("{}: {explored}", scenario.name);
    explored
}

fn without_faults(name: &'static str) -> Scenario {
    Scenario { name, ..Scenario::default() }
}

#[test]
fn honest_device_alone_is_never_doubted_and_never_stuck() {
    for scenario in without_faults("alone").of_every_grant() {
        run(&scenario);
    }
}

#[test]
fn restored_store_doubts_no_honest_device_and_a_resync_frees_it() {
    let faults = Faults { restores: 1, ..Faults::default() };
    for resync_all in [false, true] {
        let name = if resync_all { "restore, all may resync" } else { "restore, one by one" };
        let scenario = Scenario { resync_all, faults, ..without_faults(name) };
        for scenario in scenario.of_every_grant() {
            run(&scenario);
        }
    }
}

#[test]
fn restored_device_goes_on_by_an_operators_leave() {
    let faults = Faults { rollbacks: 1, ..Faults::default() };
    for scenario in (Scenario { updates: 1, faults, ..without_faults("device restored") }).of_every_grant() {
        run(&scenario);
    }
}

#[test]
fn clone_gets_nothing_unseen_once_either_has_confirmed() {
    let faults = Faults { copies: 1, ..Faults::default() };
    for scenario in (Scenario { updates: 1, faults, ..without_faults("clone") }).of_every_grant() {
        run(&scenario);
    }
}

#[test]
fn clone_gets_nothing_unseen_across_a_restore_of_the_store() {
    let faults = Faults { copies: 1, restores: 1, ..Faults::default() };
    for scenario in (Scenario { updates: 1, resync_all: true, faults, ..without_faults("clone and restore") })
        .of_every_grant()
    {
        run(&scenario);
    }
}
