//! What loss costs: one device, one update, the same world with and without it.
//!
//! A message and its answer both have to come. Where each way loses p, a request is sent 1/(1-p)² times on average, since
//! it is repeated until its answer has come, and an answer 1/(1-p) times, once for each request that came. So what
//! devices fetch costs 1/(1-p), and what they, or the server, ask costs 1/(1-p)²: no order of repetitions saves it as
//! long as one message is under way at a time and an answer is the only acknowledgement.

use std::time::Duration;

use super::network::Conditions;
use super::plan::{DevicePlan, Plan, PolicyPlan, Role};
use super::run::{self, Finished};

/// An update of one device without a gateway in a network of so much loss each way; ends well, or not at all.
///
/// # Panics
///
/// Where a property of the world does not hold, or the update does not end.
pub fn update(seed: u64, image_bytes: usize, patches: bool, loss_permille: u32) -> Finished {
    let device = DevicePlan {
        role: Role::Honest,
        gateway: None,
        patches,
        shares: false,
        lifetime_s: LIFETIME_S,
        queue_mode: false,
        on_after: Duration::ZERO,
        clock_steps: Vec::new(),
    };
    let plan = Plan {
        seed,
        weather: Conditions { loss_permille, ..Conditions::CALM },
        gateways: 0,
        devices: vec![device],
        image_bytes,
        components: 1,
        policy: PolicyPlan::default(),
        happenings: Vec::new(),
        storm: Duration::from_mins(20),
    };
    let outcome = run::run(&plan, 0);
    assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
    outcome.figures.finished.expect("a finished campaign")
}

/// A day: signs of life are not what is measured.
const LIFETIME_S: u32 = 86_400;
