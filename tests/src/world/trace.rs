//! What happened in a run, as a hash that two runs of one seed must share, and as text for a run that failed.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::dice::{FNV_OFFSET, FNV_PRIME};

/// The record of one run; clones write to the same one.
#[derive(Clone, Debug)]
pub struct Trace {
    start: Instant,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug)]
struct Told {
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    /// Lines that are kept for [`Trace::tail`].
    kept_max: usize,
}

impl Trace {
    /// Begins now, with room for `kept_max` lines of text; the hash takes all of them.
    pub fn start(kept_max: usize) -> Self {
        let told = Told { hash: FNV_OFFSET, lines: 0, last: VecDeque::new(), kept_max };
        Self { start: now(), told: Arc::new(Mutex::new(told)) }
    }

    /// Writes down what someone did or met, with the time.
    pub fn note(&self, who: &dyn Display, what: &dyn Display) {
        let at = now().duration_since(self.start);
        let line = format!("{:>12.3} {who}: {what}", at.as_secs_f64());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.hash =
            line.bytes().fold(told.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        told.lines += 1;
        if told.kept_max == 0 {
            return;
        }
        if told.last.len() >= told.kept_max {
            told.last.pop_front();
        }
        told.last.push_back(line);
    }

    /// Gives the hash of everything so far, and of how many lines.
    pub fn hash(&self) -> (u64, u64) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.hash, told.lines)
    }

    /// Gives the newest lines that were kept.
    pub fn tail(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.last.iter().cloned().collect()
    }
}

/// The world's time, which tests pause and the runtime moves.
#[expect(clippy::disallowed_methods, reason = "the clock of the world is tokio's paused one")]
pub(super) fn now() -> Instant {
    Instant::now()
}
