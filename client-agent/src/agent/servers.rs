//! Which server of the unit file the device registers with.

use super::links::{Server, Session};
use super::{Agent, Event};
use crate::platform::{Flash, Random};
use bellwether_coap::Instant;

/// The choice among the servers of the unit file; each boot begins with the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Servers {
    chosen: usize,
    /// Sessions in a row that did not lead to a registration.
    pub(super) missed: u8,
    /// Whether a verdict sent the update to a server of its own, which the gateway does not know.
    pub(super) update_is_elsewhere: bool,
}

impl<F: Flash, R: Random> Agent<'_, F, R> {
    /// Gives the index, in the unit file, of the server that the next session is to be made with.
    #[must_use]
    pub fn server(&self) -> usize {
        self.servers.chosen
    }

    /// Turns to the server that a verdict named. Registration goes with the update: whoever grants it says when it
    /// starts.
    pub(super) fn turn_to(&mut self, now: Instant, server: Option<usize>) {
        let Some(server) = server else { return };
        self.servers.update_is_elsewhere = true;
        if server != self.servers.chosen {
            self.leave_for(now, server);
        }
    }

    /// Counts a session that ended without a registration; the next server is tried after [`MISSED_MAX`].
    pub(super) fn miss_server(&mut self, now: Instant) {
        let servers = self.updater.facts().servers.len();
        self.servers.missed = self.servers.missed.saturating_add(1);
        if self.servers.missed >= MISSED_MAX && servers > 1 {
            self.servers.update_is_elsewhere = false;
            self.leave_for(now, (self.servers.chosen + 1) % servers);
        }
    }

    fn leave_for(&mut self, now: Instant, server: usize) {
        self.servers.chosen = server;
        self.servers.missed = 0;
        self.server.state = Server::Unregistered(Session::Down);
        self.server.under_way = None;
        self.server.gate.open_once(now);
        self.events.push_back(Event::Server { server });
    }
}

/// Sessions in a row without a registration, after which the next server of the unit file is tried.
pub const MISSED_MAX: u8 = 3;
