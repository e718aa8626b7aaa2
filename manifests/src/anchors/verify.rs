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

    /// Tells how far a document is that root keys are still signing: every signature of a listed key must be right, and
    /// there may be too few of them.
    ///
    /// # Errors
    ///
    /// [`AnchorsError`] names the first thing that is wrong, beside the thresholds.
    pub fn standing(document: &'a [u8], current: Option<&Anchors<'_>>) -> Result<Standing<'a>, AnchorsError> {
        let signed = Sign::parse(document)?;
        let anchors = Self::parse(signed.payload())?;
        let own = anchors.root()?;
        let replaced = current.map(Anchors::root).transpose()?;
        let roots = [Some(own), replaced];
        check_signatures(&P256, &signed, &roots.iter().flatten())?;
        let count = |root: Role<'_>| Count { signed: count(&signed, &root), threshold: root.threshold() };
        Ok(Standing { anchors, own: count(own), replaced: replaced.map(count) })
    }

    fn root(&self) -> Result<Role<'a>, AnchorsError> {
        self.named(RoleName::Root).next().ok_or(AnchorsError::Roles)
    }
}

/// How far a document is that root keys are still signing.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// What it says. Nobody believes it yet.
    pub anchors: Anchors<'a>,
    /// Signatures by its own root role.
    pub own: Count,
    /// Signatures by the root role of the document that it is to replace.
    pub replaced: Option<Count>,
}

/// Signatures by one root role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Count {
    /// Distinct keys of the role that have signed.
    pub signed: u64,
    /// Keys that must sign.
    pub threshold: u64,
}

impl Standing<'_> {
    /// Tells whether enough keys of every role have signed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [Some(self.own), self.replaced].iter().flatten().all(|count| count.signed >= count.threshold)
    }
}

/// Checks every signature by a key of `roots`, skips strangers, and counts distinct keys for each role.
fn check_signers(
    verifier: &impl SignatureVerifier,
    signed: &Sign<'_>,
    roots: &[Role<'_>],
) -> Result<(), AnchorsError> {
    check_signatures(verifier, signed, &roots.iter())?;
    // From here on every signer with a listed key id has verified.
    let has_signed = |kid: KeyId| signed.signers().any(|signer| signer.kid() == kid);
    let enough = roots.iter().all(|root| root.allows_signatures() && root.reaches_threshold(has_signed));
    if enough { Ok(()) } else { Err(AnchorsError::Threshold) }
}

fn check_signatures<'r, 'a: 'r>(
    verifier: &impl SignatureVerifier,
    signed: &Sign<'_>,
    roots: &(impl Iterator<Item = &'r Role<'a>> + Clone),
) -> Result<(), AnchorsError> {
    for signer in signed.signers() {
        if let Some(key) = roots.clone().find_map(|root| root.key(signer.kid())) {
            signer.verify_with(verifier, &[ANCHORS_AAD], &key)?;
        }
    }
    Ok(())
}

fn count(signed: &Sign<'_>, root: &Role<'_>) -> u64 {
    root.keys().filter(|key| signed.signers().any(|signer| signer.kid() == key.kid())).count() as u64
}
