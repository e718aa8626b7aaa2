//! Which bytes answer a device: the full image, a delta, or none.
//!
//! One component at a time. The table in [`crate::key_index`] and [`crate::eligibility`] have allowed a grant before.

use crate::identity::Digest;
use crate::refusal::Refusal;
use crate::release::{Class, Release, ReleaseId};

/// What a device asks for, and what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// Class that the device answered.
    pub class: Class,
    /// Component id as in the manifest: its segments.
    pub component: Vec<Vec<u8>>,
    /// What the manifest demands for this class; `None` if it has nothing for it.
    pub target: Option<Target>,
    /// Digest of the image that the device runs (3), if it said so.
    pub running: Option<Digest>,
    /// Numbers of the patch algorithms that the device lists (-306).
    pub algorithms: Vec<i64>,
    /// Bytes of free staging room (-307), if it said so.
    pub staging_bytes: Option<u64>,
    /// Memory that a patch may take on this device, in bytes, if it is known.
    pub patch_ram_bytes: Option<u64>,
}

/// The image that a manifest demands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// SHA-256 of the plaintext image.
    pub digest: Digest,
    /// Its length in bytes, if the manifest names it.
    pub size: Option<u64>,
}

/// What the server has.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    /// Releases; those of the target's and the running digest are enough.
    pub releases: &'a [Release],
    /// Patch algorithms that the server makes, the best first.
    pub algorithms: &'a [Algorithm],
    /// Deltas that were made, or are being made, to the target.
    pub deltas: &'a [Delta],
}

/// A patch algorithm that the server makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Algorithm {
    /// Its number (-306).
    pub number: i64,
    /// Memory that applying takes on a device, in bytes.
    pub ram_bytes: u64,
}

/// A delta that the builder knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delta {
    /// Digest of the image that it starts from.
    pub base: Digest,
    /// Digest of the image that it leads to.
    pub target: Digest,
    /// Number of its algorithm.
    pub algorithm: i64,
    /// How far it is.
    pub state: DeltaState,
}

/// How far a delta is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeltaState {
    /// Being made.
    Making {
        /// Seconds until a device should ask again.
        retry_after_s: u32,
    },
    /// Made.
    Ready {
        /// Bytes as carried.
        bytes: u64,
    },
    /// Could not be made; not tried again.
    Failed,
}

/// What answers a question, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// What.
    pub resolution: Resolution,
    /// One sentence for the operator.
    pub reason: String,
}

/// What answers a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resolution {
    /// The whole image of this release.
    Full {
        /// Release that holds the image.
        release: ReleaseId,
    },
    /// A delta; it is made if it isn't there yet.
    Delta {
        /// Release that holds the target image.
        release: ReleaseId,
        /// Release that holds the image that the device runs.
        base: ReleaseId,
        /// Number of the patch algorithm.
        algorithm: i64,
    },
    /// The device runs the target.
    NothingToDo,
    /// No.
    Refused(Refusal),
    /// Not yet.
    Later {
        /// Ask again after this many seconds.
        delay_s: u32,
    },
}

/// Resolves a question: nothing if the target runs, else a delta where one fits, else the full image.
#[must_use]
pub fn resolve(question: &Question, catalogue: &Catalogue<'_>) -> Resolved {
    let Some(target) = question.target else {
        return refused(Refusal::ClassNotInManifest);
    };
    if question.running == Some(target.digest) {
        return resolved(Resolution::NothingToDo, "the device runs the target image already".to_owned());
    }
    let Some(release) = held(question, catalogue, &target.digest) else {
        return refused(Refusal::NoRelease);
    };
    if let Some(size) = target.size.filter(|size| *size != release.size) {
        let reason =
            format!("the manifest names {size} bytes, release {} has {}", release.version, release.size);
        return resolved(Resolution::Refused(Refusal::NoRelease), reason);
    }
    // A patched image takes the same room as a full one: both end in the spare slot.
    if let Some(free) = question.staging_bytes.filter(|free| *free < release.size) {
        let reason = format!("the image takes {} bytes, the device has room for {free}", release.size);
        return resolved(Resolution::Refused(Refusal::StagingTooSmall), reason);
    }
    match delta(question, catalogue, release) {
        Ok(resolved) => resolved,
        Err(why_not) => {
            let reason = format!("the full image of {}: {why_not}", release.version);
            resolved(Resolution::Full { release: release.id }, reason)
        }
    }
}

/// Finds a delta that fits, or says why none does.
fn delta(question: &Question, catalogue: &Catalogue<'_>, release: &Release) -> Result<Resolved, String> {
    let Some(running) = question.running else {
        return Err("the device does not say what it runs".to_owned());
    };
    let Some(base) = held(question, catalogue, &running) else {
        return Err("no release of its class holds what it runs".to_owned());
    };
    let listed: Vec<_> =
        catalogue.algorithms.iter().filter(|known| question.algorithms.contains(&known.number)).collect();
    if listed.is_empty() {
        return Err("it lists no patch algorithm that the server makes".to_owned());
    }
    let fits = |known: &&&Algorithm| question.patch_ram_bytes.is_none_or(|ram| known.ram_bytes <= ram);
    let Some(algorithm) = listed.iter().find(fits) else {
        return Err("no patch algorithm fits its memory".to_owned());
    };
    let made = catalogue
        .deltas
        .iter()
        .find(|made| (made.base, made.target, made.algorithm) == (running, release.digest, algorithm.number));
    match made.map(|made| made.state) {
        Some(DeltaState::Failed) => Err(format!("a delta from {} could not be made", base.version)),
        Some(DeltaState::Ready { bytes }) if bytes >= release.size => {
            Err(format!("the delta from {} is no smaller ({bytes} bytes)", base.version))
        }
        Some(DeltaState::Making { retry_after_s: delay_s }) => {
            let reason = format!("the delta from {} is being made", base.version);
            Ok(resolved(Resolution::Later { delay_s }, reason))
        }
        Some(DeltaState::Ready { .. }) | None => {
            let delta = Resolution::Delta { release: release.id, base: base.id, algorithm: algorithm.number };
            Ok(resolved(delta, format!("a delta from {} to {}", base.version, release.version)))
        }
    }
}

/// Finds the release of the device's class and this component with this image.
fn held<'a>(question: &Question, catalogue: &Catalogue<'a>, digest: &Digest) -> Option<&'a Release> {
    let same = |release: &&Release| {
        release.digest == *digest
            && release.class == question.class
            && release.component == question.component
    };
    catalogue.releases.iter().find(same)
}

fn refused(refusal: Refusal) -> Resolved {
    resolved(Resolution::Refused(refusal), refusal.text().to_owned())
}

fn resolved(resolution: Resolution, reason: String) -> Resolved {
    Resolved { resolution, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class { vendor: [1; 16], class: [2; 16] };
    const OLD: Digest = [0x01; 32];
    const NEW: Digest = [0x02; 32];
    const STREAM: Algorithm = Algorithm { number: 1, ram_bytes: 4096 };

    fn release(id: u64, version: &str, digest: Digest) -> Release {
        let component = vec![b"app".to_vec()];
        Release {
            id: ReleaseId(id),
            class: CLASS,
            component,
            version: version.to_owned(),
            digest,
            size: 1000,
            open: false,
        }
    }

    fn question() -> Question {
        Question {
            class: CLASS,
            component: vec![b"app".to_vec()],
            target: Some(Target { digest: NEW, size: Some(1000) }),
            running: Some(OLD),
            algorithms: vec![1],
            staging_bytes: None,
            patch_ram_bytes: None,
        }
    }

    fn answer(question: &Question, releases: &[Release], deltas: &[Delta]) -> Resolution {
        let resolved = resolve(question, &Catalogue { releases, algorithms: &[STREAM], deltas });
        assert!(!resolved.reason.is_empty());
        resolved.resolution
    }

    fn both() -> Vec<Release> {
        vec![release(1, "1.0", OLD), release(2, "2.0", NEW)]
    }

    fn made(state: DeltaState) -> Delta {
        Delta { base: OLD, target: NEW, algorithm: 1, state }
    }

    const FULL: Resolution = Resolution::Full { release: ReleaseId(2) };
    const DELTA: Resolution = Resolution::Delta { release: ReleaseId(2), base: ReleaseId(1), algorithm: 1 };

    #[test]
    fn known_base_and_listed_algorithm_give_a_delta() {
        assert_eq!(answer(&question(), &both(), &[]), DELTA);
        assert_eq!(answer(&question(), &both(), &[made(DeltaState::Ready { bytes: 999 })]), DELTA);
    }

    #[test]
    fn target_that_runs_gives_nothing_even_without_a_release() {
        let question = Question { running: Some(NEW), ..question() };
        assert_eq!(answer(&question, &[], &[]), Resolution::NothingToDo);
    }

    #[test]
    fn unknown_base_gives_the_full_image() {
        assert_eq!(answer(&question(), &both()[1..], &[]), FULL);
        assert_eq!(answer(&Question { running: None, ..question() }, &both(), &[]), FULL);
    }

    #[test]
    fn base_of_another_class_or_component_gives_the_full_image() {
        let mut releases = both();
        releases[0].class.class = [9; 16];
        assert_eq!(answer(&question(), &releases, &[]), FULL);
        let mut releases = both();
        releases[0].component = vec![b"radio".to_vec()];
        assert_eq!(answer(&question(), &releases, &[]), FULL);
    }

    #[test]
    fn unlisted_algorithm_or_too_little_memory_gives_the_full_image() {
        assert_eq!(answer(&Question { algorithms: vec![7], ..question() }, &both(), &[]), FULL);
        assert_eq!(answer(&Question { patch_ram_bytes: Some(4095), ..question() }, &both(), &[]), FULL);
        assert_eq!(answer(&Question { patch_ram_bytes: Some(4096), ..question() }, &both(), &[]), DELTA);
    }

    #[test]
    fn delta_that_failed_or_is_no_smaller_gives_the_full_image() {
        assert_eq!(answer(&question(), &both(), &[made(DeltaState::Failed)]), FULL);
        assert_eq!(answer(&question(), &both(), &[made(DeltaState::Ready { bytes: 1000 })]), FULL);
    }

    #[test]
    fn delta_in_the_making_gives_later_with_its_wait() {
        let making = made(DeltaState::Making { retry_after_s: 30 });
        assert_eq!(answer(&question(), &both(), &[making]), Resolution::Later { delay_s: 30 });
    }

    #[test]
    fn state_of_another_delta_does_not_count() {
        let other = Delta { base: [9; 32], ..made(DeltaState::Failed) };
        assert_eq!(answer(&question(), &both(), &[other]), DELTA);
    }

    #[test]
    fn target_that_no_release_of_the_class_holds_is_refused() {
        assert_eq!(answer(&question(), &both()[..1], &[]), Resolution::Refused(Refusal::NoRelease));
        let mut releases = both();
        releases[1].class.class = [9; 16];
        assert_eq!(answer(&question(), &releases, &[]), Resolution::Refused(Refusal::NoRelease));
    }

    #[test]
    fn release_of_another_size_than_the_manifest_names_is_refused() {
        let question = Question { target: Some(Target { digest: NEW, size: Some(1001) }), ..question() };
        assert_eq!(answer(&question, &both(), &[]), Resolution::Refused(Refusal::NoRelease));
    }

    #[test]
    fn class_without_image_in_the_manifest_is_refused() {
        let question = Question { target: None, ..question() };
        assert_eq!(answer(&question, &both(), &[]), Resolution::Refused(Refusal::ClassNotInManifest));
    }

    #[test]
    fn staging_one_byte_too_small_is_refused() {
        let question = Question { staging_bytes: Some(999), ..question() };
        assert_eq!(answer(&question, &both(), &[]), Resolution::Refused(Refusal::StagingTooSmall));
        let question = Question { staging_bytes: Some(1000), ..question };
        assert_eq!(answer(&question, &both(), &[]), DELTA);
    }
}
