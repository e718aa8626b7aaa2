//! What an operator may do to an identity: pure changes of its state. Who did it and why goes into the ledger.
//!
//! Nothing here moves an identity. It gives leave, and the next messages of the device make use of it, row by row.

use crate::identity::{Digest, ForwardPermit, IdentityState, REISSUES_MAX};
use thiserror::Error;

/// What an operator did to an identity, or to all of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Act {
    /// Let what a device ahead of the server proves be taken; without a device: of every device, after a restore.
    Resync,
    /// Allowed one more grant of an update that the device confirmed.
    Reissue,
    /// Let a device that lost its state go on from where the server stands.
    Forward,
    /// Had every request of the identity refused.
    Block,
    /// Ended that.
    Unblock,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 5] = [Self::Resync, Self::Reissue, Self::Forward, Self::Block, Self::Unblock];

    /// Gives the name that stands in stores and interfaces; never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Reissue => "reissue",
            Self::Forward => "forward",
            Self::Block => "block",
            Self::Unblock => "unblock",
        }
    }

    /// Reads a name that [`Act::name`] gave.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }
}

/// Why an operator's wish was not granted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReissueError {
    /// The identity never confirmed this manifest: it may simply ask.
    #[error("the device never confirmed this update: it gets it by asking")]
    NeverConfirmed,
    /// The identity has [`REISSUES_MAX`] of them: wait until it made use of one.
    #[error("the device has {REISSUES_MAX} reissued updates that it did not ask for yet")]
    TooMany,
}

/// Lets a device that is ahead of the server be believed once, until this second (row 13).
///
/// What it proves to stand at is taken: place, fork head and counter; never backward.
#[must_use]
pub fn resync(state: &IdentityState, until: u64) -> IdentityState {
    changed(state, |state| state.permits.resync_until = Some(until))
}

/// Allows one more grant of a manifest that the identity confirmed (row 7).
///
/// # Errors
///
/// [`ReissueError`] where there is nothing to allow.
pub fn reissue(state: &IdentityState, manifest: Digest) -> Result<IdentityState, ReissueError> {
    if state.confirmed_manifest(&manifest).is_none() {
        return Err(ReissueError::NeverConfirmed);
    }
    let listed = state.permits.reissue.contains(&manifest);
    if !listed && state.permits.reissue.len() >= REISSUES_MAX {
        return Err(ReissueError::TooMany);
    }
    Ok(changed(state, |state| {
        if !listed {
            state.permits.reissue.push(manifest);
        }
    }))
}

/// Lets a device that was restored to an older state go on from the identity's place, until this second (row 18).
#[must_use]
pub fn forward(state: &IdentityState, until: u64) -> IdentityState {
    changed(state, |state| state.permits.forward = Some(ForwardPermit { until, used: false }))
}

/// Blocks the identity until this second: its requests are refused, its reports still count. `u64::MAX`: for ever.
#[must_use]
pub fn block(state: &IdentityState, until: u64) -> IdentityState {
    changed(state, |state| state.blocked_until = Some(until))
}

/// Ends a block.
#[must_use]
pub fn unblock(state: &IdentityState) -> IdentityState {
    changed(state, |state| state.blocked_until = None)
}

/// Every change raises the revision, for compare-and-set.
fn changed(state: &IdentityState, change: impl FnOnce(&mut IdentityState)) -> IdentityState {
    let mut next = state.clone();
    change(&mut next);
    next.revision = state.revision + 1;
    next
}
