//! The C interface: types, functions, callbacks and memory; the one module with `unsafe` blocks.
//!
//! What a C program gives is trusted to be what the header says: pointers point to that many bytes and, where the header
//! says so, for as long as the device runs; callbacks keep to the bytes that they are given. Null pointers, lengths,
//! texts and layouts are checked. A device is called by one thread of execution at a time, and callbacks do not call back
//! into it: a firmware that has several tasks calls from one of them.
#![expect(unsafe_code, reason = "a C interface takes pointers and functions by their addresses")]

mod board;
mod functions;
#[cfg(target_os = "none")]
mod memory;
mod types;

pub use functions::*;
pub use types::*;
