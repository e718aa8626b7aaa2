//! `docs/configuration.md`, from the types that read the configuration.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use bellwether_gateway::config::{self as gateway, Config as Gateway};
use bellwether_server::config::{Key, NUMBERS};
use clap::CommandFactory;

/// Writes the reference.
pub(crate) fn text() -> String {
    let mut text = HEAD.to_owned();
    let server = Key::all(&bellwether_server::cli::Cli::command());
    let (in_file, beside): (Vec<_>, Vec<_>) = server.into_iter().partition(|key| key.in_file);
    text.push_str(SERVER);
    let bounds: Vec<Bounds> = NUMBERS.iter().map(|one| (one.key, one.least..=one.most)).collect();
    describe_all(&mut text, &in_file, &bounds);
    text.push_str(BESIDE);
    describe_all(&mut text, &beside, &[]);
    text.push_str(GATEWAY);
    describe_all(&mut text, &Key::all(&Gateway::command()), &gateway::bounds());
    text.push_str(AGENT);
    text
}

/// Least and most of a key.
type Bounds = (&'static str, RangeInclusive<u64>);

fn describe_all(text: &mut String, keys: &[Key], bounds: &[Bounds]) {
    for key in keys {
        let bounds = bounds.iter().find(|(name, _)| *name == key.name);
        describe(text, key, bounds.map(|(_, range)| range));
    }
}

fn describe(text: &mut String, key: &Key, bounds: Option<&RangeInclusive<u64>>) {
    let mut told: Vec<String> = Vec::new();
    if key.kind != "`true` or `false`" || key.in_file {
        told.push(format!("`{}`", key.flag));
    } else {
        told.push(format!("`{}` (without a value)", key.flag));
    }
    told.extend(key.environment.iter().map(|variable| format!("`{variable}`")));
    let bounds = bounds.map(|range| format!(", {} to {}", range.start(), range.end())).unwrap_or_default();
    let default =
        key.default.as_deref().map_or("no default".to_owned(), |default| format!("default {default}"));
    // Writing to a text does not fail.
    let _ = write!(
        text,
        "\n### `{}`\n{}\n\n{} · {}{bounds} · {default}\n",
        key.name,
        key.help.trim(),
        told.join(" · "),
        key.kind
    );
}

const HEAD: &str = "\
# Configuration

Made from the types that read it: `cargo run -p bellwether-packaging -- configuration` writes this page anew.

What the command line says counts before the environment, that before the file, and that before the default. A key of the
file has the name of its flag, with underscores for dashes. `bellwether-server check-config` says everything that is wrong
with a configuration at once, and what a server would use.
";

const SERVER: &str = "
## bellwether-server

The file is TOML and named by `--config`. An unknown key, a wrong type and a value out of its bounds are refused.

```toml
public_uri = \"coaps://updates.example:5684\"
data = \"/var/lib/bellwether-server\"
grant_lifetime_s = 86400
```
";

const BESIDE: &str = "
## bellwether-server, on the command line and in the environment alone
";

const GATEWAY: &str = "
## bellwether-gateway

It has no file: a gateway is told by flags or by its environment, such as an `EnvironmentFile` of systemd.
";

const AGENT: &str = "
## bellwether-agent

It has no file and no variables but `RUST_LOG`: what makes a device is in its flash, which `bellwether-agent flash` writes
from its unit file. `bellwether-agent run --help` has the rest.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn reference_is_what_the_types_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let kept = std::fs::read_to_string(&path).expect("docs/configuration.md");
        assert!(
            kept == text(),
            "docs/configuration.md is not what the types say; write it anew with:\n    \
             cargo run -p bellwether-packaging -- configuration"
        );
    }

    #[test]
    fn every_number_has_its_bounds() {
        let text = text();
        let numbers: Vec<&str> = text.lines().filter(|line| line.contains(" · whole number")).collect();
        assert!(numbers.len() >= NUMBERS.len() + 2, "{numbers:?}");
        for line in numbers {
            let told = line.split(" · ").find(|part| part.starts_with("whole number")).expect("it is there");
            assert!(told.split_once(", ").is_some_and(|(_, bounds)| bounds.contains(" to ")), "{line}");
        }
    }

    #[test]
    fn every_key_has_type_and_sentence() {
        for section in text().split("\n### ").skip(1) {
            let mut lines = section.lines();
            let (name, sentence) = (lines.next().expect("a name"), lines.next().expect("a sentence"));
            assert!(sentence.split(' ').count() > 2, "{name}: {sentence:?}");
        }
    }
}
