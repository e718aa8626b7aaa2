//! As many seeds as there is time for; one that fails says how to see it again.
//!
//! `SEED=n` runs that one alone and shows its plan and the end of its trace, `SEEDS=n` so many from the first on, or from
//! `SEED`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bellwether_tests::world::plan::Plan;
use bellwether_tests::world::run::{self, Figures, Outcome};

#[test]
fn whatever_befalls_a_world_its_properties_hold() {
    let (first, count) = wanted();
    let (next, failed, sum) = (AtomicU64::new(first), Mutex::new(Vec::new()), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run::run(&Plan::draw(seed), TAIL_LINES);
                    println!("seed {seed} of {}: {:?}", first + count - 1, outcome.figures);
                    sum.lock().unwrap().add(&outcome.figures);
                    if !outcome.broken.is_empty() {
                        tell(seed, &outcome);
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    println!("{:?}", sum.into_inner().unwrap());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds {failed:?} failed; each above says how to see it again");
}

/// All runs together.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    devices: u64,
    updated: u64,
    cuts: u64,
    crashes: u64,
    restores: u64,
    commits: u64,
    wakings: u64,
    datagrams: u64,
    lost: u64,
    virtual_time: Duration,
    /// The run that came closest to its bound on bytes.
    closest_to_bound_percent: u64,
}

impl Sum {
    fn add(&mut self, of: &Figures) {
        self.runs += 1;
        self.devices += of.devices;
        self.updated += of.updated;
        self.cuts += of.cuts;
        self.crashes += of.crashes;
        self.restores += of.restores;
        self.commits += of.commits;
        self.wakings += of.wakings;
        self.datagrams += of.datagrams;
        self.lost += of.lost;
        self.virtual_time += Duration::from_secs(of.seconds);
        self.closest_to_bound_percent =
            self.closest_to_bound_percent.max(of.bytes * 100 / of.bytes_max.max(1));
    }
}

fn tell(seed: u64, outcome: &Outcome) {
    println!("{:#?}", Plan::draw(seed));
    outcome.tail.iter().for_each(|line| println!("{line}"));
    outcome.broken.iter().for_each(|what| println!("BROKEN in seed {seed}: {what}"));
    println!("see it again: SEED={seed} cargo test -p bellwether-tests --test world whatever -- --nocapture");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a failed seed is named by the environment, and so is their number"
)]
fn wanted() -> (u64, u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), None) => (seed, 1),
        (first, count) => (first.unwrap_or(1), count.unwrap_or(SEEDS)),
    }
}

/// Seeds of every run of the tests.
const SEEDS: u64 = 20;

/// A world has one thread.
const WORKERS: usize = 2;

/// Lines of a trace that a failure shows.
const TAIL_LINES: usize = 4_000;
