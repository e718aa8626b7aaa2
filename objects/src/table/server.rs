//! Object 1, LwM2M Server, version 1.2.
//!
//! Generated from `registry/1.xml` (Copyright Open Mobile Alliance, BSD-3-Clause, see there) by
//! `cargo run -p lwm2m-rs --example generate_tables`; do not edit.

use super::{ObjectDef, Operations, ResourceDef};
use crate::value::ValueType;

/// Id of `Short Server ID`.
pub const SHORT_SERVER_ID: u16 = 0;
/// Id of `Lifetime`.
pub const LIFETIME: u16 = 1;
/// Id of `Default Minimum Period`.
pub const DEFAULT_MINIMUM_PERIOD: u16 = 2;
/// Id of `Default Maximum Period`.
pub const DEFAULT_MAXIMUM_PERIOD: u16 = 3;
/// Id of `Disable`.
pub const DISABLE: u16 = 4;
/// Id of `Disable Timeout`.
pub const DISABLE_TIMEOUT: u16 = 5;
/// Id of `Notification Storing When Disabled or Offline`.
pub const NOTIFICATION_STORING_WHEN_DISABLED_OR_OFFLINE: u16 = 6;
/// Id of `Binding`.
pub const BINDING: u16 = 7;
/// Id of `Registration Update Trigger`.
pub const REGISTRATION_UPDATE_TRIGGER: u16 = 8;
/// Id of `Bootstrap-Request Trigger`.
pub const BOOTSTRAP_REQUEST_TRIGGER: u16 = 9;
/// Id of `APN Link`.
pub const APN_LINK: u16 = 10;
/// Id of `TLS-DTLS Alert Code`.
pub const TLS_DTLS_ALERT_CODE: u16 = 11;
/// Id of `Last Bootstrapped`.
pub const LAST_BOOTSTRAPPED: u16 = 12;
/// Id of `Registration Priority Order`.
pub const REGISTRATION_PRIORITY_ORDER: u16 = 13;
/// Id of `Initial Registration Delay Timer`.
pub const INITIAL_REGISTRATION_DELAY_TIMER: u16 = 14;
/// Id of `Registration Failure Block`.
pub const REGISTRATION_FAILURE_BLOCK: u16 = 15;
/// Id of `Bootstrap on Registration Failure`.
pub const BOOTSTRAP_ON_REGISTRATION_FAILURE: u16 = 16;
/// Id of `Communication Retry Count`.
pub const COMMUNICATION_RETRY_COUNT: u16 = 17;
/// Id of `Communication Retry Timer`.
pub const COMMUNICATION_RETRY_TIMER: u16 = 18;
/// Id of `Communication Sequence Delay Timer`.
pub const COMMUNICATION_SEQUENCE_DELAY_TIMER: u16 = 19;
/// Id of `Communication Sequence Retry Count`.
pub const COMMUNICATION_SEQUENCE_RETRY_COUNT: u16 = 20;
/// Id of `Trigger`.
pub const TRIGGER: u16 = 21;
/// Id of `Preferred Transport`.
pub const PREFERRED_TRANSPORT: u16 = 22;
/// Id of `Mute Send`.
pub const MUTE_SEND: u16 = 23;
/// Id of `Alternate APN Links`.
pub const ALTERNATE_APN_LINKS: u16 = 24;
/// Id of `Supported Server Versions`.
pub const SUPPORTED_SERVER_VERSIONS: u16 = 25;
/// Id of `Default Notification Mode`.
pub const DEFAULT_NOTIFICATION_MODE: u16 = 26;
/// Id of `Profile ID Hash Algorithm`.
pub const PROFILE_ID_HASH_ALGORITHM: u16 = 27;

/// The table of the object.
pub const OBJECT: ObjectDef = ObjectDef {
    id: 1,
    #[cfg(feature = "names")]
    name: "LwM2M Server",
    version: "1.2",
    multiple: true,
    mandatory: true,
    resources: &[
        ResourceDef {
            id: SHORT_SERVER_ID,
            #[cfg(feature = "names")]
            name: "Short Server ID",
            operations: Operations::Read,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "1..65534",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: LIFETIME,
            #[cfg(feature = "names")]
            name: "Lifetime",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: DEFAULT_MINIMUM_PERIOD,
            #[cfg(feature = "names")]
            name: "Default Minimum Period",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: DEFAULT_MAXIMUM_PERIOD,
            #[cfg(feature = "names")]
            name: "Default Maximum Period",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: DISABLE,
            #[cfg(feature = "names")]
            name: "Disable",
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
            id: DISABLE_TIMEOUT,
            #[cfg(feature = "names")]
            name: "Disable Timeout",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: NOTIFICATION_STORING_WHEN_DISABLED_OR_OFFLINE,
            #[cfg(feature = "names")]
            name: "Notification Storing When Disabled or Offline",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: BINDING,
            #[cfg(feature = "names")]
            name: "Binding",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: REGISTRATION_UPDATE_TRIGGER,
            #[cfg(feature = "names")]
            name: "Registration Update Trigger",
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
            id: BOOTSTRAP_REQUEST_TRIGGER,
            #[cfg(feature = "names")]
            name: "Bootstrap-Request Trigger",
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
            id: APN_LINK,
            #[cfg(feature = "names")]
            name: "APN Link",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::ObjectLink),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: TLS_DTLS_ALERT_CODE,
            #[cfg(feature = "names")]
            name: "TLS-DTLS Alert Code",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: LAST_BOOTSTRAPPED,
            #[cfg(feature = "names")]
            name: "Last Bootstrapped",
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
            id: REGISTRATION_PRIORITY_ORDER,
            #[cfg(feature = "names")]
            name: "Registration Priority Order",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: INITIAL_REGISTRATION_DELAY_TIMER,
            #[cfg(feature = "names")]
            name: "Initial Registration Delay Timer",
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
            id: REGISTRATION_FAILURE_BLOCK,
            #[cfg(feature = "names")]
            name: "Registration Failure Block",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: BOOTSTRAP_ON_REGISTRATION_FAILURE,
            #[cfg(feature = "names")]
            name: "Bootstrap on Registration Failure",
            operations: Operations::Read,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: COMMUNICATION_RETRY_COUNT,
            #[cfg(feature = "names")]
            name: "Communication Retry Count",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: COMMUNICATION_RETRY_TIMER,
            #[cfg(feature = "names")]
            name: "Communication Retry Timer",
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
            id: COMMUNICATION_SEQUENCE_DELAY_TIMER,
            #[cfg(feature = "names")]
            name: "Communication Sequence Delay Timer",
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
            id: COMMUNICATION_SEQUENCE_RETRY_COUNT,
            #[cfg(feature = "names")]
            name: "Communication Sequence Retry Count",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: TRIGGER,
            #[cfg(feature = "names")]
            name: "Trigger",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: PREFERRED_TRANSPORT,
            #[cfg(feature = "names")]
            name: "Preferred Transport",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "The possible values are those listed in the LwM2M Core Specification",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: MUTE_SEND,
            #[cfg(feature = "names")]
            name: "Mute Send",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: ALTERNATE_APN_LINKS,
            #[cfg(feature = "names")]
            name: "Alternate APN Links",
            operations: Operations::ReadWrite,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::ObjectLink),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SUPPORTED_SERVER_VERSIONS,
            #[cfg(feature = "names")]
            name: "Supported Server Versions",
            operations: Operations::ReadWrite,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: DEFAULT_NOTIFICATION_MODE,
            #[cfg(feature = "names")]
            name: "Default Notification Mode",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..1",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: PROFILE_ID_HASH_ALGORITHM,
            #[cfg(feature = "names")]
            name: "Profile ID Hash Algorithm",
            operations: Operations::ReadWrite,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
    ],
};
