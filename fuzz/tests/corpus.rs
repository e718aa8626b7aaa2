//! The committed corpus through every target, as it is and changed: the same executions in each run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bellwether_fuzz::mutation::Mutator;
use bellwether_fuzz::{TARGETS, Target, corpus};

/// Feeds an input; a finding is told with the bytes that found it.
fn fed(target: &Target, input: &[u8]) {
    let found = catch_unwind(AssertUnwindSafe(|| target.feed(input)));
    let hex = hex::encode(input);
    assert!(found.is_ok(), "{} finds something with {} bytes: {hex}", target.name, input.len());
}

#[test]
fn nothing_is_found_with_the_committed_corpus() {
    for target in TARGETS {
        let inputs = corpus::read(target.name).expect("every target has a corpus");
        assert!(!inputs.is_empty(), "{} has an empty corpus", target.name);
        for input in inputs {
            fed(target, &input);
        }
    }
}

#[test]
fn nothing_is_found_with_changes_of_the_committed_corpus() {
    for (number, target) in (0..).zip(TARGETS) {
        let inputs = corpus::read(target.name).expect("every target has a corpus");
        let mut mutator = Mutator::new(number);
        for _ in 0..EXECUTIONS {
            fed(target, &mutator.mutated(&inputs, target.words, target.bytes_max));
        }
    }
}

#[test]
fn nothing_is_found_with_bytes_that_are_no_message() {
    for target in TARGETS {
        for byte in 0..=u8::MAX {
            fed(target, &[byte]);
            fed(target, &vec![byte; 300]);
        }
        fed(target, &[]);
    }
}

#[test]
fn corpora_belong_to_targets_and_stay_small() {
    let mut total = 0;
    for entry in std::fs::read_dir(corpus::folder()).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        assert!(Target::find(name).is_some(), "{name} is no target");
        total += std::fs::metadata(&path).expect("a file").len();
    }
    assert!(total <= CORPUS_BYTES_MAX, "{total} bytes of corpus");
}

/// Changed inputs a target: some seconds for all of them in a debug build.
const EXECUTIONS: usize = 1_000;

/// Bytes of all packs: what a clone of this repository can bear.
const CORPUS_BYTES_MAX: u64 = 1_500_000;
