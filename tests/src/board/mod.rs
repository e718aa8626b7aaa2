//! The emulated board: its flash as a file, made by a factory, the emulator that runs it, and what
//! its programs cost.

mod budget;
mod emulator;
mod factory;
mod instructions;
mod modem;
mod sizes;
mod small;

pub use budget::{Row, over, table};
pub use emulator::{Board, Machine};
pub use factory::{Made, confirmed_version, flash, flash_of_c_example, is_on_trial};
pub use instructions::{Instructions, counter};
pub use modem::Modem;
pub use sizes::Sizes;
pub use small::small_image;
