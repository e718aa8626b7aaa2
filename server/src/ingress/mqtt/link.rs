//! One connection to a broker, by MQTT 5 or 3.1.1: the only module that knows the MQTT library.
//!
//! A connection that is lost is not mended but opened anew, by whoever holds it: what was not acknowledged is sent
//! again from where it is kept, not from a buffer here.

mod way;

use std::time::Duration;

use rumqttc::Transport;
use rumqttc::v5::mqttbytes::v5 as wire5;
use rumqttc::{mqttbytes::v4 as wire4, v5};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{MqttBroker, MqttVersion};

/// How a connection is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// Name of the client, unique at its broker.
    pub(crate) client_id: String,
    /// Whether the broker keeps what comes while we are away; then every message is acknowledged by us.
    pub(crate) keeps_session: bool,
    /// What the broker says, retained, when we are lost.
    pub(crate) will: Option<(String, Vec<u8>)>,
}

/// What a connection tells.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The broker let us in.
    Connected,
    /// Our subscription stands; `false` where the broker refused it.
    Subscribed(bool),
    /// A message came.
    Message(Box<Message>),
    /// The connection is over, and why.
    Lost(String),
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retain: bool,
    /// Where the sender wants its reply.
    pub(crate) response_topic: Option<String>,
    packet: Packet,
}

#[derive(Debug)]
enum Packet {
    V5(wire5::Publish),
    V311(wire4::Publish),
}

/// An open connection; closed when it is dropped.
pub(crate) struct Link {
    client: Client,
    heard: mpsc::Receiver<Heard>,
    acknowledged: watch::Receiver<u64>,
    published: u64,
    task: JoinHandle<()>,
}

enum Client {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// The connection is over; [`Heard::Lost`] says why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Begins to connect; what becomes of it is heard.
    pub(crate) fn open(broker: &MqttBroker, opening: &Opening) -> Self {
        let (heard_in, heard) = mpsc::channel(HEARD_MAX);
        let (acknowledged_in, acknowledged) = watch::channel(0);
        let ears = Ears { heard: heard_in, acknowledged: acknowledged_in };
        let (way, unusable) = match way::transport(broker) {
            Ok(way) => (way, None),
            // Nothing is connected to: the connection ends with what is wrong.
            Err(error) => ((Transport::Tcp, broker.host.clone()), Some(error.to_string())),
        };
        let (client, task) = match broker.version {
            MqttVersion::V5 => {
                let (client, events) = v5::AsyncClient::new(options5(broker, way, opening), REQUESTS_MAX);
                (Client::V5(client), begun(listen5, events, ears, unusable))
            }
            MqttVersion::V311 => {
                let (client, events) =
                    rumqttc::AsyncClient::new(options311(broker, way, opening), REQUESTS_MAX);
                (Client::V311(client), begun(listen311, events, ears, unusable))
            }
        };
        Self { client, heard, acknowledged, published: 0, task }
    }

    /// Waits for what comes next.
    pub(crate) async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or_else(|| Heard::Lost("the connection is closed".to_owned()))
    }

    /// Subscribes at `QoS` 1; retained messages come marked, also those that were retained a moment ago.
    pub(crate) async fn subscribe(&self, filter: &str) -> Result<(), Closed> {
        match &self.client {
            Client::V5(client) => {
                let mut filter = wire5::Filter::new(filter, v5::mqttbytes::QoS::AtLeastOnce);
                filter.preserve_retain = true;
                client.subscribe_many([filter]).await.map_err(|_| Closed)
            }
            Client::V311(client) => {
                client.subscribe(filter, rumqttc::QoS::AtLeastOnce).await.map_err(|_| Closed)
            }
        }
    }

    /// Publishes at `QoS` 1, behind what was published before.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
    ) -> Result<(), Closed> {
        let sent = match &self.client {
            Client::V5(client) => {
                client.publish(topic, v5::mqttbytes::QoS::AtLeastOnce, retain, payload).await.is_ok()
            }
            Client::V311(client) => {
                client.publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload).await.is_ok()
            }
        };
        self.published += u64::from(sent);
        sent.then_some(()).ok_or(Closed)
    }

    /// Answers a message: to a topic, with the correlation data that it carried.
    pub(crate) async fn reply(&mut self, to: &Message, topic: &str, payload: Vec<u8>) -> Result<(), Closed> {
        let (Client::V5(client), Some(correlation_data)) = (&self.client, to.correlation_data()) else {
            // Without any property: the embedded broker loses clients of 3.1.1 over messages that have some.
            return self.publish(topic, payload, false).await;
        };
        let properties = wire5::PublishProperties {
            correlation_data: Some(correlation_data),
            ..wire5::PublishProperties::default()
        };
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        let sent = client.publish_with_properties(topic, qos, false, payload, properties).await;
        self.published += u64::from(sent.is_ok());
        sent.map_err(|_| Closed)
    }

    /// Acknowledges a message: the broker will not bring it again.
    pub(crate) async fn acknowledge(&self, message: &Message) -> Result<(), Closed> {
        match (&self.client, &message.packet) {
            (Client::V5(client), Packet::V5(packet)) => client.ack(packet).await.map_err(|_| Closed),
            (Client::V311(client), Packet::V311(packet)) => client.ack(packet).await.map_err(|_| Closed),
            _ => Err(Closed),
        }
    }

    /// Waits until the broker has acknowledged all that was published.
    pub(crate) async fn all_acknowledged(&mut self) -> Result<(), Closed> {
        let published = self.published;
        self.acknowledged.wait_for(|count| *count >= published).await.map(drop).map_err(|_| Closed)
    }
}

/// Begins to listen, or only says why nothing can be heard.
fn begun<E: Send + 'static, F: Future<Output = ()> + Send + 'static>(
    listen: impl FnOnce(E, Ears) -> F,
    events: E,
    ears: Ears,
    unusable: Option<String>,
) -> JoinHandle<()> {
    match unusable {
        None => tokio::spawn(listen(events, ears)),
        Some(why) => tokio::spawn(ears.lost(why)),
    }
}

/// Where a connection's task puts what it hears.
struct Ears {
    heard: mpsc::Sender<Heard>,
    acknowledged: watch::Sender<u64>,
}

impl Ears {
    /// Hands on what was heard; `false` where nobody listens any more.
    fn tell(&self, heard: Heard) -> bool {
        use mpsc::error::TrySendError;
        match self.heard.try_send(heard) {
            Ok(()) => true,
            // At QoS 1 the broker waits for acknowledgements long before; what is sent at QoS 0 asks for being lost.
            Err(TrySendError::Full(Heard::Message(message))) if message.may_be_lost() => true,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => false,
        }
    }

    fn acknowledged(&self) {
        self.acknowledged.send_modify(|count| *count += 1);
    }

    async fn lost(self, why: String) {
        // Nobody is there to hear it where the connection was dropped.
        let _ = self.heard.send(Heard::Lost(why)).await;
    }
}

impl Message {
    fn correlation_data(&self) -> Option<bytes::Bytes> {
        match &self.packet {
            Packet::V5(packet) => packet.properties.as_ref()?.correlation_data.clone(),
            Packet::V311(_) => None,
        }
    }

    fn may_be_lost(&self) -> bool {
        match &self.packet {
            Packet::V5(packet) => packet.qos == v5::mqttbytes::QoS::AtMostOnce,
            Packet::V311(packet) => packet.qos == rumqttc::QoS::AtMostOnce,
        }
    }
}

async fn listen5(mut events: v5::EventLoop, ears: Ears) {
    loop {
        let heard = match events.poll().await {
            Ok(v5::Event::Incoming(packet)) => match packet {
                wire5::Packet::ConnAck(_) => Heard::Connected,
                wire5::Packet::SubAck(ack) => {
                    let good = |code: &wire5::SubscribeReasonCode| {
                        matches!(code, wire5::SubscribeReasonCode::Success(_))
                    };
                    Heard::Subscribed(ack.return_codes.iter().all(good))
                }
                wire5::Packet::Publish(packet) => Heard::Message(Box::new(message5(packet))),
                wire5::Packet::PubAck(ack) => {
                    complain(ack.reason);
                    ears.acknowledged();
                    continue;
                }
                wire5::Packet::Disconnect(reason) => {
                    return ears.lost(format!("the broker says goodbye: {:?}", reason.reason_code)).await;
                }
                _ => continue,
            },
            Ok(v5::Event::Outgoing(_)) => continue,
            Err(error) => return ears.lost(way::why(&error)).await,
        };
        if !ears.tell(heard) {
            return ears.lost("more came than can be taken in".to_owned()).await;
        }
    }
}

/// The broker keeps what it refuses from everybody, and only its configuration can change that.
fn complain(reason: wire5::PubAckReason) {
    use wire5::PubAckReason::{NoMatchingSubscribers, Success};
    if !matches!(reason, Success | NoMatchingSubscribers) {
        tracing::warn!(?reason, "the broker refuses what the server publishes; see its access list");
    }
}

async fn listen311(mut events: rumqttc::EventLoop, ears: Ears) {
    loop {
        let heard = match events.poll().await {
            Ok(rumqttc::Event::Incoming(packet)) => match packet {
                wire4::Packet::ConnAck(_) => Heard::Connected,
                wire4::Packet::SubAck(ack) => {
                    let good = |code: &wire4::SubscribeReasonCode| {
                        matches!(code, wire4::SubscribeReasonCode::Success(_))
                    };
                    Heard::Subscribed(ack.return_codes.iter().all(good))
                }
                wire4::Packet::Publish(packet) => Heard::Message(Box::new(message311(packet))),
                wire4::Packet::PubAck(_) => {
                    ears.acknowledged();
                    continue;
                }
                _ => continue,
            },
            Ok(rumqttc::Event::Outgoing(_)) => continue,
            Err(error) => return ears.lost(way::why(&error)).await,
        };
        if !ears.tell(heard) {
            return ears.lost("more came than can be taken in".to_owned()).await;
        }
    }
}

fn message5(packet: wire5::Publish) -> Message {
    Message {
        topic: String::from_utf8_lossy(&packet.topic).into_owned(),
        payload: packet.payload.to_vec(),
        retain: packet.retain,
        response_topic: packet.properties.as_ref().and_then(|properties| properties.response_topic.clone()),
        packet: Packet::V5(packet),
    }
}

fn message311(packet: wire4::Publish) -> Message {
    Message {
        topic: packet.topic.clone(),
        payload: packet.payload.to_vec(),
        retain: packet.retain,
        response_topic: None,
        packet: Packet::V311(packet),
    }
}

fn options5(
    broker: &MqttBroker,
    (transport, address): (Transport, String),
    opening: &Opening,
) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(&opening.client_id, address, broker.port);
    options.set_transport(transport);
    if let Some((user, password)) = broker.login() {
        options.set_credentials(user, password);
    }
    options.set_clean_start(!opening.keeps_session);
    if opening.keeps_session {
        options.set_session_expiry_interval(Some(SESSION_EXPIRY_S));
        options.set_receive_maximum(Some(UNACKNOWLEDGED_MAX));
    }
    // The broker keeps larger ones from us; a larger packet that came all the same would end the connection.
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    options.set_manual_acks(opening.keeps_session);
    options.set_keep_alive(KEEP_ALIVE);
    if let Some((topic, payload)) = &opening.will {
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        options.set_last_will(wire5::LastWill::new(topic, payload.clone(), qos, true, None));
    }
    options
}

fn options311(
    broker: &MqttBroker,
    (transport, address): (Transport, String),
    opening: &Opening,
) -> rumqttc::MqttOptions {
    let mut options = rumqttc::MqttOptions::new(&opening.client_id, address, broker.port);
    options.set_transport(transport);
    if let Some((user, password)) = broker.login() {
        options.set_credentials(user, password);
    }
    options.set_clean_session(!opening.keeps_session);
    // 3.1.1 can't say a bound, and a message that can't be taken in would come again for ever: whatever the broker
    // lets through is read, and refused by its length.
    options.set_max_packet_size(PACKET_311_BYTES_MAX, PACKET_311_BYTES_MAX);
    options.set_manual_acks(opening.keeps_session);
    options.set_keep_alive(KEEP_ALIVE);
    if let Some((topic, payload)) = &opening.will {
        options.set_last_will(rumqttc::LastWill::new(
            topic,
            payload.clone(),
            rumqttc::QoS::AtLeastOnce,
            true,
        ));
    }
    options
}

/// Messages that wait here: the broker stops at [`UNACKNOWLEDGED_MAX`] by MQTT 5, and at its own bound (mosquitto: 20)
/// by 3.1.1.
const HEARD_MAX: usize = 4_096;

/// Requests that wait for the connection: they are written as fast as the socket takes them.
const REQUESTS_MAX: usize = 64;

/// Commands that the broker hands over before the first is acknowledged: commands are carried out one by one.
const UNACKNOWLEDGED_MAX: u16 = 64;

/// A day: commands that come while the server is away wait so long at the broker.
const SESSION_EXPIRY_S: u32 = 86_400;

/// Room for a command of any sensible length, so that it is refused by its name and not by a lost connection.
const PACKET_BYTES_MAX: u32 = 1_024 * 1_024;

/// The longest packet that MQTT has.
const PACKET_311_BYTES_MAX: usize = 268_435_455;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
