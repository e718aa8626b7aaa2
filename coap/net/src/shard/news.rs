//! News of sessions that the owner has no room for yet.

use std::collections::BTreeMap;

use super::Event;
use crate::SessionId;

/// Keeps at most one piece of news a session: of one that came and went unheard, nothing.
///
/// So it is bounded by the sessions there are plus those the owner believes there are. News of different sessions
/// have no order.
#[derive(Default)]
pub(super) struct News(BTreeMap<SessionId, Event>);

impl News {
    pub(super) fn add(&mut self, event: Event) {
        match &event {
            Event::Connected(peer) => drop(self.0.insert(peer.session, event)),
            Event::Closed(peer, _) => {
                let session = peer.session;
                if !matches!(self.0.remove(&session), Some(Event::Connected(_))) {
                    self.0.insert(session, event);
                }
            }
            Event::Moved(peer) => match self.0.get_mut(&peer.session) {
                Some(Event::Connected(waiting) | Event::Moved(waiting)) => *waiting = peer.clone(),
                Some(_) => {}
                None => drop(self.0.insert(peer.session, event)),
            },
            // These are told at once or not at all, or wait elsewhere.
            Event::Request { .. }
            | Event::KeyWanted { .. }
            | Event::Hibernated(_)
            | Event::SessionWanted(_) => {}
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.0.pop_first().map(|(_, event)| event)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;
    use crate::dtls::CloseReason;

    fn peer(session: u64) -> Peer {
        Peer::new(SessionId(session), "192.0.2.1:5684".parse().unwrap(), None)
    }

    #[test]
    fn session_that_came_and_went_unheard_is_no_news() {
        let mut news = News::default();
        news.add(Event::Connected(peer(1)));
        news.add(Event::Connected(peer(2)));
        news.add(Event::Closed(peer(1), CloseReason::Peer));
        assert!(matches!(news.pop(), Some(Event::Connected(peer)) if peer.session == SessionId(2)));
        assert!(news.is_empty());
    }

    #[test]
    fn session_that_moved_and_ended_unheard_is_told_once() {
        let mut news = News::default();
        news.add(Event::Moved(peer(1)));
        news.add(Event::Moved(peer(1)));
        news.add(Event::Closed(peer(1), CloseReason::Peer));
        assert!(matches!(news.pop(), Some(Event::Closed(_, CloseReason::Peer))));
        assert!(news.is_empty());
    }

    #[test]
    fn end_of_a_session_the_owner_knows_is_kept() {
        let mut news = News::default();
        news.add(Event::Closed(peer(1), CloseReason::Peer));
        assert!(matches!(news.pop(), Some(Event::Closed(_, CloseReason::Peer))));
    }
}
