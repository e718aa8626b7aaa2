//! Tells the linker where the parts of the firmware lie: where the boot loader puts an image, or, with
//! `FIRMWARE_PLACE=resident`, beyond that, for a firmware that stays where it is while small images are updated.
#![expect(clippy::expect_used, reason = "a build that can't be set up ends here")]

include!("../memory.rs");

fn main() {
    println!("cargo:rerun-if-env-changed=FIRMWARE_PLACE");
    let is_resident = env::var_os("FIRMWARE_PLACE").is_some_and(|place| place == "resident");
    let offset = if is_resident { 1 << 20 } else { 64 << 10 };
    // An image has what a mid-size part has.
    link_at(offset, 512 << 10, 128 << 10);
}
