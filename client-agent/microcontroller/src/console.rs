//! Text for whoever watches, without the standard library's formatting, which would cost more than what is said.

use crate::metal;

/// Says a line of words and numbers.
pub fn say(pieces: &[Said<'_>]) {
    for piece in pieces {
        match piece {
            Said::Text(text) => metal::say(text),
            Said::Number(number) => say_number(*number),
        }
    }
    metal::say("\n");
}

/// A piece of a line.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// As it is.
    Text(&'a str),
    /// In decimal digits.
    Number(u32),
}

fn say_number(number: u32) {
    let (mut digits, mut left, mut at) = ([0; DIGITS_MAX], number, DIGITS_MAX);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        if left == 0 {
            break;
        }
    }
    metal::say(core::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// Digits of the largest number.
const DIGITS_MAX: usize = 10;
