//! What a device answers when it is read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks a registered device for what it has at a path: `commands/devices/read`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadDevice {
    /// Where the reply goes without a response topic; changes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Endpoint name.
    pub endpoint: String,
    /// Object, instance, resource or resource instance: `/3`, `/3/0`, `/3/0/9`, `/3/0/6/1`.
    pub path: String,
}

/// What a device has at a path, as it said just now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Reading {
    /// Endpoint name.
    pub endpoint: String,
    /// What was asked for.
    pub path: String,
    /// CoAP Content-Format in which the device answered, such as 112 (SenML CBOR) or 11542 (TLV).
    pub content_format: u16,
    /// Resources and resource instances, in the order in which the device gave them.
    pub values: Vec<ReadValue>,
}

/// Value of one resource or resource instance.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ReadValue {
    /// Path of the value, such as `/3/0/9`.
    pub path: String,
    /// Name of the resource, where its object is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Type of the value.
    pub kind: ValueKind,
    /// A text, a number, true or false. Bytes are hexadecimal text, links are text, times are seconds since 1970; a
    /// number that is not finite is null.
    pub value: serde_json::Value,
    /// Unit, as the registry of objects has it, such as `/100` or `ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// Type of a value. Of a resource that is unknown here it is as the device wrote it; in TLV that is bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// Text.
    String,
    /// Signed number.
    Integer,
    /// Unsigned number.
    Unsigned,
    /// Number with a fraction.
    Float,
    /// True or false.
    Boolean,
    /// Bytes.
    Opaque,
    /// Seconds since 1970, UTC.
    Time,
    /// Object and instance, joined by a colon.
    ObjectLink,
    /// Links in link-format.
    CoreLink,
}
