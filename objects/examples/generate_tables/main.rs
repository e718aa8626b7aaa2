//! Writes `src/table/NAME.rs` from `registry/ID.xml` and `private/ID.xml`.
//!
//! ```text
//! cargo run -p lwm2m-rs --example generate_tables
//! ```

mod generate;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (xml, rust) in generate::FILES {
        let definition = fs::read_to_string(crate_folder.join(xml))?;
        let table = generate::table(xml, &definition).map_err(io::Error::other)?;
        fs::write(crate_folder.join(rust), table)?;
    }
    Ok(())
}
