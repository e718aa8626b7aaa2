//! Numbers of the algorithms that messages name.
//!
//! Source: IANA COSE Algorithms; RFC 9053, RFC 9459 (CTR), RFC 9864 (ESP256).

/// SHA-256.
pub const SHA_256: i64 = -16;
/// HMAC with SHA-256, tag of 32 bytes.
pub const HMAC_256: i64 = 5;
/// ECDSA on P-256 with SHA-256.
pub const ESP256: i64 = -9;
/// AES-128 key wrap.
pub const A128KW: i64 = -3;
/// AES-256 key wrap.
pub const A256KW: i64 = -5;
/// ECDH-ES with AES-128 key wrap.
pub const ECDH_ES_A128KW: i64 = -29;
/// ECDH-ES with AES-256 key wrap.
pub const ECDH_ES_A256KW: i64 = -31;
/// AES-128 in counter mode.
pub const A128CTR: i64 = -65534;
/// AES-256 in counter mode.
pub const A256CTR: i64 = -65532;
/// AES-128 in Galois counter mode.
pub const A128GCM: i64 = 1;
/// AES-256 in Galois counter mode.
pub const A256GCM: i64 = 3;
/// `ChaCha20` and Poly1305.
pub const CHACHA20_POLY1305: i64 = 24;

/// Bytes of the initialisation vector that an algorithm for content needs; `None` if it is not known.
#[must_use]
pub const fn iv_bytes(algorithm: i64) -> Option<usize> {
    match algorithm {
        A128CTR | A256CTR => Some(16),
        A128GCM | A256GCM | CHACHA20_POLY1305 => Some(12),
        _ => None,
    }
}
