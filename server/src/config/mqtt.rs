//! Where the broker is, and who the server is there.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::ConfigError;

/// The broker that fleet managers speak through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mqtt {
    /// None.
    Off,
    /// The embedded one.
    Embedded {
        /// Where it listens; `None`: 127.0.0.1:1883, or a free port where that one is taken.
        listen: Option<SocketAddr>,
    },
    /// The operator's own.
    Broker(MqttBroker),
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
pub enum MqttVersion {
    /// MQTT 5.
    #[default]
    #[value(name = "5")]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1: replies go to a topic of their own.
    #[value(name = "3.1.1")]
    #[serde(rename = "3.1.1")]
    V311,
}

/// Where a broker is and who we are there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MqttBroker {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are; `None` where it lets everybody in.
    pub user: Option<String>,
    /// The password that goes with it.
    pub password: Password,
    /// What it speaks.
    pub version: MqttVersion,
}

/// A password: does not print, and is wiped when it is dropped.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Gives the text to whoever logs in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl fmt::Display for MqttBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "mqtt://{host}:{}", self.port)
    }
}

impl MqttBroker {
    /// Gives user and password, where there are any.
    pub(crate) fn login(&self) -> Option<(&str, &str)> {
        self.user.as_deref().map(|user| (user, self.password.reveal()))
    }
}

/// Flags about the broker.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "The broker")]
pub(super) struct MqttFlags {
    /// The broker: `embedded`, `off`, or a URL `mqtt://USER@HOST:PORT` of your own [default: embedded]
    ///
    /// The embedded broker is for one machine: it listens on loopback, has one generated login (DATA/mqtt.json) and no
    /// access lists, so whoever can log in may command; it keeps retained messages and sessions in memory only. For
    /// roles and for other machines run your own, such as mosquitto (see docs/mosquitto). There is no TLS: let a broker
    /// on this machine, or a tunnel, do that.
    #[arg(long, env = "BELLWETHER_MQTT", value_name = "URL")]
    mqtt: Option<String>,
    /// Address of the embedded broker, on loopback; port 0 takes a free one [default: 127.0.0.1:1883]
    #[arg(long, env = "BELLWETHER_MQTT_LISTEN", value_name = "ADDRESS")]
    mqtt_listen: Option<SocketAddr>,
    /// What the server speaks with the broker [default: 5]
    #[arg(long, env = "BELLWETHER_MQTT_VERSION", value_name = "VERSION")]
    mqtt_version: Option<MqttVersion>,
    /// File that holds the password at the broker; rather this than a password in the URL
    #[arg(long, env = "BELLWETHER_MQTT_PASSWORD_FILE", value_name = "FILE")]
    mqtt_password_file: Option<PathBuf>,
    /// The password itself: for the environment, since command lines can be read by others
    #[arg(long, env = "BELLWETHER_MQTT_PASSWORD", hide = true, hide_env_values = true)]
    mqtt_password: Option<String>,
}

/// The same keys in the file.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) mqtt: Option<String>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) version: Option<MqttVersion>,
    pub(super) password_file: Option<PathBuf>,
}

/// Resolves flags, environment and file.
pub(super) fn resolve(flags: MqttFlags, file: Keys) -> Result<Mqtt, ConfigError> {
    let version = flags.mqtt_version.or(file.version).unwrap_or_default();
    let listen = flags.mqtt_listen.or(file.listen);
    let chosen = flags.mqtt.or(file.mqtt);
    match chosen.as_deref() {
        Some("off") => return Ok(Mqtt::Off),
        None | Some("embedded") => {
            if !cfg!(feature = "broker") {
                let text = "this server was built without a broker; name one by its URL";
                return chosen.map_or(Ok(Mqtt::Off), |_| Err(refused("mqtt", text)));
            }
            return match listen {
                Some(address) if !address.ip().is_loopback() => Err(refused("mqtt_listen", NOT_LOOPBACK)),
                _ if version == MqttVersion::V311 => Err(refused("mqtt_version", EMBEDDED_SPEAKS_5)),
                _ => Ok(Mqtt::Embedded { listen }),
            };
        }
        Some(_) => {}
    }
    let mut broker = parse(chosen.as_deref().unwrap_or_default(), version)?;
    let password_file = flags.mqtt_password_file.or(file.password_file);
    if let Some(path) = password_file {
        let text =
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path, source })?;
        broker.password = Password::new(text.trim_end().to_owned());
    } else if let Some(password) = flags.mqtt_password {
        broker.password = Password::new(password);
    }
    Ok(Mqtt::Broker(broker))
}

/// Reads `mqtt://user:password@host:port`. What is wrong is said without the URL: there may be a password in it.
fn parse(url: &str, version: MqttVersion) -> Result<MqttBroker, ConfigError> {
    let rest = url.strip_prefix("mqtt://").ok_or_else(|| refused("mqtt", WRONG_SCHEME))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    if place.contains(['/', '?', '#']) {
        return Err(refused("mqtt", "the URL ends with the port: no path, no query"));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| refused("mqtt", "the port is no number up to 65535"))?)
        }
        _ => (place, MQTT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(refused("mqtt", "the URL names no host"));
    }
    let (user, password) = login.map_or((None, ""), |login| {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        (Some(user), password)
    });
    Ok(MqttBroker {
        host: host.to_owned(),
        port,
        user: user.map(decoded).transpose()?,
        password: Password::new(decoded(password)?),
        version,
    })
}

fn decoded(text: &str) -> Result<String, ConfigError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| refused("mqtt", "user or password is not percent-encoded UTF-8"))
}

fn refused(key: &'static str, text: &str) -> ConfigError {
    ConfigError::Bounds { key, text: text.to_owned() }
}

const WRONG_SCHEME: &str = "must be `embedded`, `off`, or begin with mqtt:// (there is no TLS here: let a broker on \
                            this machine, or a tunnel, do that)";

const NOT_LOOPBACK: &str = "the embedded broker has no access lists and no TLS, so it listens on loopback alone; for \
                            other machines run your own and name it with --mqtt";

const EMBEDDED_SPEAKS_5: &str = "the server speaks MQTT 5 with the embedded broker, which takes clients of 3.1.1 beside \
                                 it; the version is for a broker of your own";

/// IANA's.
const MQTT_PORT: u16 = 1883;

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(url: &str) -> Result<MqttBroker, ConfigError> {
        parse(url, MqttVersion::V5)
    }

    #[test]
    fn url_has_host_and_if_wanted_user_password_and_port() {
        let full = broker("mqtt://fleet%40x:p%3Aw%40@broker.example:2000").expect("valid");
        assert_eq!((full.host.as_str(), full.port), ("broker.example", 2000));
        assert_eq!(full.login(), Some(("fleet@x", "p:w@")));
        let short = broker("mqtt://broker.example/").expect("valid");
        assert_eq!((short.port, short.login()), (1883, None));
        let v6 = broker("mqtt://[::1]:1884").expect("valid");
        assert_eq!((v6.host.as_str(), v6.port, v6.to_string().as_str()), ("::1", 1884, "mqtt://[::1]:1884"));
        assert_eq!(broker("mqtt://[::1]").expect("valid").port, 1883);
    }

    #[test]
    fn password_is_neither_printed_nor_repeated_in_a_refusal() {
        let good = broker("mqtt://me:secret@host").expect("valid");
        assert!(!format!("{good:?} {good}").contains("secret"));
        for bad in ["mqtt://me:secret@host:port", "mqtts://me:secret@host", "mqtt://me:secret@host/x?y=1"] {
            let error = broker(bad).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn password_file_wins_over_the_url() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        std::fs::write(&path, "from file\n").expect("written");
        let flags = MqttFlags {
            mqtt: Some("mqtt://me:from-url@host".to_owned()),
            mqtt_password_file: Some(path),
            ..MqttFlags::default()
        };
        let Ok(Mqtt::Broker(broker)) = resolve(flags, Keys::default()) else { panic!("no broker") };
        assert_eq!(broker.password.reveal(), "from file");
    }

    #[test]
    fn embedded_broker_listens_on_loopback_alone() {
        let flags = MqttFlags { mqtt_listen: Some(([0, 0, 0, 0], 1883).into()), ..MqttFlags::default() };
        let error = resolve(flags, Keys::default()).expect_err("refused");
        assert!(error.to_string().starts_with("mqtt_listen"), "{error}");
    }
}
