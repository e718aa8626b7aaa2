//! Key chain, derivation, message authentication, key wrap and sealing.
