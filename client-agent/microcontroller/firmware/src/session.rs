//! The conversation of one boot: carries messages between agent, CoAP and the line.

use crate::device::Fault;
use crate::line::{DATAGRAM_BYTES_MAX, Line};
use crate::words;
use alloc::boxed::Box;
use bellwether_agent::agent::{Agent, Event, Route, Ticket};
use bellwether_agent::coap::{self, Config, Endpoint, Failure, Instant, RequestId};
use bellwether_agent::lwm2m::firmware::{State, UpdateResult};
use bellwether_agent::manifests::message::Moment;
use bellwether_agent::platform::Random;
use bellwether_board::chip::BoardChip;
use bellwether_board::clock::{Clock, put_off_watchdog};
use bellwether_board::metal::word_of_command_line;
use bellwether_board::noise::HostNoise;
use bellwether_board::nor::Nor;

/// How a boot ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// Restart through the boot loader.
    Reboot,
    /// Switch off, with this exit status.
    Finished(u32),
}

/// The one peer of the device: its server.
type Server = ();

/// The agent on this board.
pub(crate) type DeviceAgent = Agent<'static, Nor<BoardChip>, HostNoise>;

/// The conversation.
pub(crate) struct Session {
    agent: Box<DeviceAgent>,
    endpoint: Box<Endpoint<Server>>,
    line: Box<Line>,
    clock: Clock,
    under_way: Option<(RequestId, Ticket)>,
    is_up: bool,
    ends_when_updated: bool,
    status: u32,
}

impl Session {
    pub(crate) fn new(agent: Box<DeviceAgent>, line: Box<Line>, clock: Clock) -> Self {
        Self {
            agent,
            endpoint: endpoint(),
            line,
            clock,
            under_way: None,
            is_up: false,
            ends_when_updated: word_of_command_line("exit-when-updated"),
            status: 0,
        }
    }

    /// Carries messages until the board is to be restarted or switched off.
    pub(crate) fn run(&mut self) -> Result<Ended, Fault> {
        let now = self.now();
        self.agent.read(now).map_err(core_fault)?;
        loop {
            put_off_watchdog();
            let now = self.now();
            self.agent.handle_timeout(now).map_err(core_fault)?;
            if let Some(ended) = self.tell_events() {
                self.send_the_rest();
                return Ok(ended);
            }
            self.connect(now);
            self.ask(now)?;
            self.carry();
            self.take_messages()?;
        }
    }

    fn now(&mut self) -> Instant {
        Instant(self.clock.now())
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

    /// Sends what the agent asks.
    fn ask(&mut self, now: Instant) -> Result<(), Fault> {
        while let Some((_, ticket, request)) = self.agent.poll_request(now).map_err(core_fault)? {
            match self.endpoint.request(now, (), request) {
                Ok(id) => self.under_way = Some((id, ticket)),
                Err(_) => self.agent.handle_failure(now, ticket, Failure::PeerGone),
            }
        }
        Ok(())
    }

    /// Carries datagrams between CoAP and the line.
    fn carry(&mut self) {
        let now = self.now();
        self.line.poll(now.0);
        let endpoint = &mut self.endpoint;
        self.line.receive(|datagram| endpoint.handle_datagram(now, (), datagram));
        self.endpoint.handle_timeout(now);
        while self.line.is_free() {
            let Some(datagram) = self.endpoint.poll_transmit() else { break };
            self.line.send(&datagram.bytes);
            self.line.poll(now.0);
        }
    }

    /// Hands what came in to the agent.
    fn take_messages(&mut self) -> Result<(), Fault> {
        while let Some(event) = self.endpoint.poll_event() {
            let now = self.now();
            match event {
                coap::Event::Request { exchange, request, .. } => {
                    let answer =
                        self.agent.handle_request(now, Route::Server, &request).map_err(core_fault)?;
                    // One that came too late for its exchange is asked for again.
                    let _ = self.endpoint.respond(now, exchange, answer);
                }
                coap::Event::Response { id, response, .. } => {
                    if let Some(ticket) = self.take_ticket(id) {
                        self.agent.handle_response(now, ticket, response).map_err(core_fault)?;
                    }
                }
                coap::Event::Failed { id, reason, .. } => {
                    if let Some(ticket) = self.take_ticket(id) {
                        self.agent.handle_failure(now, ticket, reason);
                    }
                }
            }
        }
        Ok(())
    }

    fn take_ticket(&mut self, id: RequestId) -> Option<Ticket> {
        self.under_way.take_if(|(under_way, _)| *under_way == id).map(|(_, ticket)| ticket)
    }

    /// Says what happened; tells whether that is the end.
    fn tell_events(&mut self) -> Option<Ended> {
        while let Some(event) = self.agent.poll_event() {
            words::tell(&event);
            match event {
                Event::Reboot => return Some(Ended::Reboot),
                Event::Stopped => return Some(Ended::Finished(self.status)),
                Event::Receipt(Moment::Installed) => self.finish(0),
                // The power went between the receipt and the end.
                Event::Registered if self.is_updated() => self.finish(0),
                Event::Receipt(Moment::Failed) | Event::Refused { .. } | Event::Stop => {
                    self.finish(STATUS_NOT_UPDATED);
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the newest update was installed and nothing of it is owed any more.
    fn is_updated(&self) -> bool {
        self.agent.firmware_state() == State::Idle
            && self.agent.firmware_result() == UpdateResult::Success
            && self.agent.updater().pending_report().is_none()
    }

    fn finish(&mut self, status: u32) {
        if self.ends_when_updated {
            self.status = status;
            self.agent.stop();
        }
    }

    /// Lets out what was handed over before, such as the answer to the Execute that restarts the device.
    fn send_the_rest(&mut self) {
        let until = self.now().after(REST_WAIT);
        while self.now() < until {
            self.carry();
            if self.line.is_free() && self.endpoint.load().exchanges == 0 {
                break;
            }
        }
    }
}

/// Makes the CoAP endpoint; by itself, since what is moved about is of KiB.
#[inline(never)]
fn endpoint() -> Box<Endpoint<Server>> {
    let mut seed = [0; 32];
    HostNoise.fill(&mut seed);
    Box::new(Endpoint::new(coap_config(), seed))
}

fn core_fault<E>(_: bellwether_agent::update::UpdateError<E>) -> Fault {
    "the update core cannot go on; the next boot tries"
}

/// Bounds of a device with one peer.
fn coap_config() -> Config {
    Config {
        datagram_bytes_max: DATAGRAM_BYTES_MAX,
        body_bytes_max: BODY_BYTES_MAX,
        bodies_per_peer_max: 2,
        held_bytes_max: 2 * BODY_BYTES_MAX,
        in_flight_max: 2,
        exchanges_per_peer_max: 2,
        peers_max: 1,
        dedup_ring_max: 8,
        replay_bytes_max: DATAGRAM_BYTES_MAX,
        ..Config::default()
    }
}

/// Bytes of a body: half of the flash for manifests, and a request may be as long.
const BODY_BYTES_MAX: usize = 4096;

/// How long what is left to send is waited for.
const REST_WAIT: core::time::Duration = core::time::Duration::from_millis(500);

/// Exit status of a device whose update was refused or failed.
const STATUS_NOT_UPDATED: u32 = 4;
