//! What an operator can set: command line over environment over one TOML file over these defaults.
//!
//! Every key's doc says its unit and what raising it costs. Nonsense is refused with the key's name.
pub mod check;
mod file;
mod key;
mod mqtt;
mod number;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use thiserror::Error;

use file::File;

pub use file::{Position, keys};
pub use key::Key;
pub use mqtt::{Carrier, Mqtt, MqttBroker, MqttVersion, Password, Tls, TlsError, TlsIdentity};
pub use number::{NUMBERS, Number};
pub use store::{StoreAt, StoreUrl};

/// Everything that the server is told, resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Folder of the database, images, resources and keys.
    pub data: PathBuf,
    /// Where the database is.
    pub store: StoreAt,
    /// Where devices come in by DTLS.
    pub coaps: SocketAddr,
    /// Where devices without security come in; `None` keeps plain UDP off.
    pub coap: Option<SocketAddr>,
    /// Where fleet managers and the command line come in.
    pub http: SocketAddr,
    /// What devices are told to call, `coaps://host:port`; `None`: the address of `coaps`.
    pub public_uri: Option<String>,
    /// Prints the vault's master key (64 hexadecimal digits) instead of the file in `data`.
    pub master_key_command: Option<String>,
    /// Seconds that a grant can be used.
    pub grant_lifetime_s: u64,
    /// The broker that fleet managers speak through.
    pub mqtt: Mqtt,
    /// DTLS sessions in memory; beyond it the one idle longest leaves it. About 8 KiB of memory each.
    pub sessions_max: u64,
    /// Seconds without a word of the device after which its DTLS session is moved from memory to the database, about
    /// 600 bytes. Lower costs a commit and a read more often; a device that can't be found by a connection ID keeps
    /// its session in memory.
    pub hibernate_after_s: u64,
    /// Seconds for which a device in queue mode is taken for awake after its last message. Longer than its own window, what is
    /// sent late in it is lost and waits for its next message; shorter, it is asked less than it could be.
    pub queue_mode_awake_s: u64,
    /// Days that events stay in the ledger; 0: for ever. Events of campaigns that go on stay longer. A fleet writes some
    /// ten events a device and update, about 250 bytes each.
    pub ledger_keep_days: u64,
    /// Folder for events that leave the ledger; `None`: `ledger` in the data folder.
    pub ledger_folder: Option<PathBuf>,
    /// Seconds before a device's transaction is sent again for the first time (RFC 7252 `ACK_TIMEOUT`).
    pub ack_timeout_ms: u64,
}

/// The command line; each flag has an environment variable, and a key of the same name in the file.
#[derive(Clone, Debug, Default, Parser)]
pub struct Flags {
    /// Folder of the database, images and keys; made when it is not there [default: bellwether-data]
    #[arg(long, env = "BELLWETHER_DATA")]
    data: Option<PathBuf>,
    /// The database: `sqlite`, a file in the data folder, or a URL `postgres://USER@HOST:PORT/NAME` [default: sqlite]
    ///
    /// Other users of this machine can read command lines: keep the password in ~/.pgpass, or the URL in the environment or
    /// the configuration file. A data base on another machine must show a certificate that is valid for its name, unless
    /// the URL says otherwise (?sslmode=…, ?sslrootcert=…). Images and keys stay in the data folder.
    #[arg(long, env = "BELLWETHER_STORE", value_name = "URL", hide_env_values = true)]
    store: Option<String>,
    /// TOML file with the same keys as these flags, e.g. `grant_lifetime_s = 3600`
    #[arg(long, env = "BELLWETHER_CONFIG")]
    config: Option<PathBuf>,
    /// Address for devices, by DTLS [default: 0.0.0.0:5684]
    #[arg(long, env = "BELLWETHER_COAPS")]
    coaps: Option<SocketAddr>,
    /// Address for devices enrolled without security, by plain UDP [default: off]
    #[arg(long, env = "BELLWETHER_COAP")]
    coap: Option<SocketAddr>,
    /// Address for fleet managers: HTTP with the token in DATA/http.token [default: 127.0.0.1:8080]
    #[arg(long, env = "BELLWETHER_HTTP")]
    http: Option<SocketAddr>,
    /// URI that devices are told to call [default: coaps:// and the address for devices]
    #[arg(long, env = "BELLWETHER_PUBLIC_URI")]
    public_uri: Option<String>,
    /// Command whose standard output is the master key in hexadecimal [default: the file DATA/master.key]
    #[arg(long, env = "BELLWETHER_MASTER_KEY_COMMAND", hide_env_values = true)]
    master_key_command: Option<String>,
    /// Seconds that a grant can be used [default: 604800]
    #[arg(long, env = "BELLWETHER_GRANT_LIFETIME_S")]
    grant_lifetime_s: Option<u64>,
    /// DTLS sessions kept at the same time, about 8 KiB of memory each [default: 100000]
    #[arg(long, env = "BELLWETHER_SESSIONS_MAX")]
    sessions_max: Option<u64>,
    /// Seconds of silence after which a device's session is moved from memory to the database [default: 600]
    #[arg(long, env = "BELLWETHER_HIBERNATE_AFTER_S")]
    hibernate_after_s: Option<u64>,
    /// Seconds for which a device in queue mode listens after its last message [default: 93]
    ///
    /// Afterwards nothing is sent to it until it is heard of again. Make it no longer than the shortest window among your
    /// devices; 93 is CoAP's `MAX_TRANSMIT_WAIT`, which LwM2M proposes and most clients use.
    #[arg(long, env = "BELLWETHER_QUEUE_MODE_AWAKE_S")]
    queue_mode_awake_s: Option<u64>,
    /// First wait for a device's acknowledgement, in milliseconds [default: 2000]
    #[arg(long, env = "BELLWETHER_ACK_TIMEOUT_MS")]
    ack_timeout_ms: Option<u64>,
    /// Days that events stay in the ledger; 0: for ever [default: 0]
    ///
    /// Older ones are exported to --ledger-folder and then removed, once a day. Those of campaigns that go on or were halted
    /// stay, as do those that the broker has not acknowledged.
    #[arg(long, env = "BELLWETHER_LEDGER_KEEP_DAYS")]
    ledger_keep_days: Option<u64>,
    /// Folder for events that leave the ledger, as JSON lines [default: the folder ledger in the data folder]
    #[arg(long, env = "BELLWETHER_LEDGER_FOLDER")]
    ledger_folder: Option<PathBuf>,
    // Last: its heading would go on over what follows.
    #[command(flatten)]
    mqtt: mqtt::MqttFlags,
}

/// Where a command finds the data of a server. The variables of the environment are read with the flags before the
/// command's name, and count less than what stands behind it.
#[derive(Clone, Debug, Default, Parser)]
pub struct Place {
    /// Folder of the database, images and keys [env: `BELLWETHER_DATA`] [default: bellwether-data]
    #[arg(long)]
    data: Option<PathBuf>,
    /// The database: `sqlite`, a file in the data folder, or a URL of PostgreSQL [env: `BELLWETHER_STORE`] [default: sqlite]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// TOML file of the server [env: `BELLWETHER_CONFIG`]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Command whose standard output is the master key in hexadecimal [env: `BELLWETHER_MASTER_KEY_COMMAND`] [default: the
    /// file DATA/master.key]
    #[arg(long)]
    master_key_command: Option<String>,
}

impl Flags {
    /// Takes what a command says over what stands before it.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self {
            data: place.data.or(self.data),
            store: place.store.or(self.store),
            config: place.config.or(self.config),
            master_key_command: place.master_key_command.or(self.master_key_command),
            ..self
        }
    }
}

/// Why the configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("configuration file {path} can't be read")]
    Unreadable {
        /// The file that was named.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is not valid TOML, or a key in it is unknown or of the wrong type.
    #[error("configuration file {path}: {text}")]
    Invalid {
        /// The file that was named.
        path: PathBuf,
        /// Key, place and reason.
        text: String,
    },
    /// A value is out of its bounds.
    #[error("{key}: {text}")]
    Bounds {
        /// The key.
        key: &'static str,
        /// What it must be.
        text: String,
    },
}

impl StoreAt {
    /// Reads where a store is: the word `sqlite` or a URL.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Bounds`] says what it must be, without what it was: that may hold a password.
    pub fn read(text: String) -> Result<Self, ConfigError> {
        store::resolve(Some(text))
    }
}

impl Config {
    /// Resolves flags, environment and file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file or the key.
    pub fn resolve(flags: Flags) -> Result<Self, ConfigError> {
        let file = flags.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let (config, refused) = Self::gather(flags, file);
        refused.into_iter().next().map_or(Ok(config), Err)
    }

    /// Resolves flags, environment and file; what is refused has its default in the result.
    fn gather(flags: Flags, file: File) -> (Self, Vec<ConfigError>) {
        let mut refused = Vec::new();
        let mqtt = mqtt::Keys {
            mqtt: file.mqtt,
            listen: file.mqtt_listen,
            version: file.mqtt_version,
            password_file: file.mqtt_password_file,
            ca_file: file.mqtt_ca_file,
            cert_file: file.mqtt_cert_file,
            key_file: file.mqtt_key_file,
        };
        let config = Self {
            data: flags.data.or(file.data).unwrap_or_else(|| PathBuf::from(DATA)),
            store: or_refused(store::resolve(flags.store.or(file.store)), StoreAt::Folder, &mut refused),
            coaps: flags.coaps.or(file.coaps).unwrap_or(SocketAddr::from(([0, 0, 0, 0], COAPS_PORT))),
            coap: flags.coap.or(file.coap),
            http: flags.http.or(file.http).unwrap_or(SocketAddr::from(([127, 0, 0, 1], HTTP_PORT))),
            public_uri: or_refused(checked_uri(flags.public_uri.or(file.public_uri)), None, &mut refused),
            master_key_command: flags.master_key_command.or(file.master_key_command),
            grant_lifetime_s: number::GRANT_LIFETIME_S
                .resolve(flags.grant_lifetime_s.or(file.grant_lifetime_s), &mut refused),
            mqtt: or_refused(mqtt::resolve(flags.mqtt, mqtt), Mqtt::Off, &mut refused),
            sessions_max: number::SESSIONS_MAX
                .resolve(flags.sessions_max.or(file.sessions_max), &mut refused),
            hibernate_after_s: number::HIBERNATE_AFTER_S
                .resolve(flags.hibernate_after_s.or(file.hibernate_after_s), &mut refused),
            queue_mode_awake_s: number::QUEUE_MODE_AWAKE_S
                .resolve(flags.queue_mode_awake_s.or(file.queue_mode_awake_s), &mut refused),
            ack_timeout_ms: number::ACK_TIMEOUT_MS
                .resolve(flags.ack_timeout_ms.or(file.ack_timeout_ms), &mut refused),
            ledger_keep_days: number::LEDGER_KEEP_DAYS
                .resolve(flags.ledger_keep_days.or(file.ledger_keep_days), &mut refused),
            ledger_folder: flags.ledger_folder.or(file.ledger_folder),
        };
        (config, refused)
    }

    /// Gives the folder for events that leave the ledger.
    #[must_use]
    pub fn ledger_folder(&self) -> PathBuf {
        self.ledger_folder.clone().unwrap_or_else(|| self.data.join(LEDGER))
    }

    /// Gives the seconds that events stay in the ledger; `None`: for ever.
    #[must_use]
    pub fn ledger_keep_s(&self) -> Option<u64> {
        (self.ledger_keep_days > 0).then(|| self.ledger_keep_days * DAY_S)
    }
}

fn or_refused<T>(resolved: Result<T, ConfigError>, otherwise: T, refused: &mut Vec<ConfigError>) -> T {
    resolved.unwrap_or_else(|error| {
        refused.push(error);
        otherwise
    })
}

/// Takes `coaps://HOST:PORT`: devices would find out about anything else, one by one.
fn checked_uri(uri: Option<String>) -> Result<Option<String>, ConfigError> {
    let Some(uri) = uri else { return Ok(None) };
    let place = uri.strip_prefix("coaps://").map(|place| place.strip_suffix('/').unwrap_or(place));
    let (host, port) = place.map_or(("", None), |place| match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok()),
        _ => (place, Some(COAPS_PORT)),
    });
    if host.is_empty() || host.contains(['/', '?', '#', '@']) || port.is_none() {
        let text = format!("must be coaps://HOST:PORT, not {uri:?}");
        return Err(ConfigError::Bounds { key: "public_uri", text });
    }
    Ok(Some(uri))
}

const DATA: &str = "bellwether-data";
/// In the data folder.
const LEDGER: &str = "ledger";
const DAY_S: u64 = 86_400;
/// RFC 7252 §6.2.
const COAPS_PORT: u16 = 5684;
const HTTP_PORT: u16 = 8080;
#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Flags) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("server.toml");
        std::fs::write(&path, text).expect("written");
        (dir, Flags { config: Some(path), ..Flags::default() })
    }

    #[test]
    fn flags_fit_together() {
        <Flags as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn flag_wins_over_file_and_file_over_default() {
        let (_dir, mut flags) = file("http = \"127.0.0.1:1\"\ngrant_lifetime_s = 600\n");
        flags.http = Some(SocketAddr::from(([127, 0, 0, 1], 2)));
        let config = Config::resolve(flags).expect("valid");
        assert_eq!((config.http.port(), config.grant_lifetime_s, config.ack_timeout_ms), (2, 600, 2_000));
    }

    #[test]
    fn plain_udp_is_off_unless_configured() {
        assert_eq!(Config::resolve(Flags::default()).expect("valid").coap, None);
    }

    #[test]
    fn misspelt_key_is_refused_by_its_name() {
        let (_dir, flags) = file("grant_lifetme_s = 600\n");
        let error = Config::resolve(flags).expect_err("unknown key");
        assert!(error.to_string().contains("grant_lifetme_s"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_without_the_password_in_it() {
        for line in [
            "stor = \"postgres://b:s3cret@db/f\"",
            "store = \"postgres://b:s3cret@db/f",
            "store = \"x:s3cret\" y",
        ] {
            let (_dir, flags) = file(&format!("ack_timeout_ms = 2000\n{line}\n"));
            let error = Config::resolve(flags).expect_err(line).to_string();
            assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn value_out_of_bounds_is_refused_by_its_key() {
        let (_dir, flags) = file("ack_timeout_ms = 1\n");
        let error = Config::resolve(flags).expect_err("too short");
        assert!(error.to_string().starts_with("ack_timeout_ms"), "{error}");
    }

    #[test]
    fn store_is_a_file_unless_its_url_is_given_and_the_url_never_prints() {
        assert_eq!(Config::resolve(Flags::default()).expect("valid").store, StoreAt::Folder);
        let (_dir, flags) = file("store = \"postgres://bell:s3cret@db.example/fleet\"\n");
        let config = Config::resolve(flags).expect("valid");
        assert!(matches!(&config.store, StoreAt::Postgres(url) if url.reveal().ends_with("/fleet")));
        assert!(!format!("{config:?}").contains("s3cret"));
        let flags = Flags { store: Some("mysql://bell:s3cret@db/fleet".to_owned()), ..Flags::default() };
        let refused = Config::resolve(flags).expect_err("not one of ours").to_string();
        assert!(refused.starts_with("store") && !refused.contains("s3cret"), "{refused}");
    }

    #[test]
    fn public_uri_without_security_is_refused() {
        let flags = Flags { public_uri: Some("coap://a".to_owned()), ..Flags::default() };
        assert!(Config::resolve(flags).is_err());
    }

    #[test]
    fn public_uri_names_host_and_port_that_a_device_can_call() {
        let resolve = |uri: &str| {
            Config::resolve(Flags { public_uri: Some(uri.to_owned()), ..Flags::default() }).is_ok()
        };
        for good in
            ["coaps://a.example", "coaps://192.0.2.1:5684", "coaps://[2001:db8::1]:5684/", "coaps://[::1]"]
        {
            assert!(resolve(good), "{good}");
        }
        for bad in
            ["coaps://", "coaps://:5684", "coaps://a:port", "coaps://a:99999", "coaps://a/b", "coaps://u@a"]
        {
            assert!(!resolve(bad), "{bad}");
        }
    }
}
