//! Object 3, Device, version 1.2.
//!
//! Generated from `registry/3.xml` (Copyright Open Mobile Alliance, BSD-3-Clause, see there) by
//! `cargo run -p lwm2m-rs --example generate_tables`; do not edit.

use super::{ObjectDef, Operations, ResourceDef};
use crate::value::ValueType;

/// Id of `Manufacturer`.
pub const MANUFACTURER: u16 = 0;
/// Id of `Model Number`.
pub const MODEL_NUMBER: u16 = 1;
/// Id of `Serial Number`.
pub const SERIAL_NUMBER: u16 = 2;
/// Id of `Firmware Version`.
pub const FIRMWARE_VERSION: u16 = 3;
/// Id of `Reboot`.
pub const REBOOT: u16 = 4;
/// Id of `Factory Reset`.
pub const FACTORY_RESET: u16 = 5;
/// Id of `Available Power Sources`.
pub const AVAILABLE_POWER_SOURCES: u16 = 6;
/// Id of `Power Source Voltage`.
pub const POWER_SOURCE_VOLTAGE: u16 = 7;
/// Id of `Power Source Current`.
pub const POWER_SOURCE_CURRENT: u16 = 8;
/// Id of `Battery Level`.
pub const BATTERY_LEVEL: u16 = 9;
/// Id of `Memory Free`.
pub const MEMORY_FREE: u16 = 10;
/// Id of `Error Code`.
pub const ERROR_CODE: u16 = 11;
/// Id of `Reset Error Code`.
pub const RESET_ERROR_CODE: u16 = 12;
/// Id of `Current Time`.
pub const CURRENT_TIME: u16 = 13;
/// Id of `UTC Offset`.
pub const UTC_OFFSET: u16 = 14;
/// Id of `Timezone`.
pub const TIMEZONE: u16 = 15;
/// Id of `Supported Binding and Modes`.
pub const SUPPORTED_BINDING_AND_MODES: u16 = 16;
/// Id of `Device Type`.
pub const DEVICE_TYPE: u16 = 17;
/// Id of `Hardware Version`.
pub const HARDWARE_VERSION: u16 = 18;
/// Id of `Software Version`.
pub const SOFTWARE_VERSION: u16 = 19;
/// Id of `Battery Status`.
pub const BATTERY_STATUS: u16 = 20;
/// Id of `Memory Total`.
pub const MEMORY_TOTAL: u16 = 21;
/// Id of `ExtDevInfo`.
pub const EXTDEVINFO: u16 = 22;

/// The table of the object.
pub const OBJECT: ObjectDef = ObjectDef {
    id: 3,
    #[cfg(feature = "names")]
    name: "Device",
    version: "1.2",
    multiple: false,
    mandatory: true,
    resources: &[
        ResourceDef {
            id: MANUFACTURER,
            #[cfg(feature = "names")]
            name: "Manufacturer",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: MODEL_NUMBER,
            #[cfg(feature = "names")]
            name: "Model Number",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SERIAL_NUMBER,
            #[cfg(feature = "names")]
            name: "Serial Number",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: FIRMWARE_VERSION,
            #[cfg(feature = "names")]
            name: "Firmware Version",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: REBOOT,
            #[cfg(feature = "names")]
            name: "Reboot",
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
            id: FACTORY_RESET,
            #[cfg(feature = "names")]
            name: "Factory Reset",
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
            id: AVAILABLE_POWER_SOURCES,
            #[cfg(feature = "names")]
            name: "Available Power Sources",
            operations: Operations::Read,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..7",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: POWER_SOURCE_VOLTAGE,
            #[cfg(feature = "names")]
            name: "Power Source Voltage",
            operations: Operations::Read,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: POWER_SOURCE_CURRENT,
            #[cfg(feature = "names")]
            name: "Power Source Current",
            operations: Operations::Read,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: BATTERY_LEVEL,
            #[cfg(feature = "names")]
            name: "Battery Level",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..100",
            #[cfg(feature = "names")]
            units: "/100",
        },
        ResourceDef {
            id: MEMORY_FREE,
            #[cfg(feature = "names")]
            name: "Memory Free",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: ERROR_CODE,
            #[cfg(feature = "names")]
            name: "Error Code",
            operations: Operations::Read,
            multiple: true,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..32",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: RESET_ERROR_CODE,
            #[cfg(feature = "names")]
            name: "Reset Error Code",
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
            id: CURRENT_TIME,
            #[cfg(feature = "names")]
            name: "Current Time",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Time),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: UTC_OFFSET,
            #[cfg(feature = "names")]
            name: "UTC Offset",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: TIMEZONE,
            #[cfg(feature = "names")]
            name: "Timezone",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SUPPORTED_BINDING_AND_MODES,
            #[cfg(feature = "names")]
            name: "Supported Binding and Modes",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: DEVICE_TYPE,
            #[cfg(feature = "names")]
            name: "Device Type",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: HARDWARE_VERSION,
            #[cfg(feature = "names")]
            name: "Hardware Version",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SOFTWARE_VERSION,
            #[cfg(feature = "names")]
            name: "Software Version",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: BATTERY_STATUS,
            #[cfg(feature = "names")]
            name: "Battery Status",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..6",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: MEMORY_TOTAL,
            #[cfg(feature = "names")]
            name: "Memory Total",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: EXTDEVINFO,
            #[cfg(feature = "names")]
            name: "ExtDevInfo",
            operations: Operations::Read,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::ObjectLink),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
    ],
};
