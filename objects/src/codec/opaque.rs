//! application/octet-stream: the bytes of one opaque value.

use crate::value::Value;

/// Takes a body as it is.
#[must_use]
pub fn decode(body: &[u8]) -> Value {
    Value::Opaque(body.to_vec())
}

/// Returns the bytes of an opaque value, `None` for any other.
#[must_use]
pub fn encode(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Opaque(bytes) => Some(bytes),
        _ => None,
    }
}
