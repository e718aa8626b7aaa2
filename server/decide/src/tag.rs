//! What operators call a group of devices.

use std::fmt;

use thiserror::Error;

/// A word that an operator puts to devices, to list them or to launch campaigns for them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(String);

/// Why a text is no tag.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TagError {
    /// Leave it out.
    #[error("a tag is empty")]
    Empty,
    /// Choose a shorter one.
    #[error("a tag is {0} bytes long, at most {TAG_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Choose another character: tags stand in lists, tables, URIs and web pages.
    #[error("a tag holds {0:?}; letters, digits and - _ . : / = @ + are allowed")]
    Character(char),
}

impl Tag {
    /// Gives the tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Tag {
    type Error = TagError;

    fn try_from(text: String) -> Result<Self, TagError> {
        let unfit = |c: &char| !c.is_alphanumeric() && !"-_.:/=@+".contains(*c);
        match text.chars().find(unfit) {
            _ if text.is_empty() => Err(TagError::Empty),
            _ if text.len() > TAG_BYTES_MAX => Err(TagError::TooLong(text.len())),
            Some(c) => Err(TagError::Character(c)),
            None => Ok(Self(text)),
        }
    }
}

impl TryFrom<&str> for Tag {
    type Error = TagError;

    fn try_from(text: &str) -> Result<Self, TagError> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of a tag: a label that people read.
pub const TAG_BYTES_MAX: usize = 64;

/// Tags of one device: its site, its customer, its ring, and as many more.
pub const TAGS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_letters_digits_and_joints_are_tags() {
        for text in ["roof", "site:north/3", "ring=2", "Köln", "a_b-c.d@e+f"] {
            assert_eq!(Tag::try_from(text).expect("a tag").as_str(), text);
        }
    }

    #[test]
    fn what_a_list_a_page_or_a_table_would_take_for_its_own_is_refused_by_its_character() {
        for (text, c) in [
            ("<script>", '<'),
            ("a b", ' '),
            ("a,b", ','),
            ("a;b", ';'),
            ("a\"b", '"'),
            ("a\u{202e}b", '\u{202e}'),
        ] {
            assert_eq!(Tag::try_from(text), Err(TagError::Character(c)));
        }
        assert_eq!(Tag::try_from(""), Err(TagError::Empty));
        assert_eq!(Tag::try_from("x".repeat(65)), Err(TagError::TooLong(65)));
    }
}
