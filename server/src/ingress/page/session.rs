//! Who is logged in: sessions in memory, named by a random cookie, gone with the process.
//!
//! The cookie holds neither the token nor anything made from it. What is kept of the cookie is its digest, so that
//! looking it up takes a time that tells nothing of those that are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::ingress::access::Right;

/// One who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// What they may do.
    pub(super) right: Right,
    /// Who they say they are, for the ledger.
    pub(super) who: Option<String>,
    /// What a form must bring back, so that no other site's page can send one.
    pub(super) form_token: String,
    /// Places for streams of events.
    pub(super) streams: Arc<Semaphore>,
    begun: u64,
    used: u64,
}

/// Who asks with a session's cookie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// Somebody who looks or orders.
    ByPerson,
    /// An open page that brings itself up to date; nobody may sit before it.
    ByPage,
}

/// All who are logged in.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// Lets somebody in, and gives what their cookie holds. `random` is drawn for this session alone; `now` is on a clock
    /// that never steps, in seconds.
    pub(super) fn begin(
        &self,
        right: Right,
        who: Option<String>,
        random: &Zeroizing<[u8; 48]>,
        now: u64,
    ) -> Zeroizing<String> {
        let (name, form_token) = random.split_at(32);
        let cookie = Zeroizing::new(hex::encode(name));
        let session = Session {
            right,
            who,
            form_token: hex::encode(form_token),
            streams: Arc::new(Semaphore::new(STREAMS_OF_SESSION_MAX)),
            begun: now,
            used: now,
        };
        let mut kept = self.kept();
        kept.retain(|_, session| !session.is_over(now));
        if kept.len() >= SESSIONS_MAX
            && let Some(idle) = kept.iter().min_by_key(|(_, one)| (one.used, one.begun)).map(|(key, _)| *key)
        {
            kept.remove(&idle);
        }
        kept.insert(key_of(&cookie), session);
        cookie
    }

    /// Finds who has this cookie, and notes that they are here where it was they who asked.
    pub(super) fn find(&self, cookie: &str, now: u64, asked: Asked) -> Option<Session> {
        let key = key_of(cookie);
        let mut kept = self.kept();
        let session = kept.get_mut(&key)?;
        if session.is_over(now) {
            kept.remove(&key);
            return None;
        }
        if asked == Asked::ByPerson {
            session.used = now;
        }
        Some(session.clone())
    }

    /// Tells whether somebody still is logged in, without their being here: a page that is left open does not keep its
    /// session alive.
    pub(super) fn is_open(&self, cookie: &str, now: u64) -> bool {
        self.kept().get(&key_of(cookie)).is_some_and(|session| !session.is_over(now))
    }

    /// Lets somebody out.
    pub(super) fn end(&self, cookie: &str) {
        self.kept().remove(&key_of(cookie));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Tells whether a form is this session's own.
    pub(super) fn admits(&self, form_token: &str) -> bool {
        bool::from(form_token.as_bytes().ct_eq(self.form_token.as_bytes()))
    }

    fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.used) > IDLE_S_MAX || now.saturating_sub(self.begun) > SESSION_S_MAX
    }
}

fn key_of(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

/// Sessions at the same time, 400 bytes each: more people than run a fleet. The one idle longest gives way.
const SESSIONS_MAX: usize = 1_000;

/// Seconds without a request: a break, not a night.
const IDLE_S_MAX: u64 = 2 * 3_600;

/// Seconds of the longest session: a working day.
pub(super) const SESSION_S_MAX: u64 = 12 * 3_600;

/// Streams of one session: a browser opens six to a server over HTTP/1.1; one with a proxy before it more.
pub(super) const STREAMS_OF_SESSION_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn random(n: u8) -> Zeroizing<[u8; 48]> {
        Zeroizing::new([n; 48])
    }

    #[test]
    fn cookie_finds_its_session_and_no_other_does() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(Right::Watch, Some("kim".into()), &random(1), 100);
        let found = sessions.find(&cookie, 200, Asked::ByPerson).expect("its session");
        assert_eq!((found.right, found.who.as_deref()), (Right::Watch, Some("kim")));
        assert!(found.admits(&"01".repeat(16)) && !found.admits("") && !found.admits(&cookie));
        assert!(
            sessions.find(&cookie[..63], 200, Asked::ByPerson).is_none()
                && sessions.find("", 200, Asked::ByPerson).is_none()
        );
        sessions.end(&cookie);
        assert!(sessions.find(&cookie, 200, Asked::ByPerson).is_none());
    }

    #[test]
    fn session_ends_when_it_is_idle_and_after_a_day_at_the_latest() {
        let sessions = Sessions::default();
        let idle = sessions.begin(Right::Operate, None, &random(1), 0);
        assert!(sessions.is_open(&idle, IDLE_S_MAX) && !sessions.is_open(&idle, IDLE_S_MAX + 1));
        let busy = sessions.begin(Right::Operate, None, &random(2), 0);
        let mut now = 0;
        while now < SESSION_S_MAX {
            assert!(sessions.find(&busy, now, Asked::ByPerson).is_some(), "{now}");
            now += IDLE_S_MAX;
        }
        assert!(sessions.find(&busy, SESSION_S_MAX + 1, Asked::ByPerson).is_none());
    }

    #[test]
    fn page_that_brings_itself_up_to_date_keeps_no_session_alive() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(Right::Operate, None, &random(1), 0);
        for now in (0..=IDLE_S_MAX).step_by(15) {
            assert!(sessions.find(&cookie, now, Asked::ByPage).is_some(), "{now}");
        }
        assert!(sessions.find(&cookie, IDLE_S_MAX + 1, Asked::ByPage).is_none());
    }

    #[test]
    fn one_more_than_there_is_room_for_takes_the_place_of_the_one_idle_longest() {
        let sessions = Sessions::default();
        let begin = |n: usize, now| {
            let mut bytes = [0; 48];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            sessions.begin(Right::Watch, None, &Zeroizing::new(bytes), now)
        };
        let (idle, busy) = (begin(0, 0), begin(1, 0));
        assert!(sessions.find(&busy, 10, Asked::ByPerson).is_some());
        for n in 2..=SESSIONS_MAX {
            begin(n, 5);
        }
        assert!(!sessions.is_open(&idle, 10) && sessions.is_open(&busy, 10));
        assert_eq!(sessions.kept().len(), SESSIONS_MAX);
    }
}
