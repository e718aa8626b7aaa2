//! Fields of instructions and data that hold an address, recognised from the bytes alone.
//!
//! A field's bytes depend on where it stands and on what it points to; both move between versions. The coder
//! therefore says where the target went, once, and the bytes of all fields that point there follow.
//!
//! What each architecture's fields look like is in tables: one short function reads all of them, which is less code
//! on a device than one for each.

mod arm64;
mod avr;
mod form;
mod riscv;
mod thumb;
mod x86;
mod xtensa;

pub(crate) use form::Form;

use crate::space::Space;

/// What the code of an image is made for, by its number in the header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Architecture {
    /// Anything else, or nothing that has addresses.
    #[default]
    Plain = 0,
    /// ARM Thumb and Thumb-2: Cortex-M.
    Thumb = 1,
    /// AVR with up to 128 KiB of flash.
    Avr = 2,
    /// RISC-V, 32 and 64 bits, with or without compressed instructions.
    RiscV = 3,
    /// Xtensa, little-endian: ESP32 and kin.
    Xtensa = 4,
    /// ARM, 64 bits.
    Arm64 = 5,
    /// x86, 64 bits.
    X86 = 6,
}

impl Architecture {
    /// Every architecture, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Plain, Self::Thumb, Self::Avr, Self::RiscV, Self::Xtensa, Self::Arm64, Self::X86];

    /// The architecture with this number, if its fields are in this build.
    pub(crate) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied().filter(|architecture| architecture.is_built())
    }

    /// Says whether patches for it can be made and applied by this build: each but [`Self::Plain`] is a feature.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::Plain => true,
            Self::Thumb => cfg!(feature = "thumb"),
            Self::Avr => cfg!(feature = "avr"),
            Self::RiscV => cfg!(feature = "riscv"),
            Self::Xtensa => cfg!(feature = "xtensa"),
            Self::Arm64 => cfg!(feature = "arm64"),
            Self::X86 => cfg!(feature = "x86"),
        }
    }

    /// What its instructions with fields look like: the first that fits counts.
    const fn forms(self) -> &'static [Form] {
        match self {
            Self::Thumb if Self::Thumb.is_built() => thumb::FORMS,
            Self::Avr if Self::Avr.is_built() => avr::FORMS,
            Self::RiscV if Self::RiscV.is_built() => riscv::FORMS,
            Self::Xtensa if Self::Xtensa.is_built() => xtensa::FORMS,
            Self::Arm64 if Self::Arm64.is_built() => arm64::FORMS,
            Self::X86 if Self::X86.is_built() => x86::FORMS,
            _ => &[],
        }
    }

    /// Bytes of a literal unit, which is coded highest byte first.
    pub(crate) const fn literal_bytes(self) -> u32 {
        match self {
            Self::Thumb | Self::Avr => 2,
            Self::Arm64 => 4,
            Self::Plain | Self::RiscV | Self::Xtensa | Self::X86 => 1,
        }
    }

    /// What the instruction that starts with `bytes` does, as far as eight bits tell.
    pub(crate) const fn operation(self, bytes: u64) -> u8 {
        let word = bytes as u32;
        let (first, second) = (word, word >> 8);
        let operation = match self {
            Self::Thumb | Self::Avr => second,
            Self::RiscV if first & 3 == 3 => first & 0x7c | second >> 4 & 3 | second << 1 & 0x80,
            Self::RiscV => first & 3 | second & 0xe0 | second << 2 & 0x10,
            Self::Arm64 => word >> 24,
            Self::Xtensa => first & 15 | second & 0xf0,
            Self::Plain | Self::X86 => first,
        };
        operation as u8
    }

    /// Bytes of the instruction that starts with `bytes`, as far as the walk along them needs it.
    pub(crate) const fn instruction_bytes(self, bytes: u64) -> u32 {
        let first = bytes as u32 & 0xffff;
        match self {
            Self::Thumb => {
                if first >> 11 >= 0x1d {
                    4
                } else {
                    2
                }
            }
            Self::Avr => {
                if first & 0xfe0c == 0x940c || first & 0xfc0f == 0x9000 {
                    4
                } else {
                    2
                }
            }
            Self::RiscV => {
                if first & 3 == 3 {
                    4
                } else {
                    2
                }
            }
            Self::Xtensa => {
                if first & 15 >= 8 && first & 15 < 14 {
                    2
                } else {
                    3
                }
            }
            Self::Arm64 => 4,
            Self::Plain | Self::X86 => 1,
        }
    }
}

/// One field, as the source of a copy has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    pub(crate) form: &'static Form,
    /// Address that it points to.
    pub(crate) target: u32,
}

impl Field {
    /// Number of the kind within its architecture, below [`KINDS`].
    pub(crate) const fn kind(&self) -> usize {
        self.form.kind as usize
    }

    /// Bytes of the field, at most 8.
    pub(crate) const fn length(&self) -> u32 {
        self.form.length as u32
    }

    /// Bytes that all movements of its kind are multiples of.
    pub(crate) const fn unit(&self) -> i32 {
        self.form.unit as i32
    }

    /// Whether it holds the address itself, not the distance to it.
    pub(crate) const fn is_absolute(&self, architecture: Architecture) -> bool {
        self.form.is_absolute() && !(self.kind() == POINTER && matches!(architecture, Architecture::Avr))
    }
}

/// Kinds of fields of one architecture at most.
pub(crate) const KINDS: usize = 8;

/// Kind of a whole address in data, in every architecture.
pub(crate) const POINTER: usize = 0;

/// Recognises the field that starts with `bytes`, the first one lowest, at `offset` and `address`; `is_instruction` says
/// that an instruction starts here as well.
pub(crate) fn recognise(
    architecture: Architecture,
    bytes: u64,
    offset: u32,
    address: u32,
    space: &Space,
    is_instruction: bool,
) -> Option<Field> {
    let value = bytes as u32;
    for is_pointers_turn in [space.pointers_first, !space.pointers_first] {
        let found = if is_pointers_turn {
            let is_pointer = offset.is_multiple_of(4) && space.holds(value);
            is_pointer.then_some(Field { form: &form::WORD, target: value })
        } else if is_instruction {
            instruction(architecture, bytes, address)
        } else {
            None
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Recognises the field of an instruction.
fn instruction(architecture: Architecture, bytes: u64, address: u32) -> Option<Field> {
    if matches!(architecture, Architecture::Arm64) && !address.is_multiple_of(4) {
        return None;
    }
    let form = architecture.forms().iter().find(|form| form.fits(bytes))?;
    form.target(bytes, address).map(|target| Field { form, target })
}

/// Writes a field of the source with these bytes so that it points to `target` from `address`.
pub(crate) fn relocated(field: Field, bytes: u64, target: u32, address: u32) -> u64 {
    field.form.with_target(bytes, target, address)
}

#[cfg(test)]
mod tests;
