//! Where the broker is, and who the server is there.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::ConfigError;

mod tls;

pub use tls::{Tls, TlsError, TlsIdentity};

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
    /// What carries it.
    pub carrier: Carrier,
    /// What its connections are protected by; `None`: by nothing.
    pub tls: Option<Tls>,
}

/// What carries MQTT.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Carrier {
    /// TCP.
    #[default]
    Tcp,
    /// Web sockets, for brokers behind a proxy of HTTP.
    WebSocket {
        /// The path there, such as `/mqtt`.
        path: String,
    },
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
        let (scheme, path) = match (&self.carrier, &self.tls) {
            (Carrier::Tcp, None) => ("mqtt", ""),
            (Carrier::Tcp, Some(_)) => ("mqtts", ""),
            (Carrier::WebSocket { path }, None) => ("ws", path.as_str()),
            (Carrier::WebSocket { path }, Some(_)) => ("wss", path.as_str()),
        };
        write!(f, "{scheme}://{host}:{}{path}", self.port)
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
    /// The broker: `embedded`, `off`, or a URL of your own, such as `mqtts://USER@HOST:PORT` [default: embedded]
    ///
    /// The embedded broker is for one machine: it listens on loopback, has one generated login (DATA/mqtt.json) and no
    /// access lists, so whoever can log in may command; it keeps retained messages and sessions in memory only. For
    /// roles and for other machines run your own, such as mosquitto (see docs/mosquitto): mqtt:// (port 1883), mqtts://
    /// (8883, TLS), ws://HOST:PORT/PATH (80) or wss:// (443, TLS).
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
    /// Certificates (PEM) of the authorities that the broker's must come from [default: those of this machine]
    #[arg(long, env = "BELLWETHER_MQTT_CA_FILE", value_name = "FILE")]
    mqtt_ca_file: Option<PathBuf>,
    /// Certificate (PEM) that the server shows the broker, with those between it and its authority
    #[arg(long, env = "BELLWETHER_MQTT_CERT_FILE", value_name = "FILE")]
    mqtt_cert_file: Option<PathBuf>,
    /// Its key (PEM, without a password), mode 600
    #[arg(long, env = "BELLWETHER_MQTT_KEY_FILE", value_name = "FILE")]
    mqtt_key_file: Option<PathBuf>,
}

/// The same keys in the file.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) mqtt: Option<String>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) version: Option<MqttVersion>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
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
    if let Some(path) = flags.mqtt_password_file.or(file.password_file) {
        broker.password = password_in(&path)?;
    } else if let Some(password) = flags.mqtt_password {
        broker.password = Password::new(password);
    }
    let files = TlsKeys {
        ca: flags.mqtt_ca_file.or(file.ca_file),
        certificate: flags.mqtt_cert_file.or(file.cert_file),
        key: flags.mqtt_key_file.or(file.key_file),
    };
    protect(&mut broker, files)?;
    Ok(Mqtt::Broker(broker))
}

fn password_in(path: &Path) -> Result<Password, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        refused("mqtt_password_file", &format!("{} can't be read ({cause})", path.display()))
    })?;
    let text = Zeroizing::new(text);
    Ok(Password::new(text.trim_end().to_owned()))
}

struct TlsKeys {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Takes the files of TLS where the URL wants it, and tries them, so that a wrong one is told at the start.
fn protect(broker: &mut MqttBroker, files: TlsKeys) -> Result<(), ConfigError> {
    let TlsKeys { ca, certificate, key } = files;
    let Some(tls) = &mut broker.tls else {
        let given = [("mqtt_ca_file", &ca), ("mqtt_cert_file", &certificate), ("mqtt_key_file", &key)];
        let needless = given.into_iter().find(|(_, file)| file.is_some());
        return needless.map_or(Ok(()), |(key, _)| Err(refused(key, WITHOUT_TLS)));
    };
    tls.authorities = ca;
    tls.identity = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(TlsIdentity { certificate, key }),
        (Some(_), None) => return Err(refused("mqtt_key_file", "mqtt_cert_file needs its key")),
        (None, Some(_)) => return Err(refused("mqtt_cert_file", "mqtt_key_file needs its certificate")),
    };
    tls.client().map(drop).map_err(|cause| refused("mqtt", &format!("TLS with the broker: {cause}")))
}

/// Reads `SCHEME://user:password@host:port`. What is wrong is said without the URL: there may be a password in it.
fn parse(url: &str, version: MqttVersion) -> Result<MqttBroker, ConfigError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("mqtt", WRONG_SCHEME))?;
    let scheme =
        SCHEMES.iter().find(|known| known.name == scheme).ok_or_else(|| refused("mqtt", WRONG_SCHEME))?;
    // The last one: a password may have them, and hosts and paths have none.
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let (place, path) = place.find('/').map_or((place, "/"), |at| place.split_at(at));
    if place.contains(['?', '#']) || path.contains(['?', '#']) || !(scheme.is_web || path == "/") {
        return Err(refused("mqtt", AFTER_THE_PORT));
    }
    let (host, port) = host_and_port(place, scheme.port)?;
    let (user, password) = login.map_or((None, ""), |login| {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        (Some(user), password)
    });
    let web_socket = Carrier::WebSocket { path: path.to_owned() };
    Ok(MqttBroker {
        host,
        port,
        user: user.map(decoded).transpose()?,
        password: Password::new(decoded(password)?),
        version,
        carrier: if scheme.is_web { web_socket } else { Carrier::Tcp },
        tls: scheme.is_protected.then(Tls::default),
    })
}

fn host_and_port(place: &str, usual: u16) -> Result<(String, u16), ConfigError> {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| refused("mqtt", "the port is no number up to 65535"))?)
        }
        _ => (place, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(refused("mqtt", "the URL names no host"));
    }
    Ok((host.to_owned(), port))
}

/// A way to a broker, as its URL begins.
struct Scheme {
    name: &'static str,
    /// IANA's.
    port: u16,
    is_web: bool,
    is_protected: bool,
}

const SCHEMES: [Scheme; 4] = [
    Scheme { name: "mqtt", port: 1883, is_web: false, is_protected: false },
    Scheme { name: "mqtts", port: 8883, is_web: false, is_protected: true },
    Scheme { name: "ws", port: 80, is_web: true, is_protected: false },
    Scheme { name: "wss", port: 443, is_web: true, is_protected: true },
];

fn decoded(text: &str) -> Result<String, ConfigError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| refused("mqtt", "user or password is not percent-encoded UTF-8"))
}

fn refused(key: &'static str, text: &str) -> ConfigError {
    ConfigError::Bounds { key, text: text.to_owned() }
}

const WRONG_SCHEME: &str =
    "must be `embedded`, `off`, or begin with mqtt://, mqtts:// (TLS), ws:// or wss:// (TLS)";

const AFTER_THE_PORT: &str = "the URL ends with the port, with ws:// and wss:// with a path: no query (a / or # of a password is %2F or %23)";

const WITHOUT_TLS: &str = "is for a broker with TLS: its URL begins with mqtts:// or wss://";

const NOT_LOOPBACK: &str = "the embedded broker has no access lists and no TLS, so it listens on loopback alone; for \
                            other machines run your own and name it with --mqtt";

const EMBEDDED_SPEAKS_5: &str = "the server speaks MQTT 5 with the embedded broker, which takes clients of 3.1.1 beside \
                                 it; the version is for a broker of your own";

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
        for bad in ["mqtt://me:secret@host:port", "http://me:secret@host", "mqtt://me:secret@host/x?y=1"] {
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
    fn schemes_say_what_carries_and_protects() {
        for (url, shown) in [
            ("mqtts://me:pw@broker.example", "mqtts://broker.example:8883"),
            ("ws://broker.example", "ws://broker.example:80/"),
            ("ws://me:pw@broker.example:9001/mqtt", "ws://broker.example:9001/mqtt"),
            ("wss://[::1]/a/b", "wss://[::1]:443/a/b"),
        ] {
            let broker = broker(url).expect(url);
            assert_eq!(broker.to_string(), shown);
            assert_eq!(broker.tls.is_some(), shown.starts_with("mqtts") || shown.starts_with("wss"));
        }
    }

    #[test]
    fn files_of_tls_are_wanted_where_they_are_of_use_and_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let no_pem = folder.path().join("empty.pem");
        std::fs::write(&no_pem, "").expect("written");
        let refusal = |url: &str, keys: Keys| {
            let flags = MqttFlags { mqtt: Some(url.to_owned()), ..MqttFlags::default() };
            resolve(flags, keys).expect_err("refused").to_string()
        };
        let file = || Some(no_pem.clone());
        let said = refusal("mqtt://host", Keys { ca_file: file(), ..Keys::default() });
        assert!(said.starts_with("mqtt_ca_file") && said.contains("mqtts://"), "{said}");
        let said = refusal("mqtts://host", Keys { cert_file: file(), ..Keys::default() });
        assert!(said.starts_with("mqtt_key_file"), "{said}");
        let said = refusal("wss://host", Keys { key_file: file(), ..Keys::default() });
        assert!(said.starts_with("mqtt_cert_file"), "{said}");
        let said = refusal("mqtts://host", Keys { ca_file: file(), ..Keys::default() });
        assert!(said.contains("empty.pem holds no certificate"), "{said}");
        let gone = Some(folder.path().join("gone.pem"));
        let said = refusal("mqtts://host", Keys { ca_file: gone, ..Keys::default() });
        assert!(said.contains("gone.pem can't be read"), "{said}");
    }

    #[test]
    fn embedded_broker_listens_on_loopback_alone() {
        let flags = MqttFlags { mqtt_listen: Some(([0, 0, 0, 0], 1883).into()), ..MqttFlags::default() };
        let error = resolve(flags, Keys::default()).expect_err("refused");
        assert!(error.to_string().starts_with("mqtt_listen"), "{error}");
    }
}
