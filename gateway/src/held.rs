//! What is held ready for devices: bundles as they were verified, and the grants and descriptors in them. Pure.

use std::collections::HashMap;

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cose::Sign1;
use bellwether_manifests::envelope::Envelope;
use bellwether_manifests::message::bundle::BundleError;
use bellwether_manifests::message::peek::attached_payload;
use bellwether_manifests::message::{Bundle, Descriptor, Digest, Grant, Place, Window, word};
use thiserror::Error;

/// A bundle whose signature and manifest were verified.
#[derive(Clone, Debug)]
pub struct HeldBundle {
    /// The signed message, as it came.
    pub message: Vec<u8>,
    /// Rises for this gateway.
    pub edition: u64,
    /// Name of the campaign.
    pub campaign: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// SUIT envelope.
    pub envelope: Vec<u8>,
    /// Until when it may be used, seconds since 1970.
    pub not_after: u64,
    /// Whether the campaign is withdrawn: nothing is pushed or answered from it.
    pub withdrawn: bool,
    /// How to go about it.
    pub policy: HeldPolicy,
    /// Descriptors by selector hash.
    pub descriptors: HashMap<Digest, HeldDescriptor>,
    grants: HashMap<GrantKey, HeldGrant>,
    /// Endpoints that it names.
    pub names: Vec<String>,
}

/// How to go about a bundle.
#[derive(Clone, Debug, Default)]
pub struct HeldPolicy {
    /// Most bytes per second to fetch ahead; 0: as fast as it goes.
    pub bytes_per_s: u64,
    /// Most devices at a time that the manifest is pushed to.
    pub devices_at_a_time: usize,
    /// When it is pushed; empty: at any time.
    pub windows: Vec<Window>,
    /// Whom to push the manifest to.
    pub push: Vec<String>,
}

/// What a grant answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GrantKey {
    /// Name of the identity.
    pub id: String,
    /// Epoch and index.
    pub place: (u16, u16),
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Hash of the selector.
    pub selector: Digest,
}

/// A grant, which only its device can verify.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldGrant {
    /// COSE message.
    pub message: Vec<u8>,
    /// Number.
    pub number: u64,
    /// Until when it may be used, seconds since 1970.
    pub not_after: u64,
    /// Digests of the resources as carried.
    pub contents: Vec<Digest>,
    /// Whether the device must ask "go?" before it swaps.
    pub ask_go: bool,
}

/// A descriptor whose signature was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldDescriptor {
    /// COSE message.
    pub message: Vec<u8>,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Hash of the selector.
    pub selector: Digest,
    /// When it was signed, seconds since 1970.
    pub issued: u64,
    /// Until when it may be used, seconds since 1970.
    pub expires: u64,
    /// Digests of the resources as carried.
    pub contents: Vec<Digest>,
    /// Roots of the frames that are fetched.
    pub roots: Vec<Digest>,
}

/// Why a bundle is not held.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BundleRefusal {
    /// It is none.
    #[error("the bundle is malformed")]
    Malformed(#[source] BundleError),
    /// No distributor that is believed here has signed it.
    #[error("no distributor that is believed here has signed the bundle")]
    Stranger(#[source] BundleError),
    /// No author that is believed here has signed its manifest.
    #[error("the bundle's manifest is not believed")]
    Manifest,
    /// It ended before something in it was signed.
    #[error("the bundle had expired before its own descriptors were signed")]
    Expired,
}

impl GrantKey {
    /// Names a grant or what it answers.
    #[must_use]
    pub fn new(place: &Place<'_>, manifest: &Digest, selector: &Digest) -> Self {
        Self { id: place.id.to_owned(), place: place.order(), manifest: *manifest, selector: *selector }
    }
}

impl HeldBundle {
    /// Reads and verifies a bundle.
    ///
    /// # Errors
    ///
    /// [`BundleRefusal`] with the first thing that is wrong.
    pub fn read(message: &[u8], anchors: &Anchors<'_>) -> Result<Self, BundleRefusal> {
        let bundle = Bundle::verify(message, anchors).map_err(|error| match error {
            BundleError::Stranger | BundleError::Signature(_) => BundleRefusal::Stranger(error),
            _ => BundleRefusal::Malformed(error),
        })?;
        let envelope = Envelope::parse(bundle.envelope).map_err(|_| BundleRefusal::Manifest)?;
        let manifest = *envelope.verify(anchors).map_err(|_| BundleRefusal::Manifest)?.digest();
        let descriptors: HashMap<Digest, HeldDescriptor> = bundle
            .descriptors
            .iter()
            .filter_map(|message| HeldDescriptor::read(message, anchors))
            .filter(|descriptor| descriptor.manifest == manifest)
            .map(|descriptor| (descriptor.selector, descriptor))
            .collect();
        // Signed times are the only ones that a wrong clock here can't distort.
        let newest = descriptors.values().map(|descriptor| descriptor.issued).max().unwrap_or(0);
        if bundle.not_after < newest.max(anchors.issued()) {
            return Err(BundleRefusal::Expired);
        }
        Ok(Self::new(message, &bundle, manifest, descriptors))
    }

    fn new(
        message: &[u8],
        bundle: &Bundle<'_>,
        manifest: Digest,
        descriptors: HashMap<Digest, HeldDescriptor>,
    ) -> Self {
        let grants: HashMap<GrantKey, HeldGrant> = bundle
            .grants
            .iter()
            .filter_map(HeldGrant::read)
            .filter(|(key, _)| key.manifest == manifest)
            .collect();
        let policy = HeldPolicy::new(bundle);
        let mut names: Vec<String> = policy.push.clone();
        names.extend(grants.keys().map(|key| key.id.clone()));
        Self {
            message: message.to_vec(),
            edition: bundle.edition,
            campaign: bundle.campaign.to_owned(),
            manifest,
            envelope: bundle.envelope.to_vec(),
            not_after: bundle.not_after,
            withdrawn: bundle.is_withdrawn(),
            policy,
            descriptors,
            grants,
            names,
        }
    }

    /// Whether it may be acted on at `now`, as far as the clock here can be believed.
    #[must_use]
    pub const fn is_current(&self, now: u64) -> bool {
        !self.withdrawn && now <= self.not_after
    }

    /// Finds the grant for a question, if it may still be used.
    #[must_use]
    pub fn grant(&self, key: &GrantKey, now: u64) -> Option<&HeldGrant> {
        let grant = self.grants.get(key).filter(|grant| now <= grant.not_after)?;
        self.is_current(now).then_some(grant)
    }

    /// Finds a grant by identity and number, if it may still be used.
    #[must_use]
    pub fn grant_numbered(&self, id: &str, number: u64, now: u64) -> Option<&HeldGrant> {
        let mut grants = self.grants.iter().filter(|(key, grant)| key.id == id && grant.number == number);
        let grant = grants.next().map(|(_, grant)| grant).filter(|grant| now <= grant.not_after)?;
        self.is_current(now).then_some(grant)
    }

    /// Number of grants in it.
    #[must_use]
    pub fn grants(&self) -> usize {
        self.grants.len()
    }
}

impl HeldPolicy {
    fn new(bundle: &Bundle<'_>) -> Self {
        let policy = &bundle.policy;
        let at_a_time = policy.devices_at_a_time.unwrap_or(DEVICES_AT_A_TIME);
        Self {
            bytes_per_s: policy.bytes_per_s.unwrap_or(0),
            devices_at_a_time: usize::try_from(at_a_time).unwrap_or(usize::MAX),
            windows: policy.windows.map(|windows| windows.iter().collect()).unwrap_or_default(),
            push: policy
                .push
                .map(|names| names.iter().map(|name| name.0.to_owned()).collect())
                .unwrap_or_default(),
        }
    }

    /// Whether the manifest may be pushed at `now`.
    #[must_use]
    pub fn is_open(&self, now: u64) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(now))
    }
}

impl HeldGrant {
    /// Whether a descriptor is of the same contents and may still be used.
    #[must_use]
    pub fn is_described_by(&self, descriptor: &HeldDescriptor, now: u64) -> bool {
        descriptor.contents == self.contents && now <= descriptor.expires
    }

    /// Reads what a grant says; nobody but its device can tell whether it is true.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<(GrantKey, Self)> {
        let grant = Grant::decode(attached_payload(message).ok()?).ok()?;
        let held = Self {
            message: message.to_vec(),
            number: grant.grant,
            not_after: grant.not_after,
            contents: grant.resources.iter().map(|resource| *resource.content).collect(),
            ask_go: grant.options.ask_go == Some(true),
        };
        Some((GrantKey::new(&grant.place, grant.manifest, grant.selector), held))
    }
}

impl HeldDescriptor {
    /// Reads a descriptor that a distributor of `anchors` has signed; `None` for any other.
    #[must_use]
    pub fn read(message: &[u8], anchors: &Anchors<'_>) -> Option<Self> {
        let signed = Sign1::parse(message).ok()?;
        let key = anchors.distributor(signed.kid())?;
        let descriptor = Descriptor::decode(signed.verify(&[word::DESCRIPTOR], &key).ok()?).ok()?;
        let fetched = descriptor.resources.iter().filter(|resource| resource.inline.is_none());
        Some(Self {
            message: message.to_vec(),
            manifest: *descriptor.manifest,
            selector: *descriptor.selector,
            issued: descriptor.issued,
            expires: descriptor.expires,
            contents: descriptor.resources.iter().map(|resource| *resource.content).collect(),
            roots: fetched.map(|resource| *resource.chain.root).collect(),
        })
    }
}

/// Devices at a time where the policy is silent: a block each in flight on a line of some kilobytes a second.
const DEVICES_AT_A_TIME: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, BundleOf};

    fn read(message: &[u8]) -> Result<HeldBundle, BundleRefusal> {
        let document = testing::anchors(1, 1);
        HeldBundle::read(message, &Anchors::initial(&document).unwrap())
    }

    #[test]
    fn grant_is_found_by_what_it_answers_until_it_expires() {
        let world = testing::World::new();
        let held = read(&world.bundle(&BundleOf::default())).unwrap();
        let key = world.key("lamp-1");
        assert_eq!(held.grant(&key, testing::NOW).unwrap().number, testing::GRANT);
        assert!(held.grant(&key, testing::NOT_AFTER + 1).is_none());
        assert!(held.grant(&GrantKey { place: (0, 1), ..key.clone() }, testing::NOW).is_none());
        assert!(held.grant(&GrantKey { selector: [0; 32], ..key }, testing::NOW).is_none());
        assert!(held.grant_numbered("lamp-1", testing::GRANT, testing::NOW).is_some());
        assert!(held.grant_numbered("lamp-2", testing::GRANT, testing::NOW).is_none());
        assert_eq!(held.descriptors[&world.selector_hash()].roots, [world.root()]);
    }

    #[test]
    fn withdrawn_bundle_holds_nothing_for_anybody() {
        let world = testing::World::new();
        let held = read(&world.bundle(&BundleOf { at_a_time: 0, ..BundleOf::default() })).unwrap();
        assert!(held.withdrawn && held.grant(&world.key("lamp-1"), testing::NOW).is_none());
    }

    #[test]
    fn bundle_of_a_stranger_or_with_a_strangers_manifest_is_refused() {
        let world = testing::World::new();
        let bundle = world.bundle(&BundleOf { signed_by: 9, ..BundleOf::default() });
        assert!(matches!(read(&bundle), Err(BundleRefusal::Stranger(_))));
        let bundle = world.bundle(&BundleOf { author: 9, ..BundleOf::default() });
        assert_eq!(read(&bundle).unwrap_err(), BundleRefusal::Manifest);
        assert!(matches!(read(b"garbage"), Err(BundleRefusal::Malformed(_))));
        let mut altered = world.bundle(&BundleOf::default());
        let last = altered.len() - 1;
        altered[last] ^= 1;
        assert!(matches!(read(&altered), Err(BundleRefusal::Stranger(_))));
    }

    #[test]
    fn bundle_that_ended_before_its_descriptor_was_signed_is_refused_by_any_clock() {
        let world = testing::World::new();
        let old = BundleOf { not_after: testing::ISSUED - 1, ..BundleOf::default() };
        assert_eq!(read(&world.bundle(&old)).unwrap_err(), BundleRefusal::Expired);
    }

    #[test]
    fn descriptor_of_a_stranger_is_left_out() {
        let world = testing::World::new();
        let held = read(&world.bundle(&BundleOf { described_by: 9, ..BundleOf::default() })).unwrap();
        assert!(held.descriptors.is_empty());
    }
}
