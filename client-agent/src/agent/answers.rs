//! What the responses to the agent's requests mean.

use super::links::{Server, Session};
use super::route::Step;
use super::{Agent, Event, News, Purpose, Route, registration};
use crate::platform::{Flash, Random};
use crate::update::{Answered, Fetched, Receipted, UpdateError, Work};
use bellwether_coap::{Code, Instant, Response};
use core::time::Duration;

impl<F: Flash, R: Random> Agent<'_, F, R> {
    pub(super) fn take_registration(&mut self, now: Instant, response: Response) {
        let code = response.code;
        match registration::location(response) {
            Some(location) => {
                let update_at = now.after(registration::update_after(self.config.lifetime_s));
                self.server.state = Server::Registered { location, update_at, heard_at: now };
                self.server.gate.open();
                self.servers.missed = 0;
                self.report_gate.open();
                self.news = News::Nothing;
                self.events.push_back(Event::Registered);
            }
            None => self.decline_registration(now, Purpose::Register, code),
        }
    }

    pub(super) fn take_registration_update(&mut self, now: Instant, response: &Response) {
        let next = now.after(registration::update_after(self.config.lifetime_s));
        match &mut self.server.state {
            Server::Registered { update_at, .. } if response.code.is_success() => {
                *update_at = next;
                self.news = News::Nothing;
            }
            // 4.04: the server has forgotten the registration, so a new one is made at once.
            _ => {
                self.server.state = Server::Unregistered(Session::Up);
                if response.code != Code::NOT_FOUND {
                    self.decline_registration(now, Purpose::UpdateRegistration, response.code);
                }
            }
        }
    }

    pub(super) fn take_receipt(
        &mut self,
        now: Instant,
        route: Route,
        response: &Response,
    ) -> Result<(), UpdateError<F::Error>> {
        if !response.code.is_success() {
            // It may have kept this one, and can keep the next.
            if route == Route::Gateway && response.code == Code::SERVICE_UNAVAILABLE {
                self.updater.report_put_off();
            }
            self.decline(now, route, Step::Report, response);
            return Ok(());
        }
        match self.updater.receipt(now.0, &response.payload)? {
            Receipted::Done(moment) => {
                self.serve(route, Step::Report);
                self.report_gate.open();
                self.events.push_back(Event::Receipt(moment));
            }
            Receipted::Ignored(error) => {
                self.fail(now, route, Step::Report);
                self.events.push_back(Event::ReceiptIgnored(error));
            }
            Receipted::Unasked => {}
        }
        Ok(())
    }

    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        route: Route,
        response: &Response,
    ) -> Result<(), UpdateError<F::Error>> {
        if !response.code.is_success() {
            self.decline(now, route, Step::Ask, response);
            return Ok(());
        }
        let mut scratch = self.scratch();
        let answered = self.updater.answer(now.0, &mut scratch, &response.payload)?;
        if !matches!(answered, Answered::Ignored(_)) {
            self.serve(route, Step::Ask);
        }
        if let Some(event) = self.follow(now, route, answered) {
            self.events.push_back(event);
        }
        Ok(())
    }

    /// Sets the gates as an answer asks, and names the event.
    fn follow(&mut self, now: Instant, route: Route, answered: Answered) -> Option<Event> {
        let jitter = self.updater.jitter();
        Some(match answered {
            Answered::Granted { base, content_bytes } => {
                self.work_gate.open();
                // What it pushed was worth it.
                if let Some(gateway) = &mut self.gateway {
                    gateway.state.push_gate.open();
                }
                Event::Granted { base, content_bytes }
            }
            Answered::SameGrant => {
                // What failed before may fail again: only a frame that comes begins the waits anew.
                self.work_gate.open_once(now);
                return None;
            }
            Answered::Prove => {
                self.limit_retries(now, jitter);
                Event::ProofAsked
            }
            Answered::Later { delay_s, jitter_s } => {
                let wait_s = delay_s.saturating_add(jitter_s.saturating_mul(u64::from(jitter)) / 255);
                self.work_gate.close_by_verdict(now, Duration::from_secs(wait_s.min(WAIT_S_MAX)));
                Event::PutOff { wait_s }
            }
            Answered::Unusable(unusable) => {
                self.report_gate.open();
                Event::GrantUnusable(unusable)
            }
            Answered::Nothing => Event::NothingToDo,
            Answered::Refused { reason } => Event::Refused { reason },
            Answered::Go => {
                self.events.push_back(Event::Go);
                self.announce_trial();
                return None;
            }
            Answered::Stopped => Event::Stop,
            Answered::Forwarded { place } => {
                self.work_gate.open();
                Event::Forwarded { place }
            }
            Answered::Elsewhere { server } => {
                self.limit_retries(now, jitter);
                self.turn_to(now, server);
                Event::SentElsewhere { server }
            }
            Answered::NotFollowed { kind } => {
                self.work_gate.close(now, jitter);
                Event::VerdictNotFollowed { kind }
            }
            Answered::Ignored(ignored) => {
                self.fail(now, route, Step::Ask);
                Event::AnswerIgnored(ignored)
            }
        })
    }

    pub(super) fn take_frame(
        &mut self,
        now: Instant,
        route: Route,
        response: &Response,
    ) -> Result<(), UpdateError<F::Error>> {
        if response.code != Code::CONTENT {
            self.decline(now, route, Step::Frame, response);
            if response.code == Code::NOT_FOUND && self.believes_gone(now, route) {
                self.updater.resource_is_gone();
                self.events.push_back(Event::ResourceGone);
            }
            return Ok(());
        }
        match self.updater.frame(&response.payload)? {
            Fetched::Stored { number, of } => {
                self.serve(route, Step::Frame);
                self.work_gate.open();
                self.events.push_back(Event::FrameStored { number, of, route });
                if self.updater.work() == Work::Install {
                    self.handle_timeout(now)?;
                }
            }
            Fetched::Altered { number } => {
                self.events.push_back(Event::FrameAltered { number, route });
                self.doubt(now, route);
            }
            Fetched::GivenUp => {
                self.report_gate.open();
                self.events.push_back(Event::GivenUp);
            }
            Fetched::Unasked => {}
        }
        Ok(())
    }

    /// Asks for an altered frame again, alone and at once; of a gateway that goes on altering it, ever more slowly.
    fn doubt(&mut self, now: Instant, route: Route) {
        if route == Route::Server {
            return;
        }
        // What a cache alters says nothing about the resource: it must not make the device give the grant up.
        self.updater.forgive_altered();
        self.count_failure(now, Step::Frame);
        if self.ways.of(Step::Frame).is_detour(now) && !self.is_registered() {
            let jitter = self.updater.jitter();
            self.work_gate.close(now, jitter);
        }
    }

    /// Whether "not found" means that the grant must be asked for again: the server knows, a gateway is believed
    /// only where it goes on saying so and there is nobody else. Asking again ends nothing.
    fn believes_gone(&self, now: Instant, route: Route) -> bool {
        route == Route::Server || (self.ways.of(Step::Frame).is_detour(now) && !self.is_registered())
    }

    /// Takes the news that a step was served.
    fn serve(&mut self, route: Route, step: Step) {
        if route == Route::Gateway {
            self.ways.of_mut(step).succeed();
        }
    }

    /// The first "prove" or "elsewhere" is followed at once; whoever goes on saying so is asked ever more slowly.
    fn limit_retries(&mut self, now: Instant, jitter: u8) {
        let first = self.work_gate.is_fresh();
        self.work_gate.close(now, jitter);
        if first {
            self.work_gate.open_once(now);
        }
    }

    fn decline_registration(&mut self, now: Instant, purpose: Purpose, code: Code) {
        let jitter = self.updater.jitter();
        self.server.gate.close(now, jitter);
        self.events.push_back(Event::Declined { route: Route::Server, purpose, code });
    }

    /// Waits with back-off, and at least as long as the peer asks. 5.03 with Max-Age is a hint when to ask again; it
    /// ends nothing, and one that is given again and again costs ever less.
    fn decline(&mut self, now: Instant, route: Route, step: Step, response: &Response) {
        let code = response.code;
        self.events.push_back(Event::Declined { route, purpose: step.into(), code });
        let jitter = self.updater.jitter();
        let longest = match route {
            Route::Server => Duration::from_secs(WAIT_S_MAX),
            // Whoever may say it without a proof gets no longer than a silent peer would.
            Route::Gateway => self.config.retry_longest,
        };
        let gate = self.gate_of(step);
        match response.max_age.filter(|_| code == Code::SERVICE_UNAVAILABLE) {
            Some(seconds) => {
                gate.close_for_at_least(now, jitter, Duration::from_secs(seconds.into()).min(longest));
            }
            None => gate.close(now, jitter),
        }
        if route == Route::Gateway {
            self.count_failure(now, step);
        }
    }
}

/// Longest wait that a server can impose: a day; whoever wants more says it again.
const WAIT_S_MAX: u64 = 86_400;
