//! COSE as far as Bellwether speaks it: P-256 keys, Sign1, Sign and Mac0.
//!
//! Source: RFC 9052, RFC 9053, RFC 9864 (fully specified algorithms).

pub mod key;
pub mod mac0;
pub mod sign;
pub mod sign1;
