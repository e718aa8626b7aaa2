//! The version that a manifest's texts tell of a component, for one that states none in its commands.
//!
//! Texts prove nothing but who wrote them; what is malformed is no version.
//!
//! Source: draft-ietf-suit-manifest-37 §8.4.4.

use bellwether_manifests::cbor::{CborError, Reader};

/// Finds the version of `component` (encoded) in the first language; `None` where there is none.
#[must_use]
pub fn of_component<'a>(text: &'a [u8], component: &[u8]) -> Option<&'a str> {
    find(text, component).ok().flatten()
}

fn find<'a>(text: &'a [u8], component: &[u8]) -> Result<Option<&'a str>, CborError> {
    let mut reader = Reader::new(text);
    if reader.map()? == 0 {
        return Ok(None);
    }
    reader.text()?;
    for _ in 0..reader.map()? {
        if reader.item()? == component {
            return in_component(&mut reader);
        }
        reader.item()?;
    }
    Ok(None)
}

fn in_component<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, CborError> {
    for _ in 0..reader.map()? {
        if reader.int()? == COMPONENT_VERSION {
            return reader.text().map(Some);
        }
        reader.item()?;
    }
    Ok(None)
}

/// Key of the version in a component's texts.
const COMPONENT_VERSION: i64 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `{"en": {["app"]: {5: "x", 6: "2.0.0"}}}`, and a description of the whole beside the component.
    const TEXT: &[u8] = b"\xa1\x62en\xa2\x01\x61d\x81\x43app\xa2\x05\x61x\x06\x652.0.0";

    #[test]
    fn version_is_found_beside_other_texts() {
        assert_eq!(of_component(TEXT, b"\x81\x43app"), Some("2.0.0"));
    }

    #[test]
    fn version_of_another_component_is_not_taken() {
        assert_eq!(of_component(TEXT, b"\x81\x43net"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = of_component(&bytes, b"\x81\x43app");
        }
    }
}
