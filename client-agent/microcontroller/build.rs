//! Tells the code for which emulated board it is built: an Armv8-M has peripherals elsewhere.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(an505)");
    let is_v8 =
        std::env::var_os("TARGET").is_some_and(|target| target.as_encoded_bytes().starts_with(b"thumbv8m"));
    if is_v8 {
        println!("cargo:rustc-cfg=an505");
    }
}
