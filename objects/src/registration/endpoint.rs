//! The name a device registers under.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// LwM2M endpoint client name: non-empty, at most 255 bytes, no control characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint(String);

/// Why a text is no endpoint name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EndpointError {
    /// No bytes.
    #[error("endpoint name is empty")]
    Empty,
    /// More than [`Endpoint::MAX_BYTES`].
    #[error("endpoint name is {bytes} bytes long, at most {} are allowed", Endpoint::MAX_BYTES)]
    TooLong {
        /// Length of the name.
        bytes: usize,
    },
    /// A line feed or the like, which would forge log lines.
    #[error("endpoint name has a control character at byte {at}")]
    ControlCharacter {
        /// Position in the name.
        at: usize,
    },
}

impl Endpoint {
    /// Our own bound, not the specification's: it keeps index keys and log lines small.
    pub const MAX_BYTES: usize = 255;

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(name: String) -> Result<Self, EndpointError> {
        match name.len() {
            0 => return Err(EndpointError::Empty),
            bytes if bytes > Self::MAX_BYTES => return Err(EndpointError::TooLong { bytes }),
            _ => {}
        }
        match name.char_indices().find(|(_, c)| c.is_control()) {
            Some((at, _)) => Err(EndpointError::ControlCharacter { at }),
            None => Ok(Self(name)),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(name: &str) -> Result<Self, EndpointError> {
        Self::try_from(name.to_string())
    }
}

impl AsRef<str> for Endpoint {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn name_with_newline_is_refused_with_its_position() {
        let refused = "dev-1\nadmin".parse::<Endpoint>();
        assert_eq!(refused, Err(EndpointError::ControlCharacter { at: 5 }));
    }

    #[test]
    fn name_of_255_bytes_is_the_longest() {
        assert!(Endpoint::try_from("x".repeat(255)).is_ok());
        assert_eq!(Endpoint::try_from("x".repeat(256)), Err(EndpointError::TooLong { bytes: 256 }));
        assert_eq!("".parse::<Endpoint>(), Err(EndpointError::Empty));
    }

    proptest! {
        #[test]
        fn any_accepted_name_is_kept_as_it_came(name in "\\PC{0,300}|.{0,32}") {
            if let Ok(endpoint) = name.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.as_str(), &name);
                prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }
}
