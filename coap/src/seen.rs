//! Messages of one peer seen lately, with what was answered (RFC 7252 §4.5).

use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The last message ids of a peer, oldest first.
#[derive(Default)]
pub(crate) struct Seen {
    ring: VecDeque<Entry>,
    reply_bytes: usize,
}

struct Entry {
    message_id: u16,
    until: Instant,
    reply: Vec<u8>,
}

/// Bounds of the ring, from the endpoint's configuration.
#[derive(Clone, Copy)]
pub(crate) struct SeenBounds {
    pub(crate) entries_max: usize,
    pub(crate) reply_bytes_max: usize,
}

impl Seen {
    /// Returns the answer of an id seen before, empty if there is none, or `None` for a new id.
    pub(crate) fn find(&self, now: Instant, message_id: u16) -> Option<&[u8]> {
        self.position(now, message_id).map(|at| self.ring[at].reply.as_slice())
    }

    /// Remembers a new id until its lifetime ends or younger ones need the room.
    pub(crate) fn insert(&mut self, message_id: u16, until: Instant, bounds: SeenBounds) {
        while self.ring.len() >= bounds.entries_max.max(1) {
            self.drop_oldest();
        }
        self.ring.push_back(Entry { message_id, until, reply: Vec::new() });
    }

    /// Remembers the answer of an id; the oldest answers go when there are too many bytes.
    pub(crate) fn set_reply(&mut self, now: Instant, message_id: u16, reply: &[u8], bounds: SeenBounds) {
        let Some(at) = self.position(now, message_id) else {
            return;
        };
        self.reply_bytes += reply.len();
        self.reply_bytes -= self.ring[at].reply.len();
        self.ring[at].reply = reply.to_vec();
        // An answer this old is not asked for again by a peer with few messages in flight.
        for entry in self.ring.iter_mut().take(at) {
            if self.reply_bytes <= bounds.reply_bytes_max {
                break;
            }
            self.reply_bytes -= entry.reply.len();
            entry.reply = Vec::new();
        }
    }

    // From the youngest on: a retransmission repeats what came last.
    fn position(&self, now: Instant, message_id: u16) -> Option<usize> {
        self.ring.iter().rposition(|entry| entry.message_id == message_id && now < entry.until)
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.ring.pop_front() {
            self.reply_bytes -= entry.reply.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const BOUNDS: SeenBounds = SeenBounds { entries_max: 3, reply_bytes_max: 10 };
    const START: Instant = Instant(Duration::ZERO);

    fn later(s: u64) -> Instant {
        START.after(Duration::from_secs(s))
    }

    #[test]
    fn id_is_new_again_when_its_lifetime_ends() {
        let mut seen = Seen::default();
        seen.insert(7, later(247), BOUNDS);
        assert_eq!(seen.find(later(246), 7), Some(&[][..]));
        assert_eq!(seen.find(later(247), 7), None);
    }

    #[test]
    fn ring_forgets_the_oldest_id_when_full() {
        let mut seen = Seen::default();
        for id in 0..4 {
            seen.insert(id, later(247), BOUNDS);
        }
        assert_eq!(seen.find(START, 0), None);
        assert!(seen.find(START, 1).is_some() && seen.find(START, 3).is_some());
    }

    #[test]
    fn old_answers_go_before_their_ids() {
        let mut seen = Seen::default();
        for id in 0..2 {
            seen.insert(id, later(247), BOUNDS);
            seen.set_reply(START, id, &[9; 8], BOUNDS);
        }
        assert_eq!(seen.find(START, 0), Some(&[][..]));
        assert_eq!(seen.find(START, 1), Some(&[9; 8][..]));
    }

    #[test]
    fn answer_larger_than_all_room_is_still_kept_while_it_is_the_last() {
        let mut seen = Seen::default();
        seen.insert(1, later(247), BOUNDS);
        seen.set_reply(START, 1, &[9; 20], BOUNDS);
        assert_eq!(seen.find(START, 1), Some(&[9; 20][..]));
    }
}
