//! Names an object, an instance, a resource or a resource instance.

use crate::digits;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// Address of one node of the LwM2M tree: one to four ids.
///
/// Instance ids (object and resource instances) are never 65535, which LwM2M reserves.
///
/// Source: LwM2M Core 1.2 §7.1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Path {
    /// All instances of an object, `/5`.
    Object(u16),
    /// One object instance, `/5/0`.
    Instance(u16, u16),
    /// One resource, `/5/0/3`.
    Resource(u16, u16, u16),
    /// One instance of a multiple resource, `/3/0/6/1`.
    ResourceInstance(u16, u16, u16, u16),
}

/// Why a text or a list of Uri-Path segments is no path.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PathError {
    /// The text does not begin with `/`.
    #[error("path does not begin with a slash")]
    NoLeadingSlash,
    /// No id at all.
    #[error("path names no object")]
    Empty,
    /// More than four ids.
    #[error("path has more than four ids")]
    TooDeep,
    /// A segment is not a decimal number of 0 to 65535 without leading zeros.
    #[error("segment {at} of the path is not a decimal id of 0 to 65535")]
    NotAnId {
        /// Position of the segment, from 0.
        at: usize,
    },
    /// An instance id is 65535.
    #[error("segment {at} of the path is 65535, which is reserved")]
    Reserved {
        /// Position of the segment, from 0.
        at: usize,
    },
}

impl Path {
    /// Reads CoAP Uri-Path segments, `["5", "0", "3"]`.
    ///
    /// # Errors
    ///
    /// [`PathError`] for anything that is not one to four decimal ids. A caller that serves other
    /// resources too takes the error as "not an LwM2M path".
    pub fn from_segments<I>(segments: I) -> Result<Self, PathError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut ids = [0; DEPTH_MAX];
        let mut depth = 0;
        for segment in segments {
            let slot = ids.get_mut(depth).ok_or(PathError::TooDeep)?;
            *slot = parse_id(segment.as_ref()).ok_or(PathError::NotAnId { at: depth })?;
            depth += 1;
        }
        Self::from_ids(ids.get(..depth).unwrap_or_default())
    }

    /// Makes a path from one to four ids.
    ///
    /// # Errors
    ///
    /// [`PathError::Empty`], [`PathError::TooDeep`], or [`PathError::Reserved`] for an instance 65535.
    pub const fn from_ids(ids: &[u16]) -> Result<Self, PathError> {
        match *ids {
            [] => Err(PathError::Empty),
            [_, RESERVED, ..] => Err(PathError::Reserved { at: 1 }),
            [_, _, _, RESERVED] => Err(PathError::Reserved { at: 3 }),
            [object] => Ok(Self::Object(object)),
            [object, instance] => Ok(Self::Instance(object, instance)),
            [object, instance, resource] => Ok(Self::Resource(object, instance, resource)),
            [object, instance, resource, index] => {
                Ok(Self::ResourceInstance(object, instance, resource, index))
            }
            _ => Err(PathError::TooDeep),
        }
    }

    /// Adds one id at the end.
    ///
    /// # Errors
    ///
    /// [`PathError::TooDeep`] below a resource instance, [`PathError::Reserved`] for an instance 65535.
    pub fn child(self, id: u16) -> Result<Self, PathError> {
        match self {
            Self::Object(object) => Self::from_ids(&[object, id]),
            Self::Instance(object, instance) => Self::from_ids(&[object, instance, id]),
            Self::Resource(object, instance, resource) => Self::from_ids(&[object, instance, resource, id]),
            Self::ResourceInstance(..) => Err(PathError::TooDeep),
        }
    }

    /// Returns the object id.
    #[must_use]
    pub const fn object(self) -> u16 {
        match self {
            Self::Object(object)
            | Self::Instance(object, ..)
            | Self::Resource(object, ..)
            | Self::ResourceInstance(object, ..) => object,
        }
    }

    /// Returns the object instance id, if the path goes that deep.
    #[must_use]
    pub const fn instance(self) -> Option<u16> {
        match self {
            Self::Object(_) => None,
            Self::Instance(_, instance)
            | Self::Resource(_, instance, _)
            | Self::ResourceInstance(_, instance, ..) => Some(instance),
        }
    }

    /// Returns the resource id, if the path goes that deep.
    #[must_use]
    pub const fn resource(self) -> Option<u16> {
        match self {
            Self::Object(_) | Self::Instance(..) => None,
            Self::Resource(_, _, resource) | Self::ResourceInstance(_, _, resource, _) => Some(resource),
        }
    }

    /// Returns the resource instance id, if the path goes that deep.
    #[must_use]
    pub const fn resource_instance(self) -> Option<u16> {
        match self {
            Self::ResourceInstance(.., index) => Some(index),
            _ => None,
        }
    }
}

/// Reads `/5/0/3`; one slash at the end is accepted, as some clients register `</1/0/>`.
impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let ids = text.strip_prefix('/').ok_or(PathError::NoLeadingSlash)?;
        let ids = ids.strip_suffix('/').unwrap_or(ids);
        if ids.is_empty() {
            return Err(PathError::Empty);
        }
        Self::from_segments(ids.split('/'))
    }
}

impl Path {
    /// Adds the path to a text, as it is displayed.
    pub fn push_to(self, text: &mut String) {
        let ids = [Some(self.object()), self.instance(), self.resource(), self.resource_instance()];
        for id in ids.into_iter().flatten() {
            text.push('/');
            digits::push_unsigned(text, id.into());
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(f, "/{object}"),
            Self::Instance(object, instance) => write!(f, "/{object}/{instance}"),
            Self::Resource(object, instance, resource) => write!(f, "/{object}/{instance}/{resource}"),
            Self::ResourceInstance(object, instance, resource, index) => {
                write!(f, "/{object}/{instance}/{resource}/{index}")
            }
        }
    }
}

/// `u16::from_str` takes `+5` and `007`, which would give one node two names.
fn parse_id(segment: &str) -> Option<u16> {
    let leading_zero = segment.len() > 1 && segment.starts_with('0');
    if leading_zero || !segment.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    segment.parse().ok()
}

/// Object, object instance, resource, resource instance.
const DEPTH_MAX: usize = 4;
/// LwM2M's `MAX_ID`, no instance has it.
const RESERVED: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn every_depth_is_read_and_written_back() {
        for text in ["/5", "/5/0", "/5/0/3", "/3/0/6/1", "/65535"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn uri_path_segments_name_the_same_node_as_the_text() {
        assert_eq!(Path::from_segments(["5", "0", "0"]), "/5/0/0".parse());
    }

    #[test]
    fn trailing_slash_of_a_registration_link_is_accepted() {
        assert_eq!("/1/0/".parse(), Ok(Path::Instance(1, 0)));
    }

    #[test]
    fn reserved_id_is_refused_for_instances_only() {
        assert_eq!("/5/65535".parse::<Path>(), Err(PathError::Reserved { at: 1 }));
        assert_eq!("/5/0/3/65535".parse::<Path>(), Err(PathError::Reserved { at: 3 }));
        assert_eq!("/5/0/65535".parse(), Ok(Path::Resource(5, 0, 65535)));
    }

    #[test]
    fn texts_that_name_no_node_are_refused() {
        let refused = [
            ("", PathError::NoLeadingSlash),
            ("5/0", PathError::NoLeadingSlash),
            ("/", PathError::Empty),
            ("//", PathError::Empty),
            ("///", PathError::NotAnId { at: 0 }),
            ("/5//0", PathError::NotAnId { at: 1 }),
            ("/+5", PathError::NotAnId { at: 0 }),
            ("/05", PathError::NotAnId { at: 0 }),
            ("/65536", PathError::NotAnId { at: 0 }),
            ("/1/2/3/4/5", PathError::TooDeep),
        ];
        for (text, error) in refused {
            assert_eq!(text.parse::<Path>(), Err(error), "{text}");
        }
    }

    #[test]
    fn child_goes_one_level_down_until_the_resource_instance() {
        let instance = Path::Object(3).child(0).unwrap();
        let leaf = instance.child(6).unwrap().child(1).unwrap();
        assert_eq!(leaf, Path::ResourceInstance(3, 0, 6, 1));
        assert_eq!(leaf.child(0), Err(PathError::TooDeep));
        assert_eq!(
            (leaf.object(), leaf.instance(), leaf.resource(), leaf.resource_instance()),
            (3, Some(0), Some(6), Some(1))
        );
    }

    proptest! {
        #[test]
        fn any_ids_come_back_from_their_text(ids in proptest::collection::vec(0..u16::MAX, 1..=4)) {
            let path = Path::from_ids(&ids).unwrap();
            prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
            let mut text = String::from("<");
            path.push_to(&mut text);
            prop_assert_eq!(text, std::format!("<{path}"));
        }

        #[test]
        fn any_text_is_a_path_or_an_error(text in "[/0-9+a ]{0,24}|.{0,16}") {
            if let Ok(path) = text.parse::<Path>() {
                prop_assert_eq!(path.to_string(), text.strip_suffix('/').unwrap_or(&text));
            }
        }
    }
}
