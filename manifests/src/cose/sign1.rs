//! COSE_Sign1: one signer.
