//! `delta_apply_instructions`, `manifest_verify_instructions`: what a device has to compute, in instructions.
//!
//! Callgrind counts them, so they are the same on a busy machine. They are those of this machine's instruction set,
//! not of a microcontroller's, and Valgrind shows no SHA extensions to the program. The work runs in a process of its
//! own once, twice, and so on; the growth from one to the next is one piece of work, without start and end of the
//! process.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use bellwether_delta::{Algorithm, make};
use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cose::{PrivateKey, Sign1, sign1};
use bellwether_manifests::envelope::Envelope;
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::bytes::apply;
use crate::figure::{Figure, Taken};
use crate::firmware::{Firmware, Pair};
use crate::fleet::Fleet;

/// One piece of work, repeated.
#[derive(Debug, Args)]
pub(crate) struct Work {
    kind: Kind,
    times: u32,
    /// Where the inputs are.
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    DeltaApply,
    /// The peer of applying: whoever applies has to hash the result as well.
    TargetHash,
    ManifestVerify,
    /// The peer of verifying a manifest: one bare signature.
    SignatureVerify,
}

impl Work {
    /// Does the work.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let read = |name: &str| fs::read(self.folder.join(name));
        let repeat = |work: &mut dyn FnMut() -> Result<(), Failure>| (0..self.times).try_for_each(|_| work());
        match self.kind {
            Kind::DeltaApply => {
                let (base, target, bytes) = (read(BASE)?, read(TARGET)?, read(PATCH)?);
                let patch = make::Patch { algorithm: Algorithm::FIELDS, bytes, ..make::Patch::default() };
                repeat(&mut || {
                    apply(&base, target.len(), black_box(&patch)).map(|slot| drop(black_box(slot)))
                })
            }
            Kind::TargetHash => {
                let target = read(TARGET)?;
                repeat(&mut || {
                    black_box(Sha256::digest(black_box(&target)));
                    Ok(())
                })
            }
            Kind::ManifestVerify => {
                let (anchors, envelope) = (read(ANCHORS)?, read(ENVELOPE)?);
                let anchors = Anchors::initial(&anchors)?;
                repeat(&mut || {
                    black_box(Envelope::parse(black_box(&envelope))?.verify(&anchors)?);
                    Ok(())
                })
            }
            Kind::SignatureVerify => {
                let key = PrivateKey::from_random(&[1; 32])?;
                let (message, key) = (sign1(&[0; 32], &[], &key), key.public());
                repeat(&mut || {
                    Sign1::parse(black_box(&message))?.verify(&[], &key)?;
                    Ok(())
                })
            }
        }
    }
}

/// Counts all kinds of work, where Valgrind is there.
pub(crate) fn measure(firmware: &Firmware) -> Result<Taken, Failure> {
    eprintln!("measuring delta_apply_instructions, manifest_verify_instructions ...");
    if Command::new("valgrind").arg("--version").output().is_err() {
        let note =
            "delta_apply_instructions, manifest_verify_instructions: not measured, valgrind is not here";
        return Ok(Taken { notes: vec![note.to_owned()], ..Taken::default() });
    }
    let folder = tempfile::tempdir()?;
    let pair = firmware.newest_within(IMAGE_BYTES_MAX)?;
    write_inputs(folder.path(), pair)?;
    let count = |kind| instructions(kind, folder.path());
    let counted: [Result<Vec<f64>, Failure>; 4] = std::thread::scope(|scope| {
        let kinds = [Kind::DeltaApply, Kind::TargetHash, Kind::ManifestVerify, Kind::SignatureVerify];
        let running = kinds.map(|kind| scope.spawn(move || count(kind)));
        running.map(|thread| thread.join().unwrap_or_else(|_| Err("the counting ended by a panic".into())))
    });
    let [applied, hashed, verified, bare] = counted;
    let per_byte = |counts: Vec<f64>| -> Result<Vec<f64>, Failure> {
        let bytes = f64::from(u32::try_from(pair.target.len())?);
        Ok(counts.into_iter().map(|count| count / bytes).collect())
    };
    let (applied, hashed) = (per_byte(applied?)?, per_byte(hashed?)?);
    let (verified, bare) = (verified?, bare?);
    let apply = Figure::new("delta_apply_instructions", PER_BYTE, pair.name.clone(), DELTA, &applied)?;
    let layer = "signature and digests of a profile P envelope, under anchors that were read before";
    let verify = Figure::new("manifest_verify_instructions", "instructions", layer, MANIFESTS, &verified)?;
    let figures = vec![
        apply.beside("SHA-256 of the target (RustCrypto)", &applied, &hashed)?,
        verify.beside("one bare COSE_Sign1 over 32 bytes (p256)", &verified, &bare)?,
    ];
    Ok(Taken { figures, ..Taken::default() })
}

fn write_inputs(folder: &Path, pair: &Pair) -> Result<(), Failure> {
    let patch = make::make(&pair.base, &pair.target)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (anchors, envelope) = runtime.block_on(async {
        let fleet = Fleet::open(folder).await?;
        let published = fleet.manifest(1, "meter", &pair.target).await?;
        Ok::<_, Failure>((fleet.anchors, published.envelope))
    })?;
    for (name, bytes) in [
        (BASE, &pair.base),
        (TARGET, &pair.target),
        (PATCH, &patch.bytes),
        (ANCHORS, &anchors),
        (ENVELOPE, &envelope),
    ] {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Instructions of one piece of work, as often as there are steps from one number of repetitions to the next.
fn instructions(kind: Kind, folder: &Path) -> Result<Vec<f64>, Failure> {
    let totals: Result<Vec<u64>, Failure> = (1..=STEPS + 1).map(|times| total(kind, times, folder)).collect();
    totals?.windows(2).map(|pair| Ok(f64::from(u32::try_from(pair[1].saturating_sub(pair[0]))?))).collect()
}

/// Instructions of a whole process that repeats a piece of work.
fn total(kind: Kind, times: u32, folder: &Path) -> Result<u64, Failure> {
    let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let out = folder.join(format!("callgrind-{name}-{times}"));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["work", &name, &times.to_string()])
        .arg(folder)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("callgrind of {name}: {said}").into());
    }
    collected(&said).ok_or_else(|| format!("callgrind of {name} tells no count: {said}").into())
}

/// Reads `==7== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.split_once(':')?.1.trim().parse().ok()
}

const PER_BYTE: &str = "instructions per byte of the target";
const DELTA: &str = "bellwether-delta, algorithm -2";
const MANIFESTS: &str = "bellwether-manifests, p256 (RustCrypto)";
const BASE: &str = "base";
const TARGET: &str = "target";
const PATCH: &str = "patch";
const ANCHORS: &str = "anchors";
const ENVELOPE: &str = "envelope";
/// Samples of each count.
const STEPS: u32 = 5;
/// Counting is fifty times slower than running.
const IMAGE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_read_from_what_callgrind_says() {
        let said =
            "==7== Events    : Ir\n==7== Collected : 39424811\n==7==\n==7== I   refs:      39,424,811\n";
        assert_eq!(collected(said), Some(39_424_811));
        assert_eq!(collected("==7== valgrind: failed"), None);
    }

    #[test]
    fn every_piece_of_work_can_be_done() {
        let folder = tempfile::tempdir().expect("a folder");
        write_inputs(folder.path(), &Pair::made_up()).expect("written");
        for kind in Kind::value_variants() {
            let work = Work { kind: *kind, times: 1, folder: folder.path().to_owned() };
            work.run().expect("done");
        }
    }
}
