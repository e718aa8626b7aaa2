//! Self-verifying frames.
