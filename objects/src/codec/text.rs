//! text/plain: one value as UTF-8 text, an opaque one in base64.
//!
//! Source: LwM2M Core 1.2 Appendix C.

use alloc::string::{String, ToString};

use thiserror::Error;

use super::base64;
use crate::digits;
use crate::value::{Value, ValueType};

/// Why a text is no value, or a value has no text. Answer with 4.00.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TextError {
    /// The bytes are no UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// The text is no value of the type.
    #[error("text is no value of type {0:?}")]
    NotOfType(ValueType),
    /// Infinity and not-a-number have no text.
    #[error("a number that is not finite has no text")]
    NotFinite,
    /// Build with the feature `float-text`.
    #[error("this program was built without floating point numbers as text")]
    FloatLeftOut,
}

/// Reads one value.
///
/// # Errors
///
/// [`TextError::NotUtf8`], [`TextError::NotOfType`], [`TextError::FloatLeftOut`].
pub fn decode(value_type: ValueType, body: &[u8]) -> Result<Value, TextError> {
    let text = core::str::from_utf8(body).map_err(|_| TextError::NotUtf8)?;
    let value = match value_type {
        ValueType::String => Some(Value::String(text.to_string())),
        ValueType::CoreLink => Some(Value::CoreLink(text.to_string())),
        ValueType::Integer => integer(text).map(Value::Integer),
        ValueType::Time => integer(text).map(Value::Time),
        ValueType::Unsigned => unsigned(text).map(Value::Unsigned),
        ValueType::Float if !FLOAT_TEXT => return Err(TextError::FloatLeftOut),
        ValueType::Float => float(text).map(Value::Float),
        ValueType::Boolean => boolean(text).map(Value::Boolean),
        ValueType::Opaque => base64::decode(body).map(Value::Opaque),
        ValueType::ObjectLink => text.parse().ok().map(Value::ObjectLink),
    };
    value.ok_or(TextError::NotOfType(value_type))
}

/// Writes one value.
///
/// # Errors
///
/// [`TextError::NotFinite`], [`TextError::FloatLeftOut`].
pub fn encode(value: &Value) -> Result<String, TextError> {
    Ok(match value {
        Value::String(text) | Value::CoreLink(text) => text.clone(),
        Value::Integer(number) | Value::Time(number) => digits::text_of(*number),
        Value::Unsigned(number) => {
            let mut text = String::new();
            digits::push_unsigned(&mut text, *number);
            text
        }
        Value::Float(_) if !FLOAT_TEXT => return Err(TextError::FloatLeftOut),
        Value::Float(number) if !number.is_finite() => return Err(TextError::NotFinite),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => digits::text_of(i64::from(*flag)),
        Value::Opaque(bytes) => base64::encode(bytes),
        Value::ObjectLink(link) => {
            let mut text = digits::text_of(link.object.into());
            text.push(':');
            digits::push_unsigned(&mut text, link.instance.into());
            text
        }
    })
}

fn integer(text: &str) -> Option<i64> {
    // Rust's reader takes a plus sign, LwM2M's text has none.
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

fn unsigned(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

fn float(text: &str) -> Option<f64> {
    // Rust's reader takes `inf` and `nan`, LwM2M's text has digits only.
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// Without it the language's tables for these texts, 20 KiB, are not linked.
const FLOAT_TEXT: bool = cfg!(feature = "float-text");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ObjectLink;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn texts_of_the_wrong_type_are_refused() {
        let refused = [
            (ValueType::Integer, ""),
            (ValueType::Integer, "+1"),
            (ValueType::Integer, "1.5"),
            (ValueType::Integer, "9223372036854775808"),
            (ValueType::Time, "now"),
            (ValueType::Unsigned, "-1"),
            (ValueType::Unsigned, "+1"),
            (ValueType::Float, "inf"),
            (ValueType::Float, "NaN"),
            (ValueType::Float, "1e999"),
            (ValueType::Boolean, "true"),
            (ValueType::Opaque, "!"),
            (ValueType::ObjectLink, "5"),
        ];
        for (value_type, text) in refused {
            assert_eq!(decode(value_type, text.as_bytes()), Err(TextError::NotOfType(value_type)), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_even_as_a_string() {
        assert_eq!(decode(ValueType::String, &[0xff]), Err(TextError::NotUtf8));
    }

    #[test]
    fn infinity_has_no_text() {
        assert_eq!(encode(&Value::Float(f64::INFINITY)), Err(TextError::NotFinite));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            ".{0,16}".prop_map(Value::String),
            ".{0,16}".prop_map(Value::CoreLink),
            any::<i64>().prop_map(Value::Integer),
            any::<i64>().prop_map(Value::Time),
            any::<u64>().prop_map(Value::Unsigned),
            proptest::num::f64::NORMAL.prop_map(Value::Float),
            any::<bool>().prop_map(Value::Boolean),
            any::<Vec<u8>>().prop_map(Value::Opaque),
            any::<(u16, u16)>()
                .prop_map(|(object, instance)| Value::ObjectLink(ObjectLink { object, instance })),
        ]
    }

    fn any_type() -> impl Strategy<Value = ValueType> {
        any_value().prop_map(|value| value.value_type())
    }

    proptest! {
        #[test]
        fn any_value_comes_back_from_its_text(value in any_value()) {
            let text = encode(&value).unwrap();
            prop_assert_eq!(decode(value.value_type(), text.as_bytes()), Ok(value));
        }

        #[test]
        fn any_bytes_are_a_value_of_the_asked_type_or_refused(
            value_type in any_type(),
            body in proptest::collection::vec(any::<u8>(), 0..32),
        ) {
            if let Ok(value) = decode(value_type, &body) {
                prop_assert_eq!(value.value_type(), value_type);
            }
        }
    }
}
