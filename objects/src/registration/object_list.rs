//! The payload of Register and Update: which objects a client has.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::codec::link_format::{self, Link, LinkFormatError};
use crate::content_format::ContentFormat;
use crate::path::Path;

/// What a client says it has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObjectList {
    /// Path that stands before all others, without a slash at its end: empty, or such as `/lwm2m`.
    pub root: String,
    /// Formats of the root link's `ct`, which the client speaks beyond the mandatory ones.
    pub content_formats: Vec<ContentFormat>,
    /// Objects and object instances in the order of the payload.
    pub objects: Vec<SupportedObject>,
}

/// One object or object instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SupportedObject {
    /// [`Path::Object`] or [`Path::Instance`].
    pub path: Path,
    /// Attribute `ver`; absent means the version that the client's LwM2M version has it in.
    pub version: Option<ObjectVersion>,
}

/// Version of an object. Compared by number: 1.10 comes after 1.9.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectVersion {
    /// Number before the dot.
    pub major: u16,
    /// Number after the dot.
    pub minor: u16,
}

/// Why a payload is no list of objects. Answer with 4.00.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ObjectListError {
    /// It is no link-format.
    #[error(transparent)]
    LinkFormat(#[from] LinkFormatError),
    /// `ver` is not two numbers.
    #[error("version of {path} is not two numbers joined by a dot")]
    Version {
        /// The object.
        path: Path,
    },
    /// `ct` is not a list of numbers.
    #[error("ct of the root link is not a list of numbers")]
    ContentFormat,
}

impl ObjectList {
    /// Reads a registration payload.
    ///
    /// Links to something else than an object or an object instance are ignored.
    ///
    /// # Errors
    ///
    /// [`ObjectListError`].
    pub fn parse(payload: &[u8]) -> Result<Self, ObjectListError> {
        let links = link_format::decode(payload)?;
        let root_link = links.iter().find(|link| is_root(link));
        let root = root_link.map_or("", |link| link.target().trim_end_matches('/'));
        let content_formats = match root_link.and_then(|link| link.attribute("ct")) {
            Some(ct) => parse_content_formats(ct).ok_or(ObjectListError::ContentFormat)?,
            None => Vec::new(),
        };
        let mut objects = Vec::new();
        for link in &links {
            let path = link.target().strip_prefix(root).and_then(|target| target.parse().ok());
            if let Some(path @ (Path::Object(_) | Path::Instance(..))) = path {
                let version = link.attribute("ver").map(str::parse).transpose();
                let version = version.map_err(|ObjectVersionError| ObjectListError::Version { path })?;
                objects.push(SupportedObject { path, version });
            }
        }
        Ok(Self { root: root.to_string(), content_formats, objects })
    }

    /// Writes a registration payload.
    ///
    /// # Errors
    ///
    /// [`LinkFormatError::Unwritable`] when the root has characters that cannot stand in a link.
    pub fn to_payload(&self) -> Result<String, LinkFormatError> {
        let root_target = if self.root.is_empty() { "/" } else { &self.root };
        let mut root_link = Link::new(root_target)?.with("rt", ROOT_TYPE)?;
        if !self.content_formats.is_empty() {
            let numbers: Vec<String> = self.content_formats.iter().map(ToString::to_string).collect();
            root_link = root_link.with("ct", &numbers.join(" "))?;
        }
        let mut links = alloc::vec![root_link];
        for object in &self.objects {
            let link = Link::new(&alloc::format!("{}{}", self.root, object.path))?;
            links.push(match object.version {
                Some(version) => link.with("ver", &version.to_string())?,
                None => link,
            });
        }
        Ok(link_format::encode(&links))
    }

    /// Says whether the client has the object or an instance of it.
    #[must_use]
    pub fn has_object(&self, id: u16) -> bool {
        self.objects.iter().any(|object| object.path.object() == id)
    }
}

/// Says that a text is not two numbers joined by a dot.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("object version is not two numbers joined by a dot")]
pub struct ObjectVersionError;

impl FromStr for ObjectVersion {
    type Err = ObjectVersionError;

    fn from_str(text: &str) -> Result<Self, ObjectVersionError> {
        let (major, minor) = text.split_once('.').ok_or(ObjectVersionError)?;
        let major = plain_number(major).ok_or(ObjectVersionError)?;
        let minor = plain_number(minor).ok_or(ObjectVersionError)?;
        Ok(Self { major, minor })
    }
}

impl fmt::Display for ObjectVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The root is the link of type `oma.lwm2m`; clients of 1.0 also send it without the type.
fn is_root(link: &Link) -> bool {
    let types = link.attribute("rt").unwrap_or_default();
    types.split(' ').any(|rt| rt == ROOT_TYPE) || matches!(link.target(), "" | "/")
}

fn parse_content_formats(ct: &str) -> Option<Vec<ContentFormat>> {
    let numbers = ct.split(' ').filter(|number| !number.is_empty());
    numbers.map(|number| plain_number(number).map(ContentFormat)).collect()
}

/// `u16::from_str` takes a plus sign too.
fn plain_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

const ROOT_TYPE: &str = "oma.lwm2m";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const fn plain(path: Path) -> SupportedObject {
        SupportedObject { path, version: None }
    }

    #[test]
    fn payload_of_our_agent_comes_back_byte_for_byte() {
        let payload = r#"</>;rt="oma.lwm2m";ct="0 40 42 11542",</1/0>,</3/0>,</5/0>"#;
        let list = ObjectList::parse(payload.as_bytes()).unwrap();
        let formats = [ContentFormat(0), ContentFormat(40), ContentFormat(42), ContentFormat(11542)];
        assert_eq!(list.content_formats, formats);
        assert!(list.has_object(5) && !list.has_object(4));
        assert_eq!(list.to_payload().unwrap(), payload);
    }

    #[test]
    fn alternate_root_is_taken_off_every_path() {
        let payload = b"</lwm2m>;rt=\"oma.lwm2m\";ct=11543, </lwm2m/1/0>,</lwm2m/3>";
        let list = ObjectList::parse(payload).unwrap();
        assert_eq!(
            (list.root.as_str(), list.content_formats.as_slice()),
            ("/lwm2m", &[ContentFormat(11543)][..])
        );
        assert_eq!(list.objects, [plain(Path::Instance(1, 0)), plain(Path::Object(3))]);
    }

    #[test]
    fn object_version_is_read_bare_or_quoted_and_compared_by_number() {
        let list = ObjectList::parse(b"</3>;ver=1.9,</3/0>,</5>;ver=\"1.10\"").unwrap();
        let versions: Vec<_> = list.objects.iter().map(|object| object.version).collect();
        assert_eq!(versions[1], None);
        assert!(versions[0] < versions[2]);
    }

    #[test]
    fn links_that_name_no_object_are_ignored() {
        let list = ObjectList::parse(b"</.well-known/core>,</3/0/1>,</1/65535>,</5/0>").unwrap();
        assert_eq!(list.objects, [plain(Path::Instance(5, 0))]);
    }

    #[test]
    fn nonsense_in_a_known_attribute_is_refused() {
        let path = Path::Object(5);
        assert_eq!(ObjectList::parse(b"</5>;ver=1"), Err(ObjectListError::Version { path }));
        assert_eq!(ObjectList::parse(b"</>;ct=tlv"), Err(ObjectListError::ContentFormat));
    }

    proptest! {
        #[test]
        fn any_list_comes_back(
            root in prop_oneof![Just(""), Just("/lwm2m"), Just("/a/b")],
            formats in proptest::collection::vec(any::<u16>(), 0..4),
            objects in proptest::collection::vec((any::<u16>(), proptest::option::of(0..u16::MAX), any::<(bool, u16, u16)>()), 0..6),
        ) {
            let objects = objects.into_iter().map(|(object, instance, (versioned, major, minor))| SupportedObject {
                path: instance.map_or(Path::Object(object), |instance| Path::Instance(object, instance)),
                version: versioned.then_some(ObjectVersion { major, minor }),
            });
            let list = ObjectList {
                root: root.to_string(),
                content_formats: formats.into_iter().map(ContentFormat).collect(),
                objects: objects.collect(),
            };
            prop_assert_eq!(ObjectList::parse(list.to_payload().unwrap().as_bytes()), Ok(list));
        }

        #[test]
        fn any_bytes_are_a_list_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(list) = ObjectList::parse(&payload) {
                prop_assert!(list.objects.iter().all(|object| object.path.resource().is_none()));
            }
        }

        #[test]
        fn text_that_looks_like_a_list_parses_or_is_refused(payload in r#"(<?/?[0-9]{0,2}/?[0-9]?>?;?(rt|ct|ver)?=?"?[0-9.]{0,3}"?,?){0,6}"#) {
            if let Ok(list) = ObjectList::parse(payload.as_bytes()) {
                let again = ObjectList::parse(list.to_payload().unwrap().as_bytes());
                prop_assert_eq!(again, Ok(list));
            }
        }
    }

    #[test]
    fn empty_payload_of_an_update_names_nothing() {
        assert_eq!(ObjectList::parse(b""), Ok(ObjectList { objects: vec![], ..ObjectList::default() }));
    }
}
