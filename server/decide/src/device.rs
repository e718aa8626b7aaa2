//! Who a device is to the server.

use std::fmt;
use thiserror::Error;

/// Name of a device: its endpoint name, which is also the name of its identity and its DTLS identity.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint(String);

/// Why a text is no endpoint name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EndpointError {
    /// Give the device a name.
    #[error("an endpoint name is empty")]
    Empty,
    /// Give the device a shorter name.
    #[error("an endpoint name is {0} bytes long, at most {ENDPOINT_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Take the character out; names go into topics, logs and URIs.
    #[error("an endpoint name holds a control character or a blank at byte {0}")]
    Character(usize),
}

/// A device as its operator enrolled it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// Its name, unique in its tenant.
    pub endpoint: Endpoint,
    /// Class name that it was enrolled for, as in its author's manifests.
    pub class: String,
    /// Whether updates may go to it; an operator switches it.
    pub enabled: bool,
    /// When it was enrolled, seconds since 1970.
    pub added_at: u64,
}

impl Endpoint {
    /// Gives the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(name: String) -> Result<Self, EndpointError> {
        let unfit = |c: char| c.is_control() || c.is_whitespace();
        match name.char_indices().find(|(_, c)| unfit(*c)) {
            _ if name.is_empty() => Err(EndpointError::Empty),
            _ if name.len() > ENDPOINT_BYTES_MAX => Err(EndpointError::TooLong(name.len())),
            Some((position, _)) => Err(EndpointError::Character(position)),
            None => Ok(Self(name)),
        }
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = EndpointError;

    fn try_from(name: &str) -> Result<Self, EndpointError> {
        Self::try_from(name.to_owned())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest endpoint name, in bytes: `name` of the update protocol's structures has 1 to 64.
pub const ENDPOINT_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_name_is_refused() {
        assert_eq!(Endpoint::try_from(""), Err(EndpointError::Empty));
    }

    #[test]
    fn name_with_newline_is_refused_with_its_position() {
        assert_eq!(Endpoint::try_from("ab\nc"), Err(EndpointError::Character(2)));
    }

    #[test]
    fn name_of_64_bytes_is_taken_and_one_of_65_is_refused() {
        assert!(Endpoint::try_from("x".repeat(64)).is_ok());
        assert_eq!(Endpoint::try_from("x".repeat(65)), Err(EndpointError::TooLong(65)));
    }
}
