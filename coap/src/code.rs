//! Request methods and response codes.

use core::fmt;

/// Request method, RFC 7252 §5.8 and RFC 8132 §2 to §3.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Method {
    /// 0.01: read a representation.
    Get,
    /// 0.02: let the resource act on the body.
    Post,
    /// 0.03: replace the representation.
    Put,
    /// 0.04: remove the resource.
    Delete,
    /// 0.05: read with a body that selects.
    Fetch,
    /// 0.06: change in part, not idempotent.
    Patch,
    /// 0.07: change in part, idempotent.
    IPatch,
}

impl Method {
    pub(crate) fn from_code(code: Code) -> Option<Self> {
        Some(match code.0 {
            1 => Self::Get,
            2 => Self::Post,
            3 => Self::Put,
            4 => Self::Delete,
            5 => Self::Fetch,
            6 => Self::Patch,
            7 => Self::IPatch,
            _ => return None,
        })
    }

    pub(crate) fn code(self) -> Code {
        Code(match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
            Self::Fetch => 5,
            Self::Patch => 6,
            Self::IPatch => 7,
        })
    }

    // RFC 7252 §5.1, RFC 8132 §2.1: GET and FETCH change nothing, so asking again is harmless.
    pub(crate) fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Fetch)
    }
}

/// Code of a message: three bits of class, five of detail, shown as `c.dd`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Code(pub u8);

impl Code {
    pub(crate) const EMPTY: Self = Self::of(0, 0);
    /// 2.01
    pub const CREATED: Self = Self::of(2, 1);
    /// 2.02
    pub const DELETED: Self = Self::of(2, 2);
    /// 2.03
    pub const VALID: Self = Self::of(2, 3);
    /// 2.04
    pub const CHANGED: Self = Self::of(2, 4);
    /// 2.05
    pub const CONTENT: Self = Self::of(2, 5);
    /// 2.31; the endpoint sends and takes it itself.
    pub const CONTINUE: Self = Self::of(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Self = Self::of(4, 0);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self::of(4, 1);
    /// 4.02
    pub const BAD_OPTION: Self = Self::of(4, 2);
    /// 4.03
    pub const FORBIDDEN: Self = Self::of(4, 3);
    /// 4.04
    pub const NOT_FOUND: Self = Self::of(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self::of(4, 5);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = Self::of(4, 6);
    /// 4.08
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self::of(4, 8);
    /// 4.09
    pub const CONFLICT: Self = Self::of(4, 9);
    /// 4.12
    pub const PRECONDITION_FAILED: Self = Self::of(4, 12);
    /// 4.13
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self::of(4, 13);
    /// 4.15
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self::of(4, 15);
    /// 4.29
    pub const TOO_MANY_REQUESTS: Self = Self::of(4, 29);
    /// 5.00
    pub const INTERNAL_SERVER_ERROR: Self = Self::of(5, 0);
    /// 5.01
    pub const NOT_IMPLEMENTED: Self = Self::of(5, 1);
    /// 5.02
    pub const BAD_GATEWAY: Self = Self::of(5, 2);
    /// 5.03
    pub const SERVICE_UNAVAILABLE: Self = Self::of(5, 3);
    /// 5.04
    pub const GATEWAY_TIMEOUT: Self = Self::of(5, 4);
    /// 5.05
    pub const PROXYING_NOT_SUPPORTED: Self = Self::of(5, 5);

    const fn of(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail)
    }

    /// Returns the class, 0 ..= 7: 2 is success, 4 the client's fault, 5 the server's.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// Returns the detail, 0 ..= 31.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// Tells whether the class is 2.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    pub(crate) const fn is_request(self) -> bool {
        self.class() == 0 && self.detail() != 0
    }

    // RFC 7252 §3: classes 2, 4 and 5 are responses, 1, 3, 6 and 7 are reserved.
    pub(crate) const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn code_is_shown_as_class_and_two_digits() {
        assert_eq!(Code::REQUEST_ENTITY_TOO_LARGE.to_string(), "4.13");
        assert_eq!(Code::CONTENT.to_string(), "2.05");
    }

    #[test]
    fn every_method_comes_back_from_its_code() {
        for byte in 0..=u8::MAX {
            if let Some(method) = Method::from_code(Code(byte)) {
                assert_eq!(method.code(), Code(byte));
            }
        }
        assert_eq!(Method::from_code(Code(8)), None);
    }
}
