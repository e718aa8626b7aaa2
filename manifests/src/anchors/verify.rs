//! Signatures of the anchors document: by the root role that it replaces, and by its own.

use super::{ANCHORS_AAD, Anchors, AnchorsError, Role, RoleName};
use crate::cose::{KeyId, P256, Sign, SignatureVerifier};

impl<'a> Anchors<'a> {
    /// Reads the first document of a device, which came by a trusted way: it must be signed by its own root role.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] names the first thing that is wrong.
    pub fn initial(document: &'a [u8]) -> Result<Self, AnchorsError> {
        Self::initial_with(&P256, document)
    }

    /// Like [`Self::initial`], with the engine `verifier`.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] names the first thing that is wrong.
    pub fn initial_with(verifier: &impl SignatureVerifier, document: &'a [u8]) -> Result<Self, AnchorsError> {
        let signed = Sign::parse(document)?;
        let anchors = Self::parse(signed.payload())?;
        let root = anchors.root()?;
        check_signers(verifier, &signed, &[root])?;
        Ok(anchors)
    }

    /// Reads the document that replaces `current`: of a higher edition, for the same vendor, and signed by enough
    /// keys of both root roles.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] names the first thing that is wrong.
    pub fn replacing(document: &'a [u8], current: &Anchors<'_>) -> Result<Self, AnchorsError> {
        Self::replacing_with(&P256, document, current)
    }

    /// Like [`Self::replacing`], with the engine `verifier`.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] names the first thing that is wrong.
    pub fn replacing_with(
        verifier: &impl SignatureVerifier,
        document: &'a [u8],
        current: &Anchors<'_>,
    ) -> Result<Self, AnchorsError> {
        let signed = Sign::parse(document)?;
        let anchors = Self::parse(signed.payload())?;
        if anchors.edition <= current.edition {
            return Err(AnchorsError::Edition(anchors.edition));
        }
        if anchors.vendor != current.vendor {
            return Err(AnchorsError::Vendor);
        }
        let (old, new) = (current.root()?, anchors.root()?);
        check_signers(verifier, &signed, &[old, new])?;
        Ok(anchors)
    }

    /// Reads a document that this program verified before it kept it, where nobody else writes: no signature is
    /// checked.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] names the first thing that is wrong with its form.
    pub fn verified_before(document: &'a [u8]) -> Result<Self, AnchorsError> {
        Self::parse(Sign::parse(document)?.payload())
    }

    fn root(&self) -> Result<Role<'a>, AnchorsError> {
        self.named(RoleName::Root).next().ok_or(AnchorsError::Roles)
    }
}

/// Checks every signature by a key of `roots`, skips strangers, and counts distinct keys for each role.
fn check_signers(
    verifier: &impl SignatureVerifier,
    signed: &Sign<'_>,
    roots: &[Role<'_>],
) -> Result<(), AnchorsError> {
    for signer in signed.signers() {
        if let Some(key) = roots.iter().find_map(|root| root.key(signer.kid())) {
            signer.verify_with(verifier, &[ANCHORS_AAD], &key)?;
        }
    }
    // From here on every signer with a listed key id has verified.
    let has_signed = |kid: KeyId| signed.signers().any(|signer| signer.kid() == kid);
    let enough = roots.iter().all(|root| root.allows_signatures() && root.reaches_threshold(has_signed));
    if enough { Ok(()) } else { Err(AnchorsError::Threshold) }
}
