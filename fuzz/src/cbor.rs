//! The CBOR reader below everything else, held against another one.

use bellwether_manifests::cbor::{Reader, check_item};

use crate::vector;

/// What our strict reader takes, another reader takes as the same number of bytes, and is the only encoding.
pub(crate) fn item(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Ok(item) = reader.item() else { return };
    let mut other = minicbor::Decoder::new(data);
    other.skip().expect("what is deterministic is well-formed");
    assert_eq!(other.position(), item.len(), "both readers end at the same byte");
    assert_eq!(check_item(item), Ok(()));
    assert!(check_item(&data[..item.len() - 1]).is_err(), "an item that was cut is none");
    assert_eq!(shortest(item).map(<[u8]>::len), Some(0), "the deterministic encoding is the only one");
}

/// Walks over one item in deterministic encoding and gives what is behind it; `None` for any other encoding.
///
/// Written apart from the reader under test. Source: RFC 8949 §4.2.1.
fn shortest(item: &[u8]) -> Option<&[u8]> {
    let (head, rest) = item.split_first()?;
    let (argument, mut rest) = argument(head & 31, rest)?;
    let least = [0, 24, 1 << 8, 1 << 16, 1 << 32][usize::from((head & 31).saturating_sub(23).min(4))];
    if head >> 5 < 7 && argument < least {
        return None;
    }
    match head >> 5 {
        2 | 3 => rest.get(usize::try_from(argument).ok()?..),
        4 => {
            for _ in 0..argument {
                rest = shortest(rest)?;
            }
            Some(rest)
        }
        5 => {
            let mut earlier: &[u8] = &[];
            for _ in 0..argument {
                let value = shortest(rest)?;
                let key = &rest[..rest.len() - value.len()];
                if key <= earlier {
                    return None;
                }
                (earlier, rest) = (key, shortest(value)?);
            }
            Some(rest)
        }
        6 => shortest(rest),
        // Integers, simple values in the head itself, and floats in any of their lengths.
        _ => Some(rest),
    }
}

/// Reads the argument of a head.
fn argument(short: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    let length = match short {
        0..=23 => return Some((short.into(), rest)),
        24..=27 => 1 << (short - 24),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), rest))
}

pub(crate) fn item_seeds() -> Vec<Vec<u8>> {
    [vector::update(""), vector::envelopes()].concat()
}
