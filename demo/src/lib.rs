//! The main job with real processes: a server, a gateway, seven devices, one signed manifest, one campaign, one
//! table.

pub mod board;
pub mod console;
pub mod crowd;
pub mod device;
pub mod firmware;
pub mod fleet;
pub mod folder;
pub mod gateway;
pub mod lamp;
pub mod line;
pub mod mqtt;
pub mod outcome;
pub mod process;
pub mod row;
pub mod setting;
pub mod table;
pub mod uplink;
pub mod walk;
