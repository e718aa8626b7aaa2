//! What is sent next, over which link, and when.

use super::links::{Gateway, Server, Session};
use super::route::Step;
use super::{Agent, Event, Mode, News, Purpose, Route, gateway, registration};
use crate::platform::{Flash, Random};
use crate::update::fetch::frames_path;
use crate::update::request::OWN_REQUEST_BYTES_MAX;
use crate::update::{UpdateError, Work};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bellwether_coap::{Block, BlockSize, Instant, Method, Request};
use bellwether_manifests::message::content_format;

/// What is sent next: over which link, what for.
type Next = Option<(Route, Purpose, Request)>;

impl<F: Flash, R: Random> Agent<'_, F, R> {
    /// Registration and hello first, then what is owed, then new work.
    pub(super) fn next_request(&mut self, now: Instant) -> Result<Next, UpdateError<F::Error>> {
        if let Some((purpose, request)) = self.next_of_registration(now) {
            return Ok(Some((Route::Server, purpose, request)));
        }
        if self.mode == Mode::Stopping {
            return Ok(None);
        }
        if let Some(gateway) = &mut self.gateway
            && gateway.is_free()
            && gateway.state.session == Session::Up
            && gateway.state.hello_at <= now
        {
            gateway.state.hello_at = now.after(self.config.hello);
            return Ok(Some((Route::Gateway, Purpose::Hello, gateway::hello())));
        }
        self.next_step(now)
    }

    /// Tells when the server's link wants something.
    pub(super) fn server_due(&self) -> Option<Instant> {
        match self.server.state {
            _ if !self.server.is_free() => None,
            Server::Unregistered(Session::Connecting) => None,
            Server::Unregistered(Session::Down | Session::Up) => Some(self.server.gate.opens()),
            Server::Registered { .. } => self.update_due(),
        }
    }

    /// Tells when the gateway's link wants something.
    pub(super) fn gateway_due(&self) -> Option<Instant> {
        let gateway = self.gateway.as_ref().filter(|gateway| gateway.is_free())?;
        match gateway.state.session {
            Session::Down => Some(gateway.gate.opens()),
            Session::Connecting => None,
            Session::Up => Some(gateway.state.hello_at),
        }
    }

    /// Tells when the next step is due, if there is a link that is free for it.
    pub(super) fn step_due(&self, now: Instant) -> Option<Instant> {
        if self.is_step_under_way() {
            return None;
        }
        let free = |(step, at): (Step, Instant)| self.free_route(step, now).map(|_| at);
        let report = self.updater.pending_report().map(|_| (Step::Report, self.report_gate.opens()));
        // A report that could go out but for its link is waited for: nothing goes before it.
        let waits = report.is_some_and(|(_, at)| at <= now);
        let work = self.work_step().filter(|_| !waits).map(|step| (step, self.work_gate.opens()));
        [report.and_then(free), work.and_then(free)].into_iter().flatten().min()
    }

    fn next_of_registration(&self, now: Instant) -> Option<(Purpose, Request)> {
        if !self.server.is_free() {
            return None;
        }
        let location = match &self.server.state {
            Server::Unregistered(Session::Up)
                if self.mode == Mode::Running && self.server.gate.is_open(now) =>
            {
                let request = registration::register(&self.config.endpoint, self.config.lifetime_s);
                return Some((Purpose::Register, request));
            }
            Server::Unregistered(_) => return None,
            Server::Registered { location, .. } => location,
        };
        if self.mode == Mode::Stopping {
            return Some((Purpose::Deregister, registration::deregister(location)));
        }
        let is_due = self.news != News::Nothing || self.update_due().is_some_and(|at| at <= now);
        let lifetime = (self.news == News::Lifetime).then_some(self.config.lifetime_s);
        is_due.then(|| (Purpose::UpdateRegistration, registration::update(location, lifetime)))
    }

    /// Tells when the registration must be updated; `None` where there is none.
    fn update_due(&self) -> Option<Instant> {
        let Server::Registered { update_at, heard_at, .. } = &self.server.state else { return None };
        let waits = self.updater.work() == Work::AwaitExecute;
        let silent_at = waits.then(|| heard_at.after(self.config.waiting_silence));
        Some(silent_at.map_or(*update_at, |silent_at| silent_at.min(*update_at)))
    }

    fn is_step_under_way(&self) -> bool {
        let gateway = self.gateway.as_ref().and_then(|gateway| gateway.under_way.as_ref());
        [self.server.under_way.as_ref(), gateway]
            .into_iter()
            .flatten()
            .any(|(_, purpose)| purpose.step().is_some())
    }

    /// Chooses the link for a step; `None` where no link stands, or the gateway's is about to.
    fn route(&self, step: Step, now: Instant) -> Option<Route> {
        let server = self.is_registered().then_some(Route::Server);
        let Some(Gateway { session, dead, .. }) = self.gateway.as_ref().map(|link| &link.state) else {
            return server;
        };
        if self.servers.update_is_elsewhere {
            return server;
        }
        let gateway = (*session == Session::Up && !dead).then_some(Route::Gateway);
        if *dead || self.ways.of(step).is_detour(now) { server.or(gateway) } else { gateway }
    }

    fn free_route(&self, step: Step, now: Instant) -> Option<Route> {
        self.route(step, now).filter(|route| match route {
            Route::Server => self.server.is_free(),
            Route::Gateway => self.gateway.as_ref().is_some_and(super::Link::is_free),
        })
    }

    /// The step that the update core wants, reports apart.
    fn work_step(&self) -> Option<Step> {
        match self.updater.work() {
            Work::Ask | Work::AskGo => Some(Step::Ask),
            Work::Fetch => Some(Step::Frame),
            Work::Nothing | Work::AwaitReceipt | Work::Install | Work::AwaitExecute | Work::Reboot => None,
        }
    }

    /// What is owed goes first.
    fn next_step(&mut self, now: Instant) -> Result<Next, UpdateError<F::Error>> {
        if self.is_step_under_way() {
            return Ok(None);
        }
        if self.report_gate.is_open(now) && self.updater.pending_report().is_some() {
            let Some(route) = self.free_route(Step::Report, now) else { return Ok(None) };
            return Ok(self.next_report().map(|request| (route, Purpose::Report, request)));
        }
        let Some(step) = self.work_step().filter(|_| self.work_gate.is_open(now)) else {
            return Ok(None);
        };
        let Some(route) = self.free_route(step, now) else { return Ok(None) };
        let request = match step {
            Step::Ask => self.next_ask(now, route)?,
            _ => self.next_frame(),
        };
        Ok(request.map(|request| (route, step.into(), request)))
    }

    fn next_report(&mut self) -> Option<Request> {
        let (report, path) = self.updater.pending_report()?;
        let request = Request::new(Method::Post, &(String::from(path) + "/r"))
            .with_payload(content_format::REPORT, report.to_vec());
        let moment = self.updater.pending_moment()?;
        self.events.push_back(Event::Reporting(moment));
        Some(request)
    }

    fn next_ask(&mut self, now: Instant, route: Route) -> Result<Option<Request>, UpdateError<F::Error>> {
        let Some(path) = self.updater.request_path().map(String::from) else {
            return Ok(None);
        };
        let mut out = vec![0; OWN_REQUEST_BYTES_MAX];
        let mut scratch = self.scratch();
        let Some(length) = self.updater.ask(now.0, &mut scratch, &mut out)? else {
            self.events.push_back(Event::GivenUp);
            return Ok(None);
        };
        out.truncate(length);
        out.shrink_to_fit();
        self.events.push_back(Event::Asked { place: self.updater.record().place, route });
        Ok(Some(Request::new(Method::Post, &path).with_payload(content_format::REQUEST, out)))
    }

    fn next_frame(&self) -> Option<Request> {
        let wanted = self.updater.frame_wanted()?;
        // One CoAP block is one frame: 2^(SZX + 4) bytes.
        let size = (0..=6)
            .filter_map(|exponent| BlockSize::from_exponent(exponent).ok())
            .find(|size| size.bytes() == wanted.frame_bytes)?;
        let path = frames_path(&wanted.root);
        Some(Request::new(Method::Get, path.as_text()).with_block2(Block::ask(wanted.number, size)))
    }

    /// Memory for the manifest that is worked on.
    pub(super) fn scratch(&self) -> Vec<u8> {
        let manifest = self.updater.record().manifest();
        vec![0; manifest.map_or(0, |manifest| manifest.bytes as usize)]
    }
}
