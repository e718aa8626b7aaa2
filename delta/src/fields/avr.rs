//! AVR with up to 128 KiB of flash. Data addresses stand from `0x80_0000` on, as linkers place them.
//!
//! Source: AVR Instruction Set Manual.

use super::form::{Form, Origin, Pair, Piece};

const CALL: u8 = 1;
const RELATIVE: u8 = 2;
const DATA: u8 = 3;
const BRANCH: u8 = 4;
/// Two LDI that load neighbouring registers, low byte first.
const LOAD_PAIR: u8 = 5;

/// The second halfword is the upper one of the first word.
pub(super) static FORMS: &[Form] = &[
    Form::new([0xfffd, 0x940c], [CALL, 4, 2], Origin::ZERO, &[Piece::new(16, 16, 1)]),
    Form::new([0xfc0f, 0x9000], [DATA, 4, 1], Origin::AVR_DATA, &[Piece::new(16, 16, 0)]),
    Form::new([0xe000, 0xc000], [RELATIVE, 2, 2], HERE, &[Piece::new(0, 12, 1)]).signed(13),
    Form::new([0xf800, 0xf000], [BRANCH, 2, 2], HERE, &[Piece::new(3, 7, 1)]).signed(8),
    Form::new([0xf000_f000, 0xe000_e000], [LOAD_PAIR, 4, 1], Origin::AVR_DATA, CONSTANTS).followed_by(&NEXT),
];

const HERE: Origin = Origin::after(2, 0);

const CONSTANTS: &[Piece] =
    &[Piece::new(0, 4, 0), Piece::new(8, 4, 4), Piece::new(16, 4, 8), Piece::new(24, 4, 12)];

static NEXT: Pair =
    Pair { mask: 0, value: 0, registers: [4, 20], register_mask: 15, register_step: 1, but_zero: false };
