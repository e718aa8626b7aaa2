//! The emulated board of a small device: its flash, its Ethernet, its clock.
//!
//! The board is QEMU's `mps2-an386`, a Cortex-M4. [`layout`], [`nor`] and [`settings`] are plain code, which a factory on
//! a host shares; everything else is only there for the board. What touches registers, memory by address or the
//! emulator is in `metal`, the one module with `unsafe` blocks; the rest is made of what that gives.
#![no_std]

pub mod layout;
pub mod nor;
pub mod settings;

#[cfg(target_os = "none")]
pub mod chip;
#[cfg(target_os = "none")]
pub mod clock;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(all(target_os = "none", feature = "network"))]
pub mod ethernet;
#[cfg(target_os = "none")]
pub mod metal;
#[cfg(target_os = "none")]
pub mod noise;
