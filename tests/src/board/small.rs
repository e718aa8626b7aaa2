//! An image that is small: it says its version and goes on in the firmware that lies beside all images.

use crate::images;

/// Makes the small image of a version, for a Cortex-M4. Versions differ in a few bytes of what fills them up.
///
/// # Panics
///
/// Where the version is too long.
pub fn small_image(version: &str) -> Vec<u8> {
    let vectors = [STACK_TOP, ORIGIN + CODE + 1].into_iter().chain([ORIGIN + STUCK + 1; 14]);
    let mut image: Vec<u8> = vectors.flat_map(u32::to_le_bytes).collect();
    image.extend(PROGRAM.into_iter().flat_map(u16::to_le_bytes));
    image.extend([ORIGIN + TEXT, RESIDENT].into_iter().flat_map(u32::to_le_bytes));
    assert_eq!(image.len(), TEXT as usize);
    let text = format!("small image {version}\n\0");
    assert!(text.len() <= TEXT_BYTES, "a short version");
    image.extend(text.bytes());
    let mut filling = images::image(1, IMAGE_BYTES - image.len());
    for at in (0..filling.len()).step_by(CHANGED_EVERY) {
        filling[at] = version.bytes().fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte));
    }
    image.extend(filling);
    image
}

/// What it does, in Thumb instructions: says its text, starts what lies at [`RESIDENT`].
const PROGRAM: [u16; 10] = [
    0x2004, // movs r0, #4: semihosting's SYS_WRITE0
    0x4904, // ldr r1, [pc, #16]: the text
    0xbeab, // bkpt 0xab
    0x4804, // ldr r0, [pc, #16]: the resident program
    0x6801, // ldr r1, [r0]
    0x6842, // ldr r2, [r0, #4]
    0xf381, 0x8808, // msr msp, r1
    0x4710, // bx r2
    0xe7fe, // b .
];

/// Where the boot loader puts images.
const ORIGIN: u32 = 0x0001_0000;
/// Where the firmware lies that is built with `FIRMWARE_PLACE=resident`.
pub(super) const RESIDENT: u32 = 0x0010_0000;
const STACK_TOP: u32 = 0x2002_0000;

// Within the image: behind 16 vectors the code, its last instruction, and behind two words the text.
const CODE: u32 = 64;
const STUCK: u32 = CODE + 18;
const TEXT: u32 = CODE + 28;
const TEXT_BYTES: usize = 32;

/// Bytes of the image: more than a sector of the flash, and less than two.
const IMAGE_BYTES: usize = 6 * 1024;
const CHANGED_EVERY: usize = 499;
