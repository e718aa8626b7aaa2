//! Everything that is wrong with what a server would be told, at once: `bellwether-server check-config`.

mod attempt;
mod machine;
mod told;

use std::fmt;
use std::path::PathBuf;

use clap::CommandFactory;
use serde::Serialize;

use super::file::{Position, Read};
use super::{Config, ConfigError, Flags, Key, NUMBERS, keys};
use crate::cli::Cli;

pub use attempt::attempt;
pub use told::{Origin, Told};

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// What is wrong or doubtful, mistakes of the file first.
    pub findings: Vec<Finding>,
    /// What the server would use, key by key.
    pub settings: Vec<Setting>,
    /// The same as the server has it; what is refused has its default there.
    pub config: Config,
}

/// Something that is wrong or doubtful.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub gravity: Gravity,
    /// The file in which it stands, if it stands in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Its place there.
    #[serde(flatten)]
    pub place: Option<Position>,
    /// What is wrong, and what to do.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    /// The server would not start, or not do its work.
    Mistake,
    /// It would, and somebody should think about it.
    Warning,
}

/// What one key is set to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its value, secrets withheld; for a default, in the words of the help.
    pub value: Option<String>,
    /// Who said so.
    pub from: Origin,
}

impl Finding {
    /// Says what a server would fail by.
    #[must_use]
    pub fn mistake(text: impl Into<String>) -> Self {
        Self { gravity: Gravity::Mistake, file: None, place: None, text: text.into() }
    }

    /// Says what somebody should think about.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { gravity: Gravity::Warning, ..Self::mistake(text) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(Position { line, column }) = self.place {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        let gravity = match self.gravity {
            Gravity::Mistake => "mistake",
            Gravity::Warning => "warning",
        };
        write!(f, "{gravity}: {}", self.text)
    }
}

impl Checked {
    /// Tells whether a server would start so.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.gravity != Gravity::Mistake)
    }

    /// Says it in one line.
    #[must_use]
    pub fn verdict(&self) -> String {
        let of = |gravity| self.findings.iter().filter(|finding| finding.gravity == gravity).count();
        let counted =
            |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
        let warnings = counted(of(Gravity::Warning), "warning");
        match of(Gravity::Mistake) {
            0 => format!("No mistake, {warnings}: a server would start so."),
            number => format!("{}, {warnings}: a server would not start so.", counted(number, "mistake")),
        }
    }

    /// Gives findings and settings as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let sound = self.is_sound();
        serde_json::json!({"sound": sound, "findings": self.findings, "settings": self.settings}).to_string()
    }

    /// Gives the settings as a file could have them; what is a default, or no key of the file, is a comment.
    #[must_use]
    pub fn toml(&self) -> String {
        let numbers: Vec<&str> = NUMBERS.iter().map(|number| number.key).collect();
        let line = |setting: &Setting| {
            let Setting { key, value, from } = setting;
            let value = value.as_deref().unwrap_or("not set");
            let in_file = keys().contains(&key.as_str());
            let said = match from {
                Origin::Default => return format!("# {key}: {value}\n"),
                Origin::CommandLine => "command line".to_owned(),
                Origin::Environment => format!("BELLWETHER_{}", key.to_uppercase()),
                Origin::File { line } => format!("line {line}"),
            };
            if !in_file {
                return format!("# {key}: {value} ({said})\n");
            }
            let quoted = !numbers.contains(&key.as_str()) && value != "true" && value != "false";
            let value = if quoted { toml::Value::from(value).to_string() } else { value.to_owned() };
            format!("{key} = {value} # {said}\n")
        };
        self.settings.iter().map(line).collect()
    }
}

/// Reads everything that a server would read, and changes nothing.
#[must_use]
pub fn check(flags: Flags, told: &Told) -> Checked {
    let path = flags.config.clone();
    let mut findings = Vec::new();
    let mut read = Read::default();
    if let Some(path) = &path {
        match std::fs::read_to_string(path) {
            Ok(text) => read = Read::of(&text),
            Err(error) => findings.push(Finding::mistake(format!(
                "the configuration file {} can't be read ({error}): name another one with --config, or none",
                path.display()
            ))),
        }
    }
    for mistake in &read.mistakes {
        let place = Some(mistake.place);
        findings.push(Finding { file: path.clone(), place, ..Finding::mistake(&mistake.text) });
    }
    let settings = settings(told, &read);
    let Read { file, values, .. } = read;
    let (config, refused) = Config::gather(flags, file);
    for error in refused {
        let said_in_file = match &error {
            ConfigError::Bounds { key, .. } => values.get(*key).filter(|_| !told.names(key)),
            _ => None,
        };
        let mut finding = Finding::mistake(with_causes(&error));
        if let Some((place, _)) = said_in_file {
            finding = Finding { file: path.clone(), place: Some(*place), ..finding };
        }
        findings.push(finding);
    }
    findings.sort_by_key(|finding| finding.place.map(|place| (place.line, place.column)));
    findings.extend(machine::findings(&config, &settings, path.as_deref(), &values));
    Checked { findings, settings, config }
}

/// Says for each key what it is, from whoever said it last: command line, environment, file, default.
fn settings(told: &Told, read: &Read) -> Vec<Setting> {
    let setting = |key: Key| {
        let in_file = || {
            let (place, value) = read.values.get(&key.name)?;
            Some((Origin::File { line: place.line }, value.clone()))
        };
        let (from, value) = match told.get(&key.name).or_else(in_file) {
            Some((from, value)) => (from, Some(told::withheld(&key, &value))),
            None => (Origin::Default, key.default),
        };
        Setting { key: key.name, value, from }
    };
    Key::all(&Cli::command()).into_iter().map(setting).collect()
}

/// Says an error with its causes, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests;
