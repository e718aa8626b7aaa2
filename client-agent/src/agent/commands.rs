//! What the server, or the gateway in its narrower part, asks of the device.

use super::tree::{self, Command, Meaning, Shown};
use super::{Agent, Event, News, Route, gateway};
use crate::platform::{Flash, Random};
use crate::update::request::STABLE_BYTES_MAX;
use crate::update::{AnchorsTaken, Begun, Installed, Made, Offered, UpdateError};
use alloc::vec;
use alloc::vec::Vec;
use bellwether_coap::{Code, Instant, Request, Response};
use bellwether_delta::Patcher;
use bellwether_manifests::anchors::AnchorsError;
use lwm2m_rs::firmware::UpdateResult;

impl<F: Flash, R: Random> Agent<'_, F, R> {
    /// Answers a request of the server, or of the gateway.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: restart the device.
    pub fn handle_request(
        &mut self,
        now: Instant,
        route: Route,
        request: &Request,
    ) -> Result<Response, UpdateError<F::Error>> {
        if route == Route::Gateway
            && let Some(code) = gateway::refusal(request)
        {
            return Ok(Response::new(code));
        }
        let stable = self.stable_answers();
        match tree::read_request(&self.shown(route, &stable), request) {
            Meaning::Answer(response) => Ok(response),
            Meaning::Command(command) => Ok(Response::new(self.carry_out(now, route, command)?)),
        }
    }

    fn stable_answers(&self) -> Vec<u8> {
        let mut stable = vec![0; STABLE_BYTES_MAX];
        let length = self.updater.stable_answers(&mut stable).unwrap_or_default();
        stable.truncate(length);
        stable.shrink_to_fit();
        stable
    }

    fn shown<'s>(&'s self, route: Route, stable_answers: &'s [u8]) -> Shown<'s> {
        let pushed = self.gateway.as_ref().filter(|_| route == Route::Gateway);
        Shown {
            lifetime_s: self.config.lifetime_s,
            manufacturer: &self.config.manufacturer,
            model: &self.config.model,
            serial: self.updater.facts().id,
            version: self.updater.running().version_text(),
            state: self.firmware_state(),
            result: pushed.map_or_else(|| self.firmware_result(), |gateway| gateway.state.pushed),
            anchors_edition: self.updater.anchors_edition(),
            stable_answers,
        }
    }

    fn carry_out(
        &mut self,
        now: Instant,
        route: Route,
        command: Command,
    ) -> Result<Code, UpdateError<F::Error>> {
        match command {
            Command::SetLifetime(lifetime_s) => {
                self.config.lifetime_s = lifetime_s;
                self.news = News::Lifetime;
            }
            Command::UpdateRegistration if self.news == News::Nothing => self.news = News::SignOfLife,
            Command::UpdateRegistration | Command::Nothing => {}
            Command::Reboot => self.announce_reboot(),
            Command::Package(envelope) => return self.take_package(now, route, &envelope),
            // Errors are told in the Update Result alone: this device is pushed to.
            Command::PackageUri => return self.drop_update(UpdateResult::UnsupportedProtocol),
            Command::Reset => return self.drop_update(UpdateResult::Initial),
            Command::Cancel => return self.drop_update(UpdateResult::Cancelled),
            Command::Install => return self.begin_trial(now, route),
            Command::Anchors(document) => return self.take_anchors(now, &document),
        }
        Ok(Code::CHANGED)
    }

    fn take_package(
        &mut self,
        now: Instant,
        route: Route,
        envelope: &[u8],
    ) -> Result<Code, UpdateError<F::Error>> {
        let offered = match route {
            Route::Server => self.updater.offer(now.0, envelope)?,
            Route::Gateway => match self.take_passed_on(now, envelope)? {
                Ok(offered) => offered,
                Err(code) => return Ok(code),
            },
        };
        match offered {
            Offered::Stored => {
                self.servers.update_is_elsewhere = false;
                self.work_gate.open();
                self.events.push_back(Event::ManifestStored);
            }
            Offered::Known if route == Route::Server => self.work_gate.open(),
            // It may have got a grant since; but a wait that the server named stands.
            Offered::Known => self.work_gate.open_by_hint(now),
            Offered::Refused { result, reason } => {
                self.events.push_back(Event::ManifestRefused { result, reason });
            }
            Offered::Busy => return Ok(Code::SERVICE_UNAVAILABLE),
        }
        Ok(Code::CHANGED)
    }

    /// A manifest over the gateway, unless that pushes too often.
    fn take_passed_on(
        &mut self,
        now: Instant,
        envelope: &[u8],
    ) -> Result<Result<Offered, Code>, UpdateError<F::Error>> {
        let jitter = self.updater.jitter();
        let Some(gateway) = &mut self.gateway else { return Ok(Err(Code::UNAUTHORIZED)) };
        if !gateway.state.push_gate.is_open(now) {
            return Ok(Err(Code::SERVICE_UNAVAILABLE));
        }
        gateway.state.push_gate.close(now, jitter);
        // A gateway must not end an update by bringing an older manifest up again.
        if self.updater.is_behind(now.0, envelope) {
            return Ok(Err(Code::CONFLICT));
        }
        let offered = self.updater.offer_passed_on(now.0, envelope)?;
        gateway.state.pushed = match offered {
            Offered::Refused { result, .. } => {
                UpdateResult::try_from(i64::from(result)).unwrap_or(UpdateResult::UpdateFailed)
            }
            Offered::Stored | Offered::Known | Offered::Busy => UpdateResult::Initial,
        };
        Ok(Ok(offered))
    }

    fn take_anchors(&mut self, now: Instant, document: &[u8]) -> Result<Code, UpdateError<F::Error>> {
        let mut scratch = self.scratch();
        let had = self.updater.record().manifest().is_some();
        let taken = self.updater.take_anchors(now.0, &mut scratch, document)?;
        self.events.push_back(Event::AnchorsOffered(taken));
        if had && self.updater.record().manifest().is_none() {
            self.events.push_back(Event::GivenUp);
        }
        Ok(match taken {
            AnchorsTaken::Taken { .. } => {
                // What waited for these anchors may be asked for now.
                self.work_gate.open_by_hint(now);
                self.report_gate.open();
                Code::CHANGED
            }
            AnchorsTaken::Known => Code::CHANGED,
            AnchorsTaken::TooLong => Code::REQUEST_ENTITY_TOO_LARGE,
            AnchorsTaken::Refused(AnchorsError::Edition(_)) => Code::CONFLICT,
            AnchorsTaken::Refused(_) => Code::UNAUTHORIZED,
        })
    }

    fn drop_update(&mut self, result: UpdateResult) -> Result<Code, UpdateError<F::Error>> {
        // LwM2M object 5: Cancel is refused once the update is being installed.
        let dropped = self.updater.drop_update(result as u8)?;
        Ok(if dropped { Code::CHANGED } else { Code::METHOD_NOT_ALLOWED })
    }

    fn begin_trial(&mut self, now: Instant, route: Route) -> Result<Code, UpdateError<F::Error>> {
        match self.updater.begin_trial()? {
            Begun::Trial => self.announce_trial(),
            Begun::GoFirst => {
                match route {
                    Route::Server => self.work_gate.open(),
                    Route::Gateway => self.work_gate.open_by_hint(now),
                }
                self.events.push_back(Event::GoWanted);
            }
            Begun::NotNow => return Ok(Code::METHOD_NOT_ALLOWED),
        }
        Ok(Code::CHANGED)
    }

    pub(super) fn install(&mut self) -> Result<(), UpdateError<F::Error>> {
        let Some(made) = self.make_images()? else { return Ok(()) };
        match self.updater.take_images(made)? {
            Installed::Verified => self.events.push_back(Event::Decrypted),
            Installed::GivenUp => self.events.push_back(Event::GivenUp),
            Installed::Unasked => {}
        }
        self.report_gate.open();
        self.work_gate.open();
        Ok(())
    }

    // By itself, so that the patcher, of 8 KiB, is on the stack for no longer than it works.
    #[inline(never)]
    fn make_images(&mut self) -> Result<Option<Made>, UpdateError<F::Error>> {
        self.updater.make_images(&mut Patcher::idle())
    }
}
