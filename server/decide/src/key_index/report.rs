//! Rows for reports: 10, 8, 9, 9a, 11, 13.

use super::{Decision, Reply, Report, Row, answer};
use crate::alarm::AlarmKind;
use crate::identity::{Grant, GrantState, IdentityState, Moment};
use std::cmp::Ordering;

pub(super) fn decide(before: &IdentityState, report: &Report) -> Decision {
    if let Some(kept) = before.reports.iter().find(|kept| kept.digest == report.digest) {
        return Decision::new(Row::R10, before.clone(), Reply::Repeat(kept.receipt.clone()));
    }
    let state = before.clone();
    match report.place.cmp(&state.place) {
        Ordering::Less => below(state, report),
        Ordering::Equal => at_place(state, report),
        Ordering::Greater => Decision::new(Row::R13, state, Reply::Receipt),
    }
}

fn at_place(mut state: IdentityState, report: &Report) -> Decision {
    if report.moment == Moment::Failed {
        mark(&mut state, report, GrantState::Failed);
        return Decision::new(Row::R8, state, Reply::Receipt);
    }
    match state.grant(report.place, report.grant).cloned() {
        // Open, replaced or reported failed before: the device's word is the truth.
        Some(grant) if grant.confirm.moment() == report.moment => {
            answer::advance(&mut state, &grant, report.digest);
            Decision::new(Row::R9, state, Reply::Receipt)
        }
        Some(grant) => {
            if grant.state == GrantState::Open && report.moment == Moment::Decrypted {
                mark(&mut state, report, GrantState::Decrypted);
            }
            Decision::new(Row::R9a, state, Reply::Receipt)
        }
        None if report.moment == Moment::Installed => Decision::new(Row::R13, state, Reply::Receipt),
        None => Decision::new(Row::R9a, state, Reply::Receipt),
    }
}

fn below(mut state: IdentityState, report: &Report) -> Decision {
    if report.moment == Moment::Failed {
        mark(&mut state, report, GrantState::Failed);
    }
    let confirmed = state.confirmed.get(&report.place);
    let confirming = state
        .grant(report.place, report.grant)
        .map(|grant| grant.confirm)
        .or_else(|| confirmed.map(|kept| kept.confirm))
        .is_some_and(|confirm| confirm.moment() == report.moment);
    // The report of an advance by row 12 has the kept digest: it is the first, not a second one.
    let second = confirmed.is_some_and(|kept| kept.report != report.digest);
    if !(confirming && second) {
        return Decision::new(Row::R9a, state, Reply::Receipt);
    }
    let cause = format!(
        "a second device confirmed an update at epoch {}, index {}, which another report had moved",
        report.place.epoch, report.place.index
    );
    Decision::new(Row::R11, state, Reply::Receipt).with_alarm(AlarmKind::Clone, cause)
}

fn mark(state: &mut IdentityState, report: &Report, to: GrantState) {
    let named = |grant: &&mut Grant| (grant.place, grant.number) == (report.place, report.grant);
    if let Some(grant) = state.grants.iter_mut().find(named) {
        grant.state = to;
    }
}
