//! The LwM2M data model: paths, values, object tables, content formats, characteristics.
//!
//! No IO, no clock: bytes and text come in as arguments and leave as typed values. Everything a peer
//! sends is parsed once here, within named bounds; a malformed input is an error, never a panic.
//!
//! | module | subject |
//! |---|---|
//! | [`path`] | `/5/0/3` in text and in Uri-Path segments |
//! | [`value`] | what a resource holds |
//! | [`codec`] | text/plain, octet-stream, link-format, TLV; read only, with feature `senml`: JSON, SenML, CBOR |
//! | [`content_format`] | CoAP Content-Format numbers |
//! | [`table`] | objects 0, 1, 3, 5, generated from the OMA registry, and 26250, private |
//! | [`registration`] | the queries and the object list of Register and Update |
//! | [`characteristic`] | what a manifest may ask of a device |
//! | [`firmware`] | state and result of object 5 |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod characteristic;
pub mod codec;
pub mod content_format;
pub mod digits;
pub mod firmware;
pub mod path;
pub mod registration;
pub mod table;
pub mod value;

pub use content_format::ContentFormat;
pub use path::Path;
pub use registration::Endpoint;
pub use value::Value;
