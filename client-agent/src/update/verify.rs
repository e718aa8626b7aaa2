//! Is this manifest believed, and is it for this device? Nothing is written here.
//!
//! Source: protocol.md §1; draft-ietf-suit-manifest-37 §6.

use super::boot::VERSION_BYTES_MAX;
use super::bounded::Bounded;
use super::facts::{COMPONENTS_MAX, Facts};
use super::record::{PATH_BYTES_MAX, REFERENCE_BYTES_MAX};
use super::request::{self, Held, Source};
use super::version;
use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::envelope::{Envelope, VerifiedManifest};
use bellwether_manifests::manifest::ComponentId;
use bellwether_manifests::report::Reason;
use bellwether_manifests::run::{self, ComponentPlan, Device, Plan};

/// A manifest that this device follows.
#[derive(Clone, Debug)]
pub struct Followed<'a> {
    /// Digest that names it.
    pub manifest: &'a [u8; 32],
    /// Its sequence number.
    pub sequence: u64,
    /// URI that names it in reports.
    pub reference: &'a str,
    /// Resource request identifier as in the manifest, without a definition in its query.
    pub identifier: &'a str,
    /// Path of the request identifier on the server of this device.
    pub path: &'a str,
    /// Index in the manifest of each component of this device that it lists.
    pub indices: [Option<u32>; COMPONENTS_MAX],
    /// What each component of this device shall run; `None` where the manifest has nothing to fetch for it.
    pub wanted: [Option<Wanted<'a>>; COMPONENTS_MAX],
    /// The plan of the first component, with the characteristic definition; the others have the same.
    pub component: ComponentPlan<'a>,
}

/// What a component shall run.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Index of the component in the manifest.
    pub index: u32,
    /// SHA-256 of the image that will run.
    pub installed: &'a [u8; 32],
    /// Its bytes, where the manifest tells.
    pub installed_bytes: Option<u64>,
    /// Version of the image as text, empty where the manifest does not tell or tells too much.
    pub version: Bounded<VERSION_BYTES_MAX>,
}

impl<'a> Followed<'a> {
    /// Finds what the component with this index in the manifest shall run, and its number on this device.
    pub(super) fn wanted_at(&self, index: u32) -> Option<(usize, &Wanted<'a>)> {
        let wanted = self.wanted.iter().enumerate();
        wanted
            .filter_map(|(number, wanted)| Some((number, wanted.as_ref()?)))
            .find(|(_, wanted)| wanted.index == index)
    }
}

/// Why a manifest is not followed.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// LwM2M Update Result.
    pub result: u8,
    /// Reason for the report.
    pub reason: Reason,
    /// What a report needs; there only if an author's signature was right.
    pub trusted: Option<Trusted<'a>>,
}

/// What a report about a refused manifest needs.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// Digest that names the manifest.
    pub manifest: &'a [u8; 32],
    /// URI that names it in reports.
    pub reference: &'a str,
    /// Path of the request identifier.
    pub path: &'a str,
}

/// What the manifest is held against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// What the device is.
    pub facts: &'a Facts<'a>,
    /// Whom it believes now.
    pub anchors: Anchors<'a>,
    /// What each component runs, and room for another image.
    pub held: [Held<'a>; COMPONENTS_MAX],
    /// Sequence number of the newest manifest that was installed, by component.
    pub sequences: [u64; COMPONENTS_MAX],
    /// Seconds since 1970 that have passed for certain.
    pub now: u64,
}

/// Verifies an envelope by the anchors and runs its commands for this device.
///
/// # Errors
///
/// [`Refused`] with the result and the reason; the request identifier only where an author's signature was right.
pub fn verify<'a>(envelope: &'a [u8], against: &Against<'_>) -> Result<Followed<'a>, Refused<'a>> {
    let refused = |result, reason| Refused { result, reason, trusted: None };
    let envelope =
        Envelope::parse(envelope).map_err(|error| refused(RESULT_UNSUPPORTED_PACKAGE, error.reason()))?;
    let manifest = envelope
        .verify_with(&against.facts.signatures, &against.anchors)
        // Its words are not read further: a signature that is right and a manifest that is not has no plan.
        .map_err(|error| {
            let altered = !error.signature_was_right() || error.reason() == Reason::SeveringUnsupported;
            refused(if altered { RESULT_INTEGRITY } else { RESULT_UNSUPPORTED_PACKAGE }, error.reason())
        })?;
    follow(&manifest, against).map_err(|(result, reason)| Refused {
        result,
        reason,
        trusted: trusted(&manifest, against.facts),
    })
}

fn follow<'a>(manifest: &VerifiedManifest<'a>, against: &Against<'_>) -> Result<Followed<'a>, (u8, Reason)> {
    let plan = run::update(manifest, &This(against)).map_err(|refused| {
        let unfulfilled =
            matches!(refused.refusal, run::Refusal::Condition { .. }) && !refused.is_for_others();
        (if unfulfilled { RESULT_FAILED } else { RESULT_UNSUPPORTED_PACKAGE }, refused.reason())
    })?;
    let wanted = wanted(manifest, &plan, against)?;
    let missing = (RESULT_UNSUPPORTED_PACKAGE, Reason::OperationFailed);
    let (_, component) = plan.fetches().next().ok_or(missing)?;
    let reference = plan.reference_uri().unwrap_or_default();
    if reference.len() > REFERENCE_BYTES_MAX {
        return Err((RESULT_UNSUPPORTED_PACKAGE, Reason::ParameterUnsupported));
    }
    let identifier = component.request_identifier().ok_or(missing)?;
    let (_, path) =
        local_path(identifier, against.facts).ok_or((RESULT_INVALID_URI, Reason::ParameterUnsupported))?;
    let indices = indices(manifest, against.facts);
    let source = Source { facts: against.facts, held: against.held, indices };
    request::collect(component, plan.manifest_digest(), &source)
        .map_err(|reason| (RESULT_UNSUPPORTED_PACKAGE, reason))?;
    Ok(Followed {
        manifest: plan.manifest_digest(),
        sequence: plan.sequence_number(),
        reference,
        identifier,
        path,
        indices,
        wanted,
        component: *component,
    })
}

/// Gives what each component of this device shall run. One request asks for all of them, so all must be asked for at
/// one place and in the same words.
fn wanted<'a>(
    manifest: &VerifiedManifest<'a>,
    plan: &Plan<'a>,
    against: &Against<'_>,
) -> Result<[Option<Wanted<'a>>; COMPONENTS_MAX], (u8, Reason)> {
    let unsupported = (RESULT_UNSUPPORTED_PACKAGE, Reason::ComponentUnsupported);
    let mut wanted = [const { None }; COMPONENTS_MAX];
    let mut first = None;
    for (index, component) in plan.fetches() {
        let id = component.id().ok_or(unsupported)?;
        let number = against.facts.component(id.encoded()).ok_or(unsupported)?;
        if plan.sequence_number() < against.sequences[number] {
            return Err((RESULT_FAILED, Reason::ConditionFailed));
        }
        if component.size.is_some_and(|size| size > u64::from(against.held[number].slot_bytes)) {
            return Err((RESULT_NO_FLASH, Reason::OperationFailed));
        }
        let first = first.get_or_insert(*component);
        if wanted[number].is_some() || !first.asks_like(component) {
            return Err(unsupported);
        }
        wanted[number] = Some(Wanted {
            index: u32::try_from(index).map_err(|_| unsupported)?,
            installed: component.digest.ok_or((RESULT_UNSUPPORTED_PACKAGE, Reason::OperationFailed))?,
            installed_bytes: component.size,
            version: version_of(manifest, component, id.encoded()),
        });
    }
    Ok(wanted)
}

/// Index in the manifest of each component of this device.
fn indices(manifest: &VerifiedManifest<'_>, facts: &Facts<'_>) -> [Option<u32>; COMPONENTS_MAX] {
    let mut indices = [None; COMPONENTS_MAX];
    for (index, id) in (0..).zip(manifest.manifest().components().iter()) {
        if let Some(number) = facts.component(id.encoded()) {
            indices[number] = Some(index);
        }
    }
    indices
}

/// Gives the version that the author states for this class; without one, what the texts tell of the component.
fn version_of(
    manifest: &VerifiedManifest<'_>,
    component: &ComponentPlan<'_>,
    id: &[u8],
) -> Bounded<VERSION_BYTES_MAX> {
    let mut written = Bounded::EMPTY;
    let fits = match component.version {
        Some(version) => version.write_text(|piece| written.push(piece)),
        None => manifest
            .text()
            .and_then(|text| version::of_component(text, id))
            .and_then(|text| written.push(text)),
    };
    if fits.is_some() { written } else { Bounded::EMPTY }
}

/// Finds what a report needs, without running anything.
fn trusted<'a>(manifest: &VerifiedManifest<'a>, facts: &Facts<'_>) -> Option<Trusted<'a>> {
    Some(Trusted {
        manifest: manifest.digest(),
        reference: manifest.manifest().reference_uri().unwrap_or_default(),
        path: local_path(manifest.request_identifier()?, facts)?.1,
    })
}

/// Gives the path of an identifier that is relative to the device's server, or names one of its servers; and in that
/// case which.
pub(super) fn local_path<'a>(identifier: &'a str, facts: &Facts<'_>) -> Option<(Option<usize>, &'a str)> {
    let of_server = |(number, server): (usize, &&str)| {
        let rest = identifier.strip_prefix(server.trim_end_matches('/'))?;
        // `coaps://a:1` is no prefix of `coaps://a:12/u`.
        rest.starts_with('/').then_some((Some(number), rest))
    };
    let found = if identifier.starts_with('/') && !identifier.starts_with("//") {
        Some((None, identifier))
    } else {
        facts.servers.iter().enumerate().find_map(of_server)
    };
    found.filter(|(_, path)| path.len() <= PATH_BYTES_MAX && !path.contains(['?', '#', '%']))
}

/// This device, for the conditions of a manifest.
struct This<'a>(&'a Against<'a>);

impl Device for This<'_> {
    fn has_component(&self, component: &ComponentId<'_>) -> bool {
        self.0.facts.component(component.encoded()).is_some()
    }

    fn is_vendor(&self, _: &ComponentId<'_>, id: &[u8; 16]) -> bool {
        *id == self.0.facts.vendor
    }

    fn is_class(&self, _: &ComponentId<'_>, id: &[u8; 16]) -> bool {
        *id == self.0.facts.class
    }

    /// The device has no UUID of its own: a manifest for one device is for another.
    fn is_device(&self, _: &[u8; 16]) -> bool {
        false
    }

    /// Slots are the device's own affair; a manifest that chooses one is for another way of installing.
    fn is_slot(&self, _: &ComponentId<'_>, _: u64) -> bool {
        false
    }

    fn holds_image(&self, component: &ComponentId<'_>, digest: &[u8; 32], _: Option<u64>) -> bool {
        let number = self.0.facts.component(component.encoded());
        number.is_some_and(|number| self.0.held[number].running.digest == *digest)
    }

    fn is_before(&self, time: u64) -> bool {
        self.0.now < time
    }
}

// LwM2M Update Results, object 5.
pub(crate) const RESULT_SUCCESS: u8 = 1;
pub(crate) const RESULT_NO_FLASH: u8 = 2;
pub(crate) const RESULT_INTEGRITY: u8 = 5;
pub(crate) const RESULT_UNSUPPORTED_PACKAGE: u8 = 6;
pub(crate) const RESULT_INVALID_URI: u8 = 7;
pub(crate) const RESULT_FAILED: u8 = 8;
pub(crate) const RESULT_CANCELLED: u8 = 10;
