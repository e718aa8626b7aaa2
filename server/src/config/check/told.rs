//! What the command line and the environment say, as text.

use std::collections::BTreeMap;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;

use crate::config::Key;

/// Who said what a key is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A flag.
    CommandLine,
    /// A variable of the environment.
    Environment,
    /// The configuration file.
    File {
        /// Where.
        line: usize,
    },
    /// Nobody.
    Default,
}

/// What was told by flags and variables.
#[derive(Clone, Debug, Default)]
pub struct Told(BTreeMap<String, (Origin, String)>);

impl Told {
    /// Takes what was told to a program, and behind the name of its command.
    #[must_use]
    pub fn of(matches: &ArgMatches) -> Self {
        let mut told = BTreeMap::new();
        let behind = matches.subcommand().map(|(_, matches)| matches);
        for matches in [Some(matches), behind].into_iter().flatten() {
            for id in matches.ids() {
                let origin = match matches.value_source(id.as_str()) {
                    Some(ValueSource::CommandLine) => Origin::CommandLine,
                    Some(ValueSource::EnvVariable) => Origin::Environment,
                    _ => continue,
                };
                let raw =
                    matches.try_get_raw(id.as_str()).ok().flatten().and_then(|mut values| values.next());
                if let Some(value) = raw {
                    told.insert(id.to_string(), (origin, value.to_string_lossy().into_owned()));
                }
            }
        }
        Self(told)
    }

    /// Gives what a key was told to be.
    pub(super) fn get(&self, key: &str) -> Option<(Origin, String)> {
        self.0.get(key).cloned()
    }

    /// Tells whether a key was named.
    pub(super) fn names(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// Leaves out of a value what only the server may know.
pub(super) fn withheld(key: &Key, value: &str) -> String {
    let shown = value.split_once("://").map_or_else(
        || value.to_owned(),
        |(scheme, rest)| {
            // A password may hold what parts a URL elsewhere, so everything up to the last @ counts.
            let rest = match rest.rsplit_once('@') {
                Some((login, place)) => {
                    let user = login.split([':', '/', '?']).next().unwrap_or_default();
                    let password = if user == login { "" } else { ":withheld" };
                    format!("{user}{password}@{place}")
                }
                None => rest.to_owned(),
            };
            let rest = match rest.split_once("password=") {
                Some((before, _)) => format!("{before}password=withheld"),
                None => rest,
            };
            format!("{scheme}://{rest}")
        },
    );
    if key.secret && shown == value && !value.contains("://") && value != "sqlite" {
        return "withheld".to_owned();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secret: bool, value: &str) -> String {
        let key = Key {
            name: "store".to_owned(),
            flag: String::new(),
            environment: None,
            kind: String::new(),
            default: None,
            help: String::new(),
            secret,
            in_file: true,
        };
        withheld(&key, value)
    }

    #[test]
    fn password_is_left_out_of_every_url_and_the_rest_is_shown() {
        for (told, said) in [
            ("postgres://b:s3cret@db.example/fleet", "postgres://b:withheld@db.example/fleet"),
            ("postgres://b:s3/cr@t@db/f", "postgres://b:withheld@db/f"),
            ("postgres://b@db/f?password=s3cret&sslmode=require", "postgres://b@db/f?password=withheld"),
            ("mqtt://me:s3cret@host:1883", "mqtt://me:withheld@host:1883"),
            ("mqtt://host:1883", "mqtt://host:1883"),
            ("sqlite", "sqlite"),
        ] {
            assert_eq!(shown(true, told), said);
        }
        assert_eq!(shown(false, "0.0.0.0:5684"), "0.0.0.0:5684");
    }

    #[test]
    fn secret_that_is_no_url_is_withheld_whole() {
        assert_eq!(shown(true, "s3cret"), "withheld");
    }
}
