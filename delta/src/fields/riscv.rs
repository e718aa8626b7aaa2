//! RISC-V, 32 and 64 bits, with compressed instructions.
//!
//! Source: The RISC-V Instruction Set Manual, volume I, chapters 2 and 16.

use super::form::{Form, Origin, Pair, Piece, Twist};

const JAL: u8 = 1;
/// AUIPC and the instruction after it that adds the lower twelve bits.
const AUIPC: u8 = 2;
/// LUI and the instruction after it that adds the lower twelve bits.
const LUI: u8 = 3;
const BRANCH: u8 = 4;
const JUMP_COMPRESSED: u8 = 5;
const BRANCH_COMPRESSED: u8 = 6;

pub(super) static FORMS: &[Form] = &[
    Form::new([0x7f, 0x6f], [JAL, 4, 2], HERE, JUMP).signed(21),
    Form::new([0x7f, 0x63], [BRANCH, 4, 2], HERE, CONDITIONAL).signed(13),
    auipc(&ADDI, IMMEDIATE),
    auipc(&JALR, IMMEDIATE),
    auipc(&LOAD, IMMEDIATE),
    auipc(&STORE, STORED),
    lui(&ADDI, IMMEDIATE),
    lui(&JALR, IMMEDIATE),
    lui(&LOAD, IMMEDIATE),
    lui(&STORE, STORED),
    Form::new([0xe003, 0xa001], [JUMP_COMPRESSED, 2, 2], HERE, SHORT_JUMP).signed(12),
    Form::new([0xc003, 0xc001], [BRANCH_COMPRESSED, 2, 2], HERE, SHORT_CONDITIONAL).signed(9),
];

const HERE: Origin = Origin::after(0, 0);

const fn auipc(pair: &'static Pair, pieces: &'static [Piece]) -> Form {
    Form::new([0x7f, 0x17], [AUIPC, 8, 1], HERE, pieces).followed_by(pair).twisted(Twist::Carry)
}

const fn lui(pair: &'static Pair, pieces: &'static [Piece]) -> Form {
    Form::new([0x7f, 0x37], [LUI, 8, 1], Origin::ZERO, pieces).followed_by(pair).twisted(Twist::Carry)
}

static ADDI: Pair = same_register(0x707f, 0x13);
static JALR: Pair = same_register(0x7f, 0x67);
static LOAD: Pair = same_register(0x7f, 0x03);
static STORE: Pair = same_register(0x7f, 0x23);

const fn same_register(mask: u32, value: u32) -> Pair {
    Pair { mask, value, registers: [7, 47], register_mask: 31, register_step: 0, but_zero: true }
}

/// imm[31:12] of AUIPC or LUI, then imm[11:0] of what follows.
const IMMEDIATE: &[Piece] = &[Piece::new(12, 20, 12), Piece::new(52, 12, 0)];
const STORED: &[Piece] = &[Piece::new(12, 20, 12), Piece::new(57, 7, 5), Piece::new(39, 5, 0)];

const JUMP: &[Piece] =
    &[Piece::new(31, 1, 20), Piece::new(12, 8, 12), Piece::new(20, 1, 11), Piece::new(21, 10, 1)];
const CONDITIONAL: &[Piece] =
    &[Piece::new(31, 1, 12), Piece::new(7, 1, 11), Piece::new(25, 6, 5), Piece::new(8, 4, 1)];
const SHORT_JUMP: &[Piece] = &[
    Piece::new(12, 1, 11),
    Piece::new(8, 1, 10),
    Piece::new(9, 2, 8),
    Piece::new(6, 1, 7),
    Piece::new(7, 1, 6),
    Piece::new(2, 1, 5),
    Piece::new(11, 1, 4),
    Piece::new(3, 3, 1),
];
const SHORT_CONDITIONAL: &[Piece] = &[
    Piece::new(12, 1, 8),
    Piece::new(5, 2, 6),
    Piece::new(2, 1, 5),
    Piece::new(10, 2, 3),
    Piece::new(3, 2, 1),
];
