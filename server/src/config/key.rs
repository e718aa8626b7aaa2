//! What each key is, in the words of its flag: for the reference and for `check-config`.

use std::any::TypeId;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

use super::{NUMBERS, Number, keys};

/// One thing that a program can be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Its name: that of the flag, with underscores.
    pub name: String,
    /// The flag, with its dashes.
    pub flag: String,
    /// The variable of the environment.
    pub environment: Option<String>,
    /// What it may be, in words.
    pub kind: String,
    /// What it is where nothing is said, in words.
    pub default: Option<String>,
    /// What it does, as the flag's help has it: a sentence, and where there is more to say, paragraphs.
    pub help: String,
    /// Whether its value is told nobody.
    pub secret: bool,
    /// Whether the server's file may have it.
    pub in_file: bool,
}

impl Key {
    /// Describes everything that a command can be told by flags with a variable of the environment.
    #[must_use]
    pub fn all(command: &Command) -> Vec<Self> {
        command.get_arguments().filter_map(Self::of).collect()
    }

    fn of(arg: &Arg) -> Option<Self> {
        let environment = arg.get_env()?.to_str()?.to_owned();
        let name = arg.get_id().as_str().to_owned();
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let (help, told) = without_default(&help);
        let given = arg.get_default_values().first().and_then(|value| value.to_str());
        Some(Self {
            flag: format!("--{}", arg.get_long()?),
            environment: Some(environment),
            kind: kind(arg, &name),
            default: given.map(ToOwned::to_owned).or(told),
            help,
            secret: arg.is_hide_env_values_set(),
            in_file: keys().contains(&name.as_str()),
            name,
        })
    }

    /// Finds the bounds of a key that is a number.
    #[must_use]
    pub fn number(&self) -> Option<&'static Number> {
        NUMBERS.iter().find(|number| number.key == self.name)
    }
}

/// Takes `[default: …]` out of a help text.
fn without_default(help: &str) -> (String, Option<String>) {
    match help.split_once("[default: ") {
        Some((before, rest)) => {
            let (default, after) = rest.split_once(']').unwrap_or((rest, ""));
            (format!("{}{after}", before.trim_end()), Some(default.to_owned()))
        }
        None => (help.to_owned(), None),
    }
}

fn kind(arg: &Arg, name: &str) -> String {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return "`true` or `false`".to_owned();
    }
    let values = arg.get_possible_values();
    if !values.is_empty() {
        let names: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.get_name())).collect();
        return names.join(" or ");
    }
    let parsed = arg.get_value_parser().type_id();
    if parsed == TypeId::of::<PathBuf>() {
        "path".to_owned()
    } else if parsed == TypeId::of::<SocketAddr>() {
        "address, `IP:PORT`".to_owned()
    } else if parsed == TypeId::of::<String>() {
        "text".to_owned()
    } else {
        let unit = UNITS.iter().find(|(suffix, _)| name.ends_with(suffix));
        format!("whole number{}", unit.map(|(_, unit)| format!(" of {unit}")).unwrap_or_default())
    }
}

/// The unit ends the name.
const UNITS: [(&str, &str); 5] =
    [("_ms", "milliseconds"), ("_s", "seconds"), ("_days", "days"), ("_mib", "MiB"), ("_bytes", "bytes")];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;
    use crate::config::{Config, Flags};

    fn all() -> Vec<Key> {
        Key::all(&Cli::command())
    }

    #[test]
    fn every_key_of_the_file_is_a_flag_with_its_variable() {
        for key in keys() {
            let described = all().into_iter().find(|one| one.name == **key);
            let described = described.unwrap_or_else(|| panic!("no flag for the key {key}"));
            let variable = format!("BELLWETHER_{}", key.to_uppercase());
            assert_eq!(described.environment.as_deref(), Some(variable.as_str()));
            assert_eq!(described.flag, format!("--{}", key.replace('_', "-")));
        }
    }

    #[test]
    fn every_number_has_bounds_and_the_default_that_its_help_names() {
        for key in all().iter().filter(|key| key.in_file && key.kind.starts_with("whole number")) {
            let number = key.number().unwrap_or_else(|| panic!("{} is not in NUMBERS", key.name));
            assert_eq!(key.default.as_deref(), Some(number.default.to_string().as_str()), "{}", key.name);
            assert!((number.least..=number.most).contains(&number.default), "{}", key.name);
        }
    }

    #[test]
    fn addresses_that_the_help_names_are_those_that_are_taken() {
        let config = Config::resolve(Flags::default()).expect("valid");
        let told = |name: &str| all().into_iter().find(|key| key.name == name).and_then(|key| key.default);
        assert_eq!(told("coaps"), Some(config.coaps.to_string()));
        assert_eq!(told("http"), Some(config.http.to_string()));
        assert_eq!(told("data").map(PathBuf::from), Some(config.data));
    }
}
