//! The signed SUIT envelope.
