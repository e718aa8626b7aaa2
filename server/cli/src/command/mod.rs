//! The commands, a noun a file.

pub(crate) mod alarm;
pub(crate) mod audit;
pub(crate) mod campaign;
pub(crate) mod delta;
pub(crate) mod device;
pub(crate) mod device_bulk;
pub(crate) mod gateway;
pub(crate) mod image;
pub(crate) mod keys;
pub(crate) mod manifest;
pub(crate) mod release;
pub(crate) mod release_recall;
mod release_return;
pub(crate) mod tag;
