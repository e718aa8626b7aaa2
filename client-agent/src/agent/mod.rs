//! The LwM2M client, sans-IO: registers, serves objects 1, 3 and 5, and carries the update core's messages.
//!
//! Feed it with `handle_*`, then drain [`Agent::poll_event`] and [`Agent::poll_request`], and call
//! [`Agent::handle_timeout`] when [`Agent::poll_timeout`] has passed. One request of its own is under way at a time
//! (NSTART is 1). Drain events before requests: an event that names a flash write comes before what is sent after it.

mod answers;
mod backoff;
mod event;
mod gate;
mod registration;
mod tree;

pub use event::{Event, Purpose};

use crate::platform::{Flash, Random};
use crate::update::record::{Granted, Stage, State};
use crate::update::{Begun, Offered, UpdateError, Updater, Work};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bellwether_coap::{Block, BlockSize, Code, Failure, Instant, Method, Request, Response};
use bellwether_manifests::message::content_format;
use bellwether_manifests::message::request::REQUEST_BYTES_MAX;
use core::time::Duration;
use gate::Gate;
use lwm2m_rs::firmware::{State as FirmwareState, UpdateResult};
use tree::{Command, Meaning, Shown};

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
    /// Longest wait between tries. Default 300 s: a fleet comes back within minutes of its server.
    pub retry_longest: Duration,
}

/// Names a request of the agent until it is answered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ticket(u64);

/// The LwM2M client on one update core.
#[derive(Debug)]
pub struct Agent<'a, F, R> {
    updater: Updater<'a, F, R>,
    config: Config,
    link: Link,
    /// The one request that is under way.
    under_way: Option<(Ticket, Purpose)>,
    tickets: u64,
    link_gate: Gate,
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

/// How far the device is connected.
#[derive(Debug)]
enum Link {
    /// No session.
    Down,
    /// A session, and no registration.
    Up,
    /// Registered.
    Registered {
        /// Path of the registration.
        location: Vec<String>,
        /// When to update it.
        update_at: Instant,
        /// When the server answered last.
        heard_at: Instant,
    },
}

impl<'a, F: Flash, R: Random> Agent<'a, F, R> {
    /// Starts without a session.
    #[must_use]
    pub fn new(updater: Updater<'a, F, R>, config: Config) -> Self {
        let gate = || Gate::new(config.retry_first, config.retry_longest);
        let (link_gate, report_gate, work_gate) = (gate(), gate(), gate());
        Self {
            updater,
            link: Link::Down,
            under_way: None,
            tickets: 0,
            link_gate,
            report_gate,
            work_gate,
            events: VecDeque::new(),
            news: News::Nothing,
            mode: Mode::Running,
            config,
        }
    }

    /// Takes the news that a session with the server stands.
    pub fn handle_connected(&mut self, _now: Instant) {
        self.link = Link::Up;
        self.under_way = None;
    }

    /// Takes the news that the session ended, or that none could be made; [`Agent::wants_session`] says when to try.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.link = Link::Down;
        self.under_way = None;
        let jitter = self.updater.jitter();
        self.link_gate.close(now, jitter);
        if self.mode == Mode::Stopping {
            self.events.push_back(Event::Stopped);
        }
    }

    /// Answers a request of the server.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn handle_request(
        &mut self,
        now: Instant,
        request: &Request,
    ) -> Result<Response, UpdateError<F::Error>> {
        match tree::read_request(&self.shown(), request) {
            Meaning::Answer(response) => Ok(response),
            Meaning::Command(command) => Ok(Response::new(self.carry_out(now, command)?)),
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
        let Some(purpose) = self.take_under_way(ticket) else {
            return Ok(());
        };
        if let Link::Registered { heard_at, .. } = &mut self.link {
            *heard_at = now;
        }
        match purpose {
            Purpose::Register => self.take_registration(now, response),
            Purpose::UpdateRegistration => self.take_registration_update(now, &response),
            Purpose::Deregister => {
                self.link = Link::Up;
                self.events.push_back(Event::Stopped);
            }
            Purpose::Report => self.take_receipt(now, &response)?,
            Purpose::Ask => self.take_answer(now, &response)?,
            Purpose::Frame => self.take_frame(now, &response)?,
        }
        Ok(())
    }

    /// Takes the end of a request without a response.
    ///
    /// A silent server means a dead session as often as a dead server: the session is given up.
    pub fn handle_failure(&mut self, now: Instant, ticket: Ticket, failure: Failure) {
        let Some(purpose) = self.take_under_way(ticket) else {
            return;
        };
        self.events.push_back(Event::Unanswered { purpose, failure });
        let jitter = self.updater.jitter();
        match purpose {
            Purpose::Report => self.report_gate.close(now, jitter),
            Purpose::Ask | Purpose::Frame => self.work_gate.close(now, jitter),
            Purpose::Register | Purpose::UpdateRegistration | Purpose::Deregister => {}
        }
        self.handle_disconnected(now);
    }

    /// Does what can be done without the server.
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
        if matches!(self.link, Link::Down | Link::Up) {
            self.events.push_back(Event::Stopped);
        }
    }

    /// Gives the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Gives the next request to send, if one is due.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn poll_request(&mut self, now: Instant) -> Result<Option<(Ticket, Request)>, UpdateError<F::Error>> {
        if self.under_way.is_some() || self.mode == Mode::Rebooting {
            return Ok(None);
        }
        let Some((purpose, request)) = self.next_request(now)? else {
            return Ok(None);
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.under_way = Some((ticket, purpose));
        Ok(Some((ticket, request)))
    }

    /// Tells when to call [`Agent::handle_timeout`] and poll again; `None`: only when something comes in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let (update_at, registered) = match self.update_due() {
            None => (self.link_gate.opens(), false),
            Some(update_at) => (update_at, true),
        };
        let report = self.updater.pending_report().map(|_| self.report_gate.opens());
        let work = match self.updater.work() {
            Work::Ask | Work::AskGo | Work::Fetch => Some(self.work_gate.opens()),
            Work::Nothing | Work::AwaitReceipt | Work::Install | Work::AwaitExecute | Work::Reboot => None,
        };
        [report, work].into_iter().flatten().filter(|_| registered).chain([update_at]).min()
    }

    /// Tells whether the shell should make a session now.
    #[must_use]
    pub fn wants_session(&self, now: Instant) -> bool {
        matches!(self.link, Link::Down) && self.link_gate.is_open(now) && self.mode == Mode::Running
    }

    /// Tells whether the agent counts on a session; where it does not, the shell drops the one that it has.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !matches!(self.link, Link::Down)
    }

    /// Tells whether a registration stands.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.link, Link::Registered { .. })
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

    fn shown(&self) -> Shown<'_> {
        Shown {
            lifetime_s: self.config.lifetime_s,
            manufacturer: &self.config.manufacturer,
            model: &self.config.model,
            serial: self.updater.facts().id,
            version: self.updater.running().version_text(),
            state: self.firmware_state(),
            result: self.firmware_result(),
        }
    }

    fn carry_out(&mut self, now: Instant, command: Command) -> Result<Code, UpdateError<F::Error>> {
        match command {
            Command::SetLifetime(lifetime_s) => {
                self.config.lifetime_s = lifetime_s;
                self.news = News::Lifetime;
            }
            Command::UpdateRegistration if self.news == News::Nothing => self.news = News::SignOfLife,
            Command::UpdateRegistration | Command::Nothing => {}
            Command::Reboot => self.announce_reboot(),
            Command::Package(envelope) => return self.take_package(now, &envelope),
            // Errors are told in the Update Result alone: this device is pushed to.
            Command::PackageUri => return self.drop_update(UpdateResult::UnsupportedProtocol),
            Command::Reset => return self.drop_update(UpdateResult::Initial),
            Command::Cancel => return self.drop_update(UpdateResult::Cancelled),
            Command::Install => return self.begin_trial(),
        }
        Ok(Code::CHANGED)
    }

    fn take_package(&mut self, now: Instant, envelope: &[u8]) -> Result<Code, UpdateError<F::Error>> {
        match self.updater.offer(now.0, envelope)? {
            Offered::Stored => {
                self.work_gate.open();
                self.events.push_back(Event::ManifestStored);
            }
            Offered::Known => self.work_gate.open(),
            Offered::Refused { result, reason } => {
                self.events.push_back(Event::ManifestRefused { result, reason });
            }
            Offered::Busy => return Ok(Code::SERVICE_UNAVAILABLE),
        }
        Ok(Code::CHANGED)
    }

    fn drop_update(&mut self, result: UpdateResult) -> Result<Code, UpdateError<F::Error>> {
        // LwM2M object 5: Cancel is refused once the update is being installed.
        let dropped = self.updater.drop_update(result as u8)?;
        Ok(if dropped { Code::CHANGED } else { Code::METHOD_NOT_ALLOWED })
    }

    fn begin_trial(&mut self) -> Result<Code, UpdateError<F::Error>> {
        match self.updater.begin_trial()? {
            Begun::Trial => self.announce_trial(),
            Begun::GoFirst => self.work_gate.open(),
            Begun::NotNow => return Ok(Code::METHOD_NOT_ALLOWED),
        }
        Ok(Code::CHANGED)
    }

    fn install(&mut self) -> Result<(), UpdateError<F::Error>> {
        match self.updater.install()? {
            crate::update::Installed::Verified => self.events.push_back(Event::Decrypted),
            crate::update::Installed::GivenUp => self.events.push_back(Event::GivenUp),
            crate::update::Installed::Unasked => {}
        }
        self.report_gate.open();
        self.work_gate.open();
        Ok(())
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

    fn take_under_way(&mut self, ticket: Ticket) -> Option<Purpose> {
        let (_, purpose) = self.under_way.take_if(|(under_way, _)| *under_way == ticket)?;
        Some(purpose)
    }

    /// Registration first, then what is owed, then new work.
    fn next_request(&mut self, now: Instant) -> Result<Option<(Purpose, Request)>, UpdateError<F::Error>> {
        let update_at = self.update_due().unwrap_or(now);
        let location = match &self.link {
            Link::Down => return Ok(None),
            Link::Up if self.mode == Mode::Stopping || !self.link_gate.is_open(now) => return Ok(None),
            Link::Up => {
                let request = registration::register(&self.config.endpoint, self.config.lifetime_s);
                return Ok(Some((Purpose::Register, request)));
            }
            Link::Registered { location, .. } => location,
        };
        if self.mode == Mode::Stopping {
            return Ok(Some((Purpose::Deregister, registration::deregister(location))));
        }
        if self.news != News::Nothing || update_at <= now {
            let lifetime = (self.news == News::Lifetime).then_some(self.config.lifetime_s);
            return Ok(Some((Purpose::UpdateRegistration, registration::update(location, lifetime))));
        }
        if let Some(report) = self.next_report(now) {
            return Ok(Some((Purpose::Report, report)));
        }
        if !self.work_gate.is_open(now) {
            return Ok(None);
        }
        match self.updater.work() {
            Work::Ask | Work::AskGo => Ok(self.next_ask(now)?.map(|request| (Purpose::Ask, request))),
            Work::Fetch => Ok(self.next_frame().map(|request| (Purpose::Frame, request))),
            Work::Nothing | Work::AwaitReceipt | Work::Install | Work::AwaitExecute | Work::Reboot => {
                Ok(None)
            }
        }
    }

    /// Tells when the registration must be updated; `None` where there is none.
    fn update_due(&self) -> Option<Instant> {
        let Link::Registered { update_at, heard_at, .. } = &self.link else { return None };
        let waits = self.updater.work() == Work::AwaitExecute;
        let silent_at = waits.then(|| heard_at.after(self.config.waiting_silence));
        Some(silent_at.map_or(*update_at, |silent_at| silent_at.min(*update_at)))
    }

    fn next_report(&mut self, now: Instant) -> Option<Request> {
        if !self.report_gate.is_open(now) {
            return None;
        }
        let (report, path) = self.updater.pending_report()?;
        let request = Request::new(Method::Post, &alloc::format!("{path}/r"))
            .with_payload(content_format::REPORT, report.to_vec());
        let moment = self.updater.record().reports.first()?.as_ref()?.moment;
        self.events.push_back(Event::Reporting(moment));
        Some(request)
    }

    fn next_ask(&mut self, now: Instant) -> Result<Option<Request>, UpdateError<F::Error>> {
        let Some(path) = self.updater.request_path().map(String::from) else {
            return Ok(None);
        };
        let mut out = vec![0; REQUEST_BYTES_MAX];
        let mut scratch = self.scratch();
        let Some(length) = self.updater.ask(now.0, &mut scratch, &mut out)? else {
            self.events.push_back(Event::GivenUp);
            return Ok(None);
        };
        out.truncate(length);
        self.events.push_back(Event::Asked { place: self.updater.record().place });
        Ok(Some(Request::new(Method::Post, &path).with_payload(content_format::REQUEST, out)))
    }

    fn next_frame(&self) -> Option<Request> {
        let wanted = self.updater.frame_wanted()?;
        let path = crate::update::fetch::frames_path(&wanted.root);
        // One CoAP block is one frame: 2^(SZX + 4) bytes.
        let size = (0..=6)
            .filter_map(|exponent| BlockSize::from_exponent(exponent).ok())
            .find(|size| size.bytes() == wanted.frame_bytes)?;
        Some(Request::new(Method::Get, path.as_text()).with_block2(Block::ask(wanted.number, size)))
    }

    fn scratch(&self) -> Vec<u8> {
        vec![0; self.updater.manifest_bytes_max() as usize]
    }
}

#[cfg(test)]
mod tests;
