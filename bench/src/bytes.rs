//! `bytes_per_device`: what one update takes to one device, beside the full image; and what making and applying a
//! delta takes.
//!
//! Payloads of CoAP messages in both directions: manifest, request, grant, descriptor, frames, two reports, two
//! receipts. Headers of CoAP, DTLS and UDP, and the handshake, are not in it: the demo counts those on the wire.

use std::path::Path;
use std::time::Duration;

use bellwether_delta::{Patcher, make};
use bellwether_manifests::cose::Sign1;
use bellwether_manifests::cose::mac0::Mac0;
use bellwether_manifests::frame::Layout;
use bellwether_manifests::message::descriptor::ResourceKind;
use bellwether_manifests::message::{Answer, Descriptor, Grant, Moment};
use bellwether_server::builder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::figure::{Figure, Spread, Table, Taken};
use crate::firmware::{Firmware, Pair};
use crate::fleet::{Device, Facts, Fleet, Published};
use crate::{Failure, clock};

/// Bytes of one update, by message.
struct Carried {
    is_delta: bool,
    /// Of the content before framing.
    content: u64,
    parts: [(&'static str, u64); 7],
}

/// CPU milliseconds of one pair's delta.
struct Times {
    make: Vec<f64>,
    apply: Vec<f64>,
    /// SHA-256 of the target, which whoever applies has to compute as well.
    hash: Vec<f64>,
}

/// Measures all pairs.
pub(crate) fn measure(firmware: &Firmware) -> Result<Taken, Failure> {
    eprintln!("measuring bytes_per_device ...");
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let carried = runtime.block_on(walks(folder.path(), firmware))?;
    let times: Result<Vec<Times>, Failure> = firmware.pairs.iter().map(times).collect();
    let times = times?;
    let mut taken = Taken { notes: firmware.notes.clone(), ..Taken::default() };
    taken.tables.push(table(firmware, &carried, &times)?);
    taken.tables.push(parts(&carried));
    taken.figures = figures(firmware, &carried, &times)?;
    Ok(taken)
}

/// Walks every pair twice: by a device that applies deltas, and by one that does not.
async fn walks(folder: &Path, firmware: &Firmware) -> Result<Vec<[Carried; 2]>, Failure> {
    let fleet = Fleet::open(folder).await?;
    let mut all = Vec::new();
    for (number, pair) in firmware.pairs.iter().enumerate() {
        let class = format!("class-{number}");
        let running = fleet.release(&class, "1", &pair.base).await?;
        fleet.release(&class, "2", &pair.target).await?;
        let published = fleet.manifest(1 + number as u64, &class, &pair.target).await?;
        let devices = [
            fleet.enrol(&format!("delta-{number}"), &class).await?,
            fleet.enrol(&format!("full-{number}"), &class).await?,
        ];
        fleet.launch(&published.digest, &devices).await?;
        // Made here, however long it takes: a device would be told "later".
        fleet.resource(&published, Some(running)).await?;
        let facts = |applies_deltas| Facts { class: &class, running: &running, applies_deltas };
        let [with, without] = &devices;
        all.push([
            walk(&fleet, with, &published, &facts(true), pair).await?,
            walk(&fleet, without, &published, &facts(false), pair).await?,
        ]);
    }
    Ok(all)
}

async fn walk(
    fleet: &Fleet,
    device: &Device,
    published: &Published,
    facts: &Facts<'_>,
    pair: &Pair,
) -> Result<Carried, Failure> {
    let request = fleet.request(device, &published.digest, facts)?;
    let answer = fleet.ask(device, &request).await?;
    let answer = Answer::decode(&answer)?;
    let descriptor = answer.descriptor.ok_or("the server gave no grant")?;
    let said = Descriptor::decode(Sign1::parse(descriptor)?.payload())?;
    let resource = said.resource(0).ok_or("the descriptor has no resource")?;
    let frames = Layout::new(resource.content_bytes, resource.chain.block_bytes)?.framed_bytes();
    let grant = Grant::decode(Mac0::decode(answer.message)?.payload)?.grant;
    let (mut reports, mut receipts) = (0, 0);
    let runs = (&published.target, pair.target.len() as u64);
    for (moment, runs) in [(Moment::Decrypted, None), (Moment::Installed, Some(runs))] {
        let report = device.report(moment, grant, &published.digest, runs)?;
        reports += report.len();
        receipts += fleet.core.report(&device.sender(), &report).await?.receipt.len();
    }
    let bytes = |bytes: usize| bytes as u64;
    Ok(Carried {
        is_delta: resource.kind == ResourceKind::Delta,
        content: resource.content_bytes,
        parts: [
            ("manifest", bytes(published.envelope.len())),
            ("request", bytes(request.len())),
            ("grant", bytes(answer.message.len())),
            ("descriptor", bytes(descriptor.len())),
            ("frames", frames),
            ("reports", bytes(reports)),
            ("receipts", bytes(receipts)),
        ],
    })
}

fn times(pair: &Pair) -> Result<Times, Failure> {
    let mut times = Times { make: Vec::new(), apply: Vec::new(), hash: Vec::new() };
    // CPU seconds that this thread has spent on the pair bound the rounds, not the clock: others may use it too.
    let began = clock::thread()?;
    while times.make.len() < ROUNDS && clock::thread_since(began)? < PAIR_TIME_MAX {
        let (patch, made) = timed(|| make::make(&pair.base, &pair.target))?;
        let patch = patch?;
        let (target, applied) = timed(|| apply(&pair.base, pair.target.len(), &patch))?;
        if target? != pair.target {
            return Err(format!("{}: the patch does not give the target", pair.name).into());
        }
        let (_, hashed) = timed(|| Sha256::digest(&pair.target))?;
        times.make.push(made);
        times.apply.push(applied);
        times.hash.push(hashed);
    }
    Ok(times)
}

/// Applies a patch in pieces of a frame's block, as a device gets them.
pub(crate) fn apply(base: &[u8], target_bytes: usize, patch: &make::Patch) -> Result<Vec<u8>, Failure> {
    let (base_size, target_size) = (u32::try_from(base.len())?, u32::try_from(target_bytes)?);
    let mut patcher = Patcher::new(patch.algorithm.0, base_size, target_size, &patch.parameters)?;
    let mut slot = Vec::with_capacity(target_bytes);
    for piece in patch.bytes.chunks(usize::from(builder::BLOCK_BYTES)) {
        patcher.push(piece, &mut &*base, &mut slot)?;
    }
    patcher.finish(&mut &*base, &mut slot)?;
    Ok(slot)
}

/// Gives CPU milliseconds of the calling thread.
fn timed<T>(work: impl FnOnce() -> T) -> Result<(T, f64), Failure> {
    let began = clock::thread()?;
    let done = work();
    Ok((done, clock::thread_since(began)?.as_secs_f64() * 1e3))
}

impl Carried {
    fn total(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

fn table(firmware: &Firmware, carried: &[[Carried; 2]], times: &[Times]) -> Result<Table, Failure> {
    let mut rows = Vec::new();
    for ((pair, [by_delta, by_image]), times) in firmware.pairs.iter().zip(carried).zip(times) {
        let image = pair.target.len() as u64;
        // What was made up says nothing about how alike real versions are.
        let share = |bytes: u64| if pair.is_made_up { Value::Null } else { json!(ratio(bytes, image)) };
        rows.push(vec![
            json!(pair.name),
            json!(image),
            json!(if by_delta.is_delta { "delta" } else { "image" }),
            json!(by_delta.content),
            share(by_delta.content),
            json!(by_delta.total()),
            share(by_delta.total()),
            json!(by_image.total()),
            json!(ratio(by_image.total(), image)),
            json!(Spread::of(&times.make)?.median),
            json!(Spread::of(&times.apply)?.median),
            json!(times.make.len()),
        ]);
    }
    Ok(Table {
        name: "bytes_per_device_pairs",
        layer: "payloads of all CoAP messages of one update, both directions, no handshake; times: CPU, median of n",
        engine: PATCHED.to_owned(),
        columns: vec![
            "pair",
            "image B",
            "got",
            "content B",
            "content/image",
            "carried B",
            "carried/image",
            "full carried B",
            "full/image",
            "make ms",
            "apply ms",
            "n",
        ],
        rows,
    })
}

/// What the messages of the newest pair are.
fn parts(carried: &[[Carried; 2]]) -> Table {
    let newest = carried.last();
    let rows = newest.into_iter().flat_map(|[by_delta, by_image]| {
        let pairs = by_delta.parts.iter().zip(&by_image.parts);
        pairs.map(|((name, delta), (_, image))| vec![json!(name), json!(delta), json!(image)])
    });
    Table {
        name: "bytes_per_device_parts",
        layer: "the last pair of the table above",
        engine: "profile P manifest for one class; all answers that are asked for by default but the version"
            .to_owned(),
        columns: vec!["message", "with delta B", "with image B"],
        rows: rows.collect(),
    }
}

fn figures(firmware: &Firmware, carried: &[[Carried; 2]], times: &[Times]) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    let real: Vec<_> = firmware.pairs.iter().zip(carried).filter(|(pair, _)| !pair.is_made_up).collect();
    if !real.is_empty() {
        let sample = |bytes: fn(&Pair, &[Carried; 2]) -> u64| -> Vec<f64> {
            real.iter().map(|(pair, carried)| float(bytes(pair, carried))).collect()
        };
        let image = sample(|pair, _| pair.target.len() as u64);
        for (name, layer, ours) in [
            ("bytes_per_device", CARRIED, sample(|_, [by_delta, _]| by_delta.total())),
            ("bytes_per_device_full", CARRIED, sample(|_, [_, by_image]| by_image.total())),
            (
                "delta_bytes",
                "the patch alone; one value for each real pair",
                sample(|_, [by_delta, _]| by_delta.content),
            ),
        ] {
            let figure = Figure::new(name, "bytes", layer, PATCHED, &ours)?;
            figures.push(figure.beside("the full image, bare", &ours, &image)?);
        }
    }
    if let (Some(pair), Some(times)) = (firmware.pairs.last(), times.last()) {
        for (name, ours) in [("delta_make_cpu", &times.make), ("delta_apply_cpu", &times.apply)] {
            let figure = Figure::new(name, "ms of CPU", pair.name.clone(), DELTA, ours)?;
            figures.push(figure.beside("SHA-256 of the target (RustCrypto)", ours, &times.hash)?);
        }
    }
    Ok(figures)
}

fn ratio(bytes: u64, image: u64) -> f64 {
    float(bytes) / float(image)
}

#[expect(clippy::cast_precision_loss, reason = "images are far smaller than 2^52 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

const CARRIED: &str = "payloads of all CoAP messages of one update, both directions, no handshake; one value for each real pair";
const PATCHED: &str = "delta algorithm -2, frames of 1,024 bytes";
const DELTA: &str = "bellwether-delta, algorithm -2";
/// Times that a delta is made and applied, as long as [`PAIR_TIME_MAX`] lasts; once in any case.
const ROUNDS: usize = 5;
const PAIR_TIME_MAX: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn update_by_delta_carries_less_than_the_image_and_by_image_more() {
        let firmware = Firmware { pairs: vec![Pair::made_up()], notes: Vec::new() };
        let taken = measure(&firmware).expect("measured");
        let row = &taken.tables[0].rows[0];
        let number = |column: usize| row[column].as_u64().expect("a number");
        assert_eq!(row[2], "delta");
        assert!(number(5) < number(1) && number(7) > number(1), "{row:?}");
        assert_eq!(row[4], Value::Null, "a made-up pair has no delta ratio");
        assert!(taken.figures.iter().all(|figure| figure.name.starts_with("delta_")));
    }
}
