//! The abstract machine: runs a verified manifest's commands for one device and says what it asks of it.
//!
//! Nothing is fetched or written here. [`update`] runs the shared sequence with payload-fetch, install and validate
//! and gives a [`Plan`]: per component what to fetch, from where, and what it must be afterwards. The caller carries
//! it out. An image-match after a fetch is therefore a promise that the caller keeps by checking
//! [`ComponentPlan::digest`] before the image can run; before a fetch, the device is asked.
//!
//! Parameters that a failed sequence of a try-each had set stay set, as the draft's machine has no way back.
//!
//! Source: draft-ietf-suit-manifest-37 §6.

mod machine;
mod plan;

pub use plan::{ComponentPlan, Identity, Plan};

use crate::envelope::{Section, VerifiedManifest};
use crate::manifest::{
    COMPONENTS_MAX, ComponentId, Condition, INSTALL, INVOKE, ManifestError, PAYLOAD_FETCH, VALIDATE,
};
use crate::report::{Reason, Record};
use machine::Machine;
use thiserror::Error;

/// Commands of one run. A manifest cannot loop, but "for every component" inside sequences multiplies.
pub const COMMANDS_MAX: usize = 2048;

/// What the machine asks of the device, per component where that matters.
pub trait Device {
    /// Tells whether the device has this component.
    fn has_component(&self, component: &ComponentId<'_>) -> bool;

    /// Tells whether the component is of the vendor `id`.
    fn is_vendor(&self, component: &ComponentId<'_>, id: &[u8; 16]) -> bool;

    /// Tells whether the component is of the class `id`.
    fn is_class(&self, component: &ComponentId<'_>, id: &[u8; 16]) -> bool;

    /// Tells whether this is the device `id`.
    fn is_device(&self, id: &[u8; 16]) -> bool;

    /// Tells whether the component is written to, or runs from, `slot`.
    fn is_slot(&self, component: &ComponentId<'_>, slot: u64) -> bool;

    /// Tells whether the component now holds an image with this SHA-256 (and size in bytes, where it is known).
    fn holds_image(&self, component: &ComponentId<'_>, digest: &[u8; 32], size: Option<u64>) -> bool;

    /// Tells whether the time is certainly before `time`, seconds since 1970.
    fn is_before(&self, time: u64) -> bool;
}

/// A device does not follow a manifest. Nothing has been changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("section {section} of the manifest stops at offset {offset}")]
pub struct Refused {
    /// Why.
    #[source]
    pub refusal: Refusal,
    /// Key of the section that was run: 3 for the shared sequence, 7, 9, 16 or 20; 0 before and after all of them.
    pub section: i64,
    /// Offset of the section's command that failed, in bytes.
    pub offset: u64,
}

/// Why a device does not follow a manifest.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// A condition is not fulfilled here; vendor, class and device say that the manifest is for others.
    #[error("condition {} of component {component} is not fulfilled", .condition.label())]
    Condition {
        /// The condition; of a try-each that ran out of choices, the last one.
        condition: Condition,
        /// Index of the component.
        component: usize,
    },
    /// The shared sequence does not ask for vendor and class, so it would be for every device.
    #[error("the manifest does not ask for vendor and class")]
    Unconditional,
    /// The device does not have this component.
    #[error("component {0} is not one of this device")]
    Component(usize),
    /// A section was severed and is not in the envelope.
    #[error("section {0} was severed and is missing")]
    Severed(i64),
    /// A fetch without a URI.
    #[error("nothing says where component {0} is fetched from")]
    NoUri(usize),
    /// A fetch without image digest.
    #[error("nothing says what component {0} must be after the fetch")]
    NoDigest(usize),
    /// More than [`COMMANDS_MAX`] commands.
    #[error("the manifest runs more than {COMMANDS_MAX} commands")]
    TooLong,
    /// The manifest is malformed; a verified one has been checked for it.
    #[error("the manifest is not valid here")]
    Manifest(#[from] ManifestError),
}

impl Refused {
    /// Gives the reason that a SUIT_Report names for this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match &self.refusal {
            Refusal::Condition { .. } | Refusal::Unconditional => Reason::ConditionFailed,
            Refusal::Component(_) => Reason::ComponentUnsupported,
            Refusal::Severed(_) => Reason::SeveringUnsupported,
            Refusal::NoUri(_) | Refusal::NoDigest(_) | Refusal::TooLong => Reason::OperationFailed,
            Refusal::Manifest(error) => error.reason(),
        }
    }

    /// Tells whether the manifest is for another vendor, class or device: LwM2M Update Result 6.
    #[must_use]
    pub const fn is_for_others(&self) -> bool {
        matches!(
            self.refusal,
            Refusal::Condition {
                condition: Condition::VendorId | Condition::ClassId | Condition::DeviceId,
                ..
            } | Refusal::Unconditional
                | Refusal::Component(_)
        )
    }

    /// Gives the record that a SUIT_Report has of this.
    #[must_use]
    pub const fn record(&self) -> Record<'static> {
        let component = match self.refusal {
            Refusal::Condition { component, .. }
            | Refusal::Component(component)
            | Refusal::NoUri(component)
            | Refusal::NoDigest(component) => component as u64,
            _ => 0,
        };
        Record { section: self.section, offset: self.offset, component, digest: None }
    }
}

/// Runs the update procedure: payload-fetch, install and validate, each after the shared sequence.
///
/// # Errors
///
/// [`Refused`] names the first thing that keeps this device from following the manifest.
pub fn update<'a>(manifest: &VerifiedManifest<'a>, device: &impl Device) -> Result<Plan<'a>, Refused> {
    let mut machine = Machine::new(manifest, device);
    let run = |machine: &mut Machine<'a, '_, _>| {
        machine.check_components()?;
        for (key, section) in [(PAYLOAD_FETCH, manifest.payload_fetch), (INSTALL, manifest.install)] {
            match section {
                Section::None => {}
                Section::Present(sequence) => machine.run_section(manifest.manifest.shared, key, sequence)?,
                Section::Stripped => return Err(Refusal::Severed(key)),
            }
        }
        if let Some(validate) = manifest.manifest.validate {
            machine.run_section(manifest.manifest.shared, VALIDATE, validate)?;
        }
        machine.check_conditional()
    };
    match run(&mut machine) {
        Ok(()) => Ok(machine.into_plan()),
        Err(refusal) => Err(machine.refuse(refusal)),
    }
}

/// Runs the invocation procedure: validate and invoke, each after the shared sequence.
///
/// # Errors
///
/// [`Refused`] names the first thing that keeps this device from starting what is installed.
pub fn invoke<'a>(manifest: &VerifiedManifest<'a>, device: &impl Device) -> Result<Plan<'a>, Refused> {
    let mut machine = Machine::new(manifest, device);
    let run = |machine: &mut Machine<'a, '_, _>| {
        machine.check_components()?;
        let sections = [(VALIDATE, manifest.manifest.validate), (INVOKE, manifest.manifest.invoke)];
        for (key, section) in sections {
            if let Some(sequence) = section {
                machine.run_section(manifest.manifest.shared, key, sequence)?;
            }
        }
        machine.check_conditional()
    };
    match run(&mut machine) {
        Ok(()) => Ok(machine.into_plan()),
        Err(refusal) => Err(machine.refuse(refusal)),
    }
}

/// The bits of all components of a manifest with `count` of them.
const fn all_components(count: usize) -> u8 {
    if count >= COMPONENTS_MAX { u8::MAX } else { (1 << count) - 1 }
}
