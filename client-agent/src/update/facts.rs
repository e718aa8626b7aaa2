//! What the device is: fixed at the factory, told by the shell.

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cose::SignatureVerifier;

/// What the device is.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Name of its identity, 1 to 64 bytes.
    pub id: &'a str,
    /// UUID of its vendor.
    pub vendor: [u8; 16],
    /// UUID of its class.
    pub class: [u8; 16],
    /// Patch algorithms that it applies; empty: full images only.
    pub patch_algorithms: &'a [i32],
    /// Servers of its unit file, as `coaps://host:port`.
    pub servers: &'a [&'a str],
    /// Seconds since 1970 at which its software was built: no earlier time is believed.
    pub built: u64,
    /// Whom it believed first, from its unit file; verified by the shell. Newer ones are kept by the update core.
    pub anchors: Anchors<'a>,
    /// What checks signatures: [`bellwether_manifests::cose::P256`], or an engine of the board.
    pub signatures: &'a (dyn SignatureVerifier + Sync),
    /// When it sends its share for the next seed.
    pub share_offer: ShareOffer,
    /// Its components, encoded as in a manifest: 1 to [`COMPONENTS_MAX`], none twice. What is told of them ahead is told
    /// in this order, so manifests should list them in it. Each has a pair of slots; all are tried and confirmed
    /// together.
    pub components: &'a [&'a [u8]],
}

impl Facts<'_> {
    /// Finds the component of a manifest, encoded, among those of this device.
    #[must_use]
    pub fn component(&self, encoded: &[u8]) -> Option<usize> {
        self.components.iter().position(|component| *component == encoded)
    }

    /// Tells whether the components are such as the update core can keep.
    pub(super) fn has_sound_components(&self) -> bool {
        let twice = |at: usize| self.components[..at].contains(&self.components[at]);
        let count = self.components.len();
        (1..=COMPONENTS_MAX).contains(&count) && !(0..count).any(twice)
    }
}

/// When a request carries this side's share for the next seed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ShareOffer {
    /// Never: who knows this seed knows the next one.
    Never,
    /// At the last index of the key chain, where the next grant must re-seed.
    #[default]
    AtChainEnd,
    /// In every request, so that a campaign can re-seed with shares. It costs one multiplication on P-256 each time,
    /// and gateways pass such a request on.
    Always,
}

/// Components of a device: an application and one other, such as a radio. Each costs the record 50 bytes, a grant and its
/// descriptor 420 in flash and memory; a protocol message allows for 8.
pub const COMPONENTS_MAX: usize = 2;

/// The components of a device with one: `['app']`.
pub const APP: &[&[u8]] = &[b"\x81\x43app"];
