//! Verdicts: authentic answers that are no grant.
//!
//! Source: update.cddl, Verdict; protocol.md §3.

use super::advance::Next;
use super::answer::Answered;
use super::bounded::Bounded;
use super::record::{Outcome, State};
use super::report::failure;
use super::updater::{Asked, UpdateError, Updater};
use super::verify::{self, RESULT_CANCELLED, RESULT_FAILED, RESULT_SUCCESS};
use super::window;
use crate::platform::{Flash, Random};
use bellwether_manifests::message::{Detail, Later, List, Moment, Verdict};
use bellwether_manifests::report::Reason;
use core::time::Duration;

impl<F: Flash, R: Random> Updater<'_, F, R> {
    pub(super) fn take_verdict(
        &mut self,
        uptime: Duration,
        asked: &Asked,
        verdict: &Verdict<'_>,
    ) -> Result<Answered, UpdateError<F::Error>> {
        self.asked = None;
        self.believe_time(verdict.now, uptime);
        self.keep_floor()?;
        match verdict.detail {
            Detail::Nothing => {
                self.end(Outcome { result: RESULT_SUCCESS, refused: None })?;
                Ok(Answered::Nothing)
            }
            Detail::Refused { reason, text } => {
                self.refusal = Bounded::copy_of(text.as_bytes()).unwrap_or(Bounded::EMPTY);
                self.end(Outcome { result: RESULT_FAILED, refused: Some(reason) })?;
                Ok(Answered::Refused { reason })
            }
            Detail::Prove(echo) => {
                self.echo = Bounded::copy_of(echo).map(|echo| (asked.place, echo));
                Ok(Answered::Prove)
            }
            Detail::Later(later) => Ok(wait(verdict.now, &later)),
            Detail::Elsewhere(identifiers) => self.follow_elsewhere(identifiers),
            Detail::Go(number) if asked.go == Some(number) => self.take_go(verdict.detail.kind()),
            Detail::Stop(number) if asked.go == Some(number) => self.take_stop(),
            // A forward came under the key of the place that asked, or go and stop are for another grant.
            Detail::Go(_) | Detail::Stop(_) | Detail::Forward { .. } => {
                Ok(Answered::NotFollowed { kind: verdict.detail.kind() })
            }
        }
    }

    /// Goes on from where an operator moved this identity to. An open grant is of a place that counts no more, so its
    /// manifest is asked for anew.
    pub(super) fn take_forward(
        &mut self,
        uptime: Duration,
        verdict: &Verdict<'_>,
        next: Next,
    ) -> Result<Answered, UpdateError<F::Error>> {
        let Detail::Forward { fork, grant } = verdict.detail else {
            return Ok(Answered::NotFollowed { kind: verdict.detail.kind() });
        };
        let place = next.place;
        self.believe_time(verdict.now, uptime);
        if let State::Granted(granted) = &self.record.state {
            self.record.state = State::Stored(granted.manifest.clone());
        }
        self.move_to(next, *fork)?;
        self.record.grant_highest = grant;
        for report in self.record.reports.iter_mut().flatten() {
            report.led_to = None;
        }
        self.opened = None;
        self.ask_again = false;
        self.altered = 0;
        self.save()?;
        Ok(Answered::Forwarded { place })
    }

    /// Swaps, unless the report that the trial will owe has no slot: then it asks again later.
    fn take_go(&mut self, kind: u8) -> Result<Answered, UpdateError<F::Error>> {
        if !self.record.has_free_report() {
            return Ok(Answered::NotFollowed { kind });
        }
        self.start_trial()?;
        Ok(Answered::Go)
    }

    /// The server has closed the grant, so nothing is owed for it.
    fn take_stop(&mut self) -> Result<Answered, UpdateError<F::Error>> {
        self.close(Outcome { result: RESULT_CANCELLED, refused: None });
        self.save()?;
        Ok(Answered::Stopped)
    }

    /// Takes the first of the request identifiers that is on a server of the unit file.
    fn follow_elsewhere(&mut self, identifiers: List<'_, &str>) -> Result<Answered, UpdateError<F::Error>> {
        let found = identifiers.iter().find_map(|identifier| verify::local_path(identifier, &self.facts));
        let path = found.and_then(|(server, path)| Some((server, Bounded::copy_of(path.as_bytes())?)));
        let Some((server, path)) = path else {
            return Ok(Answered::NotFollowed { kind: Detail::Elsewhere(identifiers).kind() });
        };
        match &mut self.record.state {
            State::None => {}
            State::Stored(manifest) => manifest.path = path,
            State::Granted(granted) => granted.manifest.path = path,
        }
        self.save()?;
        Ok(Answered::Elsewhere { server })
    }

    /// Ends the manifest by a verdict. A grant that is open all the same is reported failed, so that it closes.
    fn end(&mut self, outcome: Outcome) -> Result<(), UpdateError<F::Error>> {
        if matches!(self.record.state, State::Granted(_)) {
            self.report_granted(Moment::Failed, failure(outcome.result, Reason::OperationFailed))?;
        }
        self.close(outcome);
        self.save()
    }
}

/// Waits at least the delay, until the given time, and then until a window opens; jitter does not lead out of it.
///
/// The server's own clock counts, since the verdict was made by it just now.
fn wait(now: u64, later: &Later<'_>) -> Answered {
    let earliest = now.saturating_add(later.delay_s).max(later.not_before.unwrap_or(0));
    let Some(slot) = window::next_open(earliest, later.windows) else {
        // No window ever opens: the server is asked again, so that it can say something else.
        return Answered::Later { delay_s: later.delay_s, jitter_s: later.jitter_s };
    };
    let jitter_s = later.jitter_s.min(slot.left_s.saturating_sub(1));
    Answered::Later { delay_s: slot.opens.saturating_sub(now), jitter_s }
}
