//! The ways in. Wire types in, commands and events out; nothing is decided here.

pub mod access;
pub mod coap;
mod gateway;
pub mod http;
pub mod mqtt;
pub mod page;
