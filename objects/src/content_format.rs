//! CoAP Content-Format numbers that LwM2M uses.

use core::fmt;

/// Number of a media type in the CoAP options Content-Format and Accept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContentFormat(pub u16);

impl ContentFormat {
    /// text/plain;charset=utf-8: one value as text.
    pub const TEXT: Self = Self(0);
    /// application/link-format: registration payloads and Discover.
    pub const LINK_FORMAT: Self = Self(40);
    /// application/octet-stream: one opaque value.
    pub const OCTET_STREAM: Self = Self(42);
    /// application/cbor: one value as CBOR.
    pub const CBOR: Self = Self(60);
    /// application/senml+json.
    pub const SENML_JSON: Self = Self(110);
    /// application/senml+cbor.
    pub const SENML_CBOR: Self = Self(112);
    /// application/vnd.oma.lwm2m+tlv.
    pub const TLV: Self = Self(11542);
    /// application/vnd.oma.lwm2m+json.
    pub const JSON: Self = Self(11543);
    /// application/vnd.oma.lwm2m+cbor.
    pub const LWM2M_CBOR: Self = Self(11544);

    /// Gives the registered number for one of the numbers that LwM2M 1.0 clients took before the registration.
    ///
    /// ```
    /// use lwm2m_rs::ContentFormat;
    /// assert_eq!(ContentFormat(1542).registered(), ContentFormat::TLV);
    /// ```
    #[must_use]
    pub const fn registered(self) -> Self {
        match self.0 {
            1541 => Self::TEXT,
            1542 => Self::TLV,
            1543 => Self::JSON,
            1544 => Self::OCTET_STREAM,
            _ => self,
        }
    }
}

impl fmt::Display for ContentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
