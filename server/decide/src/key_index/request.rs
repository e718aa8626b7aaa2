//! Rows for requests: 18; at s 15, 3, 17, 5, 6, 7, 4; elsewhere 12, 13, 14.

use super::{BUSY_DELAY_S, Context, Decision, NewGrant, PROVE_LIFETIME_S, Reply, Request, Row, Verdict};
use crate::alarm::AlarmKind;
use crate::fork::fork_after;
use crate::identity::{
    Confirm, Confirmed, Digest, Grant, IdentityState, Moment, PROVES_MAX, Place, Prove, ProveRow,
};
use crate::refusal::Refusal;
use std::cmp::Ordering;

pub(super) fn decide(before: &IdentityState, request: &Request, context: &Context) -> Decision {
    let mut state = before.clone();
    let proved = take_proof(&mut state, request, context.now);
    if let Some(proof) = &proved
        && betrays_old_state(proof, request)
    {
        return row_18(state, request);
    }
    match request.place.cmp(&state.place) {
        Ordering::Less => challenge(state, Row::R14, ProveRow::R14, request, context),
        Ordering::Equal => at_place(state, request, context),
        Ordering::Greater => ahead(state, request, context, proved.as_ref()),
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

fn row_18(state: IdentityState, request: &Request) -> Decision {
    let cause = format!(
        "a device proved that it holds the key of {} with counter {}, but the server stands at {} with counter {}",
        shown(request.place),
        request.counter,
        shown(state.place),
        state.counter_highest.unwrap_or(0),
    );
    refuse(Row::R18, state, Refusal::IdentityInDoubt).with_alarm(AlarmKind::CloneOrRolledBack, cause)
}

fn at_place(mut state: IdentityState, request: &Request, context: &Context) -> Decision {
    if request.fork != state.fork {
        return row_15(state, request);
    }
    if state.counter_highest.is_some_and(|highest| request.counter <= highest) {
        return row_3(state, request, context);
    }
    state.counter_highest = Some(request.counter);
    accepted(state, request, context)
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
fn accepted(state: IdentityState, request: &Request, context: &Context) -> Decision {
    let mut decision = if request.go.is_some() {
        refuse(Row::R17, state, Refusal::NoLeaveNeeded)
    } else if let Some(open) = state.open_grant().cloned() {
        rows_5_and_6(state, &open, request, context)
    } else if let Some((place, confirmed)) = state.confirmed_manifest(&request.manifest) {
        let confirmed = confirmed.clone();
        row_7(state, place, &confirmed, request, context)
    } else {
        grant(Row::R4, state, request, context, None)
    };
    decision.keep = Some(request.digest);
    decision
}

fn rows_5_and_6(state: IdentityState, open: &Grant, request: &Request, context: &Context) -> Decision {
    let expired = context.now > open.not_after;
    let same_manifest = open.manifest == request.manifest;
    let same_question = same_manifest && open.selector == request.selector && open.keys == request.keys;
    let usable = context.open.bytes_present && !context.open.cancelled && !expired;
    if same_question && usable {
        let reply = Reply::HeldGrant { place: open.place, number: open.number };
        return Decision::new(Row::R5, state, reply);
    }
    if same_manifest || expired || context.open.cancelled || context.open.outranked {
        return grant(Row::R6, state, request, context, None);
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
) -> Decision {
    if confirmed.installed.iter().all(|image| request.running.contains(image)) {
        return Decision::new(Row::R7, state, Reply::Verdict(Verdict::Nothing));
    }
    let failed = state.reported(place, confirmed.grant, Moment::Failed);
    let installed =
        confirmed.confirm != Confirm::Decrypted || state.reported(place, confirmed.grant, Moment::Installed);
    if !failed && !installed && state.grant(place, confirmed.grant).is_some() {
        return Decision::new(Row::R7, state, Reply::HeldGrant { place, number: confirmed.grant });
    }
    if failed && confirmed.given_again < context.given_again_max {
        return grant(Row::R7, state, request, context, Some(place));
    }
    let cause =
        format!("it asks again for an update that it confirmed at {}, and does not run it", shown(place));
    refuse(Row::R7, state, Refusal::AlreadySent).with_alarm(AlarmKind::RepeatedRequest, cause)
}

fn grant(
    row: Row,
    state: IdentityState,
    request: &Request,
    context: &Context,
    again: Option<Place>,
) -> Decision {
    // The last place can only be left by re-seeding, which no grant of this server offers yet.
    let within = |next: &Place| next.index < context.chain_length;
    let Some(leads_to) = state.place.successor().filter(within) else {
        return refuse(row, state, Refusal::ChainEnd);
    };
    let new = NewGrant {
        number: context.now.max(state.grant_highest.saturating_add(1)),
        place: state.place,
        leads_to,
        manifest: request.manifest,
        selector: request.selector,
        keys: request.keys,
        again,
        reseed: false,
        device_share: None,
        reissued: false,
    };
    Decision::new(row, state, Reply::NewGrant(new))
}

/// Rows 12 and 13: beyond s.
fn ahead(state: IdentityState, request: &Request, context: &Context, proof: Option<&Prove>) -> Decision {
    let led_here = request.unconfirmed.and_then(|unconfirmed| {
        let grant = state.grant(state.place, unconfirmed.grant)?;
        (grant.leads_to == request.place).then(|| (grant.clone(), unconfirmed.report))
    });
    match led_here {
        Some((_, report)) if fork_after(state.fork, &report) != request.fork => row_15(state, request),
        Some((grant, report)) => row_12(state, &grant, report, request, context),
        None if proof.is_some() => refuse(Row::R13, state, Refusal::AheadOfServer),
        None => challenge(state, Row::R13, ProveRow::R13, request, context),
    }
}

/// Row 12: the confirming report was lost on its way; the fork head proves that it exists.
fn row_12(
    mut state: IdentityState,
    grant: &Grant,
    report: Digest,
    request: &Request,
    context: &Context,
) -> Decision {
    super::answer::advance(&mut state, grant, report);
    state.counter_highest = state.counter_highest.max(Some(request.counter));
    let decision = accepted(state, request, context);
    Decision { row: Row::R12, ..decision }
}

/// Answers "prove"; "later" when too many are out, which is the rate limit.
fn challenge(
    mut state: IdentityState,
    row: Row,
    issuer: ProveRow,
    request: &Request,
    context: &Context,
) -> Decision {
    state.proves.retain(|out| context.now <= out.expires);
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

fn refuse(row: Row, state: IdentityState, refusal: Refusal) -> Decision {
    Decision::new(row, state, Reply::Verdict(Verdict::Refused(refusal)))
}

fn shown(place: Place) -> String {
    format!("epoch {}, index {}", place.epoch, place.index)
}

/// Wait when too many "prove" verdicts are out: by then they have expired.
const PROVE_WAIT_S: u32 = 60;
