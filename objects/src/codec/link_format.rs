//! application/link-format: what a client has, at registration and Discover.
//!
//! Source: RFC 6690 §2. Accepted beyond it, since clients send it: spaces after a comma, unquoted values of
//! any letters (`ver=1.1`), and a first link that has attributes and no target.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::path::Path;

/// One link with its attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    target: String,
    attributes: Vec<Attribute>,
}

/// One attribute of a link, `ver="1.1"` or `obs`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute {
    name: String,
    value: Option<String>,
}

/// Why bytes are no link-format, or a text cannot stand in it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LinkFormatError {
    /// The bytes are no UTF-8.
    #[error("link-format is not UTF-8")]
    NotUtf8,
    /// A link does not have the form `<target>;name=value`.
    #[error("link-format is malformed at byte {at}")]
    Malformed {
        /// Position in the body.
        at: usize,
    },
    /// More than [`LINKS_MAX`] links.
    #[error("link-format has more than {LINKS_MAX} links")]
    TooManyLinks,
    /// More than [`ATTRIBUTES_MAX`] attributes on one link.
    #[error("a link has more than {ATTRIBUTES_MAX} attributes")]
    TooManyAttributes,
    /// A target or a name has a character that would end it.
    #[error("text has a character that cannot stand in a link")]
    Unwritable,
}

/// Links in one body: a client with every registered object of the core and some dozens of instances.
pub const LINKS_MAX: usize = 512;
/// Attributes on one link: LwM2M defines 14.
pub const ATTRIBUTES_MAX: usize = 16;

/// Reads a body; an empty one has no links.
///
/// # Errors
///
/// [`LinkFormatError`], all but [`LinkFormatError::Unwritable`].
pub fn decode(body: &[u8]) -> Result<Vec<Link>, LinkFormatError> {
    let text = core::str::from_utf8(body).map_err(|_| LinkFormatError::NotUtf8)?;
    let mut cursor = Cursor { text, at: 0 };
    let mut links = Vec::new();
    cursor.skip_spaces();
    while !cursor.is_at_end() {
        if links.len() == LINKS_MAX {
            return Err(LinkFormatError::TooManyLinks);
        }
        links.push(cursor.link(links.is_empty())?);
        cursor.skip_spaces();
        if cursor.is_at_end() {
            break;
        }
        cursor.expect(',')?;
        cursor.skip_spaces();
        if cursor.is_at_end() {
            return Err(cursor.malformed());
        }
    }
    Ok(links)
}

/// Writes a body.
#[must_use]
pub fn encode(links: &[Link]) -> String {
    let texts: Vec<String> = links.iter().map(Link::to_string).collect();
    texts.join(",")
}

impl Link {
    /// Makes a link without attributes.
    ///
    /// # Errors
    ///
    /// [`LinkFormatError::Unwritable`] when the target has a `>` or a control character.
    pub fn new(target: &str) -> Result<Self, LinkFormatError> {
        if target.chars().any(|c| c == '>' || c.is_control()) {
            return Err(LinkFormatError::Unwritable);
        }
        Ok(Self { target: target.to_string(), attributes: Vec::new() })
    }

    /// Adds an attribute with a value.
    ///
    /// # Errors
    ///
    /// [`LinkFormatError::Unwritable`] for a name that is no token or a value with control characters,
    /// [`LinkFormatError::TooManyAttributes`].
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, LinkFormatError> {
        let is_token = !name.is_empty() && name.bytes().all(is_token_byte);
        if !is_token || value.chars().any(char::is_control) {
            return Err(LinkFormatError::Unwritable);
        }
        if self.attributes.len() == ATTRIBUTES_MAX {
            return Err(LinkFormatError::TooManyAttributes);
        }
        self.attributes.push(Attribute { name: name.to_string(), value: Some(value.to_string()) });
        Ok(self)
    }

    /// Returns what stands between `<` and `>`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns all attributes in their order.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Returns the value of the first attribute of that name; `Some("")` where it has none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Some(found.value.as_deref().unwrap_or_default())
    }
}

impl Attribute {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value without its quotes, `None` where the attribute is a name alone.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl From<Path> for Link {
    fn from(path: Path) -> Self {
        Self { target: path.to_string(), attributes: Vec::new() }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.target)?;
        self.attributes.iter().try_for_each(|attribute| write!(f, ";{attribute}"))
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = &self.value else {
            return f.write_str(&self.name);
        };
        // Numbers and versions stand bare, as the examples of LwM2M have them; everything else is quoted.
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return write!(f, "{}={value}", self.name);
        }
        write!(f, "{}=\"", self.name)?;
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn link(&mut self, is_first: bool) -> Result<Link, LinkFormatError> {
        let target = if is_first && self.peek() == Some(';') {
            ""
        } else {
            self.expect('<')?;
            let target = self.take_while(|c| c != '>' && !c.is_control());
            self.expect('>')?;
            target
        };
        let mut link = Link { target: target.to_string(), attributes: Vec::new() };
        while self.peek() == Some(';') {
            self.expect(';')?;
            if link.attributes.len() == ATTRIBUTES_MAX {
                return Err(LinkFormatError::TooManyAttributes);
            }
            link.attributes.push(self.attribute()?);
        }
        Ok(link)
    }

    fn attribute(&mut self) -> Result<Attribute, LinkFormatError> {
        let name = self.take_while(|c| u8::try_from(c).is_ok_and(is_token_byte));
        if name.is_empty() {
            return Err(self.malformed());
        }
        let value = match self.peek() {
            Some('=') => {
                self.expect('=')?;
                Some(self.value()?)
            }
            _ => None,
        };
        Ok(Attribute { name: name.to_string(), value })
    }

    fn value(&mut self) -> Result<String, LinkFormatError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let value =
            self.take_while(|c| !matches!(c, ';' | ',' | '"' | '\\' | '<' | '>' | ' ') && !c.is_control());
        if value.is_empty() { Err(self.malformed()) } else { Ok(value.to_string()) }
    }

    fn quoted(&mut self) -> Result<String, LinkFormatError> {
        self.expect('"')?;
        let mut value = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(value),
                Some('\\') => value.push(self.next().filter(|c| !c.is_control()).ok_or(self.malformed())?),
                Some(c) if !c.is_control() => value.push(c),
                _ => return Err(self.malformed()),
            }
        }
    }

    fn skip_spaces(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\r' | '\n'));
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let (taken, _) = rest.split_at(rest.find(|c| !keep(c)).unwrap_or(rest.len()));
        self.at += taken.len();
        taken
    }

    fn expect(&mut self, expected: char) -> Result<(), LinkFormatError> {
        if self.peek() != Some(expected) {
            return Err(self.malformed());
        }
        self.at += expected.len_utf8();
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn malformed(&self) -> LinkFormatError {
        LinkFormatError::Malformed { at: self.at }
    }
}

/// RFC 8187 §3.2.1 `attr-char`, and the asterisk that ends an extended name.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~*".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn registration_payload_of_our_agent_comes_back_byte_for_byte() {
        let body = r#"</>;rt="oma.lwm2m";ct="0 40 42 11542",</1/0>,</3/0>,</5>;ver=1.2,</5/0>"#;
        let links = decode(body.as_bytes()).unwrap();
        assert_eq!(links.len(), 5);
        assert_eq!(links[0].attribute("ct"), Some("0 40 42 11542"));
        assert_eq!(links[3].attribute("ver"), Some("1.2"));
        assert_eq!(encode(&links), body);
    }

    #[test]
    fn version_reads_the_same_with_and_without_quotes() {
        for body in ["</5>;ver=1.1", "</5>;ver=\"1.1\""] {
            assert_eq!(decode(body.as_bytes()).unwrap()[0].attribute("ver"), Some("1.1"));
        }
    }

    #[test]
    fn attributes_without_a_target_belong_to_the_root() {
        let links = decode(b";rt=\"oma.lwm2m\";ct=11543, </1/0>").unwrap();
        assert_eq!((links[0].target(), links[0].attribute("ct")), ("", Some("11543")));
        assert_eq!(links[1].target(), "/1/0");
        assert_eq!(decode(b"</1/0>,;rt=x"), Err(LinkFormatError::Malformed { at: 7 }));
    }

    #[test]
    fn comma_and_escaped_quote_inside_quotes_do_not_end_the_value() {
        let links = decode(br#"</3>;title="a,\"b\"\\;c";obs"#).unwrap();
        assert_eq!(links[0].attribute("title"), Some(r#"a,"b"\;c"#));
        assert_eq!(links[0].attribute("obs"), Some(""));
        assert_eq!(links[0].attributes()[1].value(), None);
    }

    #[test]
    fn malformed_bodies_are_refused_with_their_position() {
        for (body, at) in [
            ("</3", 3),
            ("/3", 0),
            ("</3>;", 5),
            ("</3>;=1", 5),
            ("</3>;a=", 7),
            ("</3>;a=\"x", 9),
            ("</3>,", 5),
            ("</3></5>", 4),
            ("</3>;a=b c", 9),
        ] {
            assert_eq!(decode(body.as_bytes()), Err(LinkFormatError::Malformed { at }), "{body}");
        }
    }

    #[test]
    fn links_and_attributes_past_their_bounds_are_refused() {
        let links = vec!["</3>"; LINKS_MAX + 1].join(",");
        assert_eq!(decode(links.as_bytes()), Err(LinkFormatError::TooManyLinks));
        let attributes = alloc::format!("</3>{}", ";a".repeat(ATTRIBUTES_MAX + 1));
        assert_eq!(decode(attributes.as_bytes()), Err(LinkFormatError::TooManyAttributes));
    }

    #[test]
    fn target_that_would_end_the_link_is_not_made() {
        assert_eq!(Link::new("/3>;x"), Err(LinkFormatError::Unwritable));
        assert_eq!(Link::from(Path::Object(3)).with("a b", ""), Err(LinkFormatError::Unwritable));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_what_encodes_to_itself_or_are_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(links) = decode(&body) {
                prop_assert_eq!(decode(encode(&links).as_bytes()), Ok(links));
            }
        }

        #[test]
        fn text_that_looks_like_links_decodes_or_is_refused(body in r#"[</>;,="\\ 0-9a-c.]{0,40}"#) {
            if let Ok(links) = decode(body.as_bytes()) {
                prop_assert_eq!(decode(encode(&links).as_bytes()), Ok(links));
            }
        }

        #[test]
        fn any_value_comes_back_from_its_link(value in "[^\\p{Cc}]{0,24}") {
            let link = Link::from(Path::Object(3)).with("title", &value).unwrap();
            prop_assert_eq!(decode(encode(core::slice::from_ref(&link)).as_bytes()), Ok(vec![link]));
        }
    }
}
