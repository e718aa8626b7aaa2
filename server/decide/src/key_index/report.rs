//! Rows for reports: 10, 8, 9, 9a, 11, 13.

use super::{Context, Decision, Reply, Report, Row, answer};
use crate::alarm::{Alarm, AlarmKind};
use crate::identity::{Grant, GrantState, IdentityState, KeptReport, Moment, Place};
use std::cmp::Ordering;

pub(super) fn decide(before: &IdentityState, report: &Report, context: &Context) -> Decision {
    if let Some(kept) = before.reports.iter().find(|kept| kept.digest == report.digest) {
        return Decision::new(Row::R10, before.clone(), Reply::Repeat(kept.receipt.clone()));
    }
    let mut state = before.clone();
    let (row, alarm) = apply(&mut state, report, context);
    let mut decision = Decision::new(row, state, Reply::Receipt);
    decision.alarm = alarm;
    decision
}

/// Runs the reports that were ahead of the server through the table, after a resync. Those still ahead wait on.
pub(super) fn run_kept(state: &mut IdentityState, context: &Context) -> Option<Alarm> {
    let mut waiting: Vec<Report> = state.reports.iter().filter_map(waiting).collect();
    // A device's reports come in any order, but it made them place by place.
    waiting.sort_by_key(|report| report.place);
    let mut alarm = None;
    for report in waiting {
        let (row, raised) = apply(state, &report, context);
        alarm = alarm.or(raised);
        if row != Row::R13 {
            for kept in state.reports.iter_mut().filter(|kept| kept.digest == report.digest) {
                kept.ahead = None;
            }
        }
    }
    alarm
}

fn waiting(kept: &KeptReport) -> Option<Report> {
    let manifest = kept.ahead?;
    let KeptReport { place, grant, moment, digest, .. } = *kept;
    Some(Report { place, grant, moment, digest, manifest })
}

/// Applies a report that is not known yet: the row that fits, and what to raise.
fn apply(state: &mut IdentityState, report: &Report, context: &Context) -> (Row, Option<Alarm>) {
    match report.place.cmp(&state.place) {
        Ordering::Less => below(state, report),
        Ordering::Equal => (at_place(state, report, context), None),
        Ordering::Greater => (Row::R13, None),
    }
}

fn at_place(state: &mut IdentityState, report: &Report, context: &Context) -> Row {
    if report.moment == Moment::Failed {
        mark(state, report, GrantState::Failed);
        return Row::R8;
    }
    match state.grant(report.place, report.grant).cloned() {
        // Open, replaced or reported failed before: the device's word is the truth.
        Some(grant) if grant.confirm.moment() == report.moment => {
            answer::advance(state, &grant, report.digest);
            Row::R9
        }
        Some(grant) => {
            if grant.state == GrantState::Open && report.moment == Moment::Decrypted {
                mark(state, report, GrantState::Decrypted);
            }
            Row::R9a
        }
        None if report.moment == Moment::Decrypted => Row::R9a,
        None => unknown_grant(state, report, context),
    }
}

/// Rows 9 and 13: it confirms a grant that is not known. Lost with a restored store, or never given?
fn unknown_grant(state: &mut IdentityState, report: &Report, context: &Context) -> Row {
    let lost = state.is_stale(context.restores) || state.unknown_at == Some(state.place);
    let plausible = (1..=context.now.saturating_add(NUMBER_AHEAD_S_MAX)).contains(&report.grant);
    match next_place(state.place, context.chain_length) {
        Some(leads_to) if lost && plausible => {
            answer::advance_unknown(state, report, leads_to);
            Row::R9
        }
        _ => Row::R13,
    }
}

/// Where a grant that is not known leads: on, but from the last place of the chain to the next epoch.
fn next_place(place: Place, chain_length: u16) -> Option<Place> {
    let next = place.successor().filter(|next| next.index < chain_length);
    next.or_else(|| place.reseeded())
}

fn below(state: &mut IdentityState, report: &Report) -> (Row, Option<Alarm>) {
    if report.moment == Moment::Failed {
        mark(state, report, GrantState::Failed);
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
        return (Row::R9a, None);
    }
    let cause = format!(
        "a second device confirmed an update at epoch {}, index {}, which another report had moved",
        report.place.epoch, report.place.index
    );
    (Row::R11, Some(Alarm { kind: AlarmKind::Clone, cause }))
}

fn mark(state: &mut IdentityState, report: &Report, to: GrantState) {
    let named = |grant: &&mut Grant| (grant.place, grant.number) == (report.place, report.grant);
    if let Some(grant) = state.grants.iter_mut().find(named) {
        grant.state = to;
    }
}

/// How far the number of a lost grant may lie beyond this second. Numbers are seconds unless the clock went back, so
/// a year forgives a clock that was wrong by as much; beyond it the numbers that are left would be used up.
const NUMBER_AHEAD_S_MAX: u64 = 365 * 86_400;
