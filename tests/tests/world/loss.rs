//! What loss costs, averaged over seeds.

use bellwether_tests::world::loss;
use bellwether_tests::world::run::Finished;

// 30 % each way: 1.15 times the loss-free minimum divided by (1 - loss).
#[test]
fn full_image_at_thirty_percent_loss_costs_little_more_than_what_is_lost() {
    let (calm, lossy) = measured(24_000, false);
    let allowed = 1.15 * bytes(&calm) / 0.7;
    println!("loss-free {calm:?}, at 30 % {lossy:?}: {:.0} of {allowed:.0}", bytes(&lossy));
    assert!(bytes(&lossy) <= allowed, "{lossy:?} sent, {allowed:.0} allowed, loss-free {calm:?}");
}

#[test]
fn delta_at_thirty_percent_loss_costs_no_more_than_its_requests_must() {
    let (calm, lossy) = measured(24_000, true);
    // All of it may be requests, of the device or of the server: each is sent until its answer has come.
    let allowed = 1.15 * bytes(&calm) / (0.7 * 0.7);
    println!("loss-free {calm:?}, at 30 % {lossy:?}: {:.0} of {allowed:.0}", bytes(&lossy));
    assert!(bytes(&lossy) <= allowed, "{lossy:?} sent, {allowed:.0} allowed, loss-free {calm:?}");
}

/// The loss-free run, and the average of the lossy ones.
fn measured(image_bytes: usize, patches: bool) -> (Finished, Finished) {
    let calm = loss::update(1, image_bytes, patches, 0);
    let lossy: Vec<Finished> =
        (1..=SEEDS).map(|seed| loss::update(seed, image_bytes, patches, 300)).collect();
    let mean = |of: fn(&Finished) -> u64| lossy.iter().map(of).sum::<u64>() / SEEDS;
    (calm, Finished { seconds: mean(|one| one.seconds), down: mean(|one| one.down), up: mean(|one| one.up) })
}

#[expect(clippy::cast_precision_loss, reason = "far smaller than 2^52")]
fn bytes(sent: &Finished) -> f64 {
    (sent.up + sent.down) as f64
}

const SEEDS: u64 = 4;
