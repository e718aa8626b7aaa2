//! The update core against a server that speaks the protocol.

mod anchors;
mod answers;
mod components;
mod cuts;
mod go;
mod happy;
mod hostile;
mod manifests;
mod power;
mod reseed;
mod verdicts;
mod walk;
