//! A patch that was made once is applied for ever: devices in the field keep their applier.

#![cfg(feature = "make")]

use bellwether_delta::{Algorithm, Patcher};

/// Words of a program: constants, pointers into RAM, and bytes that look random.
fn base() -> Vec<u8> {
    let words = (0..512_u32).map(|at| match at / 16 % 4 {
        0 => 0xffff_ffff,
        1 => 0x2000_0000 + at * 4,
        2 => at.wrapping_mul(0x9e37_79b1),
        _ => 0xf000_f800 + at % 7,
    });
    words.flat_map(u32::to_le_bytes).collect()
}

/// The base with a version, a piece put in, and its last quarter before its third.
fn target() -> Vec<u8> {
    let mut target = base();
    target[100..106].copy_from_slice(b"v1.0.1");
    target.splice(700..700, *b"a piece that the base does not have");
    let quarter = target.split_off(1_536);
    target.splice(1_024..1_024, quarter);
    target
}

#[test]
fn patch_that_was_made_once_gives_its_target() {
    let (base, target) = (base(), target());
    let sizes = [&base, &target].map(|image| u32::try_from(image.len()).unwrap());
    let mut patcher = Patcher::new(Algorithm::FIELDS.0, sizes[0], sizes[1], &[]).unwrap();
    let mut slot = Vec::new();
    patcher.push(&PATCH, &mut &base[..], &mut slot).unwrap();
    patcher.finish(&mut &base[..], &mut slot).unwrap();
    assert_eq!(slot, target);
}

const PATCH: [u8; 70] = [
    0x40, 0x68, 0x80, 0xac, 0x53, 0x4c, 0xeb, 0x45, 0x9c, 0xe6, 0x2f, 0x5d, 0x74, 0x28, 0xe0, 0xef, 0xb9,
    0x17, 0xc7, 0x20, 0x45, 0xe7, 0x28, 0x8f, 0xbf, 0x76, 0x5a, 0x9c, 0x7e, 0xeb, 0xbf, 0x12, 0x5a, 0x6e,
    0xe4, 0x30, 0x12, 0xda, 0x55, 0x83, 0x9b, 0x1e, 0x8a, 0x6a, 0xb4, 0xd4, 0x19, 0x27, 0xde, 0xed, 0x96,
    0x5d, 0x74, 0x71, 0xc8, 0x93, 0x10, 0xc8, 0x5b, 0xe9, 0x1e, 0x78, 0xe7, 0xd2, 0x1e, 0x1a, 0x23, 0x72,
    0x0f, 0x23,
];
