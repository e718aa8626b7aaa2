//! ARM, 64 bits.
//!
//! Source: Arm Architecture Reference Manual for A-profile, C4.1.

use super::form::{Form, Origin, Pair, Piece, Twist};

const BRANCH: u8 = 1;
/// ADRP and the instruction after it that adds the lower twelve bits.
const PAGE_PAIR: u8 = 2;
const PAGE: u8 = 3;
/// B.cond, CBZ, CBNZ and LDR of a literal: 19 bits from bit 5 on.
const NEAR: u8 = 4;
const TEST: u8 = 5;
const ADDRESS: u8 = 6;

pub(super) static FORMS: &[Form] = &[
    Form::new([0x7c00_0000, 0x1400_0000], [BRANCH, 4, 4], HERE, &[Piece::new(0, 26, 2)]).signed(28),
    Form::new(
        [0x9f00_0000, 0x1000_0000],
        [ADDRESS, 4, 1],
        HERE,
        &[Piece::new(29, 2, 0), Piece::new(5, 19, 2)],
    )
    .signed(21),
    page_pair(&ADD, &[HIGH, LOW, Piece::new(42, 12, 0)]),
    page_pair(&ACCESS_128, &[HIGH, LOW, Piece::new(42, 12, 4)]),
    page_pair(&ACCESS_8, &[HIGH, LOW, Piece::new(42, 12, 0)]),
    page_pair(&ACCESS_16, &[HIGH, LOW, Piece::new(42, 12, 1)]),
    page_pair(&ACCESS_32, &[HIGH, LOW, Piece::new(42, 12, 2)]),
    page_pair(&ACCESS_64, &[HIGH, LOW, Piece::new(42, 12, 3)]),
    Form::new(ADRP, [PAGE, 4, 1], PAGE_START, &[HIGH, LOW]),
    Form::new([0xff00_0010, 0x5400_0000], [NEAR, 4, 4], HERE, &[Piece::new(5, 19, 2)]).signed(21),
    Form::new([0x7e00_0000, 0x3400_0000], [NEAR, 4, 4], HERE, &[Piece::new(5, 19, 2)]).signed(21),
    Form::new([0x3b00_0000, 0x1800_0000], [NEAR, 4, 4], HERE, &[Piece::new(5, 19, 2)]).signed(21),
    Form::new([0x7e00_0000, 0x3600_0000], [TEST, 4, 4], HERE, &[Piece::new(5, 14, 2)]).signed(16),
];

const HERE: Origin = Origin::after(0, 0);
const PAGE_START: Origin = Origin::after(0, 12);

const ADRP: [u32; 2] = [0x9f00_0000, 0x9000_0000];
/// immhi and immlo of ADRP.
const HIGH: Piece = Piece::new(5, 19, 14);
const LOW: Piece = Piece::new(29, 2, 12);

const fn page_pair(pair: &'static Pair, pieces: &'static [Piece]) -> Form {
    Form::new(ADRP, [PAGE_PAIR, 8, 1], PAGE_START, pieces).followed_by(pair).twisted(Twist::Pages)
}

static ADD: Pair = same_register(0xffc0_0000, 0x9100_0000);
/// LDR and STR, by the bits of what they access; the first is told from that of eight by its vector's size.
static ACCESS_128: Pair = same_register(0x3f80_0000, 0x3d80_0000);
static ACCESS_8: Pair = same_register(0xfb00_0000, 0x3900_0000);
static ACCESS_16: Pair = same_register(0xfb00_0000, 0x7900_0000);
static ACCESS_32: Pair = same_register(0xfb00_0000, 0xb900_0000);
static ACCESS_64: Pair = same_register(0xfb00_0000, 0xf900_0000);

const fn same_register(mask: u32, value: u32) -> Pair {
    Pair { mask, value, registers: [0, 37], register_mask: 31, register_step: 0, but_zero: false }
}
