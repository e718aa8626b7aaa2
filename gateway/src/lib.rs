//! The gateway: between devices and the server, for sites with many devices and a narrow or broken line.
//!
//! It fetches every frame once, holds the bundles of campaigns, pushes manifests at its own pace, answers questions
//! and keeps reports while the server is away; what it does not know it forwards as it came. It can read names,
//! selectors and fork heads of its devices. No key of a device is in it, and no code that could use one: what it can
//! alter, devices and server find out.
//!
//! # What is in the data folder
//!
//! | path | what | who could use it |
//! |---|---|---|
//! | `children` | names of the devices and the keys of the *links* to them | could stand in for this gateway towards them |
//! | `anchors` | anchors that replaced the unit file's | public |
//! | `bundles/` | signed bundles: manifest, descriptors, grants | each grant's device alone |
//! | `descriptors/` | descriptors that passed through | public |
//! | `devices/` | grants that passed through, what was asked | each grant's device alone |
//! | `frames/` | frames by root: ciphertext | whoever holds a grant |
//! | `reports/`, `receipts/` | reports on their way up, receipts on their way down | authenticated end to end |
//! | `listening.json` | the addresses of devices' socket and of metrics | public |
//!
//! The unit file holds the key of the link to the server. Who steals both can speak to server and devices as this
//! gateway until it is removed: it can delay and refuse updates, and read which device runs what. It can open no
//! resource and make no device run anything else.
//!
//! What can't be said without a clock is not decided by one: a bundle that has expired by the clock here is kept and
//! not used, and its devices' questions are forwarded.

pub mod backoff;
pub mod children;
pub mod clock;
pub mod config;
pub mod counters;
pub mod descriptors;
pub mod devices;
pub mod disk;
pub mod executes;
pub mod frames;
pub mod gateway;
pub mod held;
pub mod hints;
pub mod metrics;
pub mod notes;
pub mod outbox;
pub mod push;
pub mod question;
pub mod recent;
pub mod server;
pub mod shelf;
pub mod shell;
pub mod status;
pub mod tasks;
pub mod trust;
pub mod uplink;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
