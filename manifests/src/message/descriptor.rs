//! What a resource is and where its bytes are; equal for all devices with equal selectors.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::algorithm::SHA_256;
use super::list::Element;
use super::{Digest, List, MessageError, Part, Skipped, bound, options, read_version, refuse, whole};
use crate::cbor::{Kind, Reader, told};
use crate::frame::Layout;

/// Descriptor: signed by a distributor key of the anchors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Descriptor<'a> {
    /// Digest of the manifest that asked.
    pub manifest: &'a Digest,
    /// Hash of the selector that it answers.
    pub selector: &'a Digest,
    /// When it was made, seconds since 1970.
    pub issued: u64,
    /// Until when it may be used, seconds since 1970.
    pub expires: u64,
    /// 1 to 8 resources.
    pub resources: List<'a, Resource<'a>>,
    /// Options that were skipped; none is defined that must be understood.
    pub skipped: Skipped<'a>,
}

/// What is fetched for one component.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resource<'a> {
    /// Index of the component in the manifest.
    pub component: u32,
    /// What the bytes are.
    pub kind: ResourceKind,
    /// Digest of the bytes as carried: ciphertext, or the plaintext of an open release.
    pub content: &'a Digest,
    /// Their number.
    pub content_bytes: u64,
    /// Digest after decryption, before patching.
    pub plain: &'a Digest,
    /// Number of bytes after decryption.
    pub plain_bytes: u64,
    /// Digest of what will run; equal to the manifest's image digest.
    pub installed: &'a Digest,
    /// Number of bytes of what will run; equal to the manifest's image size.
    pub installed_bytes: u64,
    /// The frames.
    pub chain: Chain<'a>,
    /// Where the frames are, relative to the request identifier or absolute; empty if the content is inline.
    pub locations: List<'a, &'a str>,
    /// How a delta is applied.
    pub patch: Option<Patch<'a>>,
    /// The content itself, without frame digests.
    pub inline: Option<&'a [u8]>,
}

/// What the bytes of a resource are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResourceKind {
    /// A whole image.
    Full = 1,
    /// A delta from what runs.
    Delta = 2,
    /// A further manifest.
    Manifest = 3,
}

/// Chain of the frames of a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chain<'a> {
    /// Bytes of a block: one of [`crate::frame::BLOCK_SIZES`].
    pub block_bytes: u16,
    /// Digest of the first frame.
    pub root: &'a Digest,
}

/// How a delta is applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patch<'a> {
    /// Number of the patch algorithm.
    pub algorithm: i64,
    /// Digest of the base, which must be what runs.
    pub precursor: &'a Digest,
    /// Number of bytes of the base.
    pub precursor_bytes: u64,
    /// RAM that applying it takes, in bytes.
    pub ram_bytes: u64,
    /// Parameters of the algorithm.
    pub parameters: &'a [u8],
}

impl<'a> Descriptor<'a> {
    /// Reads the payload of a descriptor.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let descriptor = whole(bytes, |reader| {
            reader.array_of(7)?;
            read_version(reader)?;
            Ok(Self {
                manifest: reader.bytes_exact()?,
                selector: reader.bytes_exact()?,
                issued: reader.uint()?,
                expires: reader.uint()?,
                resources: List::read(reader, RESOURCES, Part::NumberOfResources)?,
                skipped: options::read(reader, |_, _| Ok(false))?,
            })
        })?;
        descriptor.check()?;
        Ok(descriptor)
    }

    /// The resource for `component`.
    #[must_use]
    pub fn resource(&self, component: u32) -> Option<Resource<'a>> {
        self.resources.iter().find(|resource| resource.component == component)
    }
    fn check(&self) -> Result<(), MessageError> {
        bound(once(&self.resources.iter().map(|resource| resource.component)), Part::ComponentThatComesTwice)
    }
}

impl<C> Encode<C> for Descriptor<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        self.check().map_err(refuse)?;
        encoder.array(7)?.u64(super::VERSION)?.bytes(self.manifest)?.bytes(self.selector)?;
        encoder.u64(self.issued)?.u64(self.expires)?;
        self.resources.write(encoder, RESOURCES)?;
        encoder.map(self.skipped.len() as u64)?;
        self.skipped.write(encoder)
    }
}

impl Resource<'_> {
    fn check(&self) -> Result<(), MessageError> {
        Layout::new(self.content_bytes, self.chain.block_bytes)
            .map_err(|_| MessageError::Bound(Part::Chain))?;
        match self.kind {
            ResourceKind::Full => bound(self.patch.is_none(), Part::PatchOfAFullImage)?,
            ResourceKind::Delta => bound(self.patch.is_some(), Part::PatchThatADeltaMustHave)?,
            ResourceKind::Manifest => {}
        }
        if let Some(patch) = self.patch {
            bound(patch.parameters.len() <= PARAMETERS_BYTES_MAX, Part::PatchParameters)?;
        }
        match self.inline {
            Some(inline) => bound(
                inline.len() as u64 == self.content_bytes && inline.len() <= INLINE_BYTES_MAX,
                Part::InlineContent,
            ),
            None => bound(!self.locations.is_empty(), Part::NumberOfLocations),
        }
    }
}

impl<'a> Element<'a> for Resource<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let elements = reader.array()?;
        bound((10..=12).contains(&elements), Part::NumberOfElementsInAResource)?;
        let mut resource = Self {
            component: reader.u32()?,
            kind: ResourceKind::read(reader)?,
            content: reader.bytes_exact()?,
            content_bytes: reader.uint()?,
            plain: reader.bytes_exact()?,
            plain_bytes: reader.uint()?,
            installed: reader.bytes_exact()?,
            installed_bytes: reader.uint()?,
            chain: Chain::read(reader)?,
            locations: List::read(reader, LOCATIONS, Part::NumberOfLocations)?,
            patch: None,
            inline: None,
        };
        let mut left = elements - 10;
        if left > 0 && reader.kind()? == Kind::Array {
            resource.patch = Some(Patch::read(reader)?);
            left -= 1;
        }
        if left > 0 {
            resource.inline = Some(reader.bytes()?);
            left -= 1;
        }
        bound(left == 0, Part::NumberOfElementsInAResource)?;
        resource.check()?;
        Ok(resource)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        self.check().map_err(refuse)?;
        let elements = 10 + u64::from(self.patch.is_some()) + u64::from(self.inline.is_some());
        encoder.array(elements)?.u32(self.component)?.u8(self.kind as u8)?;
        encoder.bytes(self.content)?.u64(self.content_bytes)?;
        encoder.bytes(self.plain)?.u64(self.plain_bytes)?;
        encoder.bytes(self.installed)?.u64(self.installed_bytes)?;
        encoder.array(3)?.i64(SHA_256)?.u16(self.chain.block_bytes)?.bytes(self.chain.root)?;
        self.locations.write(encoder, LOCATIONS)?;
        if let Some(patch) = self.patch {
            encoder.array(5)?.i64(patch.algorithm)?.bytes(patch.precursor)?.u64(patch.precursor_bytes)?;
            encoder.u64(patch.ram_bytes)?.bytes(patch.parameters)?;
        }
        if let Some(inline) = self.inline {
            encoder.bytes(inline)?;
        }
        Ok(())
    }
}

impl ResourceKind {
    fn read(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        match reader.uint()? {
            1 => Ok(Self::Full),
            2 => Ok(Self::Delta),
            3 => Ok(Self::Manifest),
            other => Err(MessageError::Kind(told(other))),
        }
    }
}

impl<'a> Chain<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(3)?;
        bound(reader.int()? == SHA_256, Part::DigestAlgorithmOfTheChain)?;
        Ok(Self { block_bytes: reader.u16()?, root: reader.bytes_exact()? })
    }
}

impl<'a> Patch<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(5)?;
        Ok(Self {
            algorithm: reader.int()?,
            precursor: reader.bytes_exact()?,
            precursor_bytes: reader.uint()?,
            ram_bytes: reader.uint()?,
            parameters: reader.bytes()?,
        })
    }
}

/// Whether every component comes once; there are few, so they are compared with each other.
pub(super) fn once(components: &(impl Iterator<Item = u32> + Clone)) -> bool {
    components
        .clone()
        .enumerate()
        .all(|(at, component)| !components.clone().take(at).any(|earlier| earlier == component))
}

/// Resources of a descriptor or grant, by the protocol.
pub const RESOURCES_MAX: usize = 8;

/// Resources: at least one.
pub(super) const RESOURCES: (usize, usize) = (1, RESOURCES_MAX);

/// Locations: a server, a gateway and a mirror, with room.
const LOCATIONS: (usize, usize) = (0, 8);

/// Bytes of the parameters of a patch algorithm: window, block and a few more numbers.
pub const PARAMETERS_BYTES_MAX: usize = 256;

/// Bytes of an inline content: what a device can take in one answer of sixteen blocks.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;
