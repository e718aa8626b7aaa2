//! Thousands of devices in a few processes: one campaign, its rate, what it carried, and what it cost the server.

pub mod cast;
pub mod figures;
pub mod outcome;
pub mod process;
pub mod show;
pub mod tally;
