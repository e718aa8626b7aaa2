//! Tells the linker where the parts of the program lie in the board's memory.

use std::path::PathBuf;

fn main() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("../link.x");
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rerun-if-changed={}", script.display());
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system == "none") {
        println!("cargo:rustc-link-arg=-L{}", here.display());
        println!("cargo:rustc-link-arg=-T{}", script.display());
    }
}
