//! Object 5, Firmware Update, version 1.2.
//!
//! Generated from `registry/5.xml` (Copyright Open Mobile Alliance, BSD-3-Clause, see there) by
//! `cargo run -p lwm2m-rs --example generate_tables`; do not edit.

use super::{ObjectDef, Operations, ResourceDef};
use crate::value::ValueType;

/// Id of `Package`.
pub const PACKAGE: u16 = 0;
/// Id of `Package URI`.
pub const PACKAGE_URI: u16 = 1;
/// Id of `Update`.
pub const UPDATE: u16 = 2;
/// Id of `State`.
pub const STATE: u16 = 3;
/// Id of `Update Result`.
pub const UPDATE_RESULT: u16 = 5;
/// Id of `PkgName`.
pub const PKGNAME: u16 = 6;
/// Id of `PkgVersion`.
pub const PKGVERSION: u16 = 7;
/// Id of `Firmware Update Protocol Support`.
pub const FIRMWARE_UPDATE_PROTOCOL_SUPPORT: u16 = 8;
/// Id of `Firmware Update Delivery Method`.
pub const FIRMWARE_UPDATE_DELIVERY_METHOD: u16 = 9;
/// Id of `Cancel`.
pub const CANCEL: u16 = 10;
/// Id of `Severity`.
pub const SEVERITY: u16 = 11;
/// Id of `Last State Change Time`.
pub const LAST_STATE_CHANGE_TIME: u16 = 12;
/// Id of `Maximum Defer Period`.
pub const MAXIMUM_DEFER_PERIOD: u16 = 13;
/// Id of `Automatic Upgrade at Download`.
pub const AUTOMATIC_UPGRADE_AT_DOWNLOAD: u16 = 14;

/// The table of the object.
pub const OBJECT: ObjectDef = ObjectDef {
    id: 5,
    #[cfg(feature = "names")]
    name: "Firmware Update",
    version: "1.2",
    multiple: false,
    mandatory: false,
    resources: &[
        ResourceDef {
            id: PACKAGE,
            #[cfg(feature = "names")]
            name: "Package",
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
            id: PACKAGE_URI,
            #[cfg(feature = "names")]
            name: "Package URI",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: UPDATE,
            #[cfg(feature = "names")]
            name: "Update",
            operations: Operations::Execute,
            multiple: false,
            mandatory: true,
            value_type: None,
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: STATE,
            #[cfg(feature = "names")]
            name: "State",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..3",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: UPDATE_RESULT,
            #[cfg(feature = "names")]
            name: "Update Result",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..11",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: PKGNAME,
            #[cfg(feature = "names")]
            name: "PkgName",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: PKGVERSION,
            #[cfg(feature = "names")]
            name: "PkgVersion",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: FIRMWARE_UPDATE_PROTOCOL_SUPPORT,
            #[cfg(feature = "names")]
            name: "Firmware Update Protocol Support",
            operations: Operations::Read,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..5",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: FIRMWARE_UPDATE_DELIVERY_METHOD,
            #[cfg(feature = "names")]
            name: "Firmware Update Delivery Method",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..2",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: CANCEL,
            #[cfg(feature = "names")]
            name: "Cancel",
            operations: Operations::Execute,
            multiple: false,
            mandatory: false,
            value_type: None,
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SEVERITY,
            #[cfg(feature = "names")]
            name: "Severity",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..2",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: LAST_STATE_CHANGE_TIME,
            #[cfg(feature = "names")]
            name: "Last State Change Time",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Time),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: MAXIMUM_DEFER_PERIOD,
            #[cfg(feature = "names")]
            name: "Maximum Defer Period",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: AUTOMATIC_UPGRADE_AT_DOWNLOAD,
            #[cfg(feature = "names")]
            name: "Automatic Upgrade at Download",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
    ],
};
