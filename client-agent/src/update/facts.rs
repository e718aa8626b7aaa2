//! What the device is: fixed at the factory, told by the shell.

use bellwether_manifests::anchors::Anchors;

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
    /// When it sends its share for the next seed.
    pub share_offer: ShareOffer,
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

/// The one component of a device: `['app']`, encoded.
pub const COMPONENT: &[u8] = b"\x81\x43app";

/// Its index in a manifest.
pub const COMPONENT_INDEX: u32 = 0;
