//! One simulated world: server, gateways and devices in one process, under one seed and virtual time.

pub mod desk;
pub mod device;
pub mod dice;
mod engine;
pub mod flash;
pub mod gateway;
pub mod host;
pub mod loss;
pub mod network;
pub mod plan;
pub mod properties;
pub mod run;
pub mod server;
pub mod store;
pub mod time;
pub mod trace;
pub mod watch;
