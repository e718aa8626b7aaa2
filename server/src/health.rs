//! Whether the server can do its work: found out by trying, and doubted as soon as anything fails.

use std::sync::{Mutex, PoisonError};

use bellwether_api::{Check, CheckState, Readiness};

use crate::core::Core;
use crate::metrics::process;

/// When it was last tried whether the data folder takes writes. Every door that answers "the server failed" casts
/// doubt, and a doubted answer is not given twice without trying again.
#[derive(Debug, Default)]
pub struct Health {
    tried: Mutex<Option<u64>>,
    /// One try at a time: who asks meanwhile waits for its outcome.
    trying: tokio::sync::Mutex<()>,
}

impl Health {
    /// Notes that something failed: the next question is answered by trying.
    pub fn doubt(&self) {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_fresh(&self, now: u64) -> bool {
        let tried = *self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.is_some_and(|at| now.abs_diff(at) < TRY_EVERY_S)
    }

    fn tried(&self, now: u64) {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

impl Core {
    /// Says whether the server can do its work, and what is wrong.
    pub async fn readiness(&self) -> Readiness {
        let checks = vec![
            self.store_check().await,
            disk_check(process::disk(&self.config.data)),
            self.sockets_check(),
            self.broker_check(),
            // It is opened before anything else is; a server without it does not start.
            check("master_key", CheckState::Ok, "opened"),
        ];
        let worst = checks.iter().map(|check| check.state).max().unwrap_or(CheckState::Ok);
        Readiness { ready: worst < CheckState::Failing, status: worst, checks }
    }

    async fn store_check(&self) -> Check {
        let alone = self.health.trying.lock().await;
        let now = self.now();
        // What failed is tried again each time: whoever makes room wants to know at once.
        if self.disk_fault().is_some() || !self.health.is_fresh(now) {
            self.health.tried(now);
            self.try_disk().await;
        }
        drop(alone);
        match self.disk_fault() {
            None => check("store", CheckState::Ok, "takes writes"),
            Some(fault) => check("store", CheckState::Failing, &fault),
        }
    }

    fn sockets_check(&self) -> Check {
        let doors = self.metrics.doors();
        let gone: Vec<_> =
            doors.iter().filter(|(_, shard)| !shard.is_running()).map(|(name, _)| *name).collect();
        if doors.is_empty() {
            return check("sockets", CheckState::Failing, "no socket for devices is open");
        }
        if gone.is_empty() {
            return check("sockets", CheckState::Ok, "bound");
        }
        check("sockets", CheckState::Failing, &format!("{} ended; restart the server", gone.join(", ")))
    }

    fn broker_check(&self) -> Check {
        match self.metrics.is_broker_connected() {
            None => check("broker", CheckState::Ok, "not used"),
            Some(true) => check("broker", CheckState::Ok, "connected"),
            Some(false) => check(
                "broker",
                CheckState::Degraded,
                "not connected; what happens waits in the ledger for it",
            ),
        }
    }
}

/// Judges the disk by the bytes that are free on it.
fn disk_check(disk: Option<process::Disk>) -> Check {
    let Some(disk) = disk else {
        return check("disk", CheckState::Degraded, "the system does not tell how much is free");
    };
    let (state, advice) = match disk.free_bytes {
        free if free < DISK_FAILING_BYTES => (CheckState::Failing, "; make room on it"),
        free if free < DISK_DEGRADED_BYTES => (CheckState::Degraded, "; make room on it soon"),
        _ => (CheckState::Ok, ""),
    };
    check("disk", state, &format!("{} MiB free{advice}", disk.free_bytes >> 20))
}

fn check(name: &str, state: CheckState, reason: &str) -> Check {
    Check { name: name.to_owned(), state, reason: reason.to_owned() }
}

/// Seconds for which a try that went well counts: orchestrators ask every few seconds, and each costs synced writes.
const TRY_EVERY_S: u64 = 5;

/// Below this, the log of the database or one delta may not fit.
const DISK_FAILING_BYTES: u64 = 16 << 20;

/// Below this there is room for a few images yet, and time to act.
const DISK_DEGRADED_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn try_counts_for_a_while_unless_something_failed_since() {
        let health = Health::default();
        assert!(!health.is_fresh(100), "nobody has tried yet");
        health.tried(100);
        assert!(health.is_fresh(104) && !health.is_fresh(105));
        health.doubt();
        assert!(!health.is_fresh(100));
    }

    #[test]
    fn disk_is_judged_by_what_is_free() {
        let judged = |free_bytes| disk_check(Some(process::Disk { free_bytes, total_bytes: 1 << 40 })).state;
        assert_eq!(judged(1 << 20), CheckState::Failing);
        assert_eq!(judged(100 << 20), CheckState::Degraded);
        assert_eq!(judged(1 << 30), CheckState::Ok);
    }
}
