use proptest::prelude::*;

use super::*;

fn space() -> Space {
    Space::flat(0x0800_0000, 0x1_0000)
}

proptest! {
    // A field that is written anew with the target that was read from it is what it was: prediction loses nothing.
    #[test]
    fn every_field_comes_back_from_its_target(
        bytes in any::<u64>(),
        address in any::<u32>(),
        number in 0..7_usize,
    ) {
        let architecture = Architecture::ALL[number];
        let address = address & !3;
        if let Some(field) = recognise(architecture, bytes, address, address, &space(), true) {
            prop_assert!(field.kind() < KINDS && (1..=8).contains(&field.length()));
            let written = relocated(field, bytes, field.target, address);
            let again = recognise(architecture, written, address, address, &space(), true).unwrap();
            prop_assert_eq!(again, field);
            // Elsewhere some bits say nothing: the sign of a zero, or pages past 4 GiB.
            let is_plain = matches!(architecture, Architecture::Avr | Architecture::Xtensa | Architecture::X86);
            let differs = (written ^ bytes) << (64 - 8 * field.length());
            prop_assert!(!is_plain || differs == 0);
        }
    }
}

#[test]
fn thumb_call_follows_its_target() {
    // BL from 0x100 to 0x200.
    let call = u64::from_le_bytes([0x00, 0xf0, 0x7e, 0xf8, 0, 0, 0, 0]);
    let field = recognise(Architecture::Thumb, call, 0x100, 0x100, &space(), true).unwrap();
    assert_eq!(field.target, 0x200);
    let moved = relocated(field, call, 0x210, 0x120);
    assert_eq!(recognise(Architecture::Thumb, moved, 0x120, 0x120, &space(), true).unwrap().target, 0x210);
}

#[test]
fn pointer_is_an_aligned_word_inside_the_image() {
    let pointer = u64::from_le_bytes([0x11, 0x22, 0x00, 0x08, 0, 0, 0, 0]);
    let found = |offset| recognise(Architecture::Thumb, pointer, offset, offset, &space(), false);
    assert_eq!(found(4), Some(Field { form: &form::WORD, target: 0x0800_2211 }));
    assert_eq!(found(2), None);
}
