//! The update core against a server that speaks the protocol.

mod answers;
mod happy;
mod manifests;
mod power;
