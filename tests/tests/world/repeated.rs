//! A seed is a run: whatever a thread, a hash map or a clock of the machine decided would make two runs differ.

use std::collections::BTreeSet;

use bellwether_tests::world::plan::Plan;
use bellwether_tests::world::run::{self, Outcome};

#[test]
fn every_run_of_a_seed_is_the_same_to_the_byte_and_of_another_seed_is_not() {
    let mut traces = BTreeSet::new();
    for seed in SEEDS {
        let (first, again) = (run(seed), run(seed));
        if first.trace != again.trace {
            let lines = first.tail.iter().zip(&again.tail);
            let parting = lines.enumerate().find(|(_, (one, other))| one != other);
            panic!("two runs of seed {seed} part: {parting:#?}");
        }
        traces.insert(first.trace);
    }
    assert_eq!(traces.len(), SEEDS.len());
}

fn run(seed: u64) -> Outcome {
    run::run(&Plan::draw(seed), LINES_MAX)
}

/// Runs with gateways, crashes and several devices that want the same frames at the same time.
const SEEDS: [u64; 3] = [8, 10, 1007];

/// More than the longest of them has.
const LINES_MAX: usize = 100_000;
