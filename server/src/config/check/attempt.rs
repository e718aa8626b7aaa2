//! What only trying shows: sockets, the data base, the broker, the command for the master key.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use bellwether_store::{PostgresStore, Schema, SqliteStore};
use tokio::net::TcpStream;

use super::{Finding, with_causes};
use crate::config::{Config, Mqtt, StoreAt};
use crate::core::StartError;
use crate::{shell, vault};

/// Tries what a start would need, and leaves everything as it was.
pub async fn attempt(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match config.data.is_dir().then(|| shell::lock(&config.data)) {
        Some(Err(StartError::InUse(data))) => findings.push(Finding::warning(format!(
            "a server is at work on {}: the sockets, which it has, were not tried",
            data.display()
        ))),
        Some(Err(error)) => findings.push(Finding::mistake(with_causes(&error))),
        // The lock is held meanwhile, so that no server starts in between.
        lock => {
            findings.extend(sockets(config));
            drop(lock);
        }
    }
    findings.extend(store(config).await);
    findings.extend(broker(&config.mqtt).await);
    if let Some(command) = &config.master_key_command
        && let Err(error) = vault::try_command(command)
    {
        findings.push(Finding::mistake(format!("master_key_command: {}", with_causes(&error))));
    }
    findings
}

fn sockets(config: &Config) -> Vec<Finding> {
    let listen = match &config.mqtt {
        Mqtt::Embedded { listen } => *listen,
        _ => None,
    };
    let streams = [("http", Some(config.http)), ("mqtt_listen", listen)];
    let datagrams = [("coaps", Some(config.coaps)), ("coap", config.coap)];
    let mut findings = Vec::new();
    for (key, address) in streams {
        findings.extend(address.and_then(|address| refused(key, address, TcpListener::bind(address).err())));
    }
    for (key, address) in datagrams {
        findings.extend(address.and_then(|address| refused(key, address, UdpSocket::bind(address).err())));
    }
    findings
}

fn refused(key: &str, address: SocketAddr, error: Option<std::io::Error>) -> Option<Finding> {
    let error = error?;
    let what = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there: choose another port, or end that one"
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        std::io::ErrorKind::PermissionDenied => "this user may not listen there: choose a port above 1023",
        _ => "the system refuses",
    };
    Some(Finding::mistake(format!("{key}: {address} can't be had ({error}): {what}")))
}

async fn store(config: &Config) -> Option<Finding> {
    let looked = match &config.store {
        StoreAt::Folder => {
            let database = config.data.join("bellwether.db");
            if !database.exists() {
                return None;
            }
            SqliteStore::schema(&database).await
        }
        StoreAt::Postgres(url) => PostgresStore::schema(url.reveal()).await,
    };
    match looked {
        Err(error) => Some(Finding::mistake(format!("store: {}", with_causes(&error)))),
        Ok(Schema { found: Some(found), known }) if found < known => Some(Finding::warning(format!(
            "store: its schema is {found}, and this server would bring it to {known}, from which there is no way back: \
             make a backup first"
        ))),
        Ok(_) => None,
    }
}

async fn broker(mqtt: &Mqtt) -> Option<Finding> {
    let Mqtt::Broker(broker) = mqtt else { return None };
    let connecting = TcpStream::connect((broker.host.as_str(), broker.port));
    let why = match tokio::time::timeout(BROKER_WAIT, connecting).await {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in five seconds".to_owned(),
    };
    Some(Finding::mistake(format!("mqtt: {broker} can't be reached: {why}")))
}

/// As long as a person at a terminal waits; a connection takes a second or two where packets are lost.
const BROKER_WAIT: Duration = Duration::from_secs(5);
