//! What this machine says of a configuration: folders, files and who may read them, addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bellwether_store::PostgresStore;
use nix::unistd::{AccessFlags, access};

use super::{Finding, Setting, with_causes};
use crate::config::file::Position;
use crate::config::{Config, Mqtt, StoreAt};
use crate::secret_file;

/// Looks at everything that is named; opens no socket and writes nothing.
pub(super) fn findings(
    config: &Config,
    settings: &[Setting],
    file: Option<&Path>,
    values: &BTreeMap<String, (Position, String)>,
) -> Vec<Finding> {
    let mut findings = Vec::from_iter(folder(&config.data));
    findings.extend(SECRETS.iter().filter_map(|name| secret(&config.data.join(name))));
    if config.master_key_command.is_none() {
        findings.extend(master_key(&config.data.join("master.key")));
    }
    findings.extend(store(config));
    findings.extend(doors(config));
    if let Some(path) = file
        && values.values().any(|(_, value)| holds_password(value))
    {
        findings.extend(readable_by_others(path, "and holds a password"));
    }
    let password = settings.iter().find(|setting| setting.key == "mqtt_password_file");
    if let Some(path) = password.and_then(|setting| setting.value.as_deref()) {
        findings.extend(readable_by_others(Path::new(path), "and is a password"));
    }
    findings.extend(log(settings));
    findings
}

/// The data folder, or the one in which it would be made.
fn folder(data: &Path) -> Option<Finding> {
    match std::fs::metadata(data) {
        Ok(found) if !found.is_dir() => {
            Some(Finding::mistake(format!("data: {} is no folder: name one with --data", data.display())))
        }
        Ok(found) if access(data, AccessFlags::W_OK | AccessFlags::X_OK).is_err() => {
            let owner = found.uid();
            Some(Finding::mistake(format!(
                "data: {} can't be written to by this user; it belongs to user {owner}: run the server as that one, or \
                 chown -R the folder",
                data.display()
            )))
        }
        Ok(found) if found.mode() & 0o077 != 0 => Some(Finding::warning(format!(
            "data: {} is open to others (mode {:o}): run chmod 700 on it",
            data.display(),
            found.mode() & 0o777
        ))),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => unmakeable(data),
        Err(error) => Some(Finding::mistake(format!("data: {} can't be used: {error}", data.display()))),
    }
}

/// Why a folder that is not there can't be made.
fn unmakeable(data: &Path) -> Option<Finding> {
    let above =
        data.ancestors().skip(1).map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let there = above.into_iter().find(|path| path.exists())?;
    if there.is_dir() && access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
        return None;
    }
    Some(Finding::mistake(format!(
        "data: {} is not there and can't be made, since {} can't be written to by this user",
        data.display(),
        there.display()
    )))
}

fn secret(path: &Path) -> Option<Finding> {
    secret_file::read(path).err().map(|error| Finding::mistake(error.to_string()))
}

fn master_key(path: &Path) -> Option<Finding> {
    let text = secret_file::read(path).ok().flatten()?;
    let right = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wrong = || Finding::mistake(format!("{} is not 64 hexadecimal digits: restore it", path.display()));
    (!right).then(wrong)
}

fn store(config: &Config) -> Option<Finding> {
    let StoreAt::Postgres(url) = &config.store else { return None };
    let database = config.data.join("bellwether.db");
    if database.exists() {
        return Some(Finding::mistake(format!(
            "store: {} is here, and another store was named: take it over with bellwether-server store copy --to URL",
            database.display()
        )));
    }
    PostgresStore::check_url(url.reveal())
        .err()
        .map(|error| Finding::mistake(format!("store: {}", with_causes(&error))))
}

/// Addresses that can't be had together, and those that need a thought.
fn doors(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let same = |one: SocketAddr, other: SocketAddr| {
        let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
        one.port() == other.port() && one.port() != 0 && overlap
    };
    if let Some(coap) = config.coap {
        if same(coap, config.coaps) {
            findings.push(Finding::mistake(format!(
                "coap and coaps can't both have {coap}: without security CoAP has port 5683"
            )));
        }
        findings.push(Finding::warning(format!(
            "coap: devices come in at {coap} without security: what they say can be read and forged on the way"
        )));
    }
    if let Mqtt::Embedded { listen: Some(listen) } = &config.mqtt
        && same(*listen, config.http)
    {
        findings.push(Finding::mistake(format!("mqtt_listen and http can't both have {listen}")));
    }
    if !config.http.ip().is_loopback() {
        findings.push(Finding::warning(format!(
            "http: {} is no loopback address: the token crosses the network in the clear; let a proxy with TLS listen \
             there, and the server on loopback",
            config.http
        )));
    }
    if config.public_uri.is_none() && config.coaps.ip().is_unspecified() {
        findings.push(Finding::warning(
            "public_uri: unit files tell devices to call this machine only; set it to coaps://HOST:PORT for others",
        ));
    }
    findings
}

fn log(settings: &[Setting]) -> Option<Finding> {
    let filter = settings.iter().find(|setting| setting.key == "log")?.value.as_deref()?;
    let wrong = tracing_subscriber::EnvFilter::try_new(filter).err()?;
    Some(Finding::mistake(format!("log: {filter:?} is no filter ({wrong}): say error, warn, info or debug")))
}

fn readable_by_others(path: &Path, why: &str) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    let text =
        || format!("{} can be read by others (mode {mode:o}) {why}: run chmod 600 on it", path.display());
    (mode & 0o044 != 0).then(|| Finding::warning(text()))
}

fn holds_password(value: &str) -> bool {
    let login = value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    login.is_some_and(|(login, _)| login.contains(':')) || value.contains("password=")
}

/// What a server refuses to use while others can read it.
const SECRETS: [&str; 3] = ["master.key", "http.token", "connection-ids.key"];
