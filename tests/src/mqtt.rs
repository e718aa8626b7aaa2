//! A fleet manager's tool: an MQTT 5 client that remembers what it heard.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use serde_json::Value;

use crate::wait;

/// How to get in at a broker.
#[derive(Clone, Debug)]
pub struct Login {
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

/// A connected client.
#[derive(Debug)]
pub struct Mqtt {
    client: AsyncClient,
    name: String,
    heard: Receiver<Said>,
    kept: Vec<Message>,
}

/// A message that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload, as text.
    pub payload: String,
    /// Whether it was retained.
    pub retain: bool,
    /// The correlation data that it carries.
    pub correlation: Option<Vec<u8>>,
}

enum Said {
    Connected,
    Subscribed,
    Message(Message),
}

impl Message {
    /// Reads the payload.
    ///
    /// # Panics
    ///
    /// Where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Login {
    /// Reads `mqtt.json` of a server with an embedded broker.
    ///
    /// # Panics
    ///
    /// Where it is not there.
    pub fn embedded(data: &Path) -> Self {
        let text = fs::read(data.join("mqtt.json")).expect("mqtt.json");
        let json: Value = serde_json::from_slice(&text).expect("JSON");
        let text = |name: &str| json[name].as_str().expect("a text").to_owned();
        let port = json["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { host: text("host"), port, user: Some(text("user")), password: text("password") }
    }

    /// One of mosquitto's own clients, by MQTT 3.1.1 or 5, with this login.
    pub fn tool(&self, name: &str, version: &str) -> Command {
        let mut command = Command::new(name);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["-V", version, "-h", &self.host, "-p", &self.port.to_string(), "-q", "1"]);
        if let Some(user) = &self.user {
            command.args(["-u", user, "-P", &self.password]);
        }
        command
    }
}

impl Mqtt {
    /// Connects, and stays connected: what is lost is tried again.
    ///
    /// # Panics
    ///
    /// Where it does not come in.
    pub fn connect(login: &Login, name: &str) -> Self {
        let mut options = MqttOptions::new(name, &login.host, login.port);
        if let Some(user) = &login.user {
            options.set_credentials(user, &login.password);
        }
        options.set_clean_start(false).set_session_expiry_interval(Some(3_600));
        options.set_max_packet_size(Some(1_048_576)).set_keep_alive(Duration::from_secs(30));
        let (client, events) = AsyncClient::new(options, 64);
        let (said, heard) = channel();
        wait::beside(listen(events, said));
        let mut mqtt = Self { client, name: name.to_owned(), heard, kept: Vec::new() };
        mqtt.await_said("a connection", |said| matches!(said, Said::Connected));
        mqtt
    }

    /// Subscribes at `QoS` 1.
    ///
    /// # Panics
    ///
    /// Where the broker does not answer.
    pub fn subscribe(&mut self, filter: &str) {
        let filter = Filter::new(filter, QoS::AtLeastOnce);
        wait::soon("a subscription", self.client.subscribe_many([filter])).expect("asked for");
        self.await_said("a subscription", |said| matches!(said, Said::Subscribed));
    }

    /// Publishes at `QoS` 1.
    ///
    /// # Panics
    ///
    /// Where the client is gone.
    pub fn publish(&self, topic: &str, payload: &str, retain: bool) {
        wait::soon("publishing", self.client.publish(topic, QoS::AtLeastOnce, retain, payload.to_owned()))
            .expect("published");
    }

    /// Asks, and gives the reply that comes by the request id in the payload: what a server that speaks 3.1.1 gives.
    ///
    /// # Panics
    ///
    /// Where none comes.
    pub fn ask_by_id(&mut self, topic: &str, payload: &Value) -> Value {
        let replies =
            format!("bellwether/v1/default/replies/{}", payload["request_id"].as_str().expect("an id"));
        self.subscribe(&replies);
        self.publish(topic, &payload.to_string(), false);
        self.wait("a reply", |one| one.topic == replies).json()
    }

    /// Asks, and gives the reply that carries the correlation data of the question.
    ///
    /// # Panics
    ///
    /// Where none comes.
    pub fn ask(&mut self, topic: &str, payload: &str) -> Value {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let replies = format!("bellwether/v1/default/replies/{}", self.name);
        self.subscribe(&replies);
        let correlation = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
        let properties = PublishProperties {
            response_topic: Some(replies.clone()),
            correlation_data: Some(correlation.clone().into()),
            ..PublishProperties::default()
        };
        let sent = self.client.publish_with_properties(
            topic,
            QoS::AtLeastOnce,
            false,
            payload.to_owned(),
            properties,
        );
        wait::soon("a question", sent).expect("published");
        let is_reply =
            |one: &Message| one.topic == replies && one.correlation.as_deref() == Some(&correlation[..]);
        self.wait("a reply", is_reply).json()
    }

    /// Waits for a message that is so, and takes it out of what was heard.
    ///
    /// # Panics
    ///
    /// Where none comes.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&Message) -> bool) -> Message {
        let position = wait::until(
            what,
            wait::LONG,
            || {
                self.take_in();
                self.kept.iter().position(&is_so)
            },
            String::new,
        );
        self.kept.remove(position)
    }

    /// Gives all that was heard so far and not waited for, in its order.
    pub fn so_far(&mut self) -> &[Message] {
        self.take_in();
        &self.kept
    }

    fn take_in(&mut self) {
        while let Ok(said) = self.heard.try_recv() {
            if let Said::Message(message) = said {
                self.kept.push(message);
            }
        }
    }

    fn await_said(&mut self, what: &str, is_it: impl Fn(&Said) -> bool) {
        wait::until(
            what,
            wait::LONG,
            || {
                while let Ok(said) = self.heard.try_recv() {
                    if is_it(&said) {
                        return Some(());
                    }
                    if let Said::Message(message) = said {
                        self.kept.push(message);
                    }
                }
                None
            },
            String::new,
        );
    }
}

async fn listen(mut events: EventLoop, said: Sender<Said>) {
    loop {
        let heard = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Said::Connected,
            Ok(Event::Incoming(Packet::SubAck(_))) => Said::Subscribed,
            Ok(Event::Incoming(Packet::Publish(packet))) => Said::Message(Message {
                topic: String::from_utf8_lossy(&packet.topic).into_owned(),
                payload: String::from_utf8_lossy(&packet.payload).into_owned(),
                retain: packet.retain,
                correlation: packet
                    .properties
                    .and_then(|properties| properties.correlation_data)
                    .map(|data| data.to_vec()),
            }),
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
        };
        if said.send(heard).is_err() {
            return;
        }
    }
}

/// Between tries to connect.
const TRY_AGAIN: Duration = Duration::from_millis(50);
