//! Object 0, LWM2M Security, version 1.2.
//!
//! Generated from `registry/0.xml` (Copyright Open Mobile Alliance, BSD-3-Clause, see there) by
//! `cargo run -p lwm2m-rs --example generate_tables`; do not edit.

use super::{ObjectDef, Operations, ResourceDef};
use crate::value::ValueType;

/// Id of `LWM2M  Server URI`.
pub const LWM2M_SERVER_URI: u16 = 0;
/// Id of `Bootstrap-Server`.
pub const BOOTSTRAP_SERVER: u16 = 1;
/// Id of `Security Mode`.
pub const SECURITY_MODE: u16 = 2;
/// Id of `Public Key or Identity`.
pub const PUBLIC_KEY_OR_IDENTITY: u16 = 3;
/// Id of `Server Public Key`.
pub const SERVER_PUBLIC_KEY: u16 = 4;
/// Id of `Secret Key`.
pub const SECRET_KEY: u16 = 5;
/// Id of `SMS Security Mode`.
pub const SMS_SECURITY_MODE: u16 = 6;
/// Id of `SMS Binding Key Parameters`.
pub const SMS_BINDING_KEY_PARAMETERS: u16 = 7;
/// Id of `SMS Binding Secret Key(s)`.
pub const SMS_BINDING_SECRET_KEY_S: u16 = 8;
/// Id of `LwM2M Server SMS Number`.
pub const LWM2M_SERVER_SMS_NUMBER: u16 = 9;
/// Id of `Short Server ID`.
pub const SHORT_SERVER_ID: u16 = 10;
/// Id of `Client Hold Off Time`.
pub const CLIENT_HOLD_OFF_TIME: u16 = 11;
/// Id of `Bootstrap-Server Account Timeout`.
pub const BOOTSTRAP_SERVER_ACCOUNT_TIMEOUT: u16 = 12;
/// Id of `Matching Type`.
pub const MATCHING_TYPE: u16 = 13;
/// Id of `SNI`.
pub const SNI: u16 = 14;
/// Id of `Certificate Usage`.
pub const CERTIFICATE_USAGE: u16 = 15;
/// Id of `DTLS/TLS Ciphersuite`.
pub const DTLS_TLS_CIPHERSUITE: u16 = 16;
/// Id of `OSCORE Security Mode`.
pub const OSCORE_SECURITY_MODE: u16 = 17;
/// Id of `Groups To Use by Client`.
pub const GROUPS_TO_USE_BY_CLIENT: u16 = 18;
/// Id of `Signature Algorithms Supported by Server`.
pub const SIGNATURE_ALGORITHMS_SUPPORTED_BY_SERVER: u16 = 19;
/// Id of `Signature Algorithms To Use by Client`.
pub const SIGNATURE_ALGORITHMS_TO_USE_BY_CLIENT: u16 = 20;
/// Id of `Signature Algorithm Certs Supported by Server`.
pub const SIGNATURE_ALGORITHM_CERTS_SUPPORTED_BY_SERVER: u16 = 21;
/// Id of `TLS 1.3 Features To Use by Client`.
pub const TLS_1_3_FEATURES_TO_USE_BY_CLIENT: u16 = 22;
/// Id of `TLS Extensions Supported by Server`.
pub const TLS_EXTENSIONS_SUPPORTED_BY_SERVER: u16 = 23;
/// Id of `TLS Extensions To Use by Client`.
pub const TLS_EXTENSIONS_TO_USE_BY_CLIENT: u16 = 24;
/// Id of `Secondary LwM2M Server URI`.
pub const SECONDARY_LWM2M_SERVER_URI: u16 = 25;
/// Id of `MQTT Server`.
pub const MQTT_SERVER: u16 = 26;
/// Id of `LwM2M COSE Security`.
pub const LWM2M_COSE_SECURITY: u16 = 27;
/// Id of `RDS Destination Port`.
pub const RDS_DESTINATION_PORT: u16 = 28;
/// Id of `RDS Source Port`.
pub const RDS_SOURCE_PORT: u16 = 29;
/// Id of `RDS Application ID`.
pub const RDS_APPLICATION_ID: u16 = 30;

/// The table of the object.
pub const OBJECT: ObjectDef = ObjectDef {
    id: 0,
    #[cfg(feature = "names")]
    name: "LWM2M Security",
    version: "1.2",
    multiple: true,
    mandatory: true,
    resources: &[
        ResourceDef {
            id: LWM2M_SERVER_URI,
            #[cfg(feature = "names")]
            name: "LWM2M  Server URI",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: BOOTSTRAP_SERVER,
            #[cfg(feature = "names")]
            name: "Bootstrap-Server",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Boolean),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SECURITY_MODE,
            #[cfg(feature = "names")]
            name: "Security Mode",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..4",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: PUBLIC_KEY_OR_IDENTITY,
            #[cfg(feature = "names")]
            name: "Public Key or Identity",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SERVER_PUBLIC_KEY,
            #[cfg(feature = "names")]
            name: "Server Public Key",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SECRET_KEY,
            #[cfg(feature = "names")]
            name: "Secret Key",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: true,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SMS_SECURITY_MODE,
            #[cfg(feature = "names")]
            name: "SMS Security Mode",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SMS_BINDING_KEY_PARAMETERS,
            #[cfg(feature = "names")]
            name: "SMS Binding Key Parameters",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "6",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SMS_BINDING_SECRET_KEY_S,
            #[cfg(feature = "names")]
            name: "SMS Binding Secret Key(s)",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Opaque),
            #[cfg(feature = "names")]
            range: "16,32,48",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: LWM2M_SERVER_SMS_NUMBER,
            #[cfg(feature = "names")]
            name: "LwM2M Server SMS Number",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SHORT_SERVER_ID,
            #[cfg(feature = "names")]
            name: "Short Server ID",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "1..65534",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: CLIENT_HOLD_OFF_TIME,
            #[cfg(feature = "names")]
            name: "Client Hold Off Time",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: BOOTSTRAP_SERVER_ACCOUNT_TIMEOUT,
            #[cfg(feature = "names")]
            name: "Bootstrap-Server Account Timeout",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "s",
        },
        ResourceDef {
            id: MATCHING_TYPE,
            #[cfg(feature = "names")]
            name: "Matching Type",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..3",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SNI,
            #[cfg(feature = "names")]
            name: "SNI",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: CERTIFICATE_USAGE,
            #[cfg(feature = "names")]
            name: "Certificate Usage",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..3",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: DTLS_TLS_CIPHERSUITE,
            #[cfg(feature = "names")]
            name: "DTLS/TLS Ciphersuite",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: OSCORE_SECURITY_MODE,
            #[cfg(feature = "names")]
            name: "OSCORE Security Mode",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::ObjectLink),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: GROUPS_TO_USE_BY_CLIENT,
            #[cfg(feature = "names")]
            name: "Groups To Use by Client",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SIGNATURE_ALGORITHMS_SUPPORTED_BY_SERVER,
            #[cfg(feature = "names")]
            name: "Signature Algorithms Supported by Server",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SIGNATURE_ALGORITHMS_TO_USE_BY_CLIENT,
            #[cfg(feature = "names")]
            name: "Signature Algorithms To Use by Client",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SIGNATURE_ALGORITHM_CERTS_SUPPORTED_BY_SERVER,
            #[cfg(feature = "names")]
            name: "Signature Algorithm Certs Supported by Server",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: TLS_1_3_FEATURES_TO_USE_BY_CLIENT,
            #[cfg(feature = "names")]
            name: "TLS 1.3 Features To Use by Client",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: TLS_EXTENSIONS_SUPPORTED_BY_SERVER,
            #[cfg(feature = "names")]
            name: "TLS Extensions Supported by Server",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: TLS_EXTENSIONS_TO_USE_BY_CLIENT,
            #[cfg(feature = "names")]
            name: "TLS Extensions To Use by Client",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Unsigned),
            #[cfg(feature = "names")]
            range: "0..65535",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: SECONDARY_LWM2M_SERVER_URI,
            #[cfg(feature = "names")]
            name: "Secondary LwM2M Server URI",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "0..255",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: MQTT_SERVER,
            #[cfg(feature = "names")]
            name: "MQTT Server",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::ObjectLink),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: LWM2M_COSE_SECURITY,
            #[cfg(feature = "names")]
            name: "LwM2M COSE Security",
            operations: Operations::Bootstrap,
            multiple: true,
            mandatory: false,
            value_type: Some(ValueType::ObjectLink),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: RDS_DESTINATION_PORT,
            #[cfg(feature = "names")]
            name: "RDS Destination Port",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..15",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: RDS_SOURCE_PORT,
            #[cfg(feature = "names")]
            name: "RDS Source Port",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::Integer),
            #[cfg(feature = "names")]
            range: "0..15",
            #[cfg(feature = "names")]
            units: "",
        },
        ResourceDef {
            id: RDS_APPLICATION_ID,
            #[cfg(feature = "names")]
            name: "RDS Application ID",
            operations: Operations::Bootstrap,
            multiple: false,
            mandatory: false,
            value_type: Some(ValueType::String),
            #[cfg(feature = "names")]
            range: "",
            #[cfg(feature = "names")]
            units: "",
        },
    ],
};
