//! `grants_per_second_*` and what a grant's keys cost, with derived keys in memory (warm) and not (cold).
//!
//! The server is whole but for the network: key-index table, eligibility, resolution, vault, descriptor, and a
//! commit to the disk before each answer.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::Place;
use bellwether_keys::{mac, wrap};
use bellwether_manifests::message::grant::{Grant, GrantOptions, GrantedResource};
use bellwether_manifests::message::{self, Confirm, List};
use bellwether_store::catalogue::Resource;
use bellwether_store::device::Identity;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::figure::{Figure, Taken};
use crate::firmware::noise;
use crate::fleet::{Device, Facts, Fleet, Published};
use crate::{Failure, clock};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    rounds: usize,
    /// Devices that ask in one window.
    batch: usize,
}

impl Effort {
    /// What `make bench` does: about 20 seconds.
    pub(crate) const FULL: Self = Self { rounds: 7, batch: 96 };
}

/// A device with its request.
struct Asker {
    device: Device,
    request: Vec<u8>,
}

/// How devices ask.
#[derive(Clone, Copy)]
struct Regime {
    suffix: &'static str,
    text: &'static str,
    is_warm: bool,
    at_once: usize,
}

/// Samples of all rounds.
#[derive(Default)]
struct Samples {
    /// Grants a second, and CPU microseconds of the process per grant, by regime.
    per_second: [Vec<f64>; REGIMES.len()],
    cpu: [Vec<f64>; REGIMES.len()],
    /// Writes of 4 KiB with fdatasync a second.
    syncs: Vec<f64>,
    /// CPU microseconds of a grant's keys, cold and warm, and of hashing a grant.
    keys: [Vec<f64>; 3],
}

/// Measures both.
pub(crate) fn measure(effort: Effort) -> Result<Taken, Failure> {
    eprintln!("measuring grants_per_second ...");
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(on_server(effort, folder.path()))
}

async fn on_server(effort: Effort, folder: &Path) -> Result<Taken, Failure> {
    let fleet = Arc::new(Fleet::open(folder).await?);
    let count = effort.rounds * effort.batch * REGIMES.len() + 1;
    let (published, mut askers) = prepare(&fleet, count).await?;
    // The first one waits for the image to be encrypted and for the descriptor to be signed; then they are there.
    let first = askers.pop().ok_or("there is no device")?;
    fleet.ask(&first.device, &first.request).await?;
    let resource = fleet.resource(&published, None).await?;
    let mut samples = Samples::default();
    for _ in 0..effort.rounds {
        for (at, regime) in REGIMES.iter().enumerate() {
            let batch = askers.split_off(askers.len() - effort.batch);
            if regime.is_warm {
                let keys = keys(&fleet, &batch, &published, &resource).await?;
                if regime.at_once == 1 {
                    samples.keys.iter_mut().zip(keys).for_each(|(sample, value)| sample.push(value));
                }
            }
            let (per_second, cpu) = grants(&fleet, batch, regime.at_once).await?;
            samples.per_second[at].push(per_second);
            samples.cpu[at].push(cpu);
        }
        samples.syncs.push(syncs_per_second(&folder.join("sync"), effort.batch)?);
    }
    let note = format!(
        "grants_per_second: one campaign of {count} devices with equal selectors; SQLite in WAL mode with synchronous \
         FULL, on {}; keys at index 0 of 1,024, the farthest from a stored link (63 steps)",
        medium(folder).unwrap_or_else(|| "an unknown medium".to_owned())
    );
    Ok(Taken { figures: figures(&samples)?, notes: vec![note], ..Taken::default() })
}

async fn prepare(fleet: &Fleet, count: usize) -> Result<(Published, Vec<Asker>), Failure> {
    let (base, target) = (noise(32 * 1024), noise(33 * 1024));
    let running = fleet.release(CLASS, "1", &base).await?;
    fleet.release(CLASS, "2", &target).await?;
    let published = fleet.manifest(1, CLASS, &target).await?;
    let mut devices = Vec::with_capacity(count);
    for number in 0..count {
        devices.push(fleet.enrol(&format!("meter-{number}"), CLASS).await?);
    }
    fleet.launch(&published.digest, &devices).await?;
    let facts = Facts { class: CLASS, running: &running, applies_deltas: false };
    let asker = |device: Device| {
        let request = fleet.request(&device, &published.digest, &facts)?;
        Ok(Asker { device, request })
    };
    let askers: Result<Vec<Asker>, Failure> = devices.into_iter().map(asker).collect();
    Ok((published, askers?))
}

/// Gives grants a second, and CPU microseconds of the whole process per grant.
async fn grants(fleet: &Arc<Fleet>, batch: Vec<Asker>, at_once: usize) -> Result<(f64, f64), Failure> {
    let count = batch.len();
    let mut shares: Vec<Vec<Asker>> = (0..at_once).map(|_| Vec::new()).collect();
    for (number, asker) in batch.into_iter().enumerate() {
        shares[number % at_once].push(asker);
    }
    let (began, cpu) = (clock::now(), clock::process()?);
    let mut tasks = JoinSet::new();
    for share in shares {
        let fleet = Arc::clone(fleet);
        tasks.spawn(async move {
            for Asker { device, request } in &share {
                granted(&fleet.ask(device, request).await?)?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let (took, used) = (began.elapsed().as_secs_f64(), clock::process()?.saturating_sub(cpu));
    let count = f64::from(u32::try_from(count)?);
    Ok((count / took, used.as_secs_f64() * 1e6 / count))
}

/// An answer that is no grant with a descriptor would make the figure one of something else.
fn granted(answer: &[u8]) -> Result<(), Failure> {
    let answer = message::Answer::decode(answer)?;
    answer.descriptor.map(drop).ok_or_else(|| "the server gave no grant".into())
}

/// What the medium does at most: as a commit, without anything else.
fn syncs_per_second(path: &Path, count: usize) -> Result<f64, Failure> {
    let mut file = File::create(path)?;
    // Overwritten in place, as a log that has its size already.
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    let began = clock::now();
    for number in 0..count {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[number.to_le_bytes()[0]; 4096])?;
        file.sync_data()?;
    }
    Ok(f64::from(u32::try_from(count)?) / began.elapsed().as_secs_f64())
}

/// Makes a grant for each device that never asked before, then the same grants again: gives CPU microseconds of one
/// grant's keys cold and warm, and of hashing a grant. The vault has the keys in memory from then on.
async fn keys(
    fleet: &Fleet,
    batch: &[Asker],
    published: &Published,
    resource: &Resource,
) -> Result<[f64; 3], Failure> {
    let mut identities = Vec::with_capacity(batch.len());
    for asker in batch {
        identities.push(identity(fleet, &asker.device.name).await?);
    }
    let per_grant = f64::from(u32::try_from(batch.len())?) / 1e6;
    let (mut grant, mut taken) = (Vec::new(), [0.0; 3]);
    for taken in &mut taken[..2] {
        let began = clock::thread()?;
        for identity in &identities {
            grant = seal(fleet, identity, published, resource)?;
        }
        *taken = clock::thread_since(began)?.as_secs_f64() / per_grant;
    }
    let began = clock::thread()?;
    for _ in batch {
        black_box(Sha256::digest(black_box(&grant)));
    }
    taken[2] = clock::thread_since(began)?.as_secs_f64() / per_grant;
    Ok(taken)
}

/// Makes a grant as the resolver does once everything is decided.
fn seal(
    fleet: &Fleet,
    identity: &Identity,
    published: &Published,
    resource: &Resource,
) -> Result<Vec<u8>, Failure> {
    let Place { epoch, index } = identity.state.place;
    let keys =
        fleet.core.vault.keys(identity, identity.state.place)?.ok_or("the vault has no keys of the place")?;
    let encryption = resource.encryption.as_ref().ok_or("the resource is not encrypted")?;
    let content_key = fleet.core.builder.content_key(&resource.content, encryption)?;
    let wrapped = wrap::wrap(&keys.wrap, &content_key)?;
    let resources = [GrantedResource {
        component: 0,
        content: &resource.content,
        installed: &resource.plain,
        algorithm: encryption.algorithm,
        iv: &encryption.iv,
        key: wrapped.get(),
    }];
    let grant = Grant {
        place: message::Place { id: identity.id.as_str(), epoch, index },
        grant: 1,
        manifest: &published.digest,
        selector: &published.digest,
        resources: List::new(&resources),
        not_after: u64::from(u32::MAX),
        confirm: Confirm::Both,
        options: GrantOptions::default(),
    };
    Ok(mac::seal_grant_to_vec(&keys.down, &grant)?)
}

async fn identity(fleet: &Fleet, name: &str) -> Result<Identity, Failure> {
    let identity = fleet.core.store.identity(&fleet.core.tenant, &Endpoint::try_from(name)?).await?;
    identity.ok_or_else(|| format!("{name} is not enrolled").into())
}

/// The file system and device that a folder is on.
fn medium(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // Source: proc(5): fields up to the mount point (the fifth), then optional ones, a dash, type, device.
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let (point, mut after) = (before.split(' ').nth(4)?.to_owned(), after.split(' '));
        Some((point, format!("{} ({})", after.next()?, after.next()?)))
    };
    let holding = mounts.lines().filter_map(mount).filter(|(point, _)| folder.starts_with(point));
    holding.max_by_key(|(point, _)| point.len()).map(|(_, medium)| medium)
}

fn figures(samples: &Samples) -> Result<Vec<Figure>, Failure> {
    let (mut figures, [cold, warm, hash]) = (Vec::new(), &samples.keys);
    for (at, regime) in REGIMES.iter().enumerate() {
        let name = format!("grants_per_second_{}", regime.suffix);
        let layer = format!("grants: update request in, answer out, committed; no network; {}", regime.text);
        let ours = &samples.per_second[at];
        let figure = Figure::new(name, "per second", layer, SERVER, ours)?;
        figures.push(figure.beside(
            "write of 4 KiB with fdatasync in the same folder",
            ours,
            &samples.syncs,
        )?);
    }
    for (at, regime) in REGIMES.iter().enumerate().filter(|(_, regime)| regime.at_once == 1) {
        let (name, ours) = (format!("grant_cpu_{}", regime.suffix), &samples.cpu[at]);
        let layer = format!("all threads of the process, store included; {}", regime.text);
        let figure = Figure::new(name, "us of CPU per grant", layer, SERVER, ours)?;
        let keys = if regime.is_warm { warm } else { cold };
        figures.push(figure.beside("the grant's keys alone, see grant_keys_cpu", ours, keys)?);
    }
    let layer = "vault: keys of the place, content key opened; wrapped; grant sealed";
    let figure = Figure::new("grant_keys_cpu_cold", "us of CPU per grant", layer, VAULT, cold)?;
    figures.push(figure.beside("the same, warm", cold, warm)?);
    let figure = Figure::new("grant_keys_cpu_warm", "us of CPU per grant", layer, VAULT, warm)?;
    figures.push(figure.beside("SHA-256 of the grant's bytes", warm, hash)?);
    Ok(figures)
}

const SERVER: &str = "bellwether-server core, SQLite";
const VAULT: &str = "bellwether-server vault, bellwether-keys (RustCrypto)";
const CLASS: &str = "meter";
const REGIMES: [Regime; 4] = [
    Regime { suffix: "cold_one", text: "keys derived, one request at a time", is_warm: false, at_once: 1 },
    Regime { suffix: "warm_one", text: "keys in memory, one request at a time", is_warm: true, at_once: 1 },
    Regime { suffix: "cold_many", text: "keys derived, 32 requests at a time", is_warm: false, at_once: 32 },
    Regime { suffix: "warm_many", text: "keys in memory, 32 requests at a time", is_warm: true, at_once: 32 },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_gets_its_grant_and_every_figure_its_peer() {
        let taken = measure(Effort { rounds: 1, batch: 3 }).expect("measured");
        let names: Vec<&str> = taken.figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names.iter().filter(|name| name.starts_with("grants_per_second_")).count(), 4);
        for figure in &taken.figures {
            assert!(figure.spread.median > 0.0 && figure.peer.is_some(), "{}", figure.name);
        }
    }

    #[test]
    fn medium_of_a_folder_is_that_of_the_deepest_mount() {
        assert!(medium(Path::new("/proc")).is_some_and(|medium| medium.starts_with("proc ")));
    }
}
