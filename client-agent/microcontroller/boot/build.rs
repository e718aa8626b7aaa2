//! Tells the linker where the parts of the boot loader lie: where the board begins. Its RAM is free again for the image
//! that it starts.
#![expect(clippy::expect_used, reason = "a build that can't be set up ends here")]

include!("../memory.rs");

fn main() {
    link_at(0, 64 << 10, 128 << 10);
}
