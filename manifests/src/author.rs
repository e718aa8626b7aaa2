//! Manifests made and signed offline, for a whole mixed fleet, and shown to a person.
//!
//! A [`ManifestDraft`] becomes one envelope: shared sequence with vendor, and a try-each over the classes where there
//! are several; validate; payload-fetch with the request identifier and the characteristic definition. Payload-fetch
//! and text are severed (the manifest holds their digest, the envelope carries them) where they are larger than a
//! digest, so that a distributor can strip them without breaking the signature; see [`Severing`].

mod encode;
mod sign;
mod summary;
mod text;

pub use sign::sign;
pub use summary::{ClassSummary, ImageSummary, ManifestSummary, SummaryError};

use crate::cose::PrivateKey;
use crate::definition::{CLASS_ID, FREE_STAGING_BYTES, IMAGE_DIGEST, PATCH_ALGORITHMS, VENDOR_ID, VERSION};
use crate::definition::{Item, ScopeDraft};
use crate::envelope::{Envelope, EnvelopeError, VerifyError};
use crate::manifest::COMPONENTS_MAX;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;
use uuid::Uuid;

/// Makes the vendor id of a domain: `UUIDv5` in the DNS namespace.
#[must_use]
pub fn vendor_id(domain: &str) -> [u8; 16] {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, domain.as_bytes()).into_bytes()
}

/// Makes the class id of a name: `UUIDv5` in the vendor's namespace.
#[must_use]
pub fn class_id(vendor: &[u8; 16], class: &str) -> [u8; 16] {
    Uuid::new_v5(&Uuid::from_bytes(*vendor), class.as_bytes()).into_bytes()
}

/// How the characteristic definition travels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// P: private parameter -257. For our own devices.
    #[default]
    Private,
    /// S: in the fetch arguments.
    FetchArguments,
    /// U: in the URI's query, with standard labels only. For fleets with other SUIT processors.
    Query,
}

/// Whether payload-fetch and text are severed before signing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Severing {
    /// Where the element is larger than its digest.
    #[default]
    WhenLarger,
    /// Never: everything stays in the manifest.
    Never,
}

/// What a device of a class must run in the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClassImage {
    /// Class id; see [`class_id`].
    pub class: [u8; 16],
    /// SHA-256 of the plaintext image.
    pub digest: [u8; 32],
    /// Bytes of the plaintext image.
    pub size: u64,
    /// Its version as integers, which devices of the class take as theirs; see [`crate::version::numbers`].
    pub version: Option<Vec<i64>>,
}

/// A component beside the first one of a manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ComponentDraft {
    /// Component identifier.
    pub component: Vec<Vec<u8>>,
    /// One image for each class that the first component has one for.
    pub classes: Vec<ClassImage>,
}

/// A manifest to be signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestDraft {
    /// Number; higher than that of every earlier manifest of the component.
    pub sequence_number: u64,
    /// Vendor id; see [`vendor_id`].
    pub vendor: [u8; 16],
    /// One image for each class; none twice.
    pub classes: Vec<ClassImage>,
    /// Component identifier.
    pub component: Vec<Vec<u8>>,
    /// Further components, which devices update together with the first; see [`ManifestDraft::with`].
    pub further: Vec<ComponentDraft>,
    /// URI that names the manifest in reports.
    pub reference_uri: String,
    /// URI-reference where devices ask for their resources.
    pub request_identifier: String,
    /// What is asked of them; see [`default_definition`].
    pub definition: Vec<ScopeDraft>,
    /// How the definition travels.
    pub profile: Profile,
    /// Whether elements are severed.
    pub severing: Severing,
    /// Devices that alone may follow it; empty: all.
    pub devices: Vec<[u8; 16]>,
    /// Seconds since 1970 after which no device may follow it.
    pub use_before: Option<u64>,
    /// How urgent it is; smaller is more urgent. A more urgent manifest replaces the open grant of another one.
    pub priority: Option<i64>,
    /// Version, for people; in the text element. Devices take it as theirs where their class states none.
    pub version: Option<String>,
}

/// Why a manifest was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// There is no class, one comes twice, or a further component is for other classes than the first.
    #[error("classes are missing or come twice, or a component has no image for one of them")]
    Classes,
    /// A version has no numbers, or begins with the mark of a pre-release.
    #[error("the version of a class is none")]
    Version,
    /// There is no reference URI or no request identifier, or the request identifier has a `cd=` of its own.
    #[error("reference URI or request identifier cannot be used")]
    Uri,
    /// A component has no parts, comes twice, or is one too many.
    #[error("a component has no name or comes twice, or they are more than {COMPONENTS_MAX}")]
    Component,
    /// The definition is not one that a device reads.
    #[error("the characteristic definition is not valid")]
    Definition(#[source] crate::definition::DefinitionError),
    /// The envelope would be refused by every device.
    #[error("no device would accept the manifest")]
    NotAccepted(#[source] VerifyError),
    /// The envelope has a signature by this key already.
    #[error("this key has signed the manifest already")]
    SignedAlready,
    /// The envelope could not be read.
    #[error("the envelope cannot be read")]
    Envelope(#[source] EnvelopeError),
}

/// Gives the definition that is asked by default: vendor, class, patch algorithms and free staging bytes of the
/// device; digest and version of component 0. Only vendor, class and digest are required.
#[must_use]
pub fn default_definition() -> Vec<ScopeDraft> {
    default_definition_of(1)
}

/// Gives the same for several components; each has room of its own for images, so that is asked of each.
#[must_use]
pub fn default_definition_of(components: usize) -> Vec<ScopeDraft> {
    if components > 1 {
        return definition_of_each(components);
    }
    let device = [
        Item::required(VENDOR_ID),
        Item::required(CLASS_ID),
        Item::optional(PATCH_ALGORITHMS),
        Item::optional(FREE_STAGING_BYTES),
    ];
    let component = [Item::required(IMAGE_DIGEST), Item::optional(VERSION)];
    Vec::from([
        ScopeDraft { component: None, items: device.into() },
        ScopeDraft { component: Some(0), items: component.into() },
    ])
}

fn definition_of_each(components: usize) -> Vec<ScopeDraft> {
    let device = [Item::required(VENDOR_ID), Item::required(CLASS_ID), Item::optional(PATCH_ALGORITHMS)];
    let component =
        [Item::required(IMAGE_DIGEST), Item::optional(VERSION), Item::optional(FREE_STAGING_BYTES)];
    let mut scopes = Vec::from([ScopeDraft { component: None, items: device.into() }]);
    for index in (0..).take(components) {
        scopes.push(ScopeDraft { component: Some(index), items: component.into() });
    }
    scopes
}

impl ManifestDraft {
    /// Starts a draft for component `['app']` with the default definition, asked for at `/u`.
    #[must_use]
    pub fn new(
        sequence_number: u64,
        vendor: [u8; 16],
        classes: Vec<ClassImage>,
        reference_uri: String,
    ) -> Self {
        Self {
            sequence_number,
            vendor,
            classes,
            component: Vec::from([b"app".to_vec()]),
            further: Vec::new(),
            reference_uri,
            request_identifier: String::from("/u"),
            definition: default_definition(),
            profile: Profile::default(),
            severing: Severing::default(),
            devices: Vec::new(),
            use_before: None,
            priority: None,
            version: None,
        }
    }

    /// Adds a component, and asks about it and the others as by default.
    #[must_use]
    pub fn with(mut self, further: ComponentDraft) -> Self {
        self.further.push(further);
        self.definition = default_definition_of(1 + self.further.len());
        self
    }

    /// Writes the manifest without a signature, for an author who signs it elsewhere; see [`sign()`].
    ///
    /// # Errors
    ///
    /// [`AuthorError`] says what to change in the draft.
    pub fn unsigned(&self) -> Result<Vec<u8>, AuthorError> {
        self.check()?;
        let envelope = encode::manifest(self).envelope();
        let read = Envelope::parse(&envelope).map_err(AuthorError::Envelope)?;
        read.open_unverified().map_err(AuthorError::NotAccepted)?;
        Ok(envelope)
    }

    /// Writes the manifest and signs it by `key`; the envelope is read back and verified before it is given out.
    ///
    /// # Errors
    ///
    /// [`AuthorError`] says what to change in the draft.
    pub fn sign(&self, key: &PrivateKey) -> Result<Vec<u8>, AuthorError> {
        sign(&self.unsigned()?, key)
    }

    fn check(&self) -> Result<(), AuthorError> {
        let twice = |n: usize| self.classes[..n].iter().any(|other| other.class == self.classes[n].class);
        if self.classes.is_empty() || (0..self.classes.len()).any(twice) {
            return Err(AuthorError::Classes);
        }
        let further = self.further.iter().flat_map(|further| &further.classes);
        let mut versions = self.classes.iter().chain(further).filter_map(|class| class.version.as_ref());
        if versions.any(|numbers| numbers.first().is_none_or(|first| *first < 0)) {
            return Err(AuthorError::Version);
        }
        self.check_components()?;
        let has_definition = crate::definition::split_query(&self.request_identifier).1.is_some();
        if self.reference_uri.is_empty() || self.request_identifier.is_empty() || has_definition {
            return Err(AuthorError::Uri);
        }
        let definition = crate::definition::encode(&self.definition);
        crate::definition::Definition::parse(&definition).map_err(AuthorError::Definition)?;
        Ok(())
    }

    fn check_components(&self) -> Result<(), AuthorError> {
        let ids: Vec<_> =
            core::iter::once(&self.component).chain(self.further.iter().map(|one| &one.component)).collect();
        let twice = |n: usize| ids[..n].contains(&ids[n]);
        if ids.len() > COMPONENTS_MAX || ids.iter().any(|id| id.is_empty()) || (0..ids.len()).any(twice) {
            return Err(AuthorError::Component);
        }
        let classes = |images: &[ClassImage]| images.iter().map(|image| image.class).collect::<BTreeSet<_>>();
        let wanted = classes(&self.classes);
        let fits =
            |one: &ComponentDraft| one.classes.len() == wanted.len() && classes(&one.classes) == wanted;
        if self.further.iter().all(fits) { Ok(()) } else { Err(AuthorError::Classes) }
    }
}
