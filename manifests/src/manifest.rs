//! The SUIT manifest inside an envelope: what it says, without running it.
//!
//! Accepted are the elements that draft Examples 0, 1 and 3 and a payload-fetch with a characteristic definition
//! need: common (components, shared sequence), reference URI, validate, invoke, payload-fetch, install, text.
//! Dependencies, load, uninstall, `CoSWID` and the set version are refused by name.
//!
//! Source: draft-ietf-suit-manifest-37 §8.4.

mod check;
pub mod command;
pub mod component;
pub mod parameter;

pub use command::{Branches, Command, Commands, Condition, IndexArgument, Sequence};
pub use component::{COMPONENTS_MAX, ComponentId, Components};
pub use parameter::{Parameter, Parameters};

use crate::cbor::{CborError, KeyOrder, Kind, Reader};
use crate::report::Reason;
use thiserror::Error;

/// Why a manifest is not valid here. Report it with [`ManifestError::reason`]; nothing of it is acted on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not deterministic CBOR of the shape of a manifest.
    #[error("not a SUIT manifest")]
    Cbor(#[from] CborError),
    /// The manifest version is not 1.
    #[error("manifest version {0} is not 1")]
    Version(u64),
    /// An element that must be there is not.
    #[error("element {0} is missing")]
    Missing(i64),
    /// An element that is not run here.
    #[error("manifest element {0} is not supported")]
    Element(i64),
    /// No component, or more than [`COMPONENTS_MAX`].
    #[error("{0} components, 1 to {COMPONENTS_MAX} are allowed")]
    ComponentCount(usize),
    /// A command points to a component that the manifest does not list.
    #[error("component index {0} is not listed")]
    ComponentIndex(u64),
    /// A command that is not run here, or not in this sequence.
    #[error("command {0} is not supported here")]
    Command(i64),
    /// A parameter that is not known here, or not allowed in this sequence.
    #[error("parameter {0} is not supported here")]
    Parameter(i64),
    /// A digest algorithm other than SHA-256.
    #[error("digest algorithm {0} is not supported")]
    DigestAlgorithm(i64),
    /// Sequences nested deeper than [`command::SEQUENCE_DEPTH_MAX`].
    #[error("command sequences are nested too deep")]
    Depth,
    /// Several components, and a sequence that does not begin by choosing one.
    #[error("a sequence does not begin with a component index")]
    NoComponentChosen,
}

impl ManifestError {
    /// Gives the reason that a SUIT_Report names for this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Cbor(_) | Self::Version(_) | Self::Missing(_) | Self::NoComponentChosen => {
                Reason::CborParse
            }
            Self::Element(_) | Self::Command(_) | Self::Depth => Reason::CommandUnsupported,
            Self::ComponentCount(_) | Self::ComponentIndex(_) => Reason::ComponentUnsupported,
            Self::Parameter(_) => Reason::ParameterUnsupported,
            Self::DigestAlgorithm(_) => Reason::AlgorithmUnsupported,
        }
    }
}

/// A manifest as parsed. It says what it is about; what it commands, only a
/// [`crate::envelope::VerifiedManifest`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    pub(crate) sequence_number: u64,
    pub(crate) components: Components<'a>,
    pub(crate) shared: Option<Sequence<'a>>,
    pub(crate) reference_uri: Option<&'a str>,
    pub(crate) validate: Option<Sequence<'a>>,
    pub(crate) invoke: Option<Sequence<'a>>,
    pub(crate) payload_fetch: Option<Member<'a>>,
    pub(crate) install: Option<Member<'a>>,
    pub(crate) text: Option<Member<'a>>,
}

/// Severable element: in the manifest, or a digest of it there and itself in the envelope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Member<'a> {
    /// Content of the byte string.
    Inline(&'a [u8]),
    /// SHA-256 over the byte string with its head.
    Severed(&'a [u8; 32]),
}

impl<'a> Manifest<'a> {
    /// Reads a manifest and checks that all of its commands, also those of severed sections once they are there,
    /// can be run here.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] names the first thing that is not valid.
    pub fn parse(manifest: &'a [u8]) -> Result<Self, ManifestError> {
        let mut elements = Elements::default();
        let (mut reader, mut order) = (Reader::new(manifest), KeyOrder::default());
        for _ in 0..reader.map()? {
            let key = order.next(&mut reader)?;
            elements.read(key, &mut reader)?;
        }
        reader.finish()?;
        let manifest = elements.build()?;
        manifest.check_commands()?;
        Ok(manifest)
    }

    /// Gives the number that orders the manifests of a component; a device keeps the highest.
    #[must_use]
    pub const fn sequence_number(&self) -> u64 {
        self.sequence_number
    }

    /// Gives the components that the manifest is about.
    #[must_use]
    pub const fn components(&self) -> Components<'a> {
        self.components
    }

    /// Gives the URI that names this manifest in reports.
    #[must_use]
    pub const fn reference_uri(&self) -> Option<&'a str> {
        self.reference_uri
    }
}

#[derive(Default)]
struct Elements<'a> {
    version: Option<u64>,
    sequence_number: Option<u64>,
    components: Option<Components<'a>>,
    shared: Option<Sequence<'a>>,
    reference_uri: Option<&'a str>,
    validate: Option<Sequence<'a>>,
    invoke: Option<Sequence<'a>>,
    payload_fetch: Option<Member<'a>>,
    install: Option<Member<'a>>,
    text: Option<Member<'a>>,
}

impl<'a> Elements<'a> {
    fn read(&mut self, key: i64, reader: &mut Reader<'a>) -> Result<(), ManifestError> {
        match key {
            1 => self.version = Some(reader.uint()?),
            2 => self.sequence_number = Some(reader.uint()?),
            COMMON => self.read_common(reader.bytes()?)?,
            4 => self.reference_uri = Some(reader.text()?),
            VALIDATE => self.validate = Some(Sequence::new(reader.bytes()?)),
            INVOKE => self.invoke = Some(Sequence::new(reader.bytes()?)),
            PAYLOAD_FETCH => self.payload_fetch = Some(Member::read(reader)?),
            INSTALL => self.install = Some(Member::read(reader)?),
            TEXT => self.text = Some(Member::read(reader)?),
            other => return Err(ManifestError::Element(other)),
        }
        Ok(())
    }

    fn read_common(&mut self, common: &'a [u8]) -> Result<(), ManifestError> {
        let (mut reader, mut order) = (Reader::new(common), KeyOrder::default());
        for _ in 0..reader.map()? {
            match order.next(&mut reader)? {
                2 => self.components = Some(Components::read(&mut reader)?),
                4 => self.shared = Some(Sequence::new(reader.bytes()?)),
                other => return Err(ManifestError::Element(other)),
            }
        }
        Ok(reader.finish()?)
    }

    fn build(self) -> Result<Manifest<'a>, ManifestError> {
        match self.version.ok_or(ManifestError::Missing(1))? {
            1 => {}
            other => return Err(ManifestError::Version(other)),
        }
        Ok(Manifest {
            sequence_number: self.sequence_number.ok_or(ManifestError::Missing(2))?,
            components: self.components.ok_or(ManifestError::Missing(COMMON))?,
            shared: self.shared,
            reference_uri: self.reference_uri,
            validate: self.validate,
            invoke: self.invoke,
            payload_fetch: self.payload_fetch,
            install: self.install,
            text: self.text,
        })
    }
}

impl<'a> Member<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ManifestError> {
        match reader.kind()? {
            Kind::Array => Ok(Self::Severed(read_digest(reader)?)),
            _ => Ok(Self::Inline(reader.bytes()?)),
        }
    }
}

/// Reads `SUIT_Digest = [-16, bstr .size 32]`.
pub(crate) fn read_digest<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; 32], ManifestError> {
    reader.array_of(2)?;
    match reader.int()? {
        SHA_256 => Ok(reader.bytes_exact()?),
        other => Err(ManifestError::DigestAlgorithm(other)),
    }
}

/// COSE algorithm number of SHA-256.
pub(crate) const SHA_256: i64 = -16;

/// Key of common, which holds the shared sequence.
pub const COMMON: i64 = 3;
/// Key of validate.
pub const VALIDATE: i64 = 7;
/// Key of invoke.
pub const INVOKE: i64 = 9;
/// Key of payload-fetch, in the manifest and, severed, in the envelope.
pub const PAYLOAD_FETCH: i64 = 16;
/// Key of install, in the manifest and, severed, in the envelope.
pub const INSTALL: i64 = 20;
/// Key of text, in the manifest and, severed, in the envelope.
pub const TEXT: i64 = 23;
