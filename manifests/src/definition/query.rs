//! Profile U: the definition in the last parameter of the URI's query, `cd=` and unpadded base64url.

/// Splits a URI into the request identifier and the encoded definition at its end, if there is one.
#[must_use]
pub fn split_query(uri: &str) -> (&str, Option<&str>) {
    // Byte by byte: the library's search for a text costs a device a KiB of flash.
    let found = uri.as_bytes().windows(3).rposition(|bytes| bytes == b"cd=").and_then(|at| {
        let (before, after) = (uri.get(..at)?, uri.get(at + 3..)?);
        let identifier = before.strip_suffix(['?', '&'])?;
        let encoded = !after.is_empty() && after.bytes().all(|byte| sextet(byte).is_some());
        encoded.then_some((identifier, Some(after)))
    });
    found.unwrap_or((uri, None))
}

/// Decodes unpadded base64url into the start of `into`; `None` if it is none or does not fit.
///
/// Source: RFC 4648 §5; §3.5 for the last bits, which must be zero.
pub(super) fn decode_base64url(text: &str, into: &mut [u8]) -> Option<usize> {
    let (mut bits, mut held, mut length) = (0u32, 0, 0);
    for byte in text.bytes() {
        bits = bits << 6 | u32::from(sextet(byte)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            *into.get_mut(length)? = u8::try_from(bits >> held & 0xff).ok()?;
            length += 1;
            bits &= (1 << held) - 1;
        }
    }
    // A last group of one character holds no byte.
    (held < 6 && bits == 0).then_some(length)
}

const fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(feature = "alloc")]
mod write {
    use alloc::string::String;

    /// Adds the encoded definition to a request identifier: profile U.
    #[must_use]
    pub fn with_query(request_identifier: &str, definition: &[u8]) -> String {
        let mut uri = String::from(request_identifier);
        uri.push_str(if request_identifier.contains('?') { "&cd=" } else { "?cd=" });
        for group in definition.chunks(3) {
            let bits = group
                .iter()
                .enumerate()
                .fold(0u32, |bits, (n, byte)| bits | u32::from(*byte) << (16 - 8 * n));
            for n in 0..=group.len() {
                uri.push(char::from(ALPHABET[(bits >> (18 - 6 * n) & 0x3f) as usize]));
            }
        }
        uri
    }

    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}

#[cfg(feature = "alloc")]
pub use write::with_query;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn only_a_last_parameter_is_the_definition() {
        assert_eq!(split_query("/u?cd=goLA"), ("/u", Some("goLA")));
        assert_eq!(split_query("/u?a=1&cd=goLA"), ("/u?a=1", Some("goLA")));
        for uri in ["/u", "/u?cd=", "/u?cd=a&b=1", "/ucd=a", "/u?abcd=a", "cd=a"] {
            assert_eq!(split_query(uri), (uri, None), "{uri}");
        }
    }

    #[test]
    fn padding_stray_bits_and_small_buffers_are_refused() {
        let mut into = [0; 2];
        for text in ["AA==", "A", "AAAAA", "AB", "AAAA", "A+"] {
            assert_eq!(decode_base64url(text, &mut into), None, "{text}");
        }
        assert_eq!(decode_base64url("_w", &mut into), Some(1));
        assert_eq!(into[0], 0xff);
    }

    proptest! {
        #[test]
        fn written_query_is_read_back(definition in proptest::collection::vec(any::<u8>(), 1..100), query in any::<bool>()) {
            let identifier = if query { "coaps://h/u?a=1" } else { "/u" };
            let uri = with_query(identifier, &definition);
            let (read, encoded) = split_query(&uri);
            prop_assert_eq!(read, identifier);
            let mut into: Vec<u8> = std::vec![0; definition.len()];
            prop_assert_eq!(decode_base64url(encoded.unwrap(), &mut into), Some(definition.len()));
            prop_assert_eq!(into, definition);
        }

        #[test]
        fn any_text_is_split_without_panic(uri in ".*") {
            let (identifier, query) = split_query(&uri);
            prop_assert!(uri.starts_with(identifier));
            prop_assert!(query.is_none_or(|query| uri.ends_with(query)));
        }
    }
}
