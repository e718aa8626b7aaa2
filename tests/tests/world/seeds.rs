//! As many seeds as there is time for; one that fails says how to see it again.

use bellwether_tests::world::plan::Plan;
use bellwether_tests::world::run::{self, Outcome};

#[test]
fn whatever_befalls_a_world_its_properties_hold() {
    let seeds = wanted();
    let failed: Vec<u64> = seeds.filter(|seed| !holds(*seed)).collect();
    assert!(failed.is_empty(), "seeds {failed:?} failed; each above says how to see it again");
}

fn holds(seed: u64) -> bool {
    let outcome = run::run(&Plan::draw(seed), TAIL_LINES);
    println!("{seed}: {:?}", outcome.figures);
    if !outcome.broken.is_empty() {
        tell(seed, &outcome);
    }
    outcome.broken.is_empty()
}

fn tell(seed: u64, outcome: &Outcome) {
    println!("{:#?}", Plan::draw(seed));
    outcome.tail.iter().for_each(|line| println!("{line}"));
    outcome.broken.iter().for_each(|what| println!("BROKEN in seed {seed}: {what}"));
    println!("see it again: SEED={seed} cargo test -p bellwether-tests --test world");
}

#[expect(clippy::disallowed_methods, reason = "a failed seed is named by the environment")]
fn wanted() -> Box<dyn Iterator<Item = u64>> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), None) => Box::new(std::iter::once(seed)),
        (first, count) => {
            let first = first.unwrap_or(1);
            Box::new(first..first + count.unwrap_or(SEEDS))
        }
    }
}

/// Seeds of every run of the tests.
const SEEDS: u64 = 20;

/// Lines of a trace that a failure shows.
const TAIL_LINES: usize = 4_000;
