//! `mqtt_commands_per_second` and `mqtt_events_per_second` through a real mosquitto, beside plain messages through the
//! same one in the same rounds.
//!
//! The server is whole but for its devices: a command is read, decided, committed to the disk, answered and
//! acknowledged; an event leaves from the ledger and counts once a subscriber has it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::device::Endpoint;
use bellwether_server::config::{Carrier, MqttBroker, MqttVersion, Password};
use bellwether_server::core::Core;
use bellwether_server::ingress::mqtt::{self, Broker};
use bellwether_server::view;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event as Heard, EventLoop, MqttOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::figure::{Figure, Taken};
use crate::firmware::noise;
use crate::fleet::{Device, Fleet};
use crate::{Failure, clock};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    rounds: usize,
    /// Commands that change something, in one round.
    commands: usize,
    /// Events in one round; each goes to two topics.
    events: usize,
    /// Plain messages in one round.
    messages: usize,
}

impl Effort {
    /// What `make bench` does: about 20 seconds.
    pub(crate) const FULL: Self = Self { rounds: 5, commands: 200, events: 1_000, messages: 2_000 };
}

/// A mosquitto of our own, killed when it is dropped.
struct Mosquitto {
    process: Child,
    port: u16,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // One that ended by itself can't be killed again.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Measures both.
pub(crate) fn measure(effort: Effort) -> Result<Taken, Failure> {
    eprintln!("measuring mqtt_commands_per_second and mqtt_events_per_second ...");
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(through_mosquitto(effort, folder.path()))
}

async fn through_mosquitto(effort: Effort, folder: &Path) -> Result<Taken, Failure> {
    let mosquitto = Mosquitto::start(folder).await?;
    let fleet = Fleet::open(folder).await?;
    let campaign = prepare(&fleet).await?;
    let at = MqttBroker {
        host: LOOPBACK.to_owned(),
        port: mosquitto.port,
        user: None,
        password: Password::default(),
        version: MqttVersion::V5,
        carrier: Carrier::Tcp,
        tls: None,
    };
    let broker = Broker::new(at);
    let commands = tokio::spawn(mqtt::run(Arc::clone(&fleet.core), Arc::clone(&broker)));
    let events = tokio::spawn(view::run(Arc::clone(&fleet.core), broker));
    let mut client = Client::connect(&mosquitto, "bench");
    client
        .subscribe(&["bellwether/v1/default/replies/#", "bellwether/v1/default/campaigns/+/devices/#", PLAIN])
        .await?;
    client.wait_for_server().await?;
    client.plain(effort.messages).await?;
    let (mut orders, mut told, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=effort.rounds {
        orders.push(client.orders(round, effort.commands).await?);
        told.push(client.events(&fleet.core, campaign, effort.events).await?);
        plain.push(client.plain(effort.messages).await?);
    }
    commands.abort();
    events.abort();
    figures(&orders, &told, &plain)
}

fn figures(orders: &[f64], told: &[f64], plain: &[f64]) -> Result<Taken, Failure> {
    let layer = "MQTT 5 at QoS 1 through mosquitto on loopback";
    let peer = "messages of 100 bytes through the same mosquitto, acknowledged and received";
    let command =
        Figure::new("mqtt_commands_per_second", "1/s", layer, "pause and resume, each committed", orders)?;
    let event = Figure::new("mqtt_events_per_second", "1/s", layer, "events of the ledger, received", told)?;
    let figures = vec![command.beside(peer, orders, plain)?, event.beside(peer, told, plain)?];
    let note = "an event goes to two topics; the subscriber counts it in one of them".to_owned();
    Ok(Taken { figures, notes: vec![note], ..Taken::default() })
}

/// A campaign of one device, whose number it gives.
async fn prepare(fleet: &Fleet) -> Result<CampaignId, Failure> {
    let image = noise(4_096);
    fleet.release(CLASS, "2.0.0", &image).await?;
    let published = fleet.manifest(1, CLASS, &image).await?;
    let device: Device = fleet.enrol(DEVICE, CLASS).await?;
    fleet.launch(&published.digest, &[device]).await?;
    Ok(CampaignId(1))
}

impl Mosquitto {
    async fn start(folder: &Path) -> Result<Self, Failure> {
        let port = TcpListener::bind((LOOPBACK, 0))?.local_addr()?.port();
        let file = folder.join("mosquitto.conf");
        let text = format!(
            "listener {port} {LOOPBACK}\nallow_anonymous true\nmax_inflight_messages 100\nmax_queued_messages 100000\n"
        );
        std::fs::write(&file, text)?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let process =
            command.spawn().map_err(|error| format!("mosquitto does not start ({error}); install it"))?;
        let mosquitto = Self { process, port };
        for _ in 0..LOOKS_MAX {
            if tokio::net::TcpStream::connect((LOOPBACK, port)).await.is_ok() {
                return Ok(mosquitto);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("mosquitto does not answer".into())
    }
}

/// A fleet manager that counts.
struct Client {
    client: AsyncClient,
    topics: UnboundedReceiver<String>,
}

impl Client {
    fn connect(mosquitto: &Mosquitto, name: &str) -> Self {
        let mut options = MqttOptions::new(name, LOOPBACK, mosquitto.port);
        options.set_max_packet_size(Some(1_048_576));
        let (client, events) = AsyncClient::new(options, 64);
        let (topics_in, topics) = unbounded_channel();
        tokio::spawn(async move { listen(events, |topic| topics_in.send(topic).is_ok()).await });
        Self { client, topics }
    }

    async fn subscribe(&mut self, filters: &[&str]) -> Result<(), Failure> {
        for filter in filters {
            self.client.subscribe(*filter, QoS::AtLeastOnce).await?;
        }
        Ok(())
    }

    /// Gives the same command until it is answered: before the server has subscribed, the broker drops it.
    async fn wait_for_server(&mut self) -> Result<(), Failure> {
        let topic = "bellwether/v1/default/commands/campaigns/pause";
        let began = clock::now();
        while began.elapsed() < PATIENCE {
            let body = r#"{"request_id":"first","campaign":"1"}"#;
            self.client.publish(topic, QoS::AtLeastOnce, false, body).await?;
            if tokio::time::timeout(QUIET, self.topics.recv()).await.is_ok() {
                // Answers to the repetitions, and what the command made happen.
                while tokio::time::timeout(QUIET, self.topics.recv()).await.is_ok() {}
                return Ok(());
            }
        }
        Err("the server does not answer over mosquitto".into())
    }

    /// Pauses and resumes the campaign so many times; gives commands a second, until the last reply is here.
    async fn orders(&mut self, round: usize, count: usize) -> Result<f64, Failure> {
        let began = clock::now();
        for number in 0..count {
            let verb = if (round * count + number).is_multiple_of(2) { "pause" } else { "resume" };
            let body = format!(r#"{{"request_id":"{round}-{number}","campaign":"1"}}"#);
            let topic = format!("bellwether/v1/default/commands/campaigns/{verb}");
            self.client.publish(topic, QoS::AtLeastOnce, false, body).await?;
        }
        self.count(count, "bellwether/v1/default/replies/").await?;
        Ok(rate(count, began.elapsed()))
    }

    /// Lets so many events happen; gives events a second, until the last is here.
    async fn events(&mut self, core: &Core, campaign: CampaignId, count: usize) -> Result<f64, Failure> {
        let device = Some(Endpoint::try_from(DEVICE)?);
        let asked = Event { at: 1, campaign: Some(campaign), device, kind: EventKind::Asked };
        let began = clock::now();
        core.store.append(&core.tenant, &vec![asked; count]).await?;
        self.count(count, "bellwether/v1/default/campaigns/1/devices/").await?;
        Ok(rate(count, began.elapsed()))
    }

    /// Sends so many plain messages to itself; gives messages a second.
    async fn plain(&mut self, count: usize) -> Result<f64, Failure> {
        let began = clock::now();
        for _ in 0..count {
            self.client.publish(PLAIN, QoS::AtLeastOnce, false, vec![b'x'; 100]).await?;
        }
        self.count(count, PLAIN).await?;
        Ok(rate(count, began.elapsed()))
    }

    async fn count(&mut self, wanted: usize, prefix: &str) -> Result<(), Failure> {
        let mut counted = 0;
        while counted < wanted {
            let topic = tokio::time::timeout(PATIENCE, self.topics.recv()).await?;
            counted += usize::from(topic.ok_or("the connection is lost")?.starts_with(prefix));
        }
        Ok(())
    }
}

async fn listen(mut events: EventLoop, tell: impl Fn(String) -> bool) {
    while let Ok(event) = events.poll().await {
        if let Heard::Incoming(Packet::Publish(packet)) = event
            && !tell(String::from_utf8_lossy(&packet.topic).into_owned())
        {
            return;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

const LOOPBACK: &str = "127.0.0.1";
const PLAIN: &str = "plain";
const CLASS: &str = "meter";
const DEVICE: &str = "meter-1";
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 250;
const PATIENCE: Duration = Duration::from_secs(30);
/// So long after the last one, no further answer is under way.
const QUIET: Duration = Duration::from_millis(500);
