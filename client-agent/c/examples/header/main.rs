//! Writes the header anew: `cargo run -p bellwether-c --example header`.

mod generate;

fn main() -> std::io::Result<()> {
    std::fs::write(generate::path(), generate::header())
}
