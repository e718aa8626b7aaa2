//! Xtensa, little-endian.
//!
//! Source: Xtensa Instruction Set Architecture Reference Manual, chapter 7.

use super::form::{Form, Origin, Piece, Twist};

const CALL: u8 = 1;
const LITERAL: u8 = 2;
const JUMP: u8 = 3;
const BRANCH_ZERO: u8 = 4;
const BRANCH: u8 = 5;

pub(super) static FORMS: &[Form] = &[
    Form::new([0x0f, 0x05], [CALL, 3, 4], Origin::after(4, 2), &[Piece::new(6, 18, 2)]).signed(20),
    Form::new([0x0f, 0x01], [LITERAL, 3, 4], Origin::after(3, 2), &[Piece::new(8, 16, 2)])
        .twisted(Twist::Behind),
    Form::new([0x3f, 0x06], [JUMP, 3, 1], Origin::after(4, 0), &[Piece::new(6, 18, 0)]).signed(18),
    Form::new([0x3f, 0x16], [BRANCH_ZERO, 3, 1], Origin::after(4, 0), &[Piece::new(12, 12, 0)]).signed(12),
    Form::new([0x0f, 0x07], [BRANCH, 3, 1], Origin::after(4, 0), &[Piece::new(16, 8, 0)]).signed(8),
    Form::new([0x3f, 0x26], [BRANCH, 3, 1], Origin::after(4, 0), &[Piece::new(16, 8, 0)]).signed(8),
];
