//! ARM Thumb and Thumb-2.
//!
//! Source: ARMv7-M Architecture Reference Manual, A5 and A7.7.

use super::form::{Form, Origin, Pair, Piece, Twist};

const CALL: u8 = 1;
const BRANCH_WIDE: u8 = 2;
/// MOVW and MOVT of the same register, one after the other.
const MOVE: u8 = 3;
const LITERAL: u8 = 4;
const LITERAL_WIDE: u8 = 5;
const BRANCH_CONDITIONAL: u8 = 6;
const BRANCH: u8 = 7;

/// The second halfword is the upper one of the first word.
pub(super) static FORMS: &[Form] = &[
    Form::new([0xf800, 0x4800], [LITERAL, 2, 4], WORD, &[Piece::new(0, 8, 2)]),
    // UDF and SVC.
    Form::none(0xfe00, 0xde00),
    Form::new([0xf000, 0xd000], [BRANCH_CONDITIONAL, 2, 2], HERE, &[Piece::new(0, 8, 1)]).signed(9),
    Form::new([0xf800, 0xe000], [BRANCH, 2, 2], HERE, &[Piece::new(0, 11, 1)]).signed(12),
    Form::new(
        [0xf500, 0xb100],
        [BRANCH_CONDITIONAL, 2, 2],
        HERE,
        &[Piece::new(9, 1, 6), Piece::new(3, 5, 1)],
    ),
    Form::new([0xd000_f800, 0xd000_f000], [CALL, 4, 2], HERE, DISTANCE).signed(25).twisted(Twist::Wide),
    Form::new([0xd000_f800, 0x9000_f000], [BRANCH_WIDE, 4, 2], HERE, DISTANCE)
        .signed(25)
        .twisted(Twist::Wide),
    // MSR, MRS and barriers.
    Form::none(0xd000_fb80, 0x8000_f380),
    Form::new([0xd000_f800, 0x8000_f000], [BRANCH_WIDE, 4, 2], HERE, CONDITIONAL).signed(21),
    Form::new([0x8000_fbf0, 0x0000_f240], [MOVE, 8, 1], Origin::ZERO, IMMEDIATES).followed_by(&MOVT),
    Form::new([0xff7f, 0xf85f], [LITERAL_WIDE, 4, 1], WORD, &[Piece::new(16, 12, 0)])
        .twisted(Twist::UpOrDown),
];

const HERE: Origin = Origin::after(4, 0);
const WORD: Origin = Origin::after(4, 2);

/// BL and B.W: S, J1, J2, imm10, imm11.
const DISTANCE: &[Piece] = &[
    Piece::new(10, 1, 24),
    Piece::new(29, 1, 23),
    Piece::new(27, 1, 22),
    Piece::new(0, 10, 12),
    Piece::new(16, 11, 1),
];

/// B<c>.W: S, J2, J1, imm6, imm11.
const CONDITIONAL: &[Piece] = &[
    Piece::new(10, 1, 20),
    Piece::new(27, 1, 19),
    Piece::new(29, 1, 18),
    Piece::new(0, 6, 12),
    Piece::new(16, 11, 1),
];

/// imm4, i, imm3 and imm8 of MOVW, then of MOVT.
const IMMEDIATES: &[Piece] = &[
    Piece::new(0, 4, 12),
    Piece::new(10, 1, 11),
    Piece::new(28, 3, 8),
    Piece::new(16, 8, 0),
    Piece::new(32, 4, 28),
    Piece::new(42, 1, 27),
    Piece::new(60, 3, 24),
    Piece::new(48, 8, 16),
];

static MOVT: Pair = Pair {
    mask: 0x8000_fbf0,
    value: 0x0000_f2c0,
    registers: [24, 56],
    register_mask: 15,
    register_step: 0,
    but_zero: false,
};
