//! The uint format of option values (RFC 7252 §3.2).

/// Writes a number big-endian, and tells how many zeros before it are left out; zero is no byte at all.
pub(crate) fn encode(number: u32) -> ([u8; 4], usize) {
    (number.to_be_bytes(), number.leading_zeros() as usize / 8)
}

/// Reads 0 ..= 4 bytes, big-endian.
///
/// RFC 7252 §3.2: a recipient MUST be prepared to process values with leading zeros.
pub(crate) fn decode(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_the_empty_value() {
        assert_eq!(encode(0), ([0; 4], 4));
        assert_eq!(decode(&[]), Some(0));
    }

    #[test]
    fn leading_zeros_are_read() {
        assert_eq!(decode(&[0, 0, 1, 2]), Some(258));
        assert_eq!(decode(&[0; 5]), None);
    }

    proptest! {
        #[test]
        fn every_number_comes_back(number in any::<u32>()) {
            let (bytes, zeros) = encode(number);
            prop_assert_eq!(decode(&bytes[zeros..]), Some(number));
            prop_assert!(bytes.get(zeros).is_none_or(|first| *first != 0));
        }
    }
}
