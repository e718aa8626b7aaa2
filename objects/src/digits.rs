//! Numbers as decimal text, without the library's formatting, which costs a device 4 KiB of flash.

use alloc::string::String;

/// Adds a number to a text.
pub fn push_unsigned(text: &mut String, number: u64) {
    if number >= 10 {
        push_unsigned(text, number / 10);
    }
    // A digit.
    text.push(char::from(b'0' + u8::try_from(number % 10).unwrap_or(0)));
}

/// Adds a number to a text, with a minus sign where it is negative.
pub fn push_signed(text: &mut String, number: i64) {
    if number < 0 {
        text.push('-');
    }
    push_unsigned(text, number.unsigned_abs());
}

/// Gives a number as text.
#[must_use]
pub fn text_of(number: i64) -> String {
    let mut text = String::new();
    push_signed(&mut text, number);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_the_library_writes_them(number: i64) {
            for number in [number, number >> 32, number >> 60, i64::MIN, 0, 9, 10] {
                prop_assert_eq!(text_of(number), number.to_string());
            }
        }
    }
}
