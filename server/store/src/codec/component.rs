//! Component ids as CBOR: an array of byte strings, as in manifests; a key, so its form never changes.

use minicbor::{Decoder, Encoder};

use super::CodecError;

/// Writes the segments of a component id.
#[must_use]
pub fn encode(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    // Writing into a vector has no way to fail, so there is nothing to hand on.
    let begun = e.array(segments.len() as u64).map(drop);
    let written = segments.iter().try_for_each(|segment| e.bytes(segment).map(drop));
    debug_assert!(begun.is_ok() && written.is_ok());
    bytes
}

/// Reads the segments of a component id.
///
/// # Errors
///
/// [`CodecError::Malformed`] or [`CodecError::Cbor`] for damaged bytes.
pub fn decode(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CodecError> {
    let d = &mut Decoder::new(bytes);
    let count = d.array()?.ok_or(CodecError::Malformed("array without a length"))?;
    let segments = (0..count).map(|_| Ok(d.bytes()?.to_vec())).collect::<Result<_, CodecError>>()?;
    if d.position() != bytes.len() {
        return Err(CodecError::Malformed("bytes after a component id"));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn component_id_of_one_segment_keeps_its_form() {
        assert_eq!(encode(&[b"app".to_vec()]), b"\x81\x43app");
    }

    proptest! {
        #[test]
        fn every_component_id_reads_back(segments: Vec<Vec<u8>>) {
            prop_assert_eq!(decode(&encode(&segments)).unwrap(), segments);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
