//! The files that a release is installed with say what the programs understand.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first thing that is not as it must be"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bellwether_server::cli::Cli;
use bellwether_server::config::{Config, Key};
use clap::{Command, CommandFactory, Parser};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn variables(command: &Command) -> Vec<String> {
    Key::all(command).into_iter().filter_map(|key| key.environment).collect()
}

/// Settings of a unit: what stands behind `=`, in its order, by what stands before it.
fn unit(path: &str) -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read(path).lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{path}: {line}"));
        settings.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    settings
}

fn units() -> [(&'static str, &'static str, Command); 2] {
    let gateway = bellwether_gateway::config::Config::command();
    [
        ("packaging/systemd/bellwether-server.service", "bellwether-server", Cli::command()),
        ("packaging/systemd/bellwether-gateway.service", "bellwether-gateway", gateway),
    ]
}

#[test]
fn units_start_our_programs_with_variables_that_they_know() {
    for (path, program, command) in units() {
        let unit = unit(path);
        assert_eq!(unit["ExecStart"], [format!("/usr/bin/{program}")]);
        assert_eq!(unit["StateDirectory"], [program]);
        let known = variables(&command);
        let set: Vec<&str> =
            unit["Environment"].iter().filter_map(|one| one.split_once('=')).map(|(name, _)| name).collect();
        assert!(
            set.len() >= 2 && set.iter().all(|name| known.iter().any(|one| one == name)),
            "{path}: {set:?}"
        );
        for credential in &unit["LoadCredential"] {
            let (name, _) = credential.split_once(':').expect("a name and a path");
            let used = unit["Environment"].iter().any(|one| one.ends_with(&format!("=%d/{name}")));
            assert!(used, "{path}: nobody reads the credential {name}");
        }
    }
}

#[test]
fn units_give_up_every_right_that_the_programs_do_not_need() {
    for (path, _, _) in units() {
        let unit = unit(path);
        for (name, value) in HARDENING {
            assert_eq!(
                unit.get(*name).map(Vec::as_slice),
                Some([(*value).to_owned()].as_slice()),
                "{path}: {name}"
            );
        }
        assert_eq!(unit["SystemCallFilter"], ["@system-service", "~@privileged @resources"], "{path}");
    }
}

/// systemd would else end it after a minute and a half, in the middle of a step that the next start begins anew.
#[test]
fn start_of_the_server_has_the_time_that_a_new_schema_takes() {
    let unit = unit("packaging/systemd/bellwether-server.service");
    assert_eq!(unit["Type"], ["notify"]);
    assert_eq!(unit["TimeoutStartSec"], ["1h"]);
}

#[test]
fn example_of_a_configuration_is_sound_with_every_line_in_force() {
    let text = read("packaging/systemd/server.toml");
    let lines =
        text.lines().map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("server.toml");
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).expect("written");
    let cli =
        Cli::try_parse_from([Path::new("bellwether-server"), Path::new("--config"), &path]).expect("flags");
    let config = Config::resolve(cli.flags).expect("sound");
    assert!(config.public_uri.is_some(), "the lines were not put in force");
}

#[test]
fn container_copies_what_is_there_and_runs_as_nobody_special() {
    let text = read("packaging/container/Containerfile").replace("\\\n", " ");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.first().is_some_and(|word| !word.starts_with('#')))
        .collect();
    let of = |name: &str| lines.iter().filter(move |words| words[0] == name).cloned().collect::<Vec<_>>();
    assert_eq!(of("FROM").len(), 2, "it is built in one stage and shipped in another");
    let built = of("RUN")
        .concat()
        .windows(2)
        .filter(|two| two[0] == "-p")
        .map(|two| two[1].to_owned())
        .collect::<Vec<_>>();
    for words in of("COPY") {
        let sources = &words[1..words.len() - 1];
        if sources[0] == "--from=build" {
            for source in &sources[1..] {
                let program = source.rsplit('/').next().expect("a name").to_owned();
                assert!(built.contains(&program), "{program} is not built");
            }
        } else {
            assert!(sources.iter().all(|source| root().join(source).exists()), "{sources:?}");
        }
    }
    let user: u32 = of("USER")[0][1].split(':').next().expect("a user").parse().expect("a number");
    assert!(user >= 1_000, "it runs as {user}");
    let place = |name: &str| lines.iter().position(|words| words[0] == name);
    assert!(place("USER") < place("ENTRYPOINT"));
}

#[test]
fn container_listens_where_it_says_and_asks_itself_how_it_is() {
    let text = read("packaging/container/Containerfile");
    let line = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"))
    };
    let known = variables(&Cli::command());
    let set: Vec<(&str, &str)> = line("ENV ").split(' ').filter_map(|one| one.split_once('=')).collect();
    assert!(set.iter().all(|(name, _)| known.iter().any(|one| one == name)), "{set:?}");
    let flags: Vec<String> = set
        .iter()
        .map(|(name, value)| {
            format!("--{}={value}", name["BELLWETHER_".len()..].to_lowercase().replace('_', "-"))
        })
        .collect();
    let words = [vec!["bellwether-server".to_owned()], flags].concat();
    let config = Config::resolve(Cli::try_parse_from(words).expect("flags").flags).expect("sound");
    assert_eq!(config.data, Path::new(line("VOLUME ")));
    let ports = format!("{}/udp {}/tcp", config.coaps.port(), config.http.port());
    assert_eq!(line("EXPOSE "), ports);
    let asked = line("HEALTHCHECK ").split_once("CMD ").expect("a command").1;
    let words: Vec<&str> =
        asked.trim_matches(['[', ']']).split(", ").map(|word| word.trim_matches('"')).collect();
    Cli::try_parse_from(words).expect("a command of ours");
}

/// What both units must say, each once.
const HARDENING: &[(&str, &str)] = &[
    ("Type", "notify"),
    ("WatchdogSec", "60"),
    ("Restart", "on-failure"),
    ("DynamicUser", "yes"),
    ("StateDirectoryMode", "0700"),
    ("UMask", "0077"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("NoNewPrivileges", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateUsers", "yes"),
    ("ProcSubset", "pid"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHome", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectProc", "invisible"),
    ("ProtectSystem", "strict"),
    ("RemoveIPC", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
];
