//! What verification gives: the manifest that has commands.

use super::{Signers, VerifyError};
use crate::cose::structure::wrapped_digest;
use crate::definition::split_query;
use crate::manifest::{Manifest, Member, Sequence};

/// A manifest whose digest, signature and author were right: the only one that has commands.
///
/// Run it with [`crate::run::update`].
#[derive(Clone, Copy, Debug)]
pub struct VerifiedManifest<'a> {
    pub(crate) manifest: Manifest<'a>,
    pub(crate) payload_fetch: Section<Sequence<'a>>,
    pub(crate) install: Section<Sequence<'a>>,
    pub(super) text: Option<&'a [u8]>,
    pub(super) digest: &'a [u8; 32],
    pub(super) signers: Signers,
}

/// A severable section after the envelope was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Section<T> {
    /// The manifest has none.
    None,
    /// Here it is.
    Present(T),
    /// The manifest has its digest, the envelope has lost it.
    Stripped,
}

impl<T> Section<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Section<U> {
        match self {
            Self::None => Section::None,
            Self::Present(section) => Section::Present(change(section)),
            Self::Stripped => Section::Stripped,
        }
    }
}

impl<'a> VerifiedManifest<'a> {
    /// Gives what the manifest says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest<'a> {
        &self.manifest
    }

    /// Gives the manifest's digest: its name in selectors, grants and reports.
    #[must_use]
    pub const fn digest(&self) -> &'a [u8; 32] {
        self.digest
    }

    /// Gives the keys whose signatures were right.
    #[must_use]
    pub const fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Finds the request identifier of the first fetch without running anything: where a refusal can be reported.
    #[must_use]
    pub fn request_identifier(&self) -> Option<&'a str> {
        self.sequences().find_map(|sequence| sequence.first_uri()).map(|uri| split_query(uri).0)
    }

    /// Walks over the sequences that are there, payload-fetch and install first.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = Sequence<'a>> + use<'a> {
        let present = |section: Section<Sequence<'a>>| match section {
            Section::Present(sequence) => Some(sequence),
            Section::None | Section::Stripped => None,
        };
        let sections = [
            present(self.payload_fetch),
            present(self.install),
            self.manifest.shared,
            self.manifest.validate,
            self.manifest.invoke,
        ];
        sections.into_iter().flatten()
    }

    /// Gives the encoded text map, if the envelope carries it.
    #[must_use]
    pub const fn text(&self) -> Option<&'a [u8]> {
        self.text
    }
}

/// Brings together what the manifest says of a severable element and what the envelope carries.
pub(super) fn join<'a>(
    key: i64,
    member: Option<Member<'a>>,
    carried: Option<&'a [u8]>,
) -> Result<Section<&'a [u8]>, VerifyError> {
    match (member, carried) {
        (None, None) => Ok(Section::None),
        (Some(Member::Inline(section)), None) => Ok(Section::Present(section)),
        (Some(Member::Severed(_)), None) => Ok(Section::Stripped),
        (Some(Member::Severed(digest)), Some(section)) if wrapped_digest(section) == *digest => {
            Ok(Section::Present(section))
        }
        (_, Some(_)) => Err(VerifyError::Severed(key)),
    }
}
