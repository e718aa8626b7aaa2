//! x86, 64 bits: calls, jumps and what is addressed relative to the instruction pointer.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, 2.2.1.6 and chapter 3.

use super::form::{Form, Origin, Piece, Twist};

const CALL: u8 = 1;
const JUMP: u8 = 2;
const BRANCH: u8 = 3;
const RELATIVE: u8 = 4;

pub(super) static FORMS: &[Form] = &[
    Form::new([0xff, 0xe8], [CALL, 5, 1], Origin::after(5, 0), &[Piece::new(8, 32, 0)]).twisted(Twist::Near),
    Form::new([0xff, 0xe9], [JUMP, 5, 1], Origin::after(5, 0), &[Piece::new(8, 32, 0)]).twisted(Twist::Near),
    Form::new([0xf0ff, 0x800f], [BRANCH, 6, 1], Origin::after(6, 0), &[Piece::new(16, 32, 0)])
        .twisted(Twist::Near),
    relative(0x8b),
    relative(0x8d),
    relative(0x89),
    relative(0x39),
    relative(0x3b),
    relative(0x03),
    relative(0x63),
];

const DISTANCE: &[Piece] = &[Piece::new(24, 32, 0)];

/// An opcode between a prefix, REX.W or REX.WR, and a byte that says that a distance follows.
const fn relative(opcode: u32) -> Form {
    let value = 0x05_0048 | opcode << 8;
    Form::new([0xc7_fffb, value], [RELATIVE, 7, 1], Origin::after(7, 0), DISTANCE).twisted(Twist::Near)
}
