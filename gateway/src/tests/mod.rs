//! The gateway between a server and devices that are played by the tests, over real DTLS.

mod actors;
mod frames;
mod offline;
mod pushes;
mod questions;
