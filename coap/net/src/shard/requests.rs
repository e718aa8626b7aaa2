//! Requests of ours that wait for their response.

use std::collections::HashMap;

use bellwether_coap::{RequestId, Response};

use super::RequestError;
use super::command::{Reply, Ticket};

/// Knows who waits for which request, by the caller's ticket and by the endpoint's name.
#[derive(Default)]
pub(super) struct Requests {
    waiting: HashMap<RequestId, (Ticket, Reply)>,
    by_ticket: HashMap<Ticket, RequestId>,
}

impl Requests {
    pub(super) fn add(&mut self, id: RequestId, ticket: Ticket, reply: Reply) {
        self.waiting.insert(id, (ticket, reply));
        self.by_ticket.insert(ticket, id);
    }

    /// Gives the outcome to whoever waits for it.
    pub(super) fn finish(&mut self, id: RequestId, outcome: Result<Response, RequestError>) {
        if let Some((ticket, reply)) = self.waiting.remove(&id) {
            self.by_ticket.remove(&ticket);
            // Whoever has gone away since has cancelled; the command is on its way.
            let _ = reply.send(outcome);
        }
    }

    /// Takes a request out that nobody waits for any more.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<RequestId> {
        let id = self.by_ticket.remove(&ticket)?;
        self.waiting.remove(&id);
        Some(id)
    }
}
