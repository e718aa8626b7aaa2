//! What a manifest asks of one device.

use super::Device;
use crate::definition::{self, Definition, DefinitionError};
use crate::envelope::VerifiedManifest;
use crate::manifest::{COMPONENTS_MAX, ComponentId};
use crate::version::Version;

/// What is to be done for every component, in the order of the manifest.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    components: [ComponentPlan<'a>; COMPONENTS_MAX],
    count: usize,
    manifest: &'a [u8; 32],
    sequence_number: u64,
    reference_uri: Option<&'a str>,
}

/// What is to be done for one component.
#[derive(Clone, Copy, Debug, Default)]
pub struct ComponentPlan<'a> {
    pub(super) id: Option<ComponentId<'a>>,
    /// SHA-256 of the installed image; what is in the slot afterwards must have it.
    pub digest: Option<&'a [u8; 32]>,
    /// Bytes of the installed image.
    pub size: Option<u64>,
    /// Version of the installed image, where the author states one.
    pub version: Option<Version<'a>>,
    /// Slot that a component-slot condition chose.
    pub slot: Option<u64>,
    /// Whether it is to be fetched; if so, `digest` and `uri` are there.
    pub fetch: bool,
    /// Whether it is to be started (invocation procedure only).
    pub invoke: bool,
    /// URI as in the manifest; [`Self::request_identifier`] is without a definition in its query.
    pub uri: Option<&'a str>,
    pub(super) characteristics: Option<&'a [u8]>,
    pub(super) fetch_arguments: Option<&'a [u8]>,
}

impl<'a> Plan<'a> {
    /// Starts with nothing to do for any component.
    pub(super) fn new(manifest: &VerifiedManifest<'a>) -> Self {
        let mut components = [ComponentPlan::default(); COMPONENTS_MAX];
        for (id, component) in manifest.manifest().components().iter().zip(&mut components) {
            component.id = Some(id);
        }
        Self {
            components,
            count: manifest.manifest().components().len(),
            manifest: manifest.digest(),
            sequence_number: manifest.manifest().sequence_number(),
            reference_uri: manifest.manifest().reference_uri(),
        }
    }

    pub(super) fn components_mut(&mut self) -> &mut [ComponentPlan<'a>] {
        &mut self.components[..self.count]
    }

    /// Gives the plan of every component.
    #[must_use]
    pub fn components(&self) -> &[ComponentPlan<'a>] {
        &self.components[..self.count]
    }

    /// Gives the digest that names the manifest.
    #[must_use]
    pub const fn manifest_digest(&self) -> &'a [u8; 32] {
        self.manifest
    }

    /// Gives the manifest's sequence number.
    #[must_use]
    pub const fn sequence_number(&self) -> u64 {
        self.sequence_number
    }

    /// Gives the URI that names the manifest in reports.
    #[must_use]
    pub const fn reference_uri(&self) -> Option<&'a str> {
        self.reference_uri
    }

    /// Walks over the components that are to be fetched, with their indices.
    pub fn fetches(&self) -> impl Iterator<Item = (usize, &ComponentPlan<'a>)> {
        self.components().iter().enumerate().filter(|(_, component)| component.fetch)
    }
}

impl<'a> ComponentPlan<'a> {
    /// Gives the component's identifier.
    #[must_use]
    pub const fn id(&self) -> Option<ComponentId<'a>> {
        self.id
    }

    /// Gives the resource request identifier: where updates are asked for, without `cd=`.
    #[must_use]
    pub fn request_identifier(&self) -> Option<&'a str> {
        self.uri.map(|uri| definition::split_query(uri).0)
    }

    /// Tells whether another component is asked for at the same place and in the same words, so that one request can ask
    /// for both.
    #[must_use]
    pub fn asks_like(&self, other: &Self) -> bool {
        (self.uri, self.characteristics, self.fetch_arguments)
            == (other.uri, other.characteristics, other.fetch_arguments)
    }

    /// Reads the characteristic definition: of profile P, else S, else U, whose bytes are decoded into `scratch`.
    ///
    /// `None`: a plain fetch that asks for no characteristics.
    ///
    /// # Errors
    ///
    /// [`DefinitionError`] if there is one and it is not valid.
    pub fn definition<'s>(&self, scratch: &'s mut [u8]) -> Result<Option<Definition<'s>>, DefinitionError>
    where
        'a: 's,
    {
        if let Some(bytes) = self.characteristics {
            return Definition::parse(bytes).map(Some);
        }
        if let Some(arguments) = self.fetch_arguments {
            return definition::in_fetch_arguments(arguments);
        }
        match self.uri.and_then(|uri| definition::split_query(uri).1) {
            Some(query) => Definition::parse_query(query, scratch).map(Some),
            None => Ok(None),
        }
    }
}

/// A device as far as a server knows it from its answers: asked what a manifest would mean for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity<'a> {
    /// Vendor id.
    pub vendor: &'a [u8; 16],
    /// Class id.
    pub class: &'a [u8; 16],
    /// Device UUID, where it has told one.
    pub device: Option<&'a [u8; 16]>,
    /// Seconds since 1970.
    pub now: u64,
}

/// Slots are the device's own affair, so every slot fits; images that it holds are not known, so none matches.
impl Device for Identity<'_> {
    fn has_component(&self, _: &ComponentId<'_>) -> bool {
        true
    }

    fn is_vendor(&self, _: &ComponentId<'_>, id: &[u8; 16]) -> bool {
        self.vendor == id
    }

    fn is_class(&self, _: &ComponentId<'_>, id: &[u8; 16]) -> bool {
        self.class == id
    }

    fn is_device(&self, id: &[u8; 16]) -> bool {
        self.device == Some(id)
    }

    fn is_slot(&self, _: &ComponentId<'_>, _: u64) -> bool {
        true
    }

    fn holds_image(&self, _: &ComponentId<'_>, _: &[u8; 32], _: Option<u64>) -> bool {
        false
    }

    fn is_before(&self, time: u64) -> bool {
        self.now < time
    }
}
