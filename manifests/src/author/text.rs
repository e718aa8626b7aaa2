//! The text element: what people read. Ours holds the version of the component.
//!
//! Source: draft-ietf-suit-manifest-37 §8.4.4.

use super::encode::written;
use crate::cbor::{Kind, Reader};
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use minicbor::Encoder;
use minicbor::encode::Error;

/// Key of the version in a component's texts.
const COMPONENT_VERSION: u8 = 6;

/// Writes `{ "en": { component: { 6: version } } }`.
pub(super) fn encode(component: &[Vec<u8>], version: &str) -> Vec<u8> {
    written(|encoder| {
        encoder.map(1)?.str("en")?.map(1)?;
        write_component(encoder, component)?;
        encoder.map(1)?.u8(COMPONENT_VERSION)?.str(version)?;
        Ok(())
    })
}

pub(super) fn write_component(
    encoder: &mut Encoder<Vec<u8>>,
    component: &[Vec<u8>],
) -> Result<(), Error<Infallible>> {
    encoder.array(component.len() as u64)?;
    for part in component {
        encoder.bytes(part)?;
    }
    Ok(())
}

/// Finds the first component's version in the first language; texts prove nothing, so what is malformed is none.
pub(super) fn version(text: &[u8]) -> Option<String> {
    let mut reader = Reader::new(text);
    reader.map().ok()?;
    reader.text().ok()?;
    for _ in 0..reader.map().ok()? {
        if reader.kind().ok()? != Kind::Array {
            reader.item().ok()?;
            reader.item().ok()?;
            continue;
        }
        reader.item().ok()?;
        for _ in 0..reader.map().ok()? {
            match reader.int().ok()? {
                key if key == i64::from(COMPONENT_VERSION) => return Some(reader.text().ok()?.into()),
                _ => drop(reader.item().ok()?),
            }
        }
    }
    None
}
