//! A server for tests of rooms that need the others: real rooms over a folder of their own, without doors.

use std::sync::Arc;

use clap::Parser as _;
use tempfile::TempDir;

use crate::config::{Config, Flags};
use crate::core::Core;
use crate::dtls_keys::DtlsKeys;
use crate::frames::FrameCache;

/// Opens a server; it lives as long as its folder.
pub(crate) async fn core() -> (Arc<Core>, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    let flags = Flags::try_parse_from(["bellwether-server", "--data", data]).expect("flags");
    let config = Config::resolve(flags).expect("a configuration");
    let (keys, frames) = (Arc::<DtlsKeys>::default(), Arc::<FrameCache>::default());
    let core = Core::open(config, "coaps://127.0.0.1".to_owned(), keys, frames).await;
    (core.expect("opened"), folder)
}
