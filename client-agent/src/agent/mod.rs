//! The LwM2M client, sans-IO: registers, serves objects 1, 3, 5 and 26250, and carries the update core's messages.
//!
//! It has a link to its server, and one to a gateway where the unit file names one ([`Route`]). Feed it with
//! `handle_*`, then drain [`Agent::poll_event`], [`Agent::poll_connect`] and [`Agent::poll_request`], and call
//! [`Agent::handle_timeout`] when [`Agent::poll_timeout`] has passed. One request of its own is under way at a time on
//! each link (NSTART is 1), and one step of an update on both. Drain events before requests: an event that names a
//! flash write comes before what is sent after it.

mod answers;
mod backoff;
mod commands;
mod event;
mod gate;
mod gateway;
mod links;
mod queue_mode;
mod registration;
mod route;
mod servers;
mod steps;
mod tree;

pub use event::{Event, Purpose};
pub use queue_mode::{QueueMode, Radio};
pub use route::{FAILURES_MAX, Route};
pub use servers::MISSED_MAX;

use crate::platform::{Flash, Random};
use crate::update::record::{Granted, Stage, State};
use crate::update::{UpdateError, Updater, Work};
use alloc::collections::VecDeque;
use alloc::string::String;
use bellwether_coap::{Failure, Instant, Request, Response};
use core::time::Duration;
use gate::Gate;
use links::{Gateway, Link, Server, Session};
use lwm2m_rs::firmware::{State as FirmwareState, UpdateResult};
use route::{Step, Ways};
use servers::Servers;

/// How the agent behaves, beside what the update core knows.
#[derive(Clone, Debug)]
pub struct Config {
    /// Endpoint client name; the server takes only the DTLS identity's own.
    pub endpoint: String,
    /// Lifetime of the registration, in seconds. Shorter is noticed missing earlier, and costs more messages.
    pub lifetime_s: u32,
    /// Object 3, manufacturer.
    pub manufacturer: String,
    /// Object 3, model.
    pub model: String,
    /// Longest silence while a verified image waits for the server's word, so that a server which came back without
    /// its sessions is noticed. Default 60 s; shorter costs a message each time.
    pub waiting_silence: Duration,
    /// First wait after a failure. Default 2 s, CoAP's own first timeout.
    pub retry_first: Duration,
    /// Longest wait between tries, and the longest that a gateway can ask for. Default 300 s: a fleet comes back
    /// within minutes of its server.
    pub retry_longest: Duration,
    /// Whether there is a gateway.
    pub gateway: bool,
    /// Time between two hellos to the gateway. Default 60 s: what address translators forget is not much shorter, and
    /// a dead gateway is noticed within it.
    pub hello: Duration,
    /// How long the server is asked instead of a gateway that does not serve. Default 600 s.
    pub detour: Duration,
}

/// Names a request of the agent until it is answered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ticket(u64);

/// A request to send: over which link, under which name, what.
pub type Outgoing = (Route, Ticket, Request);

/// The LwM2M client on one update core.
#[derive(Debug)]
pub struct Agent<'a, F, R> {
    updater: Updater<'a, F, R>,
    config: Config,
    server: Link<Server>,
    gateway: Option<Link<Gateway>>,
    servers: Servers,
    ways: Ways,
    tickets: u64,
    report_gate: Gate,
    work_gate: Gate,
    events: VecDeque<Event>,
    news: News,
    mode: Mode,
}

/// What the server must hear of the registration before its next update is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    Nothing,
    /// It asked for an update.
    SignOfLife,
    /// The lifetime changed.
    Lifetime,
}

/// Whether the agent goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Running,
    /// It de-registers and ends.
    Stopping,
    /// It was said that the device restarts.
    Rebooting,
}

impl<'a, F: Flash, R: Random> Agent<'a, F, R> {
    /// Starts without a session.
    #[must_use]
    pub fn new(updater: Updater<'a, F, R>, config: Config) -> Self {
        let gate = || Gate::new(config.retry_first, config.retry_longest);
        let gateway = Gateway::new(Gate::new(config.retry_first, PUSH_LONGEST));
        Self {
            updater,
            server: Link::new(Server::Unregistered(Session::Down), gate()),
            gateway: config.gateway.then(|| Link::new(gateway, gate())),
            servers: Servers::default(),
            ways: Ways::default(),
            tickets: 0,
            report_gate: gate(),
            work_gate: gate(),
            events: VecDeque::new(),
            news: News::Nothing,
            mode: Mode::Running,
            config,
        }
    }

    /// Lets an update core that was made by [`Updater::unread`] read its flash, before anything else.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn read(&mut self, now: Instant) -> Result<(), UpdateError<F::Error>> {
        self.updater.read(now.0)
    }

    /// Names a link for which the shell should make a session now; its end is told with [`Agent::handle_connected`] or
    /// [`Agent::handle_disconnected`].
    pub fn poll_connect(&mut self, now: Instant) -> Option<Route> {
        if self.mode != Mode::Running {
            return None;
        }
        if self.server.state.session() == Session::Down && self.server.gate.is_open(now) {
            self.server.state = Server::Unregistered(Session::Connecting);
            return Some(Route::Server);
        }
        let gateway = self.gateway.as_mut()?;
        if gateway.state.session == Session::Down && gateway.gate.is_open(now) {
            gateway.state.session = Session::Connecting;
            return Some(Route::Gateway);
        }
        None
    }

    /// Takes the news that a session stands.
    pub fn handle_connected(&mut self, now: Instant, route: Route) {
        match (route, &mut self.gateway) {
            (Route::Server, _) => {
                self.server.state = Server::Unregistered(Session::Up);
                self.server.under_way = None;
            }
            (Route::Gateway, Some(gateway)) => {
                gateway.state.session = Session::Up;
                (gateway.state.hello_at, gateway.state.up_at) = (now, now);
                gateway.under_way = None;
            }
            (Route::Gateway, None) => {}
        }
    }

    /// Takes the news that a session ended, or that none could be made; [`Agent::poll_connect`] says when to try.
    pub fn handle_disconnected(&mut self, now: Instant, route: Route) {
        let jitter = self.updater.jitter();
        match route {
            Route::Server => {
                let was_registered = self.is_registered();
                self.server.state = Server::Unregistered(Session::Down);
                self.server.under_way = None;
                self.server.gate.close(now, jitter);
                if !was_registered {
                    self.miss_server(now);
                }
                if self.mode == Mode::Stopping {
                    self.events.push_back(Event::Stopped);
                }
            }
            Route::Gateway => self.lose_gateway(now, jitter),
        }
    }

    /// Takes the response to a request of [`Agent::poll_request`]; one that is not under way any more is dropped.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn handle_response(
        &mut self,
        now: Instant,
        ticket: Ticket,
        response: Response,
    ) -> Result<(), UpdateError<F::Error>> {
        let Some((route, purpose)) = self.take_under_way(ticket) else {
            return Ok(());
        };
        self.hear(now, route);
        match purpose {
            Purpose::Register => self.take_registration(now, response),
            Purpose::UpdateRegistration => self.take_registration_update(now, &response),
            Purpose::Deregister => {
                self.server.state = Server::Unregistered(Session::Up);
                self.events.push_back(Event::Stopped);
            }
            Purpose::Hello => {}
            Purpose::Report => self.take_receipt(now, route, &response)?,
            Purpose::Ask => self.take_answer(now, route, &response)?,
            Purpose::Frame => self.take_frame(now, route, &response)?,
        }
        Ok(())
    }

    /// Takes the end of a request without a response.
    ///
    /// A silent peer means a dead session as often as a dead peer: the session is given up.
    pub fn handle_failure(&mut self, now: Instant, ticket: Ticket, failure: Failure) {
        let Some((route, purpose)) = self.take_under_way(ticket) else {
            return;
        };
        self.events.push_back(Event::Unanswered { route, purpose, failure });
        self.miss(now, route, purpose);
        self.handle_disconnected(now, route);
    }

    /// Does what can be done without a peer.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn handle_timeout(&mut self, _now: Instant) -> Result<(), UpdateError<F::Error>> {
        match self.updater.work() {
            Work::Install => self.install()?,
            Work::Reboot => self.announce_reboot(),
            Work::Nothing
            | Work::Ask
            | Work::AskGo
            | Work::AwaitReceipt
            | Work::Fetch
            | Work::AwaitExecute => {}
        }
        Ok(())
    }

    /// De-registers, then says [`Event::Stopped`].
    pub fn stop(&mut self) {
        self.mode = Mode::Stopping;
        if !self.is_registered() {
            self.events.push_back(Event::Stopped);
        }
    }

    /// Gives the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Gives the next request to send and the link to send it over, if one is due.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn poll_request(&mut self, now: Instant) -> Result<Option<Outgoing>, UpdateError<F::Error>> {
        if self.mode == Mode::Rebooting {
            return Ok(None);
        }
        let Some((route, purpose, request)) = self.next_request(now)? else {
            return Ok(None);
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        match (route, &mut self.gateway) {
            (Route::Gateway, Some(gateway)) => gateway.under_way = Some((ticket, purpose)),
            _ => self.server.under_way = Some((ticket, purpose)),
        }
        Ok(Some((route, ticket, request)))
    }

    /// Tells when to call [`Agent::handle_timeout`] and poll again; `None`: only when something comes in.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.mode != Mode::Running {
            return None;
        }
        [self.server_due(), self.gateway_due(), self.step_due(now)].into_iter().flatten().min()
    }

    /// Tells whether the agent counts on a session; where it does not, the shell drops the one that it has.
    #[must_use]
    pub fn is_connected(&self, route: Route) -> bool {
        let session = match route {
            Route::Server => Some(self.server.state.session()),
            Route::Gateway => self.gateway.as_ref().map(|gateway| gateway.state.session),
        };
        session == Some(Session::Up)
    }

    /// Tells whether a registration stands.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.server.state, Server::Registered { .. })
    }

    /// Gives the update core, to look at.
    #[must_use]
    pub fn updater(&self) -> &Updater<'a, F, R> {
        &self.updater
    }

    /// Gives the update core back, to restart it.
    #[must_use]
    pub fn into_updater(self) -> Updater<'a, F, R> {
        self.updater
    }

    /// Gives object 5's state.
    #[must_use]
    pub fn firmware_state(&self) -> FirmwareState {
        match &self.updater.record().state {
            State::None => FirmwareState::Idle,
            State::Stored(_) | State::Granted(Granted { stage: Stage::Accepted(_), .. }) => {
                FirmwareState::Downloading
            }
            State::Granted(Granted { stage: Stage::Decrypted, .. }) => FirmwareState::Downloaded,
            State::Granted(Granted { stage: Stage::Executed | Stage::Trial, .. }) => FirmwareState::Updating,
        }
    }

    /// Gives object 5's update result.
    #[must_use]
    pub fn firmware_result(&self) -> UpdateResult {
        let result = i64::from(self.updater.record().outcome.result);
        UpdateResult::try_from(result).unwrap_or(UpdateResult::UpdateFailed)
    }

    fn announce_trial(&mut self) {
        self.events.push_back(Event::TrialBegun);
        self.announce_reboot();
    }

    fn announce_reboot(&mut self) {
        if self.mode == Mode::Running {
            self.mode = Mode::Rebooting;
            self.events.push_back(Event::Reboot);
        }
    }

    fn take_under_way(&mut self, ticket: Ticket) -> Option<(Route, Purpose)> {
        if let Some(purpose) = self.server.take_under_way(ticket) {
            return Some((Route::Server, purpose));
        }
        let purpose = self.gateway.as_mut()?.take_under_way(ticket)?;
        Some((Route::Gateway, purpose))
    }

    fn hear(&mut self, now: Instant, route: Route) {
        match (route, &mut self.server.state, &mut self.gateway) {
            (Route::Server, Server::Registered { heard_at, .. }, _) => *heard_at = now,
            (Route::Gateway, _, Some(gateway)) => {
                gateway.state.dead = false;
            }
            _ => {}
        }
    }

    /// Ends the session with the gateway; what was under way failed with it.
    fn lose_gateway(&mut self, now: Instant, jitter: u8) {
        let Some(gateway) = &mut self.gateway else { return };
        gateway.state.dead |= gateway.state.session == Session::Connecting;
        // Handshakes cost more than anything else: one that goes on ending sessions gets ever fewer of them.
        if gateway.state.session == Session::Up && now >= gateway.state.up_at.after(self.config.hello) {
            gateway.gate.open();
        }
        gateway.state.session = Session::Down;
        gateway.gate.close(now, jitter);
        // It is waited for no longer than it could be silent without being noticed.
        gateway.state.dead |= gateway.gate.opens() > now.after(self.config.hello);
        if let Some((_, purpose)) = gateway.under_way.take() {
            self.miss(now, Route::Gateway, purpose);
        }
    }

    /// Takes the news that a request got no response.
    fn miss(&mut self, now: Instant, route: Route, purpose: Purpose) {
        match (purpose.step(), &mut self.gateway) {
            (Some(step), _) => self.fail(now, route, step),
            (None, Some(gateway)) if purpose == Purpose::Hello => gateway.state.dead = true,
            _ => {}
        }
    }

    /// Closes the gate of a step that failed. One that the gateway has failed often enough goes to the server at once.
    fn fail(&mut self, now: Instant, route: Route, step: Step) {
        let jitter = self.updater.jitter();
        self.gate_of(step).close(now, jitter);
        if route == Route::Gateway {
            self.count_failure(now, step);
        }
    }

    fn count_failure(&mut self, now: Instant, step: Step) {
        if !self.ways.of_mut(step).fail(now, self.config.detour) {
            return;
        }
        if self.is_registered() {
            self.gate_of(step).open_once(now);
            self.events.push_back(Event::Detour { purpose: step.into() });
        }
    }

    fn gate_of(&mut self, step: Step) -> &mut Gate {
        match step {
            Step::Report => &mut self.report_gate,
            Step::Ask | Step::Frame => &mut self.work_gate,
        }
    }
}

/// Longest time between two manifests that a gateway may push: flash that stands 100,000 erasures stands one an hour for
/// as long as a device lives.
const PUSH_LONGEST: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests;
