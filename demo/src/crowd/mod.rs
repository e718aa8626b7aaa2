//! Twenty-four devices: four classes, three versions, two gateways, and what can befall a device in a campaign.

pub mod cast;
pub mod ending;
pub mod show;
