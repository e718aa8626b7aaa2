//! What the server's responses to the agent's requests mean.

use super::{Agent, Event, Link, News, Purpose, registration};
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
                self.link = Link::Registered { location, update_at, heard_at: now };
                self.link_gate.open();
                self.report_gate.open();
                self.news = News::Nothing;
                self.events.push_back(Event::Registered);
            }
            None => self.declined(now, Purpose::Register, code),
        }
    }

    pub(super) fn take_registration_update(&mut self, now: Instant, response: &Response) {
        let next = now.after(registration::update_after(self.config.lifetime_s));
        match &mut self.link {
            Link::Registered { update_at, .. } if response.code.is_success() => {
                *update_at = next;
                self.news = News::Nothing;
            }
            // 4.04: the server has forgotten the registration, so a new one is made at once.
            _ => {
                self.link = Link::Up;
                if response.code != Code::NOT_FOUND {
                    self.declined(now, Purpose::UpdateRegistration, response.code);
                }
            }
        }
    }

    pub(super) fn take_receipt(
        &mut self,
        now: Instant,
        response: &Response,
    ) -> Result<(), UpdateError<F::Error>> {
        if !response.code.is_success() {
            self.declined(now, Purpose::Report, response.code);
            return Ok(());
        }
        match self.updater.receipt(now.0, &response.payload)? {
            Receipted::Done(moment) => {
                self.report_gate.open();
                self.events.push_back(Event::Receipt(moment));
            }
            Receipted::Ignored(error) => {
                let jitter = self.updater.jitter();
                self.report_gate.close(now, jitter);
                self.events.push_back(Event::ReceiptIgnored(error));
            }
            Receipted::Unasked => {}
        }
        Ok(())
    }

    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        response: &Response,
    ) -> Result<(), UpdateError<F::Error>> {
        if !response.code.is_success() {
            self.declined(now, Purpose::Ask, response.code);
            self.wait_for_max_age(now, response);
            return Ok(());
        }
        let mut scratch = self.scratch();
        let answered = self.updater.answer(now.0, &mut scratch, &response.payload)?;
        let jitter = self.updater.jitter();
        let event = match answered {
            Answered::Granted { base, content_bytes } => {
                self.work_gate.open();
                Event::Granted { base, content_bytes }
            }
            Answered::SameGrant => {
                self.work_gate.open();
                return Ok(());
            }
            Answered::Prove => {
                self.limit_proofs(now, jitter);
                Event::ProofAsked
            }
            Answered::Later { delay_s, jitter_s } => {
                let wait_s = delay_s.saturating_add(jitter_s.saturating_mul(u64::from(jitter)) / 255);
                self.work_gate.close_for(now, Duration::from_secs(wait_s.min(WAIT_S_MAX)));
                Event::PutOff { wait_s }
            }
            Answered::Unusable(unusable) => {
                self.report_gate.open();
                Event::GrantUnusable(unusable)
            }
            Answered::Nothing => Event::NothingToDo,
            Answered::Refused { reason } => Event::Refused { reason },
            Answered::Go => {
                self.announce_trial();
                return Ok(());
            }
            Answered::Stopped => Event::Stop,
            Answered::Forwarded { place } => {
                self.work_gate.open();
                Event::Forwarded { place }
            }
            Answered::Elsewhere { server } => {
                self.work_gate.close(now, jitter);
                Event::SentElsewhere { server }
            }
            Answered::NotFollowed { kind } => {
                self.work_gate.close(now, jitter);
                Event::VerdictNotFollowed { kind }
            }
            Answered::Ignored(ignored) => {
                self.work_gate.close(now, jitter);
                Event::AnswerIgnored(ignored)
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    pub(super) fn take_frame(
        &mut self,
        now: Instant,
        response: &Response,
    ) -> Result<(), UpdateError<F::Error>> {
        if response.code == Code::NOT_FOUND {
            self.updater.resource_is_gone();
            let jitter = self.updater.jitter();
            self.work_gate.close(now, jitter);
            self.events.push_back(Event::ResourceGone);
            return Ok(());
        }
        if response.code != Code::CONTENT {
            self.declined(now, Purpose::Frame, response.code);
            self.wait_for_max_age(now, response);
            return Ok(());
        }
        match self.updater.frame(&response.payload)? {
            Fetched::Stored { number, of } => {
                self.work_gate.open();
                self.events.push_back(Event::FrameStored { number, of });
                if self.updater.work() == Work::Install {
                    self.handle_timeout(now)?;
                }
            }
            Fetched::Altered { number } => {
                self.events.push_back(Event::FrameAltered { number });
            }
            Fetched::GivenUp => {
                self.report_gate.open();
                self.events.push_back(Event::GivenUp);
            }
            Fetched::Unasked => {}
        }
        Ok(())
    }

    /// The first "prove" is answered at once; a server that goes on asking is answered ever more slowly.
    fn limit_proofs(&mut self, now: Instant, jitter: u8) {
        let first = self.work_gate.is_fresh();
        self.work_gate.close(now, jitter);
        if first {
            self.work_gate.open_once(now);
        }
    }

    fn declined(&mut self, now: Instant, purpose: Purpose, code: Code) {
        let jitter = self.updater.jitter();
        let gate = match purpose {
            Purpose::Report => &mut self.report_gate,
            Purpose::Ask | Purpose::Frame => &mut self.work_gate,
            Purpose::Register | Purpose::UpdateRegistration | Purpose::Deregister => &mut self.link_gate,
        };
        gate.close(now, jitter);
        self.events.push_back(Event::Declined { purpose, code });
    }

    /// 5.03 with Max-Age is a hint when to ask again; it ends nothing.
    fn wait_for_max_age(&mut self, now: Instant, response: &Response) {
        if response.code == Code::SERVICE_UNAVAILABLE
            && let Some(seconds) = response.max_age
        {
            let wait = Duration::from_secs(u64::from(seconds).clamp(1, WAIT_S_MAX));
            self.work_gate.close_for(now, wait);
        }
    }
}

/// Longest wait that a server can impose: a day; whoever wants more says it again.
const WAIT_S_MAX: u64 = 86_400;
