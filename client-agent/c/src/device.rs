//! The conversation of one device: carries messages between agent, CoAP and the C program.

use crate::abi::{BellwetherError, BellwetherStep};
use crate::event;
use alloc::string::String;
use bellwether_agent::agent::{Agent, Config as AgentConfig, Event, Route, Ticket};
use bellwether_agent::coap::{self, Config, Endpoint, Failure, Instant, RequestId};
use bellwether_agent::lwm2m::firmware::{State, UpdateResult};
use bellwether_agent::platform::{Flash, Random};
use core::time::Duration;

/// What a C program is called for, beside its flash and its random bytes.
pub(crate) trait Port {
    /// Sends a datagram; one that is lost is sent again by CoAP.
    fn send(&mut self, datagram: &[u8]);

    /// Tells what happened.
    fn tell(&mut self, event: crate::abi::BellwetherEvent, first: u32, second: u32);
}

/// The conversation with one server.
pub(crate) struct Conversation<F, R, P> {
    agent: Agent<'static, F, R>,
    endpoint: Endpoint<()>,
    port: P,
    under_way: Option<(RequestId, Ticket)>,
    is_up: bool,
    ending: Option<(BellwetherStep, Instant)>,
}

impl<F: Flash, R: Random, P: Port> Conversation<F, R, P> {
    /// Begins without a session. `seed` is random.
    pub(crate) fn new(agent: Agent<'static, F, R>, port: P, seed: [u8; 32]) -> Self {
        let endpoint = Endpoint::new(coap_config(), seed);
        Self { agent, endpoint, port, under_way: None, is_up: false, ending: None }
    }

    /// Reads the flash, before anything else.
    pub(crate) fn read(&mut self, now: Instant) -> Result<(), BellwetherError> {
        Ok(self.agent.read(now)?)
    }

    /// Takes a datagram of the server.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.endpoint.handle_datagram(now, (), datagram);
    }

    /// De-registers; the end is a step.
    pub(crate) fn stop(&mut self) {
        self.agent.stop();
    }

    /// Does everything that is due, and tells what is next, and when at the latest.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
    ) -> Result<(BellwetherStep, Option<Instant>), BellwetherError> {
        loop {
            if let Some((step, until)) = self.ending {
                self.carry(now);
                let is_over = self.endpoint.load().exchanges == 0 || now >= until;
                return Ok(if is_over { (step, None) } else { (BellwetherStep::Wait, Some(until)) });
            }
            self.agent.handle_timeout(now)?;
            self.tell_events(now);
            if self.ending.is_some() {
                continue;
            }
            self.connect(now);
            self.ask(now)?;
            self.carry(now);
            if !self.take_messages(now)? {
                let due = [self.agent.poll_timeout(now), self.endpoint.poll_timeout()];
                return Ok((BellwetherStep::Wait, due.into_iter().flatten().min()));
            }
        }
    }

    /// Whether the newest update was installed and nothing of it is owed any more.
    pub(crate) fn is_updated(&self) -> bool {
        self.agent.firmware_state() == State::Idle
            && self.agent.firmware_result() == UpdateResult::Success
            && self.agent.updater().pending_report().is_none()
    }

    /// Without security a session is there when it is wanted, and gone when the agent does not count on it.
    fn connect(&mut self, now: Instant) {
        if self.is_up && !self.agent.is_connected(Route::Server) {
            self.is_up = false;
            self.under_way = None;
            self.endpoint.forget(());
        }
        while let Some(route) = self.agent.poll_connect(now) {
            self.is_up = true;
            self.agent.handle_connected(now, route);
        }
    }

    fn ask(&mut self, now: Instant) -> Result<(), BellwetherError> {
        while let Some((_, ticket, request)) = self.agent.poll_request(now)? {
            match self.endpoint.request(now, (), request) {
                Ok(id) => self.under_way = Some((id, ticket)),
                Err(_) => self.agent.handle_failure(now, ticket, Failure::PeerGone),
            }
        }
        Ok(())
    }

    fn carry(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some(datagram) = self.endpoint.poll_transmit() {
            self.port.send(&datagram.bytes);
        }
    }

    /// Hands what came in to the agent; false where nothing had.
    fn take_messages(&mut self, now: Instant) -> Result<bool, BellwetherError> {
        let mut any = false;
        while let Some(event) = self.endpoint.poll_event() {
            any = true;
            match event {
                coap::Event::Request { exchange, request, .. } => {
                    let answer = self.agent.handle_request(now, Route::Server, &request)?;
                    // One that came too late for its exchange is asked for again.
                    let _ = self.endpoint.respond(now, exchange, answer);
                }
                coap::Event::Response { id, response, .. } => {
                    if let Some(ticket) = self.take_ticket(id) {
                        self.agent.handle_response(now, ticket, response)?;
                    }
                }
                coap::Event::Failed { id, reason, .. } => {
                    if let Some(ticket) = self.take_ticket(id) {
                        self.agent.handle_failure(now, ticket, reason);
                    }
                }
            }
        }
        Ok(any)
    }

    fn take_ticket(&mut self, id: RequestId) -> Option<Ticket> {
        self.under_way.take_if(|(under_way, _)| *under_way == id).map(|(_, ticket)| ticket)
    }

    fn tell_events(&mut self, now: Instant) {
        while let Some(event) = self.agent.poll_event() {
            if let Some((event, first, second)) = event::told(&event) {
                self.port.tell(event, first, second);
            }
            match event {
                Event::Reboot => self.ending = Some((BellwetherStep::Reboot, now.after(REST_WAIT))),
                Event::Stopped => self.ending = Some((BellwetherStep::Stopped, now.after(REST_WAIT))),
                _ => {}
            }
        }
    }
}

/// How the agent behaves, for an endpoint.
pub(crate) fn agent_config(endpoint: &str, manufacturer: &str, model: &str, lifetime_s: u32) -> AgentConfig {
    AgentConfig {
        endpoint: String::from(endpoint),
        lifetime_s,
        manufacturer: String::from(manufacturer),
        model: String::from(model),
        waiting_silence: Duration::from_mins(1),
        retry_first: Duration::from_secs(2),
        retry_longest: Duration::from_mins(5),
        gateway: false,
        hello: Duration::from_mins(1),
        detour: Duration::from_mins(10),
    }
}

/// Bounds of a device with one peer.
fn coap_config() -> Config {
    Config {
        datagram_bytes_max: crate::abi::BELLWETHER_DATAGRAM_BYTES_MAX,
        body_bytes_max: BODY_BYTES_MAX,
        bodies_per_peer_max: 2,
        held_bytes_max: 2 * BODY_BYTES_MAX,
        in_flight_max: 2,
        exchanges_per_peer_max: 2,
        peers_max: 1,
        dedup_ring_max: 8,
        replay_bytes_max: crate::abi::BELLWETHER_DATAGRAM_BYTES_MAX,
        ..Config::default()
    }
}

/// Bytes of a body: half of the flash for manifests, and a request may be as long.
const BODY_BYTES_MAX: usize = 4096;

/// How long what is left to send is waited for.
const REST_WAIT: Duration = Duration::from_millis(500);
