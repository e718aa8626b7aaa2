//! P-256 keys as COSE_Key.
