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

#[cfg(feature = "agent")]
pub mod agent;
pub mod platform;
#[cfg(test)]
mod testing;
pub mod update;
