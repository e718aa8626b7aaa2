//! Commands over MQTT, as a fleet manager's own program would send them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bellwether_api::{Campaign, Reply};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};
use serde::Deserialize;

use crate::console::{Console, SERVER_DATA};
use crate::process::ProcessError;

/// Where the broker is and who may log in, as the server wrote it.
#[derive(Deserialize)]
struct Login {
    host: String,
    port: u16,
    user: String,
    password: String,
}

/// Publishes the launch of a campaign and waits for the reply; types the line that does the same by hand.
///
/// # Errors
///
/// [`ProcessError::Failed`] where the server refuses, [`ProcessError::TooLate`] where no reply comes.
pub fn launch(console: &Console, folder: &Path, body: &serde_json::Value) -> Result<Campaign, ProcessError> {
    let command = "campaigns/launch";
    let file = folder.join(BODY);
    let failed = |source| ProcessError::Io { program: file.display().to_string(), source };
    fs::write(&file, format!("{body:#}\n")).map_err(failed)?;
    let login = read_login(folder)?;
    type_equivalent(&login, command, body);
    let mut session = Session::open(console, &login);
    let id = body["request_id"].as_str().unwrap_or_default();
    let reply = session.ask(command, id, body.to_string())?;
    let refused = |said| ProcessError::Failed { command: command.to_owned(), said };
    match (reply.ok, reply.error) {
        (Some(campaign), _) => serde_json::from_value(campaign).map_err(|error| refused(error.to_string())),
        (None, Some(error)) => Err(refused(error.message)),
        (None, None) => Err(refused("an empty reply".to_owned())),
    }
}

fn read_login(folder: &Path) -> Result<Login, ProcessError> {
    let path = folder.join(SERVER_DATA).join(LOGIN);
    let program = || path.display().to_string();
    let text = fs::read(&path).map_err(|source| ProcessError::Io { program: program(), source })?;
    let unreadable = |error: serde_json::Error| ProcessError::Io { program: program(), source: error.into() };
    serde_json::from_slice(&text).map_err(unreadable)
}

/// The password stays in its file.
fn type_equivalent(login: &Login, command: &str, body: &serde_json::Value) {
    println!("$ cat {BODY}");
    println!("{body:#}");
    println!(
        "$ mosquitto_pub -V 5 -h {} -p {} -u {} -P \"$(jq -r .password {SERVER_DATA}/{LOGIN})\" -q 1 \\\n    \
         -t {PREFIX}/commands/{command} -f {BODY}",
        login.host, login.port, login.user
    );
}

/// A connection to the broker.
struct Session<'a> {
    console: &'a Console,
    client: Client,
    connection: Connection,
}

impl<'a> Session<'a> {
    fn open(console: &'a Console, login: &Login) -> Self {
        let mut options = MqttOptions::new("bellwether-demo", &login.host, login.port);
        options.set_credentials(&login.user, &login.password);
        let (client, connection) = Client::new(options, REQUESTS);
        Self { console, client, connection }
    }

    /// Publishes a command once the reply's topic is subscribed to, and waits for the reply.
    fn ask(&mut self, command: &str, id: &str, body: String) -> Result<Reply, ProcessError> {
        let reply_to = format!("{PREFIX}/replies/{id}");
        let failed = |said: String| ProcessError::Failed { command: format!("MQTT {command}"), said };
        self.client.subscribe(&reply_to, QoS::AtLeastOnce).map_err(|error| failed(error.to_string()))?;
        let mut body = Some(body);
        let end = now() + REPLY_WAIT;
        while now() < end {
            if self.console.stop().is_set() {
                return Err(ProcessError::Stopped);
            }
            let event = match self.connection.recv_timeout(LOOK_EVERY) {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Err(_) => continue,
            };
            match event {
                Event::Incoming(Packet::SubAck(_)) => {
                    if let Some(body) = body.take() {
                        let topic = format!("{PREFIX}/commands/{command}");
                        let (quality, retain) = (QoS::AtLeastOnce, false);
                        let asked = PublishProperties {
                            response_topic: Some(reply_to.clone()),
                            correlation_data: Some(id.to_owned().into()),
                            ..PublishProperties::default()
                        };
                        let sent = self.client.publish_with_properties(topic, quality, retain, body, asked);
                        sent.map_err(|error| failed(error.to_string()))?;
                    }
                }
                Event::Incoming(Packet::Publish(publish)) if publish.topic == reply_to.as_bytes() => {
                    return serde_json::from_slice(&publish.payload)
                        .map_err(|error| failed(error.to_string()));
                }
                _ => {}
            }
        }
        Err(failed(format!("no reply within {} s", REPLY_WAIT.as_secs())))
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo is a shell")]
fn now() -> Instant {
    Instant::now()
}

/// Everything of the default tenant.
const PREFIX: &str = "bellwether/v1/default";
const LOGIN: &str = "mqtt.json";
const BODY: &str = "launch.json";
/// Requests that wait for the broker: a subscription and a command.
const REQUESTS: usize = 4;
const REPLY_WAIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
