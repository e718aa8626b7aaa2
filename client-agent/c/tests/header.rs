//! The header is the one that the sources make.

#[path = "../examples/header/generate.rs"]
mod generate;

#[test]
fn header_is_fresh() {
    let kept = std::fs::read(generate::path()).expect("the header");
    let made = generate::header();
    assert!(
        kept == made,
        "include/bellwether.h is not what the sources say; run: cargo run -p bellwether-c --example header"
    );
}
