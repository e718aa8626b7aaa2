//! The emulated board: its flash as a file, made by a factory, the emulator that runs it, and what
//! its programs cost.

mod budget;
mod emulator;
mod instructions;
mod modem;
mod sizes;
mod small;

pub use bellwether_demo::board::factory::{Made, flash, flash_of_c_example};
pub use budget::{Row, over, table};
pub use emulator::{Board, Machine};
pub use instructions::{Instructions, counter};
pub use modem::Modem;
pub use sizes::Sizes;
pub use small::small_image;

use std::path::Path;

use bellwether_demo::board::factory;

/// Tells which version a board runs by its flash file: the confirmed one, of which the whole image stands in its slot.
///
/// # Panics
///
/// Where the file holds no boot state, or the confirmed image is not whole.
pub fn confirmed_version(flash: &Path) -> String {
    factory::confirmed(flash).expect("a confirmed image").0
}

/// Tells whether an image is on trial, by the flash file of its board.
///
/// # Panics
///
/// Where the file holds no boot state.
pub fn is_on_trial(flash: &Path) -> bool {
    factory::is_on_trial(flash).expect("a boot state")
}
