//! Tests of the endpoint as a whole.

mod bench;
mod blockwise;
mod client;
mod garbage;
mod lossy;
mod peers;
mod server;
mod world;
