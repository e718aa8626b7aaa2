//! The whole system with real processes: the walk, and bad input and faults of every kind.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that is not as it must be"
)]

mod agent_killed;
mod backup;
mod c_device;
mod campaigns;
mod check_config;
mod credentials;
mod damaged;
mod datagrams;
mod demo;
mod disk_full;
mod dtls_sleep;
mod endings;
mod fleet_import;
mod fleet_killed;
mod fleet_orders;
mod fleet_recall;
mod frames;
mod gateway_away;
mod gateway_cache;
mod gateway_killed;
mod gateway_lies;
mod gateway_stolen;
mod gateway_walk;
mod http;
mod manifests;
mod meddling;
mod mqtt;
mod mqtt_faults;
mod mqtt_outbox;
mod mqtt_tls;
mod operators;
mod page;
mod page_orders;
mod page_streams;
mod places;
mod plain;
mod postgres;
mod queue_mode;
mod raw_gateways;
mod readings;
mod reports;
mod requests;
mod retention;
mod rows_busy;
mod rows_operators;
mod rows_reseeding;
mod rows_restored;
mod secrets;
mod server_killed;
mod start;
mod statements;
mod stops;
mod supervised;
mod two_components;
mod upgrade;
mod walk;
