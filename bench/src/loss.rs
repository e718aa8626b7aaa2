//! `loss_bytes`: what loss costs an update, in bytes each way and in time, beside the same world without loss.
//!
//! One device, its server, virtual time; UDP payload without DTLS. A request is sent until its answer has come, so loss p
//! each way costs answers 1/(1-p) and requests 1/(1-p)²; the last column says how much was sent beyond 1/(1-p).

use bellwether_tests::world::loss;
use bellwether_tests::world::run::Finished;
use serde_json::json;

use crate::Failure;
use crate::figure::{Table, Taken};

/// Measures full image and delta, without loss and at 30 % each way.
pub(crate) fn measure() -> Result<Taken, Failure> {
    eprintln!("measuring loss_bytes ...");
    let mut rows = Vec::new();
    for (name, patches) in [("image", false), ("delta", true)] {
        let calm = mean(patches, 0, 1)?;
        for (permille, seeds) in [(0, 1), (LOSS_PERMILLE, SEEDS)] {
            let sent = mean(patches, permille, seeds)?;
            let arrive = f64::from(1000 - permille) / 1000.0;
            let total = |sent: &Finished| -> Result<f64, Failure> {
                Ok(f64::from(u32::try_from(sent.up + sent.down)?))
            };
            let beyond = total(&sent)? / (total(&calm)? / arrive);
            rows.push(vec![
                json!(name),
                json!(permille / 10),
                json!(sent.seconds),
                json!(sent.up),
                json!(sent.down),
                json!(sent.up + sent.down),
                json!(beyond),
                json!(seeds),
            ]);
        }
    }
    let table = Table {
        name: "loss_bytes",
        layer: "UDP payload of one update with its registration, virtual time, mean over n seeds",
        engine: format!("the simulated world, 20 ms each way, image of {IMAGE_BYTES} bytes"),
        columns: vec!["got", "loss %", "s", "up B", "down B", "both B", "by minimum/(1-p)", "n"],
        rows,
    };
    Ok(Taken { tables: vec![table], ..Taken::default() })
}

fn mean(patches: bool, loss_permille: u32, seeds: u64) -> Result<Finished, Failure> {
    let mut sum = Finished::default();
    for seed in 1..=seeds {
        let run = move || loss::update(seed, IMAGE_BYTES, patches, loss_permille);
        let sent = std::thread::spawn(run).join().map_err(|_| "a property of the world does not hold")?;
        sum.seconds += sent.seconds;
        sum.up += sent.up;
        sum.down += sent.down;
    }
    Ok(Finished { seconds: sum.seconds / seeds, up: sum.up / seeds, down: sum.down / seeds })
}

const IMAGE_BYTES: usize = 100_000;
const LOSS_PERMILLE: u32 = 300;
const SEEDS: u64 = 20;
