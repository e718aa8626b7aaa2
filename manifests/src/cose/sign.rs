//! COSE_Sign: several signers of one payload.
