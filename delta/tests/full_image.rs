//! A patch from nothing is a full image, compressed for the same decoder.

#![cfg(feature = "make")]

use bellwether_delta::make::{Options, make_with};
use bellwether_delta::{Architecture, Patcher};

/// Thumb code of `functions` pieces of some words each, which call each other.
fn program(functions: u32) -> Vec<u8> {
    let mut state = 7_u32;
    let mut draw = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let mut image = Vec::new();
    for number in 0..functions {
        for at in 0..FUNCTION_BYTES / 8 {
            let filler =
                [0x4608_2001, 0x6801_b510, 0x4770_3004][draw(3) as usize] + (number << 16 & 0x7_0000);
            image.extend(u32::to_le_bytes(filler));
            // Few functions are called from everywhere, always at the same place of a piece.
            let goal = draw(functions.min(9)) * FUNCTION_BYTES;
            let place = number * FUNCTION_BYTES + at * 8 + 4;
            image.extend(call(goal.wrapping_sub(place + 4)));
        }
    }
    image
}

const FUNCTION_BYTES: u32 = 64;

/// BL over a distance.
fn call(distance: u32) -> [u8; 4] {
    let sign = distance >> 24 & 1;
    let [one, other] = [23, 22].map(|bit| (distance >> bit ^ sign ^ 1) & 1);
    let high = 0xf000 | sign << 10 | distance >> 12 & 0x3ff;
    let low = 0xd000 | one << 13 | other << 11 | distance >> 1 & 0x7ff;
    (high | low << 16).to_le_bytes()
}

#[test]
fn full_image_is_compressed_as_what_it_is_made_for() {
    let image = program(120);
    let patch = make_with(&[], &image, Options::default()).unwrap();
    assert_eq!(patch.architecture, Architecture::Thumb);
    let plain = Options { architecture: Some(Architecture::Plain), ..Options::default() };
    let plain = make_with(&[], &image, plain).unwrap().bytes.len();
    assert!(patch.bytes.len() * 10 < plain * 9, "{} for {plain}", patch.bytes.len());

    let size = u32::try_from(image.len()).unwrap();
    let mut patcher = Patcher::new(patch.algorithm.0, 0, size, &patch.parameters).unwrap();
    let mut slot = Vec::new();
    patcher.push(&patch.bytes, &mut &[][..], &mut slot).unwrap();
    patcher.finish(&mut &[][..], &mut slot).unwrap();
    assert_eq!(slot, image);
}
