//! Registers, memory by address, and the emulator: the one module of the board with `unsafe` blocks.
//!
//! What it gives out can be used safely: a [`Window`] checks every offset, the start of an image is checked before it
//! is jumped to, and the board has one core and takes no interrupts, so nothing here runs beside anything else.
#![expect(unsafe_code, reason = "a board's registers and memory are reached by address")]

#[cfg(feature = "heap")]
pub mod heap;
mod semihosting;
mod stack;
mod start;
mod window;

pub use semihosting::{exit, host_noise, number_of_command_line, say, word_of_command_line};
pub use stack::{paint, peak_bytes};
pub use start::reset;
#[cfg(feature = "loader")]
pub use start::start_image;
#[cfg(feature = "loader")]
pub use window::EXECUTION;
pub use window::{ETHERNET, FLASH, TIMER, WATCHDOG, Window};
