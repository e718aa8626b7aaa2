//! The device: update core and LwM2M agent core.
//!
//! [`update`] verifies a manifest, asks, fetches, installs, tries and reports, without an allocator and without
//! IO: flash and randomness come through [`platform`], time is an argument. What must survive a power cut is one
//! flash record; every step is one write of it.
#![no_std]

#[cfg(feature = "agent")]
extern crate alloc;
#[cfg(test)]
extern crate std;

// What a shell needs beside: the unit file, anchors, numbers of patch algorithms, CoAP messages.
#[cfg(feature = "agent")]
pub use bellwether_coap as coap;
pub use bellwether_delta as delta;
pub use bellwether_keys as keys;
pub use bellwether_manifests as manifests;
#[cfg(feature = "agent")]
pub use lwm2m_rs as lwm2m;

#[cfg(feature = "agent")]
pub mod agent;
pub mod platform;
#[cfg(test)]
mod testing;
pub mod update;
