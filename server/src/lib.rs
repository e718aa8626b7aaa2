//! The control plane: ways in, ledger, resolver, builder, vault, downlink, uplink.
//!
//! Nothing here waits for a device, and nothing but the store remembers between two messages: a server that is
//! killed goes on where the store stands.

mod acquaintance;
pub mod alarms;
pub mod answers;
mod asking;
pub mod backup;
pub mod book;
pub mod builder;
mod bundles;
mod caller;
pub mod campaign;
pub mod census;
pub mod cli;
pub mod commands;
pub mod config;
mod contacts;
pub mod core;
mod credentials;
pub mod descriptors;
pub mod disk;
pub mod downlink;
pub mod dtls_keys;
pub mod frames;
pub mod gateways;
pub mod health;
mod hints;
pub mod ingress;
mod keyring;
pub mod lineup;
pub mod metrics;
mod mqtt;
pub mod probe;
mod quiet;
mod recalls;
pub mod refusal;
pub mod registry;
pub mod resolver;
mod restored;
pub mod retention;
pub mod secret_file;
pub mod sessions;
pub mod shell;
mod steps;
pub mod store_care;
#[cfg(test)]
mod testing;
pub mod uplink;
pub mod vault;
pub mod view;
