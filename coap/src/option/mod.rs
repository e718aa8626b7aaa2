//! Options: numbers, raw values, and one file for each value format.

use alloc::vec::Vec;

pub(crate) mod block;
pub(crate) mod etag;
pub(crate) mod set;
pub(crate) mod uint;
pub(crate) mod wire;

/// An option that this crate has no field for, as it stands on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawOption {
    /// Option number; odd numbers are critical.
    pub number: u16,
    /// Uninterpreted value.
    pub value: Vec<u8>,
}

/// Option numbers of RFC 7252 §12.2, RFC 7959 §6, RFC 7641 §6, RFC 8613 §11.1 and
/// RFC 9175 §6.
pub mod number {
    #![expect(missing_docs, reason = "the names are the registry's own")]
    pub const IF_MATCH: u16 = 1;
    pub const URI_HOST: u16 = 3;
    pub const ETAG: u16 = 4;
    pub const IF_NONE_MATCH: u16 = 5;
    pub const OBSERVE: u16 = 6;
    pub const URI_PORT: u16 = 7;
    pub const LOCATION_PATH: u16 = 8;
    pub const OSCORE: u16 = 9;
    pub const URI_PATH: u16 = 11;
    pub const CONTENT_FORMAT: u16 = 12;
    pub const MAX_AGE: u16 = 14;
    pub const URI_QUERY: u16 = 15;
    pub const ACCEPT: u16 = 17;
    pub const LOCATION_QUERY: u16 = 20;
    pub const BLOCK2: u16 = 23;
    pub const BLOCK1: u16 = 27;
    pub const SIZE2: u16 = 28;
    pub const PROXY_URI: u16 = 35;
    pub const PROXY_SCHEME: u16 = 39;
    pub const SIZE1: u16 = 60;
    pub const REQUEST_TAG: u16 = 292;
}
