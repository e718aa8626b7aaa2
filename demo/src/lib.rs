//! The main job with real processes: a server, three devices, one signed manifest, one campaign, one table.

pub mod console;
pub mod device;
pub mod firmware;
pub mod folder;
pub mod lamp;
pub mod outcome;
pub mod process;
pub mod table;
pub mod uplink;
pub mod walk;
