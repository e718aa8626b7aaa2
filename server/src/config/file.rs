//! The TOML file: its keys, and what is wrong with it, said without what may be a password.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Deserializer};

use super::{ConfigError, Key, MqttVersion};
use crate::cli::Cli;

/// What the file may say; each key is described at the flag of the same name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the fields are named as the keys in the file")]
pub(super) struct File {
    pub(super) data: Option<PathBuf>,
    pub(super) store: Option<String>,
    pub(super) coaps: Option<SocketAddr>,
    pub(super) coap: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    pub(super) public_uri: Option<String>,
    pub(super) master_key_command: Option<String>,
    pub(super) grant_lifetime_s: Option<u64>,
    pub(super) mqtt: Option<String>,
    pub(super) mqtt_listen: Option<SocketAddr>,
    pub(super) mqtt_version: Option<MqttVersion>,
    pub(super) mqtt_password_file: Option<PathBuf>,
    pub(super) mqtt_ca_file: Option<PathBuf>,
    pub(super) mqtt_cert_file: Option<PathBuf>,
    pub(super) mqtt_key_file: Option<PathBuf>,
    pub(super) sessions_max: Option<u64>,
    pub(super) hibernate_after_s: Option<u64>,
    pub(super) queue_mode_awake_s: Option<u64>,
    pub(super) ack_timeout_ms: Option<u64>,
    pub(super) ledger_keep_days: Option<u64>,
    pub(super) ledger_folder: Option<PathBuf>,
}

/// Lists the keys of the file, in the order of its type.
#[must_use]
pub fn keys() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It ends with an error by its nature: nothing is read.
    drop(File::deserialize(Keys(&mut keys)));
    keys
}

/// Reads the file whole; the first mistake is told.
pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let read = Read::of(&text);
    match read.mistakes.into_iter().next() {
        None => Ok(read.file),
        Some(Mistake { place, text }) => {
            Err(ConfigError::Invalid { path: path.to_owned(), text: format!("line {}: {text}", place.line) })
        }
    }
}

/// A place in the file, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Position {
    /// Its line.
    pub line: usize,
    /// Its column.
    pub column: usize,
}

/// Something that is wrong in the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mistake {
    pub(super) place: Position,
    /// What is wrong, without the line: that may hold a password.
    pub(super) text: String,
}

/// What was read, where it stands, and everything that is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) file: File,
    pub(super) values: BTreeMap<String, (Position, String)>,
    pub(super) mistakes: Vec<Mistake>,
}

impl Read {
    /// Reads a text key by key, so that one mistake hides no other.
    pub(super) fn of(text: &str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut read = Self::default();
        for error in errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            read.mistakes.push(Mistake { place: position(text, at), text: error.message().to_owned() });
        }
        let (span, mut good) = (table.span(), DeTable::new());
        for (key, value) in table.into_inner() {
            let place = position(text, key.span().start);
            match checked(&key, &value) {
                Ok(()) => {
                    let shown = value.get_ref().as_str().map_or_else(
                        || text.get(value.span()).unwrap_or_default().to_owned(),
                        ToOwned::to_owned,
                    );
                    read.values.insert(key.get_ref().to_string(), (place, shown));
                    good.insert(key, value);
                }
                Err(text) => read.mistakes.push(Mistake { place, text }),
            }
        }
        match File::deserialize(Deserializer::from(Spanned::new(span, good))) {
            Ok(file) => read.file = file,
            Err(error) => {
                let place = position(text, 0);
                read.mistakes.push(Mistake { place, text: error.message().to_owned() });
            }
        }
        read.mistakes.sort_by_key(|mistake| (mistake.place.line, mistake.place.column));
        read
    }
}

/// Tells what is wrong with one key and its value.
fn checked(key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    let name: &str = key.get_ref();
    if !keys().contains(&name) {
        return Err(unknown(name));
    }
    let alone = DeTable::from_iter([(key.clone(), value.clone())]);
    let read = File::deserialize(Deserializer::from(Spanned::new(key.span(), alone)));
    read.map(drop).map_err(|error| {
        let message = error.message();
        let advice = if message.contains("socket address") {
            ": an address is \"IP:PORT\", such as \"0.0.0.0:5684\"; names are not looked up"
        } else {
            ""
        };
        format!("{name}: {message}{advice}")
    })
}

fn unknown(name: &str) -> String {
    let flat = name.to_lowercase().replace('-', "_");
    let beside = Key::all(&Cli::command()).into_iter().find(|key| key.name == flat && !key.in_file);
    if let Some(Key { flag, environment, .. }) = beside {
        let variable = environment.unwrap_or_default();
        return format!("{name:?} is not a key of the file: say {flag}, or {variable} in the environment");
    }
    let near = keys().iter().map(|key| (strsim::jaro_winkler(&flat, key), *key));
    let nearest = near.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(near, _)| *near > NEAR);
    match nearest {
        Some((_, key)) => format!("{name:?} is not a key; did you mean {key}?"),
        None => format!("{name:?} is not a key; the keys are {}", keys().join(", ")),
    }
}

fn position(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Position { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

/// Of 1: what is closer is a slip of the fingers; clap uses the same measure for flags.
const NEAR: f64 = 0.8;

/// Asks a type for the names of its fields.
struct Keys<'a>(&'a mut &'static [&'static str]);

impl<'de> serde::Deserializer<'de> for Keys<'_> {
    type Error = toml::de::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("only the names were asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("this is no type with fields"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_the_type_has() {
        assert!(keys().starts_with(&["data", "store", "coaps"]), "{:?}", keys());
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_what_is_right_is_read() {
        let read = Read::of(
            "grant_lifetme_s = 600\nhttp = \"localhost:80\"\ncoaps = \"127.0.0.1:1\"\n  ack-timeout-ms = 2\nx = \n",
        );
        let told: Vec<_> = read.mistakes.iter().map(|one| (one.place.line, one.place.column)).collect();
        assert_eq!(told, [(1, 1), (2, 1), (4, 3), (5, 1), (5, 5)], "{:?}", read.mistakes);
        let texts: Vec<&str> = read.mistakes.iter().map(|one| one.text.as_str()).collect();
        assert!(texts[0].contains("did you mean grant_lifetime_s?"), "{texts:?}");
        assert!(texts[1].contains("IP:PORT"), "{texts:?}");
        assert!(texts[2].contains("did you mean ack_timeout_ms?"), "{texts:?}");
        assert_eq!(read.file.coaps, Some(SocketAddr::from(([127, 0, 0, 1], 1))));
        assert_eq!(read.values["coaps"].0, Position { line: 3, column: 1 });
    }

    #[test]
    fn key_that_is_like_no_other_is_answered_with_all_of_them() {
        let read = Read::of("colour = 1\n");
        assert!(read.mistakes[0].text.contains("the keys are data, store"), "{:?}", read.mistakes);
    }

    #[test]
    fn what_only_the_command_line_takes_is_sent_there() {
        let read = Read::of("log = \"debug\"\n");
        assert!(read.mistakes[0].text.contains("say --log, or BELLWETHER_LOG"), "{:?}", read.mistakes);
    }
}
