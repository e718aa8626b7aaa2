//! What a resource holds.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// Value of one resource or resource instance.
///
/// Source: LwM2M Core 1.2 Appendix C.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// UTF-8 text.
    String(String),
    /// Signed integer.
    Integer(i64),
    /// Unsigned integer.
    Unsigned(u64),
    /// Floating point number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes without meaning to LwM2M.
    Opaque(Vec<u8>),
    /// Seconds since 1970, UTC.
    Time(i64),
    /// Reference to an object instance.
    ObjectLink(ObjectLink),
    /// Links in link-format.
    CoreLink(String),
}

/// Type of a resource, as the object tables give it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ValueType {
    /// [`Value::String`].
    String,
    /// [`Value::Integer`].
    Integer,
    /// [`Value::Unsigned`].
    Unsigned,
    /// [`Value::Float`].
    Float,
    /// [`Value::Boolean`].
    Boolean,
    /// [`Value::Opaque`].
    Opaque,
    /// [`Value::Time`].
    Time,
    /// [`Value::ObjectLink`].
    ObjectLink,
    /// [`Value::CoreLink`].
    CoreLink,
}

/// Reference to an object instance; 65535:65535 points nowhere.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ObjectLink {
    /// Object id.
    pub object: u16,
    /// Object instance id.
    pub instance: u16,
}

/// Why a text is no object link.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("object link is not two ids of 0 to 65535 joined by a colon")]
pub struct ObjectLinkError;

impl Value {
    /// Returns the type of the value.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::String(_) => ValueType::String,
            Self::Integer(_) => ValueType::Integer,
            Self::Unsigned(_) => ValueType::Unsigned,
            Self::Float(_) => ValueType::Float,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Opaque(_) => ValueType::Opaque,
            Self::Time(_) => ValueType::Time,
            Self::ObjectLink(_) => ValueType::ObjectLink,
            Self::CoreLink(_) => ValueType::CoreLink,
        }
    }

    /// Returns the number of an integer, unsigned or time value that fits an `i64`.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) | Self::Time(number) => Some(*number),
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Returns the text of a string or link value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::CoreLink(text) => Some(text),
            _ => None,
        }
    }
}

impl FromStr for ObjectLink {
    type Err = ObjectLinkError;

    fn from_str(text: &str) -> Result<Self, ObjectLinkError> {
        let (object, instance) = text.split_once(':').ok_or(ObjectLinkError)?;
        let id = |digits: &str| {
            let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| all_digits).ok_or(ObjectLinkError)
        };
        Ok(Self { object: id(object)?, instance: id(instance)? })
    }
}

impl fmt::Display for ObjectLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object, self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn object_link_without_two_plain_numbers_is_refused() {
        for text in ["", ":", "5", "5:", "+5:0", "5:0:0", "65536:0", "5 :0"] {
            assert_eq!(text.parse::<ObjectLink>(), Err(ObjectLinkError), "{text}");
        }
    }

    #[test]
    fn unsigned_past_the_signed_range_has_no_integer() {
        assert_eq!(Value::Unsigned(u64::MAX).as_integer(), None);
        assert_eq!(Value::Unsigned(7).as_integer(), Some(7));
    }

    proptest! {
        #[test]
        fn any_object_link_comes_back_from_its_text(object: u16, instance: u16) {
            let link = ObjectLink { object, instance };
            prop_assert_eq!(link.to_string().parse(), Ok(link));
        }
    }
}
