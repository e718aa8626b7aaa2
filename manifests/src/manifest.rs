//! The SUIT manifest inside an envelope.
