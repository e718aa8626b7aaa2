//! Over which transports a client can be reached.

use alloc::string::String;
use core::fmt;

use thiserror::Error;

use super::Version;

/// Binding of a registration, query `b`. The MQTT and HTTP transports of 1.2 are not taken: no way in speaks them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Binding {
    transports: u8,
    /// The `Q` of LwM2M 1.0; later versions say it in a query of its own.
    queue_mode: bool,
}

/// One letter of a binding.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Transport {
    /// `U`.
    Udp = 1,
    /// `T`.
    Tcp = 2,
    /// `S`.
    Sms = 4,
    /// `N`.
    NonIp = 8,
}

/// Why a text is no binding of the version.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BindingError {
    /// 1.0 knows exactly six texts.
    #[error("LwM2M 1.0 knows the bindings U, UQ, S, SQ, US and UQS only")]
    NotOfVersion1_0,
    /// No letter at all.
    #[error("binding names no transport")]
    Empty,
    /// A letter that is none of U, T, S, N.
    #[error("binding has {0:?}, which is none of U, T, S, N")]
    UnknownTransport(char),
    /// A letter twice.
    #[error("binding names {0:?} twice")]
    Repeated(char),
}

impl Binding {
    /// UDP alone: what a client has that says nothing.
    pub const UDP: Self = Self { transports: Transport::Udp as u8, queue_mode: false };

    /// Reads the query's value.
    ///
    /// # Errors
    ///
    /// [`BindingError`]: 1.0 has six texts, from 1.1 on it is a set of letters.
    pub fn parse(version: Version, text: &str) -> Result<Self, BindingError> {
        match version {
            Version::V1_0 => Self::parse_1_0(text),
            Version::V1_1 | Version::V1_2 => Self::parse_1_1(text),
        }
    }

    /// Says whether the client can be reached that way.
    #[must_use]
    pub const fn has(self, transport: Transport) -> bool {
        self.transports & transport as u8 != 0
    }

    /// Says whether the binding itself asks for queue mode, as only 1.0 does.
    #[must_use]
    pub const fn is_queue_mode(self) -> bool {
        self.queue_mode
    }

    fn parse_1_0(text: &str) -> Result<Self, BindingError> {
        let (udp, sms) = (Transport::Udp as u8, Transport::Sms as u8);
        let (transports, queue_mode) = match text {
            "U" => (udp, false),
            "UQ" => (udp, true),
            "S" => (sms, false),
            "SQ" => (sms, true),
            "US" => (udp | sms, false),
            "UQS" => (udp | sms, true),
            _ => return Err(BindingError::NotOfVersion1_0),
        };
        Ok(Self { transports, queue_mode })
    }

    fn parse_1_1(text: &str) -> Result<Self, BindingError> {
        let mut transports = 0;
        for letter in text.chars() {
            let known = LETTERS.iter().find(|(known, _)| *known == letter);
            let (_, transport) = known.ok_or(BindingError::UnknownTransport(letter))?;
            if transports & *transport as u8 != 0 {
                return Err(BindingError::Repeated(letter));
            }
            transports |= *transport as u8;
        }
        if transports == 0 {
            return Err(BindingError::Empty);
        }
        Ok(Self { transports, queue_mode: false })
    }
}

/// Writes the letters in the order that 1.0 prescribes: `U`, `Q`, then the others.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (letter, transport) in LETTERS {
            if self.has(transport) {
                text.push(letter);
            }
        }
        if self.queue_mode {
            text.insert(1.min(text.len()), 'Q');
        }
        f.write_str(&text)
    }
}

const LETTERS: [(char, Transport); 4] =
    [('U', Transport::Udp), ('T', Transport::Tcp), ('S', Transport::Sms), ('N', Transport::NonIp)];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn the_six_bindings_of_1_0_come_back_from_their_text() {
        for text in ["U", "UQ", "S", "SQ", "US", "UQS"] {
            let binding = Binding::parse(Version::V1_0, text).unwrap();
            assert_eq!(binding.to_string(), text);
            assert_eq!(binding.is_queue_mode(), text.contains('Q'));
        }
    }

    #[test]
    fn any_other_binding_of_1_0_is_refused() {
        for text in ["", "Q", "USQ", "SU", "T", "N", "u"] {
            assert_eq!(Binding::parse(Version::V1_0, text), Err(BindingError::NotOfVersion1_0), "{text}");
        }
    }

    #[test]
    fn binding_of_1_1_is_a_set_without_queue_mode() {
        let binding = Binding::parse(Version::V1_1, "NUT").unwrap();
        assert!(binding.has(Transport::Udp) && binding.has(Transport::Tcp) && binding.has(Transport::NonIp));
        assert!(!binding.has(Transport::Sms));
        let refused = [
            ("UQ", BindingError::UnknownTransport('Q')),
            ("UU", BindingError::Repeated('U')),
            ("", BindingError::Empty),
        ];
        for (text, error) in refused {
            assert_eq!(Binding::parse(Version::V1_2, text), Err(error));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_binding_that_reads_the_same_again_or_refused(text in "[UTSNQ]{0,5}|.{0,4}") {
            for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
                if let Ok(binding) = Binding::parse(version, &text) {
                    prop_assert_eq!(Binding::parse(version, &binding.to_string()), Ok(binding));
                }
            }
        }
    }
}
