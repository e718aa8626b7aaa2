//! COSE_Mac0: a payload under a shared key.
