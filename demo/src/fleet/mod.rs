//! Thousands of devices in a few processes, most of them behind gateways: one campaign, its rate, what it carried and who
//! served it, and what it cost.

pub mod cast;
pub mod figures;
pub mod gateways;
pub mod metrics;
pub mod outcome;
pub mod process;
pub mod show;
pub mod tally;
