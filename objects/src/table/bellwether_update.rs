//! Object 26250, Bellwether Update, version 1.0.
//!
//! Generated from `private/26250.xml` by
//! `cargo run -p lwm2m-rs --example generate_tables`; do not edit.

use super::{ObjectDef, Operations, ResourceDef};
use crate::value::ValueType;

/// Id of `Anchors`.
pub const ANCHORS: u16 = 0;
/// Id of `Anchors Edition`.
pub const ANCHORS_EDITION: u16 = 1;
/// Id of `Stable Answers`.
pub const STABLE_ANSWERS: u16 = 2;

/// The table of the object.
pub const OBJECT: ObjectDef = ObjectDef {
    id: 26250,
    #[cfg(feature = "names")]
    name: "Bellwether Update",
    version: "1.0",
    multiple: false,
    mandatory: false,
    resources: &[
        ResourceDef {
            id: ANCHORS,
            #[cfg(feature = "names")]
            name: "Anchors",
            operations: Operations::Write,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: ANCHORS_EDITION,
            #[cfg(feature = "names")]
            name: "Anchors Edition",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: STABLE_ANSWERS,
            #[cfg(feature = "names")]
            name: "Stable Answers",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
    ],
};
