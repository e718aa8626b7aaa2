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
    /// Whom it believes; verified by the shell, whose flash they come from.
    pub anchors: Anchors<'a>,
}

/// The one component of a device: `['app']`, encoded.
pub const COMPONENT: &[u8] = b"\x81\x43app";

/// Its index in a manifest.
pub const COMPONENT_INDEX: u32 = 0;
