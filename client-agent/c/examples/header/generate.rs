//! The header, made from the sources of the interface.
#![expect(clippy::expect_used, reason = "whoever runs it reads why it stops")]

use std::path::{Path, PathBuf};

/// Where the header is kept.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/bellwether.h")
}

/// Makes the header.
///
/// # Panics
///
/// Where the sources cannot be read.
pub(crate) fn header() -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).expect("a configuration");
    let builder = cbindgen::Builder::new().with_config(config);
    let sources = ["types.rs", "functions.rs"].map(|name| here.join("src/abi").join(name));
    let bindings = sources.iter().fold(builder, cbindgen::Builder::with_src).generate();
    let mut header = Vec::new();
    bindings.expect("sources that can be read").write(&mut header);
    header
}
