//! CoAP: one datagram, a sequence of them over time in both roles, and two endpoints over a hostile wire.

mod datagram;
mod pair;
mod sequence;

pub(crate) use datagram::{message, message_seeds};
pub(crate) use pair::{pair, pair_seeds};
pub(crate) use sequence::{sequence, sequence_seeds};

/// Walks over a datagram the way RFC 7252 §3 draws it; says whether it is a message.
///
/// Written apart from the parser under test, and used for what the endpoint sends.
pub(crate) fn is_well_formed(datagram: &[u8]) -> bool {
    let Some((header, mut rest)) = datagram.split_first_chunk::<4>() else { return false };
    let token = usize::from(header[0] & 0x0f);
    if header[0] >> 6 != 1 || token > 8 || rest.len() < token {
        return false;
    }
    rest = &rest[token..];
    if header[1] == 0 {
        return token == 0 && rest.is_empty();
    }
    let mut number = 0_usize;
    loop {
        match rest {
            [0xff] => return false,
            [] | [0xff, ..] => return true,
            [first, tail @ ..] => {
                rest = tail;
                let (Some(delta), Some(length)) =
                    (nibble(first >> 4, &mut rest), nibble(first & 15, &mut rest))
                else {
                    return false;
                };
                number += delta;
                if number > 65_535 || rest.len() < length {
                    return false;
                }
                rest = &rest[length..];
            }
        }
    }
}

fn nibble(value: u8, rest: &mut &[u8]) -> Option<usize> {
    let (extended, base) = match value {
        0..=12 => return Some(value.into()),
        13 => (1, 13),
        14 => (2, 269),
        _ => return None,
    };
    let (bytes, tail) = rest.split_at_checked(extended)?;
    *rest = tail;
    Some(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) + base)
}
