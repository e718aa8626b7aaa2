//! The signed SUIT envelope: read strictly, verified, and only then opened.
//!
//! [`Envelope::parse`] reads, [`Envelope::verify`] proves, and only the [`VerifiedManifest`] that it gives has
//! commands. Authentication blocks other than `COSE_Sign1` by a listed author are another authority's and skipped.
//!
//! Source: draft-ietf-suit-manifest-37 §8.2, §8.3.

mod authors;
mod verified;

pub use authors::{Authors, Signers};
pub(crate) use verified::Section;
pub use verified::VerifiedManifest;

use crate::cbor::{CborError, KeyOrder, Kind, Reader};
use crate::cose::sign1::SIGN1_TAG;
use crate::cose::structure::wrapped_digest;
use crate::cose::{CoseError, DetachedSign1, P256, PublicKey, SignatureVerifier};
use crate::manifest::{INSTALL, Manifest, ManifestError, PAYLOAD_FETCH, Sequence, TEXT, read_digest};
use crate::report::Reason;
use subtle::ConstantTimeEq;
use thiserror::Error;
use verified::join;

/// CBOR tag of an envelope; TEEP carries envelopes without it.
pub const ENVELOPE_TAG: u64 = 107;

/// Authentication blocks of one envelope: two signatures of a hybrid, a MAC, one spare.
pub const BLOCKS_MAX: usize = 4;

/// Why bytes are not an envelope. Drop it and count it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not deterministic CBOR of the shape of an envelope.
    #[error("not a SUIT envelope")]
    Cbor(#[from] CborError),
    /// Another tag than 107.
    #[error("CBOR tag {0} is no SUIT envelope")]
    Tag(u64),
    /// The authentication wrapper or the manifest is missing.
    #[error("envelope element {0} is missing")]
    Missing(i64),
    /// An element that is not read here.
    #[error("envelope element {0} is not supported")]
    Element(i64),
    /// The manifest digest is not SHA-256.
    #[error("manifest digest is not SHA-256")]
    DigestAlgorithm,
    /// More than [`BLOCKS_MAX`] authentication blocks.
    #[error("more than {BLOCKS_MAX} authentication blocks")]
    Blocks,
}

/// Why an envelope is not believed. Nothing of it is acted on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum VerifyError {
    /// The manifest is not the one whose digest was signed: altered.
    #[error("manifest differs from the signed digest")]
    Digest,
    /// A `COSE_Sign1` block is malformed.
    #[error("authentication block is malformed")]
    Block(#[source] CoseError),
    /// No block verifies under a key of a listed author: altered, or signed by a stranger.
    #[error("no author that is believed here has signed")]
    Signature,
    /// The signature is right, but its author may not touch the component at this index.
    #[error("the author may not sign for component {0}")]
    Component(usize),
    /// The signature is right, but the manifest is not valid here.
    #[error("manifest is not valid here")]
    Manifest(#[from] ManifestError),
    /// A severed element is not the one whose digest the manifest holds, or the manifest has none.
    #[error("envelope element {0} differs from the manifest's digest of it")]
    Severed(i64),
}

impl EnvelopeError {
    /// Gives the reason that a SUIT_Report names for this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::DigestAlgorithm => Reason::AlgorithmUnsupported,
            _ => Reason::CborParse,
        }
    }
}

impl VerifyError {
    /// Gives the reason that a SUIT_Report names for this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Digest | Self::Signature => Reason::Unauthorised,
            Self::Block(_) => Reason::CoseUnsupported,
            Self::Component(_) => Reason::ComponentUnauthorised,
            Self::Manifest(error) => error.reason(),
            Self::Severed(_) => Reason::SeveringUnsupported,
        }
    }

    /// Tells whether an author's signature was right, so that the manifest's words can be trusted for a report.
    #[must_use]
    pub const fn signature_was_right(&self) -> bool {
        !matches!(self, Self::Digest | Self::Block(_) | Self::Signature)
    }
}

/// An envelope as parsed; nothing of it is proven.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Encoded `SUIT_Digest`, the detached payload of every block.
    signed: &'a [u8],
    digest: &'a [u8; 32],
    blocks: &'a [u8],
    block_count: usize,
    manifest: &'a [u8],
    payload_fetch: Option<&'a [u8]>,
    install: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    integrated: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads an envelope, with or without its tag.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] names what is wrong with its form.
    pub fn parse(envelope: &'a [u8]) -> Result<Self, EnvelopeError> {
        let mut reader = Reader::new(envelope);
        if reader.kind()? == Kind::Tag {
            match reader.tag()? {
                ENVELOPE_TAG => {}
                other => return Err(EnvelopeError::Tag(other)),
            }
        }
        let elements = Elements::read(&mut reader)?;
        reader.finish()?;
        elements.build()
    }

    /// Gives the manifest's digest as the authentication block states it: the name of the manifest everywhere.
    #[must_use]
    pub const fn digest(&self) -> &'a [u8; 32] {
        self.digest
    }

    /// Gives the payload that travels in the envelope under `uri`, if there is one. Its digest is in the manifest.
    #[must_use]
    pub fn integrated(&self, uri: &str) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.integrated);
        while !reader.is_empty() {
            let (key, payload) = (reader.text().ok()?, reader.bytes().ok()?);
            if key == uri {
                return Some(payload);
            }
        }
        None
    }

    /// Verifies the envelope in software. See [`Self::verify_with`].
    ///
    /// # Errors
    ///
    /// [`VerifyError`] names the first check that fails.
    pub fn verify(&self, authors: &(impl Authors + ?Sized)) -> Result<VerifiedManifest<'a>, VerifyError> {
        self.verify_with(&P256, authors)
    }

    /// Verifies digest, signatures, manifest, severed elements and the author's right to every component, in this
    /// order.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] names the first check that fails.
    pub fn verify_with(
        &self,
        verifier: &impl SignatureVerifier,
        authors: &(impl Authors + ?Sized),
    ) -> Result<VerifiedManifest<'a>, VerifyError> {
        self.check_digest()?;
        let signers = self.find_signers(verifier, authors)?;
        let opened = self.open(signers)?;
        for (index, component) in opened.manifest.components().iter().enumerate() {
            if !authors.authorises(&component, &signers) {
                return Err(VerifyError::Component(index));
            }
        }
        Ok(opened)
    }

    fn check_digest(&self) -> Result<(), VerifyError> {
        // The digest covers the byte string with its head, as it stands in the envelope.
        if bool::from(wrapped_digest(self.manifest).ct_eq(self.digest)) {
            Ok(())
        } else {
            Err(VerifyError::Digest)
        }
    }

    fn find_signers(
        &self,
        verifier: &impl SignatureVerifier,
        authors: &(impl Authors + ?Sized),
    ) -> Result<Signers, VerifyError> {
        let mut signers = Signers::default();
        for block in self.sign1_blocks() {
            let block = match block {
                Ok(block) => block,
                // Another authority's algorithm: not ours to judge.
                Err(CoseError::Algorithm(_)) => continue,
                Err(error) => return Err(VerifyError::Block(error)),
            };
            if let Some(key) = self.signer_of(&block, verifier, authors) {
                signers.add(key.kid(), block.algorithm());
            }
        }
        if signers.iter().next().is_none() { Err(VerifyError::Signature) } else { Ok(signers) }
    }

    /// Finds the author's key that verifies `block`; where the block names one of ours, only that one is tried.
    fn signer_of(
        &self,
        block: &DetachedSign1<'_>,
        verifier: &impl SignatureVerifier,
        authors: &(impl Authors + ?Sized),
    ) -> Option<PublicKey> {
        let named = |key: &PublicKey| block.kid().is_some_and(|kid| key.kid() == kid);
        let fits = |key: &PublicKey| block.verify_with(verifier, self.signed, key).is_ok();
        match authors.keys().find(named) {
            Some(key) => Some(key).filter(fits),
            None => authors.keys().find(fits),
        }
    }

    /// Opens the manifest; the caller answers for its authenticity.
    fn open(&self, signers: Signers) -> Result<VerifiedManifest<'a>, VerifyError> {
        let manifest = Manifest::parse(self.manifest)?;
        let payload_fetch = join(PAYLOAD_FETCH, manifest.payload_fetch, self.payload_fetch)?;
        let install = join(INSTALL, manifest.install, self.install)?;
        let text = match join(TEXT, manifest.text, self.text)? {
            Section::Present(text) => Some(text),
            Section::None | Section::Stripped => None,
        };
        let payload_fetch = payload_fetch.map(Sequence::new);
        let install = install.map(Sequence::new);
        for section in [payload_fetch, install] {
            if let Section::Present(sequence) = section {
                manifest.check_update_section(sequence)?;
            }
        }
        Ok(VerifiedManifest { manifest, payload_fetch, install, text, digest: self.digest, signers })
    }

    fn sign1_blocks(&self) -> impl Iterator<Item = Result<DetachedSign1<'a>, CoseError>> + use<'a> {
        let mut reader = Reader::new(self.blocks);
        (0..self.block_count).map_while(move |_| reader.bytes().ok()).filter_map(|block| {
            let tag = Reader::new(block).tag();
            match tag {
                Ok(SIGN1_TAG) => Some(DetachedSign1::parse(block)),
                Ok(_) => None,
                Err(error) => Some(Err(error.into())),
            }
        })
    }
}

#[cfg(feature = "author")]
impl<'a> Envelope<'a> {
    /// Opens the manifest without asking who signed it, for showing it to a person.
    pub(crate) fn open_unverified(&self) -> Result<VerifiedManifest<'a>, VerifyError> {
        self.check_digest()?;
        self.open(Signers::default())
    }

    /// Walks over the key ids that the signatures name.
    pub(crate) fn claimed_kids(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.sign1_blocks().filter_map(|block| block.ok()?.kid())
    }
}

#[derive(Default)]
struct Elements<'a> {
    authentication: Option<&'a [u8]>,
    manifest: Option<&'a [u8]>,
    payload_fetch: Option<&'a [u8]>,
    install: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    integrated: &'a [u8],
}

impl<'a> Elements<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, EnvelopeError> {
        let (mut elements, mut order) = (Self::default(), KeyOrder::default());
        let mut left = reader.map()?;
        while left > 0 && reader.kind()? != Kind::Text {
            let key = order.next(reader)?;
            let place = match key {
                AUTHENTICATION => &mut elements.authentication,
                MANIFEST => &mut elements.manifest,
                PAYLOAD_FETCH => &mut elements.payload_fetch,
                INSTALL => &mut elements.install,
                TEXT => &mut elements.text,
                other => return Err(EnvelopeError::Element(other)),
            };
            *place = Some(reader.bytes()?);
            left -= 1;
        }
        elements.integrated = read_integrated(reader, left)?;
        Ok(elements)
    }

    fn build(self) -> Result<Envelope<'a>, EnvelopeError> {
        let mut reader = Reader::new(self.authentication.ok_or(EnvelopeError::Missing(AUTHENTICATION))?);
        let block_count = reader.array()?.checked_sub(1).ok_or(CborError::Range)?;
        if block_count > BLOCKS_MAX {
            return Err(EnvelopeError::Blocks);
        }
        let signed = reader.bytes()?;
        let start = reader.position();
        for _ in 0..block_count {
            reader.bytes()?;
        }
        reader.finish()?;
        Ok(Envelope {
            signed,
            digest: signed_digest(signed)?,
            blocks: reader.since(start),
            block_count,
            manifest: self.manifest.ok_or(EnvelopeError::Missing(MANIFEST))?,
            payload_fetch: self.payload_fetch,
            install: self.install,
            text: self.text,
            integrated: self.integrated,
        })
    }
}

/// Reads the integrated payloads, whose text keys come last and in order of their bytes.
fn read_integrated<'a>(reader: &mut Reader<'a>, count: usize) -> Result<&'a [u8], EnvelopeError> {
    let start = reader.position();
    let mut last: &[u8] = &[];
    for _ in 0..count {
        let key_start = reader.position();
        reader.text()?;
        let key = reader.since(key_start);
        if key <= last {
            return Err(CborError::KeyOrder.into());
        }
        last = key;
        reader.bytes()?;
    }
    Ok(reader.since(start))
}

fn signed_digest(signed: &[u8]) -> Result<&[u8; 32], EnvelopeError> {
    let mut reader = Reader::new(signed);
    let digest = read_digest(&mut reader).map_err(|error| match error {
        ManifestError::Cbor(error) => EnvelopeError::Cbor(error),
        _ => EnvelopeError::DigestAlgorithm,
    })?;
    reader.finish()?;
    Ok(digest)
}

const AUTHENTICATION: i64 = 2;
const MANIFEST: i64 = 3;
