//! The device for firmware that is written in C: agent, CoAP and update core behind a few functions.
//!
//! The header is `include/bellwether.h`, made from `abi`, the one module with `unsafe` blocks; what a board must bring is
//! in `docs/porting.md`. Nothing here waits, and nothing has a clock: the C program calls in with the time and with
//! datagrams, and is called back for its flash, for random bytes, and with datagrams to send.
//!
//! On a bare target everything that is allocated comes from one block of memory that the C program gives. On a host the
//! system's allocator is used, so that a test may run several devices.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

mod abi;
mod device;
mod error;
mod event;
mod flash;

pub use abi::*;
