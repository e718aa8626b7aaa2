use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::FromArgMatches;

use super::*;
use crate::cli::Command;

/// Checks what a command line says; nothing comes of this process's environment.
fn checked(words: &[&str]) -> Checked {
    let command = Cli::command().mut_args(|arg| arg.env(None::<&str>));
    let matches =
        command.try_get_matches_from([&["bellwether-server"], words].concat()).expect("a command line");
    let cli = Cli::from_arg_matches(&matches).expect("a command line");
    let Some(Command::CheckConfig { place, .. }) = cli.command else { panic!("another command") };
    check(cli.flags.at(place), &Told::of(&matches))
}

fn with_file(folder: &Path, text: &str, words: &[&str]) -> Checked {
    let (path, data) = (folder.join("server.toml"), folder.join("data"));
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("a path");
    let words =
        [words, &["--data", data.to_str().expect("a path"), "check-config", "--config", path]].concat();
    checked(&words)
}

fn mistakes(checked: &Checked) -> Vec<String> {
    let mistakes = checked.findings.iter().filter(|finding| finding.gravity == Gravity::Mistake);
    mistakes.map(ToString::to_string).collect()
}

fn setting<'a>(checked: &'a Checked, key: &str) -> &'a Setting {
    checked.settings.iter().find(|setting| setting.key == key).expect("a setting of every key")
}

#[test]
fn file_with_many_mistakes_is_answered_with_all_of_them_and_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "grant_lifetme_s = 600\nack_timeout_ms = 1\n\n  coaps = \"all:5684\"\nsessions_max = \"many\"\n\
                store = \"mysql://b:s3cret@db/f\"\npublic_uri = \"coap://a\"\nmqtt = \"mqtt://h:port\"\n";
    let checked = with_file(folder.path(), text, &[]);
    let told = mistakes(&checked);
    for (line, column, what) in [
        (1, 1, "did you mean grant_lifetime_s?"),
        (2, 1, "must be 10 to 60000, not 1"),
        (4, 3, "IP:PORT"),
        (5, 1, "sessions_max: invalid type"),
        (6, 1, "must be sqlite, or a URL"),
        (7, 1, "must be coaps://"),
        (8, 1, "port is no number"),
    ] {
        let place = format!("server.toml:{line}:{column}: mistake: ");
        assert!(
            told.iter().any(|one| one.contains(&place) && one.contains(what)),
            "{place}{what}: {told:#?}"
        );
    }
    assert_eq!(told.len(), 7, "{told:#?}");
    assert!(!format!("{}{}{told:?}", checked.toml(), checked.json()).contains("s3cret"));
    assert!(checked.verdict().starts_with("7 mistakes, "), "{}", checked.verdict());
}

#[test]
fn mistake_that_the_command_line_makes_is_not_looked_for_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let checked = with_file(folder.path(), "ack_timeout_ms = 100\n", &["--ack-timeout-ms", "1"]);
    let told = mistakes(&checked);
    assert!(told.len() == 1 && told[0].starts_with("mistake: ack_timeout_ms"), "{told:?}");
}

#[test]
fn each_setting_says_who_said_so_and_the_text_is_a_file_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "# first\nhttp = \"127.0.0.1:1\"\nmqtt = \"mqtt://me:s3cret@broker.example\"\ngrant_lifetime_s = 3600\n";
    let checked = with_file(folder.path(), text, &["--coaps", "127.0.0.1:2"]);
    assert!(checked.is_sound(), "{:?}", checked.findings);
    assert_eq!(setting(&checked, "http").from, Origin::File { line: 2 });
    assert_eq!(setting(&checked, "coaps").from, Origin::CommandLine);
    assert_eq!(setting(&checked, "mqtt").value.as_deref(), Some("mqtt://me:withheld@broker.example"));
    let retries = setting(&checked, "ack_timeout_ms");
    assert_eq!((retries.value.as_deref(), retries.from), (Some("2000"), Origin::Default));
    let read = Read::of(&checked.toml());
    assert!(read.mistakes.is_empty(), "{:?}\n{}", read.mistakes, checked.toml());
    assert_eq!(read.file.grant_lifetime_s, Some(3600));
}

#[test]
fn secrets_that_others_can_read_are_told_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    for name in ["master.key", "http.token"] {
        std::fs::write(data.join(name), "ab".repeat(32)).expect("written");
        std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(0o644)).expect("set");
    }
    let told = mistakes(&with_file(folder.path(), "", &[]));
    assert!(told.len() == 2 && told.iter().all(|one| one.contains("chmod 600")), "{told:?}");
}

#[test]
fn password_in_a_file_for_everybody_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "store = \"postgres://b:s3cret@db.example/f\"\n";
    let checked = with_file(folder.path(), text, &[]);
    let path = folder.path().join("server.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    let warned = |checked: &Checked| checked.findings.iter().any(|one| one.text.contains("holds a password"));
    let path = path.to_str().expect("a path");
    assert!(warned(&checked), "{:?}", checked.findings);
    assert!(!warned(&self::checked(&["check-config", "--config", path])));
}

#[test]
fn files_that_do_not_exist_are_named() {
    let told =
        mistakes(&checked(&["check-config", "--config", "/nowhere/server.toml", "--data", "/dev/null/x"]));
    assert!(told.iter().any(|one| one.contains("/nowhere/server.toml can't be read")), "{told:?}");
    assert!(told.iter().any(|one| one.contains("data: /dev/null/x")), "{told:?}");
    let words = ["--mqtt", "mqtt://h", "--mqtt-password-file", "/nowhere/word", "check-config"];
    let told = mistakes(&checked(&words));
    assert!(told.iter().any(|one| one.contains("/nowhere/word can't be read")), "{told:?}");
}

#[test]
fn doors_that_are_in_each_others_way_are_found() {
    let told = mistakes(&checked(&["--coap", "127.0.0.1:5684", "check-config"]));
    assert!(told.len() == 1 && told[0].contains("coap and coaps can't both have"), "{told:?}");
}

#[test]
fn url_of_the_data_base_is_read_before_anybody_connects() {
    let told = mistakes(&checked(&["check-config", "--store", "postgres://b:s3cret@db/f?sslmod=require"]));
    assert!(told.len() == 1 && told[0].contains("another parameter"), "{told:?}");
    assert!(!told[0].contains("s3cret"), "{told:?}");
}
