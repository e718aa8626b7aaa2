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
fn patch_of_format_1_gives_its_target() {
    let (base, target) = (base(), target());
    let sizes = [&base, &target].map(|image| u32::try_from(image.len()).unwrap());
    let mut patcher = Patcher::new(Algorithm::FIELDS.0, sizes[0], sizes[1], &[]).unwrap();
    let mut slot = Vec::new();
    patcher.push(&PATCH, &mut &base[..], &mut slot).unwrap();
    patcher.finish(&mut &base[..], &mut slot).unwrap();
    assert_eq!(slot, target);
}

const PATCH: [u8; 70] = [
    0x10, 0x50, 0x80, 0xac, 0x53, 0x4c, 0xeb, 0x45, 0x9c, 0xe6, 0x2f, 0x5d, 0x74, 0x28, 0xe0, 0xef, 0xb9,
    0x17, 0xa3, 0x10, 0x45, 0xe2, 0xf9, 0xe1, 0x62, 0x85, 0x80, 0x3d, 0x2e, 0xd3, 0x8d, 0x35, 0xec, 0xce,
    0xc9, 0xe4, 0x54, 0xb0, 0xd3, 0x5e, 0xb0, 0xf4, 0x37, 0x8b, 0xaa, 0x08, 0x71, 0xad, 0x71, 0x3f, 0xe7,
    0xd2, 0x9b, 0x8f, 0x9c, 0x05, 0xf9, 0xbf, 0xae, 0xfd, 0x73, 0xae, 0x41, 0x62, 0xa8, 0xb2, 0x36, 0xc2,
    0xcf, 0x83,
];
