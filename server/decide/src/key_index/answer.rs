//! The second step: an answer's bytes go into the state.

use super::{Decision, NewGrant, Report, Row};
use crate::fork::fork_after;
use crate::identity::{
    Confirm, Confirmed, Content, Digest, GRANTS_MAX, Grant, GrantState, IdentityState, KeptReport,
    LastAnswer, Place, REPORTS_MAX, Reseed, Shares,
};

/// What the builder and the vault decided about a grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantDetails {
    /// What it opens, 1 to 8.
    pub contents: Vec<Content>,
    /// Expiry, seconds since 1970.
    pub not_after: u64,
    /// Which reports it asks for.
    pub confirm: Confirm,
    /// The shares of the new seed, where the grant re-seeds and the device sent one.
    pub shares: Option<Shares>,
    /// Whether the device has to ask "go?".
    pub go: bool,
    /// The encoded grant message.
    pub message: Vec<u8>,
}

impl Decision {
    /// Gives the state to store when a request is answered by these bytes: a verdict, or a held grant.
    ///
    /// Also right for a new grant that eligibility or resolution turned into a verdict.
    #[must_use]
    pub fn answered(&self, answer: &[u8]) -> IdentityState {
        let mut state = self.state.clone();
        if let Some(request) = self.keep {
            state.last = Some(LastAnswer { request, answer: answer.to_vec() });
        }
        state
    }

    /// Gives the state to store when a request is answered by this new grant; any other open one is closed.
    #[must_use]
    pub fn granted(&self, new: &NewGrant, details: GrantDetails, answer: &[u8]) -> IdentityState {
        let mut state = self.answered(answer);
        for grant in state.grants.iter_mut().filter(|grant| grant.is_open()) {
            grant.state = GrantState::Closed;
        }
        if let Some(kept) = new.again.and_then(|place| state.confirmed.get_mut(&place)) {
            kept.given_again = kept.given_again.saturating_add(1);
        }
        if new.reissued {
            state.permits.reissue.retain(|manifest| *manifest != new.manifest);
        }
        state.grant_highest = new.number;
        state.grants.push(given(new, details));
        forget_grants(&mut state);
        state
    }

    /// Gives the state to store when a report is answered by this receipt.
    #[must_use]
    pub fn receipted(&self, report: &Report, receipt: &[u8]) -> IdentityState {
        let mut state = self.state.clone();
        state.reports.push(KeptReport {
            digest: report.digest,
            place: report.place,
            grant: report.grant,
            moment: report.moment,
            receipt: receipt.to_vec(),
            ahead: (self.row == Row::R13).then_some(report.manifest),
        });
        let surplus = state.reports.len().saturating_sub(REPORTS_MAX);
        state.reports.drain(..surplus);
        state
    }
}

/// Moves the identity over a confirmed grant: place, fork head, and the end of all grants of s.
pub(super) fn advance(state: &mut IdentityState, grant: &Grant, report: Digest) {
    let given_again = state.confirmed_manifest(&grant.manifest).map_or(0, |(_, before)| before.given_again);
    let confirmed = Confirmed {
        grant: grant.number,
        confirm: grant.confirm,
        report,
        manifest: grant.manifest,
        installed: grant.contents.iter().map(|content| (content.component, content.installed)).collect(),
        leads_to: grant.leads_to,
        given_again,
    };
    if grant.reseed.as_ref().is_some_and(|reseed| reseed.shares.is_some()) {
        state.epochs_shared.insert(grant.leads_to.epoch);
    }
    leave(state, confirmed);
}

/// Moves the identity over a grant that is not known: it was given before a restore of the store.
///
/// What it opened is not known either, nor whether the fork head was moved by this report or by an earlier one.
pub(super) fn advance_unknown(state: &mut IdentityState, report: &Report, leads_to: Place) {
    state.grant_highest = state.grant_highest.max(report.grant);
    state.fork_unsure = true;
    let confirmed = Confirmed {
        grant: report.grant,
        confirm: Confirm::Both,
        report: report.digest,
        manifest: report.manifest,
        installed: Vec::new(),
        leads_to,
        given_again: 0,
    };
    leave(state, confirmed);
}

/// Leaves s by what was confirmed: every grant of s ends.
fn leave(state: &mut IdentityState, confirmed: Confirmed) {
    let left = state.place;
    state.grants.retain(|kept| kept.place == left);
    for kept in &mut state.grants {
        if kept.number == confirmed.grant {
            kept.state = GrantState::Confirmed;
        } else if kept.is_open() {
            kept.state = GrantState::Closed;
        }
    }
    state.place = confirmed.leads_to;
    state.fork = fork_after(state.fork, &confirmed.report);
    state.confirmed.insert(left, confirmed);
}

fn given(new: &NewGrant, details: GrantDetails) -> Grant {
    Grant {
        number: new.number,
        place: new.place,
        leads_to: new.leads_to,
        manifest: new.manifest,
        selector: new.selector,
        contents: details.contents,
        keys: new.keys,
        not_after: details.not_after,
        confirm: details.confirm,
        reseed: new.reseed.then_some(Reseed { shares: details.shares }),
        go: details.go,
        message: details.message,
        state: GrantState::Open,
    }
}

/// Forgets the oldest grants that came to nothing, past the limit.
fn forget_grants(state: &mut IdentityState) {
    while state.grants.len() > GRANTS_MAX {
        let spent = |grant: &Grant| matches!(grant.state, GrantState::Closed | GrantState::Failed);
        let oldest = state.grants.iter().position(spent).unwrap_or(0);
        state.grants.remove(oldest);
    }
}
