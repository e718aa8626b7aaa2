//! Grants ahead of a request, for the bundles of gateways.

use super::{Context, Decision, Reply, Request, Row, request};
use crate::identity::{Digest, IdentityState};

/// Decides which grant a bundle may carry for a device that has not asked: what rows 4, 5 and 6 would give to its
/// first request with this manifest and selector and without options. `None` for everything else, and where the device
/// holds a grant of this manifest that is good for another question: it asked that one itself, and a guess must not
/// close what it is working with.
///
/// A new grant is stored by [`Decision::granted`] with an empty answer: no request is remembered for it.
#[must_use]
pub fn decide_ahead(
    state: &IdentityState,
    manifest: Digest,
    selector: Digest,
    context: &Context,
) -> Option<Decision> {
    let doubtful = state.is_stale(context.restores) || state.fork_unsure;
    if doubtful || state.is_blocked(context.now) {
        return None;
    }
    let request = unasked(state, manifest, selector);
    let mut decision = match state.open_grant() {
        Some(open) if request::is_good_otherwise(open, &request, context) => return None,
        Some(open) => request::rows_5_and_6(state.clone(), open, &request, context),
        None if state.confirmed_manifest(&manifest).is_some() => return None,
        None => request::grant(Row::R4, state.clone(), &request, context),
    };
    match decision.reply {
        Reply::HeldGrant { .. } => Some(decision),
        Reply::NewGrant(_) => {
            decision.state.revision = state.revision + 1;
            Some(decision)
        }
        _ => None,
    }
}

/// The request that an honest device would send from s, as far as a grant depends on it.
fn unasked(state: &IdentityState, manifest: Digest, selector: Digest) -> Request {
    Request {
        place: state.place,
        counter: 0,
        fork: state.fork,
        digest: [0; 32],
        manifest,
        selector,
        running: Vec::new(),
        echo: None,
        keys: None,
        device_share: None,
        go: None,
        unconfirmed: None,
        clock: None,
    }
}
