//! When a device in queue mode listens: it says so when it registers, stays awake for a while after each exchange, then
//! closes its ears until it has something to say.
//!
//! The shell that uses it switches the radio; the agent knows nothing of it, so that a device without queue mode has none
//! of this in its flash. Source: OMA LwM2M Core 1.1, §6.5.

use super::{Agent, Mode, News};
use crate::platform::{Flash, Random};
use crate::update::Work;
use bellwether_coap::{Instant, Method, Request};
use core::time::Duration;

/// Tells when the radio of a device may be off.
#[derive(Clone, Copy, Debug)]
pub struct QueueMode {
    awake: Duration,
    exchanged_at: Instant,
    bytes: u64,
    is_asleep: bool,
}

/// What the radio is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Radio {
    /// It is to be switched on, before anything is sent.
    On,
    /// It is to be switched off.
    Off,
}

impl QueueMode {
    /// Starts awake; `awake` is the time for which it listens after an exchange. The server's idea of it must not be longer.
    #[must_use]
    pub fn new(awake: Duration, now: Instant) -> Self {
        Self { awake, exchanged_at: now, bytes: 0, is_asleep: false }
    }

    /// Lets a request to register say that the device is in queue mode, and any other be as it was.
    #[must_use]
    pub fn announced(request: Request) -> Request {
        let registers = request.method == Method::Post && request.path == ["rd"];
        if registers { request.with_query("Q") } else { request }
    }

    /// Tells whether the radio is off.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.is_asleep
    }

    /// Looks whether the radio is to be switched: `bytes` are those that went over all links so far, either way; `due` is
    /// when the agent has something to do, `rests` whether nothing is under way.
    pub fn look(&mut self, now: Instant, bytes: u64, due: Option<Instant>, rests: bool) -> Option<Radio> {
        if bytes != self.bytes {
            (self.bytes, self.exchanged_at) = (bytes, now);
        }
        let has_to_speak = !rests || due.is_some_and(|due| due <= now);
        if self.is_asleep && has_to_speak {
            (self.is_asleep, self.exchanged_at) = (false, now);
            return Some(Radio::On);
        }
        let falls_asleep = !self.is_asleep && !has_to_speak && self.sleeps_at() <= now;
        self.is_asleep |= falls_asleep;
        falls_asleep.then_some(Radio::Off)
    }

    /// Tells when to look again, beside when the agent has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (!self.is_asleep).then(|| self.sleeps_at())
    }

    fn sleeps_at(&self) -> Instant {
        self.exchanged_at.after(self.awake)
    }
}

impl<F: Flash, R: Random> Agent<'_, F, R> {
    /// Tells whether nothing is under way or waits for somebody's word: then the device may sleep until
    /// [`Agent::poll_timeout`].
    #[must_use]
    pub fn rests(&self) -> bool {
        let is_free = self.server.is_free() && self.gateway.as_ref().is_none_or(super::Link::is_free);
        let has_nothing_to_do =
            self.updater.work() == Work::Nothing && self.updater.pending_report().is_none();
        self.mode == Mode::Running
            && self.news == News::Nothing
            && self.is_registered()
            && is_free
            && has_nothing_to_do
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAKE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn device_sleeps_once_nothing_went_for_the_window_and_wakes_when_it_has_to_speak() {
        let mut mode = QueueMode::new(AWAKE, at(0));
        let due = Some(at(100));
        assert_eq!(mode.look(at(3), 50, due, true), None);
        assert_eq!(mode.due(), Some(at(13)));
        assert_eq!(mode.look(at(12), 50, due, true), None);
        assert_eq!(mode.look(at(13), 50, due, true), Some(Radio::Off));
        assert_eq!((mode.is_asleep(), mode.due()), (true, None));
        assert_eq!(mode.look(at(99), 50, due, true), None);
        assert_eq!(mode.look(at(100), 50, due, true), Some(Radio::On));
        assert_eq!(mode.look(at(101), 90, Some(at(200)), true), None);
        assert_eq!(mode.look(at(111), 90, Some(at(200)), true), Some(Radio::Off));
    }

    #[test]
    fn any_byte_that_went_keeps_it_awake_though_the_agent_was_told_nothing() {
        let mut mode = QueueMode::new(AWAKE, at(0));
        assert_eq!(mode.look(at(10), 1_024, None, true), None, "a block of a manifest");
        assert_eq!(mode.look(at(20), 1_024, None, true), Some(Radio::Off));
    }

    #[test]
    fn what_is_under_way_keeps_it_awake_and_wakes_it() {
        let mut mode = QueueMode::new(AWAKE, at(0));
        assert_eq!(mode.look(at(60), 0, None, false), None);
        assert_eq!(mode.look(at(61), 0, None, true), Some(Radio::Off));
        assert_eq!(mode.look(at(62), 0, None, false), Some(Radio::On), "it was told to stop");
    }

    #[test]
    fn registration_alone_says_that_the_device_is_in_queue_mode() {
        let queries = |path: &str, method| QueueMode::announced(Request::new(method, path)).query;
        assert_eq!(queries("/rd", Method::Post), ["Q"]);
        assert!(queries("/rd/5a", Method::Post).is_empty());
        assert!(queries("/rd", Method::Get).is_empty());
    }
}
