//! Strict reading of deterministic CBOR.
