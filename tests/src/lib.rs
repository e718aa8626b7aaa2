//! Tests across crates: architecture and the whole walk with real processes.
