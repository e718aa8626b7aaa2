//! One simulated world: server, gateways and devices in one process, under one seed and virtual time.

pub mod device;
pub mod dice;
pub mod flash;
pub mod network;
pub mod plan;
pub mod properties;
pub mod trace;
pub mod watch;
