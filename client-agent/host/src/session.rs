//! One boot's conversation with the server: carries messages between the agent and the network.

use crate::device::{Device, DeviceError, Finished};
use crate::flash_file::FlashFile;
use crate::random::OsRandom;
use crate::server;
use crate::status::Traffic;
use bellwether_agent::agent::{Agent, Event, Ticket};
use bellwether_agent::coap::{Failure, Response};
use bellwether_agent::manifests::message::Moment;
use bellwether_net::coap::Config as CoapConfig;
use bellwether_net::{
    ConnectError, DtlsConfig, Event as NetEvent, NoService, Peer, RequestError, Secret, Security, SessionId,
    Shard, ShardConfig, ShardHandle,
};
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How a boot ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// Restart through the boot loader.
    Reboot,
    /// Switch off.
    Finished(Finished),
}

type InFlight = Pin<Box<dyn Future<Output = (Ticket, Result<Response, RequestError>)> + Send>>;
type Connecting = Pin<Box<dyn Future<Output = Result<Peer, ConnectError>> + Send>>;

/// The conversation of one boot.
pub(crate) struct Session<'d, 'a, 'f> {
    device: &'d mut Device<'a>,
    agent: Agent<'f, &'f mut FlashFile, OsRandom>,
    net: ShardHandle,
    events: mpsc::Receiver<NetEvent>,
    server: SocketAddr,
    peer: Option<SessionId>,
    connecting: Option<Connecting>,
    in_flight: Option<InFlight>,
    /// Bytes of the boots before.
    traffic_before: Traffic,
    finished: Option<Finished>,
}

/// What woke the conversation.
enum Wake {
    Net(Option<NetEvent>),
    Answered(Ticket, Result<Response, RequestError>),
    Connected(Result<Peer, ConnectError>),
    Line(Option<String>),
    Due,
    Stop,
}

impl<'d, 'a, 'f> Session<'d, 'a, 'f> {
    /// Binds a port of its own, as a device that has just booted does.
    pub(crate) async fn open(
        device: &'d mut Device<'a>,
        agent: Agent<'f, &'f mut FlashFile, OsRandom>,
    ) -> Result<Self, DeviceError> {
        let uri = device.unit.servers.get(0).unwrap_or_default();
        let server = server::resolve(uri).await?;
        let key = Secret::new(device.unit.dtls_psk.to_vec()).ok_or(DeviceError::Credential)?;
        let identity = device.unit.dtls_identity.as_bytes().to_vec();
        let mut config = ShardConfig::new(server::local_for(server), Security::PskClient { identity, key });
        let ack_timeout = Duration::from_millis(device.args.ack_timeout_ms);
        config.coap = coap_config(ack_timeout);
        config.dtls = DtlsConfig { retransmit_first: ack_timeout / 2, ..DtlsConfig::default() };
        let (net, events) = Shard::spawn(config, Box::new(NoService))?;
        let traffic_before = device.status.traffic;
        Ok(Self {
            device,
            agent,
            net,
            events,
            server,
            peer: None,
            connecting: None,
            in_flight: None,
            traffic_before,
            finished: None,
        })
    }

    /// Carries messages until the next boot or the end.
    pub(crate) async fn run(mut self) -> Result<Ended, DeviceError> {
        let ended = self.converse().await;
        self.count_traffic();
        self.device.status.read_agent(&self.agent);
        self.device.status.registered = false;
        self.device.file.write(&self.device.status);
        // What was handed over before, such as the answer to the Execute that restarts the device, still goes out.
        self.net.stop();
        ended
    }

    async fn converse(&mut self) -> Result<Ended, DeviceError> {
        loop {
            self.agent.handle_timeout(self.device.clock.now())?;
            if let Some(ended) = self.tell_events() {
                return Ok(ended);
            }
            self.drop_dead_session();
            self.connect();
            self.send()?;
            // Sending may have made events, such as a question that has lost its manifest.
            if let Some(ended) = self.tell_events() {
                return Ok(ended);
            }
            let wake = self.wait().await;
            self.take(wake)?;
        }
    }

    async fn wait(&mut self) -> Wake {
        let now = self.device.clock.now();
        let due = self.agent.poll_timeout().map(|at| at.0.saturating_sub(now.0));
        // In this order: an answer that came before a request of the server, as a receipt before an Execute, is
        // taken before it.
        tokio::select! {
            biased;
            (ticket, answer) = of(&mut self.in_flight) => Wake::Answered(ticket, answer),
            event = self.events.recv() => Wake::Net(event),
            connected = of(&mut self.connecting) => Wake::Connected(connected),
            line = self.device.lines.recv() => Wake::Line(line),
            () = sleep(due.unwrap_or(IDLE)) => Wake::Due,
            _ = self.device.terminate.recv() => Wake::Stop,
            _ = self.device.interrupt.recv() => Wake::Stop,
        }
    }

    fn take(&mut self, wake: Wake) -> Result<(), DeviceError> {
        let now = self.device.clock.now();
        match wake {
            Wake::Net(Some(NetEvent::Request { exchange, request, .. })) => {
                let response = self.agent.handle_request(now, &request)?;
                self.net.respond(exchange, response);
            }
            Wake::Net(Some(NetEvent::Closed(peer, reason))) if Some(peer.session) == self.peer => {
                tracing::info!(%reason, "session closed");
                self.peer = None;
                self.in_flight = None;
                self.agent.handle_disconnected(now);
            }
            Wake::Net(Some(NetEvent::Closed(..) | NetEvent::Connected(_))) | Wake::Due => {}
            Wake::Net(None) => {
                return Err(DeviceError::System(std::io::Error::other("the network thread died")));
            }
            Wake::Answered(ticket, answer) => {
                self.in_flight = None;
                match answer {
                    Ok(response) => self.agent.handle_response(now, ticket, response)?,
                    Err(error) => self.agent.handle_failure(now, ticket, failure(error)),
                }
            }
            Wake::Connected(connected) => self.take_connection(connected),
            Wake::Line(line) => self.relay(line),
            Wake::Stop => {
                self.finished.get_or_insert(Finished::Well);
                self.agent.stop();
            }
        }
        Ok(())
    }

    fn take_connection(&mut self, connected: Result<Peer, ConnectError>) {
        self.connecting = None;
        let now = self.device.clock.now();
        match connected {
            Ok(peer) => {
                tracing::info!(server = %self.server, "session established");
                self.peer = Some(peer.session);
                self.agent.handle_connected(now);
            }
            Err(error) => {
                let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(server = %self.server, %error, reason, "trying again later");
                self.agent.handle_disconnected(now);
            }
        }
    }

    fn relay(&mut self, line: Option<String>) {
        let Some(line) = line else { return };
        tracing::info!(line, "image says");
        self.device.status.says.get_or_insert(line);
        self.device.file.write(&self.device.status);
    }

    /// Tells the log and the status file; a halt point ends the process here, before anything more is sent.
    fn tell_events(&mut self) -> Option<Ended> {
        while let Some(event) = self.agent.poll_event() {
            self.log(&event);
            self.device.status.take(&event);
            if let Event::Refused { reason } = event {
                let said = self.agent.updater().refusal();
                self.device.status.reason = Some(format!("refused by the server: {said} (reason {reason})"));
            }
            self.count_traffic();
            self.device.status.read_agent(&self.agent);
            self.device.status.updated |= event == Event::Receipt(Moment::Installed);
            if is_step(&event) {
                self.device.file.write(&self.device.status);
            }
            if let Some(halt) = self.device.args.halt_at.filter(|halt| halt.is_at(&event)) {
                halt.halt();
            }
            if self.device.args.exit_when_updated && self.finished.is_none() {
                self.finished = self.has_come_to_an_end(&event);
                if self.finished.is_some() {
                    self.agent.stop();
                }
            }
            match event {
                Event::Reboot => return Some(Ended::Reboot),
                Event::Stopped => return Some(Ended::Finished(self.finished.unwrap_or(Finished::Well))),
                _ => {}
            }
        }
        None
    }

    /// Whether the update that is waited for has ended, with every report of it acknowledged.
    fn has_come_to_an_end(&self, event: &Event) -> Option<Finished> {
        let owes = self.agent.updater().pending_report().is_some();
        match event {
            Event::Receipt(Moment::Installed) | Event::NothingToDo if !owes => Some(Finished::Well),
            // A refused manifest may be one that nobody could be told about.
            Event::Receipt(Moment::Failed) | Event::Refused { .. } | Event::ManifestRefused { .. }
                if !owes =>
            {
                Some(Finished::NotUpdated)
            }
            _ => None,
        }
    }

    fn drop_dead_session(&mut self) {
        if !self.agent.is_connected()
            && let Some(session) = self.peer.take()
        {
            self.in_flight = None;
            self.net.close(session);
        }
    }

    fn connect(&mut self) {
        if self.peer.is_none()
            && self.connecting.is_none()
            && self.agent.wants_session(self.device.clock.now())
        {
            let (net, server) = (self.net.clone(), self.server);
            self.connecting = Some(Box::pin(async move { net.connect(server).await }));
        }
    }

    fn send(&mut self) -> Result<(), DeviceError> {
        let Some(session) = self.peer.filter(|_| self.in_flight.is_none()) else { return Ok(()) };
        if let Some((ticket, request)) = self.agent.poll_request(self.device.clock.now())? {
            let net = self.net.clone();
            self.in_flight = Some(Box::pin(async move { (ticket, net.request(session, request).await) }));
        }
        Ok(())
    }

    fn count_traffic(&mut self) {
        let now = self.net.counters().sessions.traffic;
        let before = self.traffic_before;
        self.device.status.traffic = Traffic {
            application_in: before.application_in + now.application_in,
            application_out: before.application_out + now.application_out,
            handshake_in: before.handshake_in + now.handshake_in,
            handshake_out: before.handshake_out + now.handshake_out,
        };
    }

    fn log(&self, event: &Event) {
        let endpoint = self.device.unit.id;
        match event {
            Event::FrameStored { number, of } => tracing::debug!(endpoint, number, of, "frame stored"),
            Event::Refused { reason } => {
                tracing::warn!(
                    endpoint,
                    reason,
                    said = self.agent.updater().refusal(),
                    "refused by the server"
                );
            }
            Event::Unanswered { .. }
            | Event::Declined { .. }
            | Event::ManifestRefused { .. }
            | Event::GrantUnusable(_)
            | Event::AnswerIgnored(_)
            | Event::ReceiptIgnored(_)
            | Event::FrameAltered { .. }
            | Event::ResourceGone
            | Event::GivenUp => tracing::warn!(endpoint, ?event, "update"),
            _ => tracing::info!(endpoint, ?event, "update"),
        }
    }
}

/// A frame in between is no step that an observer needs: the file would be written thousands of times.
fn is_step(event: &Event) -> bool {
    !matches!(event, Event::FrameStored { number, of } if number % FRAMES_PER_STATUS != 0 && number + 1 != *of)
}

/// Waits for a future that may not be there, and then for ever.
async fn of<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn failure(error: RequestError) -> Failure {
    match error {
        RequestError::Failed(failure) => failure,
        // Nothing was sent, or the session ended meanwhile: what the agent asked for is not under way.
        _ => Failure::PeerGone,
    }
}

/// Times that follow from the first wait, as RFC 7252 §4.8.2 derives them.
fn coap_config(ack_timeout: Duration) -> CoapConfig {
    let mut config = CoapConfig::default();
    config.transmission.ack_timeout = ack_timeout;
    config.transmission.processing_delay = ack_timeout / 2;
    config.response_wait = config.transmission.max_transmit_wait();
    config
}

/// Frames between two writes of the status file: 63 KiB.
const FRAMES_PER_STATUS: u32 = 64;

/// How long nothing needs to be due for: waking up once an hour costs nothing.
const IDLE: Duration = Duration::from_hours(1);
