// What the build of each of the board's programs has in common: which board a target stands for, and where on it a
// program lies. Included by the build scripts.

use std::path::PathBuf;
use std::{env, fs};

/// Gives the linker its script, and a memory map for a program of `bytes` at `offset` of the program memory, which has
/// `ram` bytes of RAM.
fn link_at(offset: u64, bytes: u64, ram: u64) {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("a package"));
    let script = here.join("../link.x");
    println!("cargo:rerun-if-changed=../memory.rs");
    println!("cargo:rerun-if-changed={}", script.display());
    if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|system| system != "none") {
        return;
    }
    let (program, memory) = origins();
    let map = format!(
        "MEMORY\n{{\n  PROGRAM : ORIGIN = {:#x}, LENGTH = {bytes}\n  RAM : ORIGIN = {memory:#x}, LENGTH = {ram}\n}}\n",
        program + offset
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("a folder"));
    fs::write(out.join("memory.x"), map).expect("written");
    println!("cargo:rustc-link-arg=-L{}", out.display());
    println!("cargo:rustc-link-arg=-T{}", script.display());
}

/// Where program memory and RAM begin: of mps2-an505 for an Armv8-M, in its secure state, else of mps2-an386 or -an385.
fn origins() -> (u64, u64) {
    let is_v8 = env::var_os("TARGET").is_some_and(|target| target.as_encoded_bytes().starts_with(b"thumbv8m"));
    if is_v8 { (0x1000_0000, 0x3800_0000) } else { (0, 0x2000_0000) }
}
