//! Which kind of file it is.

use std::fmt;

use crate::{elf, esp32, intel_hex, uf2};

/// Kind of a firmware file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The bytes that flash gets; every file that is nothing else.
    Flat,
    /// Executable and Linkable Format: the allocated sections at their load addresses.
    Elf,
    /// Intel HEX.
    IntelHex,
    /// USB Flashing Format.
    Uf2,
    /// Application image of an ESP32 or ESP8266: checked, then taken as it is, since that is what flash gets.
    Esp32,
}

impl Format {
    /// Says what a file is, by its first bytes and its outline.
    ///
    /// A program or library for a system that loads it from its file (with an interpreter or a dynamic section) is
    /// [`Self::Flat`] although it is ELF, as the file itself is what such a device keeps.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        if elf::is_for_flash(file) {
            Self::Elf
        } else if intel_hex::is(file) {
            Self::IntelHex
        } else if uf2::is(file) {
            Self::Uf2
        } else if esp32::check(file).is_ok() {
            Self::Esp32
        } else {
            Self::Flat
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flat => "flat",
            Self::Elf => "ELF",
            Self::IntelHex => "Intel HEX",
            Self::Uf2 => "UF2",
            Self::Esp32 => "ESP32",
        })
    }
}
