//! What a manifest says, as owned values: for `manifest show` and for a server that takes it in.

use super::text;
use crate::cose::KeyId;
use crate::definition::{DEFINITION_BYTES_MAX, DefinitionError};
use crate::envelope::{Envelope, VerifiedManifest, VerifyError};
use crate::manifest::command::Branch;
use crate::manifest::{Command, ManifestError, Parameter, Sequence};
use crate::run::{Identity, Plan, Refusal, Refused, update};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use thiserror::Error;

/// What a manifest says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestSummary {
    /// Digest that names it.
    pub digest: [u8; 32],
    /// Sequence number.
    pub sequence_number: u64,
    /// URI that names it in reports.
    pub reference_uri: Option<String>,
    /// Component identifiers, as lists of byte strings.
    pub components: Vec<Vec<Vec<u8>>>,
    /// Vendors it asks for; one in manifests of ours.
    pub vendors: Vec<[u8; 16]>,
    /// For each class, what its devices end as.
    pub classes: Vec<ClassSummary>,
    /// Devices it names; empty: all.
    pub devices: Vec<[u8; 16]>,
    /// Version in its text.
    pub version: Option<String>,
    /// How urgent its author calls it; smaller is more urgent. The most urgent of several.
    pub priority: Option<i64>,
    /// Where devices ask for their resources.
    pub request_identifier: Option<String>,
    /// Encoded characteristic definition.
    pub definition: Option<Vec<u8>>,
    /// What is asked: component index (`None`: the device) and ids.
    pub asked: Vec<(Option<u64>, Vec<i64>)>,
    /// Keys whose signatures were right; for a manifest that was only shown, those that it names.
    pub signers: Vec<KeyId>,
    /// Whether a signature was checked and right.
    pub verified: bool,
}

/// What the devices of one class end as, component by component.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClassSummary {
    /// Vendor id.
    pub vendor: [u8; 16],
    /// Class id.
    pub class: [u8; 16],
    /// Image of each component that is fetched.
    pub images: Vec<ImageSummary>,
}

/// What one component ends as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageSummary {
    /// Index of the component.
    pub component: usize,
    /// SHA-256 of the image.
    pub digest: [u8; 32],
    /// Its bytes, where the manifest tells.
    pub size: Option<u64>,
    /// Its version as text, where the author states one.
    pub version: Option<String>,
}

/// Why a manifest cannot be summed up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// It is not one, or altered.
    #[error("the manifest cannot be opened")]
    Open(#[from] VerifyError),
    /// Its commands are malformed.
    #[error("the manifest's commands cannot be read")]
    Commands(#[from] ManifestError),
    /// No device can follow it.
    #[error("no device can follow the manifest")]
    Run(#[from] Refused),
    /// Its definition is malformed.
    #[error("the manifest's characteristic definition cannot be read")]
    Definition(#[from] DefinitionError),
}

impl ManifestSummary {
    /// Sums up a verified manifest. Each class is run through the machine, so the digests are what devices find.
    ///
    /// # Errors
    ///
    /// [`SummaryError`] if its definition is malformed.
    pub fn new(manifest: &VerifiedManifest<'_>) -> Result<Self, SummaryError> {
        let mut mentions = Mentions::default();
        mentions.collect(manifest)?;
        let mut summary = Self::plain(manifest);
        summary.vendors.clone_from(&mentions.vendors);
        summary.devices.clone_from(&mentions.devices);
        summary.priority = mentions.priority;
        for vendor in &mentions.vendors {
            for class in &mentions.classes {
                summary.add_class(manifest, vendor, class, mentions.devices.first())?;
            }
        }
        Ok(summary)
    }

    /// Sums up an envelope without asking who signed it, for showing it to a person. Its digest is checked.
    ///
    /// # Errors
    ///
    /// [`SummaryError`] if it is altered or malformed.
    pub fn unverified(envelope: &Envelope<'_>) -> Result<Self, SummaryError> {
        let mut summary = Self::new(&envelope.open_unverified()?)?;
        summary.verified = false;
        summary.signers = envelope.claimed_kids().filter_map(|kid| kid.try_into().ok()).collect();
        Ok(summary)
    }

    /// Tells whether its author calls this manifest more urgent than that one; one without priority is the least.
    #[must_use]
    pub fn outranks(&self, other: &Self) -> bool {
        self.priority.is_some_and(|ours| other.priority.is_none_or(|theirs| ours < theirs))
    }

    fn plain(manifest: &VerifiedManifest<'_>) -> Self {
        let components = manifest.manifest().components().iter();
        Self {
            digest: *manifest.digest(),
            sequence_number: manifest.manifest().sequence_number(),
            reference_uri: manifest.manifest().reference_uri().map(String::from),
            components: components.map(|id| id.parts().map(<[u8]>::to_vec).collect()).collect(),
            vendors: Vec::new(),
            classes: Vec::new(),
            devices: Vec::new(),
            version: manifest.text().and_then(text::version),
            priority: None,
            request_identifier: None,
            definition: None,
            asked: Vec::new(),
            signers: manifest.signers().iter().map(|(kid, _)| kid).collect(),
            verified: true,
        }
    }

    fn add_class(
        &mut self,
        manifest: &VerifiedManifest<'_>,
        vendor: &[u8; 16],
        class: &[u8; 16],
        device: Option<&[u8; 16]>,
    ) -> Result<(), SummaryError> {
        // At the beginning of time nothing has expired.
        let plan = match update(manifest, &Identity { vendor, class, device, now: 0 }) {
            Ok(plan) => plan,
            // Not every class is one of every vendor.
            Err(Refused { refusal: Refusal::Condition { .. }, .. }) => return Ok(()),
            Err(refused) => return Err(refused.into()),
        };
        let images = plan.fetches().filter_map(|(component, plan)| {
            let version = plan.version.map(|version| version.to_string());
            Some(ImageSummary { component, digest: *plan.digest?, size: plan.size, version })
        });
        self.classes.push(ClassSummary { vendor: *vendor, class: *class, images: images.collect() });
        if self.request_identifier.is_none() {
            self.add_fetch(&plan)?;
        }
        Ok(())
    }

    fn add_fetch(&mut self, plan: &Plan<'_>) -> Result<(), SummaryError> {
        let Some((_, component)) = plan.fetches().next() else {
            return Ok(());
        };
        self.request_identifier = component.request_identifier().map(String::from);
        let mut scratch = [0; DEFINITION_BYTES_MAX];
        if let Some(definition) = component.definition(&mut scratch)? {
            self.definition = Some(definition.encoded().to_vec());
            let scopes = definition.scopes();
            self.asked =
                scopes.map(|scope| (scope.component, scope.items().map(|item| item.id).collect())).collect();
        }
        Ok(())
    }
}

/// Ids that any of the manifest's parameters mention, each once.
#[derive(Default)]
struct Mentions {
    vendors: Vec<[u8; 16]>,
    classes: Vec<[u8; 16]>,
    devices: Vec<[u8; 16]>,
    priority: Option<i64>,
}

impl Mentions {
    fn collect(&mut self, manifest: &VerifiedManifest<'_>) -> Result<(), ManifestError> {
        for sequence in manifest.sequences() {
            self.collect_sequence(sequence)?;
        }
        Ok(())
    }

    fn collect_sequence(&mut self, sequence: Sequence<'_>) -> Result<(), ManifestError> {
        for command in sequence.commands()? {
            match command?.1 {
                Command::Override(parameters) => {
                    for parameter in parameters {
                        self.add(parameter?);
                    }
                }
                Command::TryEach(branches) => {
                    for branch in branches {
                        if let Branch::Sequence(sequence) = branch {
                            self.collect_sequence(sequence)?;
                        }
                    }
                }
                Command::RunSequence(sequence) => self.collect_sequence(sequence)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, parameter: Parameter<'_>) {
        if let Parameter::UpdatePriority(priority) = parameter {
            self.priority = Some(self.priority.map_or(priority, |before| before.min(priority)));
        }
        let (list, id) = match parameter {
            Parameter::VendorId(id) => (&mut self.vendors, id),
            Parameter::ClassId(id) => (&mut self.classes, id),
            Parameter::DeviceId(id) => (&mut self.devices, id),
            _ => return,
        };
        if !list.contains(id) {
            list.push(*id);
        }
    }
}
