//! `bellwether-server check-config` and `health`, as an operator has them.

use std::fs;
use std::process::{Command, Output};

use bellwether_tests::fleet::Fleet;
use bellwether_tests::program;
use bellwether_tests::server::Server;
use serde_json::Value;

fn checked(words: &[&str]) -> Output {
    checked_with(words, |command| command)
}

fn checked_with(words: &[&str], more: impl Fn(&mut Command) -> &mut Command) -> Output {
    let mut command = program::command("bellwether-server");
    command.args(words);
    more(&mut command).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_nothing_is_made() {
    let folder = Fleet::new_folder();
    let (config, data) = (folder.path().join("server.toml"), folder.path().join("data"));
    fs::write(
        &config,
        "htpp = \"127.0.0.1:1\"\nack_timeout_ms = 1\nstore = \"postgres://b:s3cret@db/f?x=1\"\n",
    )
    .expect("written");
    let (config, data_text) = (config.display().to_string(), data.display().to_string());
    let output = checked(&["--data", &data_text, "check-config", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for what in [
        "server.toml:1:1: mistake: \"htpp\" is not a key; did you mean http?",
        ":2:1: mistake: ack_timeout_ms",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(said.contains("another parameter") && said.ends_with("a server would not start so.\n"), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("postgres://b:withheld@db/f") && !format!("{shown}{said}").contains("s3cret"),
        "{shown}"
    );
    assert!(!data.exists(), "something was made");
}

#[test]
fn sound_configuration_is_told_as_json_with_who_said_what() {
    let folder = Fleet::new_folder();
    let data = folder.path().join("data").display().to_string();
    let words = ["--http", "127.0.0.1:0", "--data", &data, "check-config", "--json"];
    let output = checked_with(&words, |command| {
        command.env("BELLWETHER_DATA", "/of/the/environment").env("BELLWETHER_COAPS", "127.0.0.1:0")
    });
    assert!(output.status.success(), "{}", said(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["sound"], true);
    let setting = |key: &str| {
        let settings = told["settings"].as_array().expect("settings");
        settings.iter().find(|one| one["key"] == key).expect("one of every key").clone()
    };
    assert_eq!(
        (setting("data")["value"].as_str(), &setting("data")["from"]),
        (Some(data.as_str()), &"command-line".into())
    );
    assert_eq!(setting("coaps")["from"], "environment");
    assert_eq!(setting("ack_timeout_ms")["from"], "default");
}

/// What stands behind a command's name counts more than the environment, and so does what stands before it.
#[test]
fn folder_on_the_command_line_counts_more_than_that_of_the_environment() {
    let folder = Fleet::new_folder();
    let data = folder.path().join("data").display().to_string();
    let output = checked_with(&["--data", &data, "backup", "/nowhere/x.tar"], |command| {
        command.env("BELLWETHER_DATA", "/of/the/environment")
    });
    let said = said(&output);
    assert!(said.contains(&data) && !said.contains("/of/the/environment"), "{said}");
}

#[test]
fn trying_finds_the_port_that_is_taken_and_the_folder_that_is_in_use() {
    let folder = Fleet::new_folder();
    let server = Server::start(folder.path());
    let (data, http) = (server.data().display().to_string(), server.http_address().to_string());
    let elsewhere = folder.path().join("elsewhere").display().to_string();
    let tried = |data: &str| {
        checked(&[
            "--http",
            &http,
            "--coaps",
            "127.0.0.1:0",
            "--mqtt",
            "off",
            "--data",
            data,
            "check-config",
            "--try",
        ])
    };
    let output = tried(&elsewhere);
    assert!(!output.status.success());
    assert!(said(&output).contains(&format!("http: {http} can't be had")), "{}", said(&output));
    let output = tried(&data);
    assert!(output.status.success() && said(&output).contains("is at work on"), "{}", said(&output));
    let output = checked(&[
        "--coaps",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data",
        &elsewhere,
        "--store",
        "postgres://b:s3cret@127.0.0.1:1/f",
        "--mqtt",
        "mqtt://me:s3cret@127.0.0.1:1",
        "--master-key-command",
        "echo 1",
        "check-config",
        "--try",
    ]);
    let said = said(&output);
    for what in
        ["at 127.0.0.1:1 could not be opened", "mqtt://127.0.0.1:1 can't be reached", "64 hexadecimal digits"]
    {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(
        !said.contains("s3cret") && !String::from_utf8_lossy(&output.stdout).contains("s3cret"),
        "{said}"
    );
}

#[test]
fn health_is_that_of_the_server_on_the_folder() {
    let folder = Fleet::new_folder();
    let mut server = Server::start(folder.path());
    let data = server.data().display().to_string();
    let output = checked(&["health", "--data", &data]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("store: ok: "), "{told}{}", said(&output));
    server.stop();
    let output = checked(&["health", "--data", &data]);
    assert!(
        output.status.code() == Some(1) && said(&output).contains("does not answer"),
        "{}",
        said(&output)
    );
}
