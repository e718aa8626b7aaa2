//! One boot's conversation: carries messages between the agent and its links to the server and the gateway.

use crate::device::{Device, DeviceError, Finished};
use crate::flash_file::FlashFile;
use crate::link::{Link, LinkEvent};
use crate::random::OsRandom;
use crate::status::Traffic;
use bellwether_agent::agent::{Agent, Event, QueueMode, Radio, Route};
use bellwether_agent::lwm2m::firmware::{State, UpdateResult};
use bellwether_agent::manifests::message::Moment;
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::time::sleep;

/// How a boot ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// Restart through the boot loader.
    Reboot,
    /// Switch off.
    Finished(Finished),
}

/// The conversation of one boot.
pub(crate) struct Session<'d, 'a, 'f> {
    device: &'d mut Device<'a>,
    agent: Agent<'f, &'f mut FlashFile, OsRandom>,
    server: Link,
    gateway: Option<Link>,
    queue_mode: Option<QueueMode>,
    /// Datagrams that were lost in its sleep before this boot.
    missed_before: u64,
    finished: Option<Finished>,
}

/// What woke the conversation.
enum Wake {
    Link(Route, LinkEvent),
    Line(Option<String>),
    Due,
    Stop,
}

impl<'d, 'a, 'f> Session<'d, 'a, 'f> {
    /// Begins with links that bind ports of their own, as a device that has just booted does.
    pub(crate) fn new(
        device: &'d mut Device<'a>,
        agent: Agent<'f, &'f mut FlashFile, OsRandom>,
    ) -> Result<Self, DeviceError> {
        let (unit, status) = (device.unit, &device.status);
        let ack_timeout = Duration::from_millis(device.args.ack_timeout_ms);
        let credential = (unit.dtls_identity, unit.dtls_psk.as_slice());
        let before = status.traffic - status.traffic_gateway.unwrap_or_default();
        let server = Link::new("server", credential, ack_timeout, before).ok_or(DeviceError::Credential)?;
        let gateway = match device.gateway {
            None => None,
            Some(gateway) => {
                let before = status.traffic_gateway.unwrap_or_default();
                let credential = (gateway.identity, gateway.psk.as_slice());
                let link = Link::new("gateway", credential, ack_timeout, before);
                Some(link.ok_or(DeviceError::Credential)?)
            }
        };
        let awake = Duration::from_secs(device.args.awake_s.into());
        let queue_mode = device.args.queue_mode.then(|| QueueMode::new(awake, device.clock.now()));
        let sleep = queue_mode.map(|_| device.status.queue_mode.unwrap_or_default());
        device.status.queue_mode = sleep;
        let missed_before = sleep.map_or(0, |sleep| sleep.missed);
        Ok(Self { device, agent, server, gateway, queue_mode, missed_before, finished: None })
    }

    /// Carries messages until the next boot or the end.
    pub(crate) async fn run(mut self) -> Result<Ended, DeviceError> {
        let ended = self.converse().await;
        self.count_traffic();
        self.count_sleep(false);
        self.device.status.read_agent(&self.agent);
        self.device.status.registered = false;
        self.device.status.gateway_is_connected(false);
        self.device.file.write(&self.device.status);
        self.server.close();
        if let Some(gateway) = self.gateway {
            gateway.close();
        }
        ended
    }

    async fn converse(&mut self) -> Result<Ended, DeviceError> {
        loop {
            self.agent.handle_timeout(self.device.clock.now())?;
            if let Some(ended) = self.tell_events() {
                return Ok(ended);
            }
            self.drop_dead_sessions();
            // Before anything is sent: the answer is to be heard.
            self.switch_radio().await;
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
        let sleeps = self.queue_mode.filter(|_| self.agent.rests()).and_then(|mode| mode.due());
        let due = [self.agent.poll_timeout(now), sleeps].into_iter().flatten().min();
        let due = due.map(|at| at.0.saturating_sub(now.0));
        let gateway = async {
            match &mut self.gateway {
                Some(gateway) => gateway.wait().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.server.wait() => Wake::Link(Route::Server, event),
            event = gateway => Wake::Link(Route::Gateway, event),
            line = self.device.lines.recv() => Wake::Line(line),
            () = sleep(due.unwrap_or(IDLE)) => Wake::Due,
            _ = self.device.terminate.recv() => Wake::Stop,
            _ = self.device.interrupt.recv() => Wake::Stop,
        }
    }

    fn take(&mut self, wake: Wake) -> Result<(), DeviceError> {
        match wake {
            Wake::Link(route, event) => self.take_link_event(route, event)?,
            Wake::Line(line) => self.relay(line),
            Wake::Due => {}
            Wake::Stop => {
                self.finished.get_or_insert(Finished::Well);
                self.agent.stop();
            }
        }
        Ok(())
    }

    fn take_link_event(&mut self, route: Route, event: LinkEvent) -> Result<(), DeviceError> {
        let now = self.device.clock.now();
        if route == Route::Gateway && matches!(event, LinkEvent::Connected | LinkEvent::Disconnected) {
            self.device.status.gateway_is_connected(matches!(event, LinkEvent::Connected));
            self.device.file.write(&self.device.status);
        }
        match event {
            LinkEvent::Connected => self.agent.handle_connected(now, route),
            LinkEvent::Disconnected => self.agent.handle_disconnected(now, route),
            LinkEvent::Answered(ticket, response) => self.agent.handle_response(now, ticket, response)?,
            LinkEvent::Failed(ticket, failure) => self.agent.handle_failure(now, ticket, failure),
            LinkEvent::Request(exchange, request) => {
                let response = self.agent.handle_request(now, route, &request)?;
                if let Some(link) = self.link(route) {
                    link.respond(exchange, response);
                }
            }
            LinkEvent::Nothing => {}
            LinkEvent::Dead => return Err(DeviceError::System(io::Error::other("the network thread died"))),
        }
        Ok(())
    }

    fn link(&mut self, route: Route) -> Option<&mut Link> {
        match route {
            Route::Server => Some(&mut self.server),
            Route::Gateway => self.gateway.as_mut(),
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

    fn has_come_to_an_end(&self, event: &Event) -> Option<Finished> {
        let owes = self.agent.updater().pending_report().is_some();
        let result = (self.agent.firmware_state() == State::Idle).then(|| self.agent.firmware_result());
        end_at(event, result).filter(|_| !owes)
    }

    fn drop_dead_sessions(&mut self) {
        for route in ROUTES {
            let counts = self.agent.is_connected(route);
            if let Some(link) = self.link(route).filter(|link| link.is_connected() && !counts) {
                link.drop_session();
            }
        }
    }

    fn connect(&mut self) {
        while let Some(route) = self.agent.poll_connect(self.device.clock.now()) {
            let uri = match route {
                Route::Server => self.device.unit.servers.get(self.agent.server()),
                Route::Gateway => self.device.gateway.map(|gateway| gateway.uri),
            };
            if let (Some(uri), Some(link)) = (uri, self.link(route)) {
                link.connect(uri);
            }
        }
    }

    /// Lets a device in queue mode fall asleep, or wake.
    async fn switch_radio(&mut self) {
        let (now, bytes) = (self.device.clock.now(), self.traffic().all());
        let (due, rests) = (self.agent.poll_timeout(now), self.agent.rests());
        let Some(radio) = self.queue_mode.as_mut().and_then(|mode| mode.look(now, bytes, due, rests)) else {
            return;
        };
        let asleep = radio == Radio::Off;
        for link in [Some(&self.server), self.gateway.as_ref()].into_iter().flatten() {
            link.listen(!asleep).await;
        }
        tracing::info!(endpoint = self.device.unit.id, asleep, "queue mode");
        self.count_traffic();
        self.count_sleep(asleep);
        self.device.file.write(&self.device.status);
    }

    fn count_sleep(&mut self, asleep: bool) {
        let missed = self.server.missed() + self.gateway.as_ref().map_or(0, Link::missed);
        if let Some(sleep) = &mut self.device.status.queue_mode {
            sleep.switched(asleep, self.missed_before + missed);
        }
    }

    fn send(&mut self) -> Result<(), DeviceError> {
        while let Some((route, ticket, request)) = self.agent.poll_request(self.device.clock.now())? {
            let request = if self.queue_mode.is_some() { QueueMode::announced(request) } else { request };
            if let Some(link) = self.link(route) {
                link.send(ticket, request);
            }
        }
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.server.traffic() + self.gateway.as_ref().map(Link::traffic).unwrap_or_default()
    }

    fn count_traffic(&mut self) {
        self.device.status.traffic_gateway = self.gateway.as_ref().map(Link::traffic);
        self.device.status.traffic = self.traffic();
    }

    fn log(&self, event: &Event) {
        let endpoint = self.device.unit.id;
        match event {
            Event::FrameStored { number, of, .. } => tracing::debug!(endpoint, number, of, "frame stored"),
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
            | Event::Detour { .. }
            | Event::Server { .. }
            | Event::ManifestRefused { .. }
            | Event::GrantUnusable(_)
            | Event::AnswerIgnored(_)
            | Event::ReceiptIgnored(_)
            | Event::FrameAltered { .. }
            | Event::ResourceGone
            | Event::Stop
            | Event::GivenUp => tracing::warn!(endpoint, ?event, "update"),
            _ => tracing::info!(endpoint, ?event, "update"),
        }
    }
}

/// Whether the update that is waited for ends with this event, where every report of it is acknowledged; `result` is that
/// of the newest update, `None` while one is worked on.
fn end_at(event: &Event, result: Option<UpdateResult>) -> Option<Finished> {
    match event {
        Event::Receipt(Moment::Installed) | Event::NothingToDo => Some(Finished::Well),
        // A gateway may have kept this one while the report of the end was acknowledged.
        Event::Receipt(Moment::Decrypted) => match result? {
            UpdateResult::Success => Some(Finished::Well),
            _ => Some(Finished::NotUpdated),
        },
        // A refused manifest may be one that nobody could be told about.
        Event::Receipt(Moment::Failed)
        | Event::Refused { .. }
        | Event::Stop
        | Event::ManifestRefused { .. } => Some(Finished::NotUpdated),
        _ => None,
    }
}

/// A frame in between is no step that an observer needs: the file would be written thousands of times.
fn is_step(event: &Event) -> bool {
    !matches!(
        event,
        Event::FrameStored { number, of, .. } if number % FRAMES_PER_STATUS != 0 && number + 1 != *of
    )
}

const ROUTES: [Route; 2] = [Route::Server, Route::Gateway];

/// Frames between two writes of the status file: 63 KiB.
const FRAMES_PER_STATUS: u32 = 64;

/// How long nothing needs to be due for: waking up once an hour costs nothing.
const IDLE: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn update_ends_with_the_last_receipt_in_whatever_order_they_come() {
        let ends = |moment, result| end_at(&Event::Receipt(moment), result);
        assert_eq!(ends(Moment::Installed, Some(UpdateResult::Success)), Some(Finished::Well));
        assert_eq!(ends(Moment::Decrypted, Some(UpdateResult::Success)), Some(Finished::Well));
        assert_eq!(ends(Moment::Decrypted, Some(UpdateResult::UpdateFailed)), Some(Finished::NotUpdated));
        assert_eq!(ends(Moment::Decrypted, None), None, "its image is not installed yet");
    }
}
