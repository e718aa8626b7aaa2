//! Is this manifest believed, and is it for this device? Nothing is written here.
//!
//! Source: protocol.md §1; draft-ietf-suit-manifest-37 §6.

use super::boot::{Image, VERSION_BYTES_MAX};
use super::bounded::Bounded;
use super::facts::{COMPONENT, COMPONENT_INDEX, Facts};
use super::record::{PATH_BYTES_MAX, REFERENCE_BYTES_MAX};
use super::request::{self, Source};
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
    /// SHA-256 of the image that will run.
    pub installed: &'a [u8; 32],
    /// Its bytes, where the manifest tells.
    pub installed_bytes: Option<u64>,
    /// Version of the image as text, empty where the manifest does not tell or tells too much.
    pub version: Bounded<VERSION_BYTES_MAX>,
    /// The plan of the component, with the characteristic definition.
    pub component: ComponentPlan<'a>,
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
    /// What it runs.
    pub running: &'a Image,
    /// Sequence number of the newest manifest that was installed.
    pub sequence: u64,
    /// Seconds since 1970 that have passed for certain.
    pub now: u64,
    /// Bytes of the spare slot.
    pub slot_bytes: u32,
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
        .verify(&against.anchors)
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
    if plan.sequence_number() < against.sequence {
        return Err((RESULT_FAILED, Reason::ConditionFailed));
    }
    let component = only_fetch(&plan).ok_or((RESULT_UNSUPPORTED_PACKAGE, Reason::ComponentUnsupported))?;
    let missing = (RESULT_UNSUPPORTED_PACKAGE, Reason::OperationFailed);
    let reference = plan.reference_uri().unwrap_or_default();
    if reference.len() > REFERENCE_BYTES_MAX {
        return Err((RESULT_UNSUPPORTED_PACKAGE, Reason::ParameterUnsupported));
    }
    let identifier = component.request_identifier().ok_or(missing)?;
    let (_, path) =
        local_path(identifier, against.facts).ok_or((RESULT_INVALID_URI, Reason::ParameterUnsupported))?;
    if component.size.is_some_and(|size| size > u64::from(against.slot_bytes)) {
        return Err((RESULT_NO_FLASH, Reason::OperationFailed));
    }
    let source = Source { facts: against.facts, running: against.running, slot_bytes: against.slot_bytes };
    request::collect(&component, plan.manifest_digest(), &source)
        .map_err(|reason| (RESULT_UNSUPPORTED_PACKAGE, reason))?;
    Ok(Followed {
        manifest: plan.manifest_digest(),
        sequence: plan.sequence_number(),
        reference,
        identifier,
        path,
        installed: component.digest.ok_or(missing)?,
        installed_bytes: component.size,
        version: version_of(manifest, &component),
        component,
    })
}

/// Gives the version that the author states for this class; without one, what the texts tell of the component.
fn version_of(manifest: &VerifiedManifest<'_>, component: &ComponentPlan<'_>) -> Bounded<VERSION_BYTES_MAX> {
    let text = || manifest.text().and_then(|text| version::of_component(text, COMPONENT)).unwrap_or_default();
    let version = component.version.map_or_else(|| Bounded::text_of(text()), Bounded::text_of);
    version.unwrap_or(Bounded::EMPTY)
}

/// Finds what a report needs, without running anything.
fn trusted<'a>(manifest: &VerifiedManifest<'a>, facts: &Facts<'_>) -> Option<Trusted<'a>> {
    Some(Trusted {
        manifest: manifest.digest(),
        reference: manifest.manifest().reference_uri().unwrap_or_default(),
        path: local_path(manifest.request_identifier()?, facts)?.1,
    })
}

fn only_fetch<'a>(plan: &Plan<'a>) -> Option<ComponentPlan<'a>> {
    let mut fetches = plan.fetches();
    let (index, component) = fetches.next()?;
    (fetches.next().is_none() && index == COMPONENT_INDEX as usize).then_some(*component)
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
        component.encoded() == COMPONENT
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

    fn holds_image(&self, _: &ComponentId<'_>, digest: &[u8; 32], _: Option<u64>) -> bool {
        *digest == self.0.running.digest
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
