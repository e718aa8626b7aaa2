//! Who holds which established sessions, so that one key can't take the room of all.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::SessionId;

/// Sessions in use by the identity that proved its key, the oldest first.
#[derive(Default)]
pub(crate) struct Holders(HashMap<Arc<str>, VecDeque<SessionId>>);

impl Holders {
    /// Adds a session; gives the oldest one of the same identity where there are more than `most`.
    pub(crate) fn add(&mut self, identity: &Arc<str>, session: SessionId, most: usize) -> Option<SessionId> {
        let held = self.0.entry(Arc::clone(identity)).or_default();
        held.push_back(session);
        (held.len() > most).then(|| held.front().copied()).flatten()
    }

    /// Takes out a session that ended.
    pub(crate) fn remove(&mut self, identity: &Arc<str>, session: SessionId) {
        let Some(held) = self.0.get_mut(identity) else { return };
        held.retain(|other| *other != session);
        if held.is_empty() {
            self.0.remove(identity);
        }
    }
}
