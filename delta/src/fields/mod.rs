//! Fields of instructions and data that hold an address, recognised from the bytes alone.
//!
//! A field's bytes depend on where it stands and on what it points to; both move between versions. The coder
//! therefore says where the target went, once, and the bytes of all fields that point there follow.

mod arm64;
mod avr;
mod riscv;
mod thumb;
mod x86;
mod xtensa;

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

    /// Bytes of a literal unit, which is coded highest byte first.
    pub(crate) const fn literal_bytes(self) -> u32 {
        match self {
            Self::Thumb | Self::Avr => 2,
            Self::Arm64 => 4,
            Self::Plain | Self::RiscV | Self::Xtensa | Self::X86 => 1,
        }
    }

    /// What the instruction that starts with `bytes` does, as far as eight bits tell.
    pub(crate) const fn operation(self, bytes: [u8; 8]) -> u8 {
        match self {
            Self::Thumb | Self::Avr => bytes[1],
            Self::RiscV if bytes[0] & 3 == 3 => bytes[0] & 0x7c | bytes[1] >> 4 & 3 | bytes[1] << 1 & 0x80,
            Self::RiscV => bytes[0] & 3 | bytes[1] & 0xe0 | bytes[1] << 2 & 0x10,
            Self::Arm64 => bytes[3],
            Self::Xtensa => bytes[0] & 15 | bytes[1] & 0xf0,
            Self::Plain | Self::X86 => bytes[0],
        }
    }

    /// Bytes of the instruction that starts with `bytes`, as far as the walk along them needs it.
    pub(crate) const fn instruction_bytes(self, bytes: [u8; 8]) -> u32 {
        match self {
            Self::Thumb => thumb::instruction_bytes(bytes),
            Self::Avr => avr::instruction_bytes(bytes),
            Self::RiscV => riscv::instruction_bytes(bytes),
            Self::Xtensa => xtensa::instruction_bytes(bytes),
            Self::Arm64 => 4,
            Self::Plain | Self::X86 => 1,
        }
    }
}

/// One field, as the source of a copy has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Field {
    /// Number of the kind within its architecture, below [`KINDS`].
    pub(crate) kind: u8,
    /// Bytes of the field, at most 8.
    pub(crate) length: u8,
    /// Address that it points to.
    pub(crate) target: u32,
}

impl Field {
    #[expect(clippy::unnecessary_wraps, reason = "what every arm of a match gives")]
    const fn new(kind: u8, length: u8, target: u32) -> Option<Self> {
        Some(Self { kind, length, target })
    }
}

/// Kinds of fields of one architecture at most.
pub(crate) const KINDS: usize = 8;

/// Kind of a whole address in data, in every architecture.
pub(crate) const POINTER: u8 = 0;

/// Recognises the field that starts with `bytes` at `offset` and `address`; `is_instruction` says that an
/// instruction starts here as well.
pub(crate) fn recognise(
    architecture: Architecture,
    bytes: [u8; 8],
    offset: u32,
    address: u32,
    space: &Space,
    is_instruction: bool,
) -> Option<Field> {
    let value = word(bytes, 0);
    let is_pointer = offset.is_multiple_of(4) && space.holds(value);
    if is_instruction && !(is_pointer && space.pointers_first) {
        let found = match architecture {
            Architecture::Plain => None,
            Architecture::Thumb => thumb::recognise(bytes, address),
            Architecture::Avr => avr::recognise(bytes, address),
            Architecture::RiscV => riscv::recognise(bytes, address),
            Architecture::Xtensa => xtensa::recognise(bytes, address),
            Architecture::Arm64 => arm64::recognise(bytes, address),
            Architecture::X86 => x86::recognise(bytes, address),
        };
        if found.is_some() {
            return found;
        }
    }
    if is_pointer { Field::new(POINTER, 4, value) } else { None }
}

/// Writes a field of the source with these bytes so that it points to `target` from `address`.
pub(crate) fn relocated(
    architecture: Architecture,
    kind: u8,
    bytes: [u8; 8],
    target: u32,
    address: u32,
) -> [u8; 8] {
    if kind == POINTER {
        return with_word(bytes, 0, target);
    }
    match architecture {
        Architecture::Plain => bytes,
        Architecture::Thumb => thumb::relocated(kind, bytes, target, address),
        Architecture::Avr => avr::relocated(kind, bytes, target, address),
        Architecture::RiscV => riscv::relocated(kind, bytes, target, address),
        Architecture::Xtensa => xtensa::relocated(kind, bytes, target, address),
        Architecture::Arm64 => arm64::relocated(kind, bytes, target, address),
        Architecture::X86 => x86::relocated(bytes, target, address),
    }
}

/// Whether fields of the kind hold the address itself, not the distance to it.
pub(crate) const fn is_absolute(architecture: Architecture, kind: u8) -> bool {
    match architecture {
        Architecture::Thumb => kind == POINTER || kind == thumb::MOVE,
        Architecture::Avr => kind == avr::CALL || kind == avr::DATA || kind == avr::LOAD_PAIR,
        Architecture::RiscV => kind == POINTER || kind == riscv::LUI,
        Architecture::Plain | Architecture::Xtensa | Architecture::Arm64 | Architecture::X86 => {
            kind == POINTER
        }
    }
}

/// Bytes that all movements of a kind are multiples of.
pub(crate) const fn unit(architecture: Architecture, kind: u8) -> i32 {
    if kind == POINTER || is_absolute(architecture, kind) && !matches!(architecture, Architecture::Avr) {
        return 1;
    }
    match architecture {
        Architecture::Thumb => thumb::unit(kind),
        Architecture::Avr => {
            if kind == avr::CALL {
                2
            } else {
                avr::unit(kind)
            }
        }
        Architecture::RiscV => {
            if kind == riscv::AUIPC {
                1
            } else {
                2
            }
        }
        Architecture::Xtensa => {
            if kind <= xtensa::LITERAL {
                4
            } else {
                1
            }
        }
        Architecture::Arm64 => arm64::unit(kind),
        Architecture::Plain | Architecture::X86 => 1,
    }
}

const fn half(bytes: [u8; 8], at: usize) -> u32 {
    bytes[at] as u32 | (bytes[at + 1] as u32) << 8
}

const fn word(bytes: [u8; 8], at: usize) -> u32 {
    half(bytes, at) | half(bytes, at + 2) << 16
}

const fn with_half(mut bytes: [u8; 8], at: usize, value: u32) -> [u8; 8] {
    let [low, high, _, _] = value.to_le_bytes();
    bytes[at] = low;
    bytes[at + 1] = high;
    bytes
}

const fn with_word(bytes: [u8; 8], at: usize, value: u32) -> [u8; 8] {
    with_half(with_half(bytes, at, value & 0xffff), at + 2, value >> 16)
}

/// Extends the sign of the lowest `bits` of a value, modulo 2^32.
const fn signed(value: u32, bits: u32) -> u32 {
    let unused = 32 - bits;
    ((value << unused).cast_signed() >> unused).cast_unsigned()
}

/// Bits of `value`, from bit `at` on.
const fn bits(value: u32, at: u32, count: u32) -> u32 {
    value >> at & ((1 << count) - 1)
}

#[cfg(test)]
mod tests;
