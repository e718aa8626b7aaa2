//! Tests across crates: architecture and the whole walk with real processes.
//!
//! The library is what the tests stand on: the real server, command line and agent as child processes on loopback
//! and free ports, and a [`raw_device`] in this process for what no honest agent would send. Whatever a test
//! starts dies with the value that started it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that is not as it must be"
)]
#![expect(clippy::must_use_candidate, reason = "tests take many a step for its effect alone")]

pub mod agent;
pub mod board;
pub mod browser;
pub mod certificates;
pub mod chance;
pub mod cli;
pub mod fleet;
pub mod gateway;
pub mod http;
pub mod images;
pub mod meddler;
pub mod meters;
pub mod mosquitto;
pub mod mqtt;
pub mod open_metrics;
pub mod program;
pub mod raw_device;
pub mod raw_gateway;
pub mod rounds;
pub mod server;
pub mod site;
pub mod small_disk;
pub mod stored;
pub mod uplink;
pub mod wait;
pub mod world;
