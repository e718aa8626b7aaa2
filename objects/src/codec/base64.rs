//! Base64 with padding, as text/plain carries opaque values.
//!
//! Source: RFC 4648 §4.

use alloc::string::String;
use alloc::vec::Vec;

/// Writes bytes as base64.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at)) & 0x3f;
            out.push(if at <= chunk.len() { letter(sextet) } else { '=' });
        }
    }
    out
}

/// Reads base64; `None` for a wrong length, letter, padding, or stray bits before the padding.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut groups = text.chunks(4).peekable();
    while let Some(group) = groups.next() {
        let padding = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        if group.len() != 4 || padding > 2 || (padding > 0 && groups.peek().is_some()) {
            return None;
        }
        let (letters, _) = group.split_at(4 - padding);
        let bits = letters.iter().try_fold(0_u32, |bits, &byte| Some(bits << 6 | sextet(byte)?))?;
        let bits = bits << (6 * padding);
        let (_, bytes) = bits.to_be_bytes().split_first().map(|(head, tail)| (*head, tail.to_vec()))?;
        let (kept, dropped) = bytes.split_at(3 - padding);
        if dropped.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

fn letter(sextet: u32) -> char {
    let at = usize::try_from(sextet).unwrap_or_default();
    char::from(ALPHABET.get(at).copied().unwrap_or(b'='))
}

fn sextet(letter: u8) -> Option<u32> {
    let at = ALPHABET.iter().position(|&known| known == letter)?;
    u32::try_from(at).ok()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 4648 §10
    #[test]
    fn vectors_of_the_specification_hold_both_ways() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn texts_with_a_second_reading_are_refused() {
        for text in ["Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm=v", "Zm9v\n"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn any_text_decodes_to_what_encodes_to_it_or_is_refused(text in "[A-Za-z0-9+/=]{0,16}|.{0,8}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
