//! Rows for requests: 18; at s 15, 3, 17, 5, 6, 7, 4; elsewhere 12, 13, 14.

use super::{
    BUSY_DELAY_S, CLOCK_AHEAD_S_MAX, CLOCK_DELAY_S, Context, Decision, NewGrant, PROVE_LIFETIME_S, Reply,
    Request, Row, Verdict, report,
};
use crate::alarm::AlarmKind;
use crate::fork::fork_after;
use crate::identity::{
    Confirm, Confirmed, Digest, Grant, GrantState, IdentityState, Moment, PROVES_MAX, Place, Prove, ProveRow,
};
use crate::refusal::Refusal;
use std::cmp::Ordering;

pub(super) fn decide(before: &IdentityState, request: &Request, context: &Context) -> Decision {
    let mut state = before.clone();
    let proved = take_proof(&mut state, request, context.now);
    if let Some(proof) = &proved
        && betrays_old_state(proof, request)
    {
        return row_18(state, request, context);
    }
    let proved = proved.is_some();
    match request.place.cmp(&state.place) {
        Ordering::Less => challenge(state, Row::R14, ProveRow::R14, request, context),
        Ordering::Equal => at_place(state, request, context, proved),
        Ordering::Greater => ahead(state, request, context, proved),
    }
}

/// Takes out the "prove" that this request answers: good once, for its time, under its key.
fn take_proof(state: &mut IdentityState, request: &Request, now: u64) -> Option<Prove> {
    let echo = request.echo.as_deref()?;
    let answered = |out: &Prove| out.token == echo && out.place == request.place && now <= out.expires;
    let position = state.proves.iter().position(answered)?;
    Some(state.proves.remove(position))
}

/// Row 18: who proves to hold a key below s, or never to have counted as far as the identity did, is not the device.
fn betrays_old_state(proof: &Prove, request: &Request) -> bool {
    match proof.row {
        ProveRow::R14 => true,
        ProveRow::R3 => proof.counter_highest.is_some_and(|highest| request.counter <= highest),
        ProveRow::R13 => false,
    }
}

fn row_18(state: IdentityState, request: &Request, context: &Context) -> Decision {
    let permitted = state.permits.forward.is_some_and(|permit| context.now <= permit.until);
    let shared = state.epochs_shared.range(request.place.epoch.saturating_add(1)..=state.place.epoch);
    let within_reach = shared.count() == 0;
    if permitted && within_reach {
        return if state.is_blocked(context.now) {
            refuse(Row::R18, state, Refusal::Blocked)
        } else {
            forward(state, request)
        };
    }
    let hindrance =
        if permitted { "; no leave carries it over an epoch that was made with shares" } else { "" };
    let cause = format!(
        "a device proved that it holds the key of {} with counter {}, but the server stands at {} with counter \
         {}{hindrance}",
        shown(request.place),
        request.counter,
        shown(state.place),
        state.counter_highest.unwrap_or(0),
    );
    refuse(Row::R18, state, Refusal::IdentityInDoubt).with_alarm(AlarmKind::CloneOrRolledBack, cause)
}

/// Tells the device where to go on, and takes its counter.
///
/// Requests that it sent before it lost its state count higher, so they could be replayed: up to the highest counter
/// of then, a request has to be proved. The open grant is closed, since the device does not hold it any more and
/// refuses its number.
fn forward(mut state: IdentityState, request: &Request) -> Decision {
    close(&mut state, |_| true);
    state.counter_doubtful = state.counter_doubtful.max(state.counter_highest);
    state.counter_highest = Some(request.counter);
    state.last = None;
    if let Some(permit) = &mut state.permits.forward {
        permit.used = true;
    }
    let verdict = Verdict::Forward { place: state.place, fork: state.fork, grant: state.grant_highest };
    Decision::new(Row::R18, state, Reply::Verdict(verdict))
}

fn at_place(mut state: IdentityState, request: &Request, context: &Context, proved: bool) -> Decision {
    if request.fork != state.fork {
        return other_head(state, request, context, proved);
    }
    if state.counter_highest.is_some_and(|highest| request.counter <= highest) {
        return row_3(state, request, context);
    }
    if !proved && is_doubtful(&state, request, context) {
        return challenge(state, Row::R3, ProveRow::R3, request, context);
    }
    heard(&mut state, context);
    state.counter_highest = Some(request.counter);
    accepted(state, request, context, proved)
}

/// Tells whether even a counter above the highest may be a replay: after a restore of the store or of the device.
fn is_doubtful(state: &IdentityState, request: &Request, context: &Context) -> bool {
    state.is_stale(context.restores) || state.counter_doubtful.is_some_and(|known| request.counter <= known)
}

/// Ends staleness: the device was freshly proved to stand at s. What was granted there before is not known.
fn heard(state: &mut IdentityState, context: &Context) {
    if state.is_stale(context.restores) {
        state.restores = context.restores;
        state.unknown_at = Some(state.place);
        pass_lost_numbers(state, context);
    }
    state.fork_unsure = false;
}

/// Passes the numbers of grants that a restore has lost: the device may keep one, and takes none that is not above it.
/// Numbers follow the clock.
fn pass_lost_numbers(state: &mut IdentityState, context: &Context) {
    state.grant_highest = state.grant_highest.max(context.now);
}

/// At s with another fork head: row 15, but for a head that is not sure, and where an operator lets a device go on.
fn other_head(state: IdentityState, request: &Request, context: &Context, proved: bool) -> Decision {
    if state.fork_unsure {
        // It was moved over a report of which only the device knows whether it was the confirming one.
        return row_13(state, request, context, proved);
    }
    if state.permits.forward.is_some_and(|permit| context.now <= permit.until) {
        // It lost its state after a confirm and confirmed again: the echo goes to row 18, and takes the head from there.
        return challenge(state, Row::R15, ProveRow::R14, request, context);
    }
    row_15(state, request)
}

fn row_15(state: IdentityState, request: &Request) -> Decision {
    let cause =
        format!("a request at {} carries a fork head that is not this identity's", shown(request.place));
    refuse(Row::R15, state, Refusal::IdentityInDoubt).with_alarm(AlarmKind::Clone, cause)
}

fn row_3(state: IdentityState, request: &Request, context: &Context) -> Decision {
    match &state.last {
        Some(last) if last.request == request.digest => {
            let reply = Reply::Repeat(last.answer.clone());
            Decision::new(Row::R3, state, reply)
        }
        _ => challenge(state, Row::R3, ProveRow::R3, request, context),
    }
}

/// Rows 17, 5, 6, 7 and 4: the request is fresh and comes from the right place; its answer is kept.
fn accepted(mut state: IdentityState, request: &Request, context: &Context, proved: bool) -> Decision {
    if state.permits.forward.is_some_and(|permit| permit.used) {
        state.permits.forward = None;
    }
    let mut decision = if state.is_blocked(context.now) {
        let row = request.go.map_or(Row::R4, |_| Row::R17);
        refuse(row, state, Refusal::Blocked)
    } else if let Some(number) = request.go {
        row_17(state, number, context)
    } else if let Some(open) = state.open_grant().cloned() {
        rows_5_and_6(state, &open, request, context)
    } else if let Some((place, confirmed)) = state.confirmed_manifest(&request.manifest) {
        let confirmed = confirmed.clone();
        row_7(state, place, &confirmed, request, context, proved)
    } else {
        grant(Row::R4, state, request, context)
    };
    decision.keep = Some(request.digest);
    decision
}

fn row_17(mut state: IdentityState, number: u64, context: &Context) -> Decision {
    let stands =
        |open: &Grant| open.number == number && context.now <= open.not_after && !context.open.cancelled;
    if state.open_grant().is_some_and(stands) {
        return Decision::new(Row::R17, state, Reply::Verdict(Verdict::Go { grant: number }));
    }
    close(&mut state, |grant| grant.number == number);
    Decision::new(Row::R17, state, Reply::Verdict(Verdict::Stop { grant: number }))
}

/// Tells whether an open grant of the asked manifest can still be used, for another selector or other keys.
pub(super) fn is_good_otherwise(open: &Grant, request: &Request, context: &Context) -> bool {
    let same_question = open.selector == request.selector && open.keys == request.keys;
    open.manifest == request.manifest && !same_question && is_usable(open, context)
}

/// Tells whether the open grant still opens what is there.
fn is_usable(open: &Grant, context: &Context) -> bool {
    let open_now = context.now <= open.not_after && !context.open.ended_there;
    context.open.bytes_present && !context.open.cancelled && open_now
}

pub(super) fn rows_5_and_6(
    state: IdentityState,
    open: &Grant,
    request: &Request,
    context: &Context,
) -> Decision {
    let expired = context.now > open.not_after;
    let same_manifest = open.manifest == request.manifest;
    let same_question = same_manifest && open.selector == request.selector && open.keys == request.keys;
    if same_question && is_usable(open, context) {
        let reply = Reply::HeldGrant { place: open.place, number: open.number };
        return Decision::new(Row::R5, state, reply);
    }
    if same_manifest || expired || context.open.cancelled || context.open.outranked {
        return grant(Row::R6, state, request, context);
    }
    let busy = Reply::Verdict(Verdict::Later { delay_s: BUSY_DELAY_S });
    Decision::new(Row::R6, state, busy)
}

fn row_7(
    state: IdentityState,
    place: Place,
    confirmed: &Confirmed,
    request: &Request,
    context: &Context,
    proved: bool,
) -> Decision {
    if confirmed.installed.is_empty() {
        // The grant was lost with a restored store, so resolution has to say whether this is what the device runs.
        return grant(Row::R7, state, request, context);
    }
    if confirmed.installed.iter().all(|image| request.running.contains(image)) {
        return Decision::new(Row::R7, state, Reply::Verdict(Verdict::Nothing));
    }
    if state.permits.reissue.contains(&request.manifest) {
        return grant(Row::R7, state, request, context).leading(|new| new.reissued = true);
    }
    let failed = state.reported(place, confirmed.grant, Moment::Failed);
    let installed =
        confirmed.confirm != Confirm::Decrypted || state.reported(place, confirmed.grant, Moment::Installed);
    // A device that lost the grant can't take it once it expired; one that holds it has no need to ask.
    let usable = |grant: &Grant| context.now <= grant.not_after;
    if !failed && !installed && state.grant(place, confirmed.grant).is_some_and(usable) {
        return Decision::new(Row::R7, state, Reply::HeldGrant { place, number: confirmed.grant });
    }
    if (failed || !installed) && confirmed.given_again < context.given_again_max {
        return grant(Row::R7, state, request, context).leading(|new| new.again = Some(place));
    }
    // The *installed* report of a place that *decrypted* had left may have overtaken this request.
    let overtaken = !failed && confirmed.confirm == Confirm::Decrypted && confirmed.leads_to == state.place;
    if overtaken && !proved {
        return challenge(state, Row::R7, ProveRow::R3, request, context);
    }
    let cause =
        format!("it asks again for an update that it confirmed at {}, and does not run it", shown(place));
    refuse(Row::R7, state, Refusal::AlreadySent).with_alarm(AlarmKind::RepeatedRequest, cause)
}

/// A new grant at s. The last place of a chain is left by re-seeding alone; others are where the policy wants it.
pub(super) fn grant(row: Row, state: IdentityState, request: &Request, context: &Context) -> Decision {
    let within = |next: &Place| next.index < context.chain_length;
    let next = state.place.successor().filter(within);
    let reseed = next.is_none() || context.reseed_wanted;
    let leads_to = if reseed { state.place.reseeded() } else { next };
    let Some(leads_to) = leads_to else {
        return refuse(row, state, Refusal::ChainEnd);
    };
    let judged_at = request.clock.unwrap_or(0).max(context.now);
    if judged_at - context.now > CLOCK_AHEAD_S_MAX {
        return clocks_apart(row, state, judged_at - context.now);
    }
    let new = NewGrant {
        number: context.now.max(state.grant_highest.saturating_add(1)),
        place: state.place,
        leads_to,
        reseed,
        device_share: request.device_share.clone().filter(|_| reseed),
        judged_at,
        manifest: request.manifest,
        selector: request.selector,
        keys: request.keys,
        again: None,
        reissued: false,
    };
    Decision::new(row, state, Reply::NewGrant(new))
}

/// Nothing that ends by this server's clock can be used by that of the device.
fn clocks_apart(row: Row, state: IdentityState, ahead_s: u64) -> Decision {
    let days = ahead_s / 86_400;
    let cause = format!(
        "its clock is {days} days ahead of this server's, and it is put off until they are less than \
         {} days apart",
        CLOCK_AHEAD_S_MAX / 86_400
    );
    let later = Reply::Verdict(Verdict::Later { delay_s: CLOCK_DELAY_S });
    Decision::new(row, state, later).with_alarm(AlarmKind::ClocksApart, cause)
}

/// Rows 12 and 13: beyond s.
fn ahead(state: IdentityState, request: &Request, context: &Context, proved: bool) -> Decision {
    let led_here = request.unconfirmed.and_then(|unconfirmed| {
        let grant = state.grant(state.place, unconfirmed.grant)?;
        (grant.leads_to == request.place).then(|| (grant.clone(), unconfirmed.report))
    });
    match led_here {
        Some((_, report)) if fork_after(state.fork, &report) != request.fork => row_15(state, request),
        Some((grant, report)) if proved || !state.is_stale(context.restores) => {
            row_12(state, &grant, report, request, context, proved)
        }
        _ => row_13(state, request, context, proved),
    }
}

/// Row 12: the confirming report was lost on its way; the fork head proves that it exists.
fn row_12(
    mut state: IdentityState,
    grant: &Grant,
    report: Digest,
    request: &Request,
    context: &Context,
    proved: bool,
) -> Decision {
    super::answer::advance(&mut state, grant, report);
    heard(&mut state, context);
    state.counter_highest = state.counter_highest.max(Some(request.counter));
    let decision = accepted(state, request, context, proved);
    Decision { row: Row::R12, ..decision }
}

/// Row 13: the server is behind. What a device proves is believed only by an operator's leave.
fn row_13(mut state: IdentityState, request: &Request, context: &Context, proved: bool) -> Decision {
    if !proved {
        return challenge(state, Row::R13, ProveRow::R13, request, context);
    }
    let now = context.now;
    let alone = state.permits.resync_until.take_if(|until| now <= *until).is_some();
    if alone || context.resync_all_until.is_some_and(|until| now <= until) {
        let at_place = request.place == state.place;
        let decision = resync(state, request, context);
        if !at_place || decision.alarm.is_some() {
            return decision;
        }
        // Of two devices that both confirmed the lost grant, the second one would be believed unseen.
        let cause = format!(
            "at {} a resync believed another fork head than the one that a report gave after a restore",
            shown(request.place)
        );
        return decision.with_alarm(AlarmKind::AheadOfServer, cause);
    }
    let cause = format!(
        "a device proved to stand at {}, where the server has never seen it; it waits for a resync",
        shown(request.place)
    );
    refuse(Row::R13, state, Refusal::AheadOfServer).with_alarm(AlarmKind::AheadOfServer, cause)
}

/// Takes the proved place, fork head and counter; then what was kept of the reports goes through the table.
fn resync(mut state: IdentityState, request: &Request, context: &Context) -> Decision {
    state.grants.clear();
    (state.place, state.fork) = (request.place, request.fork);
    (state.counter_highest, state.counter_doubtful) = (Some(request.counter), None);
    (state.last, state.fork_unsure) = (None, false);
    (state.restores, state.unknown_at) = (context.restores, Some(request.place));
    pass_lost_numbers(&mut state, context);
    let alarm = report::run_kept(&mut state, context);
    let decision = if state.place == request.place {
        accepted(state, request, context, true)
    } else {
        challenge(state, Row::R13, ProveRow::R14, request, context)
    };
    Decision { row: Row::R13, alarm: alarm.or(decision.alarm.clone()), ..decision }
}

/// Answers "prove"; "later" when too many are out, which is the rate limit.
fn challenge(
    mut state: IdentityState,
    row: Row,
    issuer: ProveRow,
    request: &Request,
    context: &Context,
) -> Decision {
    // One that ends later than a new one would is of before the clock was set back.
    let latest = context.now.saturating_add(PROVE_LIFETIME_S);
    state.proves.retain(|out| (context.now..=latest).contains(&out.expires));
    if state.proves.len() >= PROVES_MAX {
        let later = Reply::Verdict(Verdict::Later { delay_s: PROVE_WAIT_S });
        return Decision::new(row, state, later);
    }
    state.proves.push(Prove {
        token: context.token,
        row: issuer,
        place: request.place,
        counter_highest: state.counter_highest,
        expires: context.now.saturating_add(PROVE_LIFETIME_S),
    });
    Decision::new(row, state, Reply::Verdict(Verdict::Prove(context.token)))
}

fn close(state: &mut IdentityState, which: impl Fn(&Grant) -> bool) {
    for grant in state.grants.iter_mut().filter(|grant| grant.is_open() && which(grant)) {
        grant.state = GrantState::Closed;
    }
}

fn refuse(row: Row, state: IdentityState, refusal: Refusal) -> Decision {
    Decision::new(row, state, Reply::Verdict(Verdict::Refused(refusal)))
}

fn shown(place: Place) -> String {
    format!("epoch {}, index {}", place.epoch, place.index)
}

impl Decision {
    /// Changes what the new grant stands on, if the decision is one.
    fn leading(mut self, change: impl FnOnce(&mut NewGrant)) -> Self {
        if let Reply::NewGrant(new) = &mut self.reply {
            change(new);
        }
        self
    }
}

/// Wait when too many "prove" verdicts are out: by then they have expired.
const PROVE_WAIT_S: u32 = 60;
