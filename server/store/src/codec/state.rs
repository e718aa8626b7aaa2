//! [`IdentityState`] as CBOR, version 2; version 1 is read too.
//!
//! ```text
//! State = [ version: 2, Place, fork: bstr .size 8, counter: uint / nil, last: [ request, answer: bstr ] / nil,
//!           grant-highest: uint, [ * Grant ], [ * Confirmed ], [ * Report ], [ * Prove ],
//!           restores: uint, unknown-at: Place / nil, fork-unsure: bool, doubtful: uint / nil, seed-oldest: uint,
//!           [ * epoch-shared: uint ], resync-until: uint / nil, [ * reissue: digest ],
//!           forward: [ until: uint, used: bool ] / nil, blocked-until: uint / nil ]
//! Place = [ epoch: uint, index: uint ]
//! Grant = [ number: uint, Place, leads-to: Place, manifest, selector, [ * [ component: uint, content, installed ] ],
//!           keys: digest / nil, not-after: uint, confirm: 1..3, message: bstr, state: 0..4,
//!           reseed: [] / [ server: bstr, device: bstr ] / nil, go: bool ]
//! Confirmed = [ Place, grant: uint, confirm: 1..3, report, manifest, [ * [ component: uint, installed ] ], again: uint,
//!               leads-to: Place ]
//! Report = [ digest, Place, grant: uint, moment: 1..3, receipt: bstr, ahead: digest / nil ]
//! Prove = [ token: bstr .size 16, row: 3 / 13 / 14, Place, counter: uint / nil, expires: uint ]
//! ```
//! The revision is not in it: the row's own column has it, since compare-and-set reads it. Version 1 ends each of them
//! before what version 2 appended: no restore, resync, re-seeding, permit or block had happened then.

use bellwether_decide::identity::{
    Confirm, Confirmed, Content, ForwardPermit, Grant, GrantState, IdentityState, KeptReport, LastAnswer,
    Moment, Permits, Place, Prove, ProveRow, Reseed, Shares,
};
use minicbor::{Decoder, Encoder};

use super::CodecError;

/// Writes a state, without its revision.
#[must_use]
pub fn encode(state: &IdentityState) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into a vector has no way to fail, so there is nothing to hand on.
    let written = write_state(&mut Encoder::new(&mut bytes), state);
    debug_assert!(written.is_ok());
    bytes
}

/// Reads a state and gives it the revision of its row.
///
/// # Errors
///
/// [`CodecError::Version`] for bytes of a later program, other variants for damaged ones.
pub fn decode(bytes: &[u8], revision: u64) -> Result<IdentityState, CodecError> {
    let d = &mut Decoder::new(bytes);
    let items = d.array()?;
    let form = match d.u64()? {
        1 => Form::V1,
        VERSION => Form::V2,
        other => return Err(CodecError::Version(other)),
    };
    if items != Some(form.items(STATE_ITEMS)) {
        return Err(CodecError::Malformed("number of items in a state"));
    }
    let state = read_state(d, form, revision)?;
    if d.position() != bytes.len() {
        return Err(CodecError::Malformed("bytes after a state"));
    }
    Ok(state)
}

/// Which version is being read.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    V1,
    V2,
}

/// Items of an array: in version 1, and what version 2 appended.
#[derive(Clone, Copy)]
struct Items {
    v1: u64,
    appended: u64,
}

impl Form {
    fn items(self, items: Items) -> u64 {
        match self {
            Self::V1 => items.v1,
            Self::V2 => items.v1 + items.appended,
        }
    }
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;
type Out<'a> = Encoder<&'a mut Vec<u8>>;
type Read<T> = Result<T, CodecError>;

fn write_state(e: &mut Out<'_>, state: &IdentityState) -> Written {
    e.array(Form::V2.items(STATE_ITEMS))?.u64(VERSION)?;
    write_place(e, state.place)?;
    e.bytes(&state.fork)?;
    write_optional(e, state.counter_highest)?;
    match &state.last {
        Some(last) => e.array(2)?.bytes(&last.request)?.bytes(&last.answer)?,
        None => e.null()?,
    };
    e.u64(state.grant_highest)?;
    write_each(e, &state.grants, write_grant)?;
    e.array(state.confirmed.len() as u64)?;
    for (place, confirmed) in &state.confirmed {
        write_confirmed(e, *place, confirmed)?;
    }
    write_each(e, &state.reports, write_report)?;
    write_each(e, &state.proves, write_prove)?;
    write_appended(e, state)
}

fn write_appended(e: &mut Out<'_>, state: &IdentityState) -> Written {
    e.u64(state.restores)?;
    match state.unknown_at {
        Some(place) => write_place(e, place)?,
        None => e.null().map(drop)?,
    }
    e.bool(state.fork_unsure)?;
    write_optional(e, state.counter_doubtful)?;
    e.u16(state.seed_oldest)?.array(state.epochs_shared.len() as u64)?;
    for epoch in &state.epochs_shared {
        e.u16(*epoch)?;
    }
    write_optional(e, state.permits.resync_until)?;
    write_each(e, &state.permits.reissue, |e, digest| e.bytes(digest).map(drop))?;
    match state.permits.forward {
        Some(permit) => e.array(2)?.u64(permit.until)?.bool(permit.used)?,
        None => e.null()?,
    };
    write_optional(e, state.blocked_until)
}

fn write_each<T>(e: &mut Out<'_>, items: &[T], write: fn(&mut Out<'_>, &T) -> Written) -> Written {
    e.array(items.len() as u64)?;
    items.iter().try_for_each(|item| write(e, item))
}

fn write_place(e: &mut Out<'_>, place: Place) -> Written {
    e.array(2)?.u16(place.epoch)?.u16(place.index)?;
    Ok(())
}

fn write_optional(e: &mut Out<'_>, value: Option<u64>) -> Written {
    match value {
        Some(value) => e.u64(value)?,
        None => e.null()?,
    };
    Ok(())
}

fn write_grant(e: &mut Out<'_>, grant: &Grant) -> Written {
    e.array(Form::V2.items(GRANT_ITEMS))?.u64(grant.number)?;
    write_place(e, grant.place)?;
    write_place(e, grant.leads_to)?;
    e.bytes(&grant.manifest)?.bytes(&grant.selector)?;
    write_each(e, &grant.contents, |e, content| {
        e.array(3)?.u64(content.component)?.bytes(&content.content)?.bytes(&content.installed)?;
        Ok(())
    })?;
    write_digest(e, grant.keys.as_ref())?;
    e.u64(grant.not_after)?
        .u8(grant.confirm.number())?
        .bytes(&grant.message)?
        .u8(grant_state_number(grant.state))?;
    match &grant.reseed {
        Some(Reseed { shares: Some(shares) }) => e.array(2)?.bytes(&shares.server)?.bytes(&shares.device)?,
        Some(Reseed { shares: None }) => e.array(0)?,
        None => e.null()?,
    };
    e.bool(grant.go)?;
    Ok(())
}

fn write_digest(e: &mut Out<'_>, digest: Option<&[u8; 32]>) -> Written {
    match digest {
        Some(digest) => e.bytes(digest)?,
        None => e.null()?,
    };
    Ok(())
}

fn write_confirmed(e: &mut Out<'_>, place: Place, confirmed: &Confirmed) -> Written {
    e.array(Form::V2.items(CONFIRMED_ITEMS))?;
    write_place(e, place)?;
    e.u64(confirmed.grant)?
        .u8(confirmed.confirm.number())?
        .bytes(&confirmed.report)?
        .bytes(&confirmed.manifest)?;
    write_each(e, &confirmed.installed, |e, (component, digest)| {
        e.array(2)?.u64(*component)?.bytes(digest)?;
        Ok(())
    })?;
    e.u32(confirmed.given_again)?;
    write_place(e, confirmed.leads_to)
}

fn write_report(e: &mut Out<'_>, report: &KeptReport) -> Written {
    e.array(Form::V2.items(REPORT_ITEMS))?.bytes(&report.digest)?;
    write_place(e, report.place)?;
    e.u64(report.grant)?.u8(report.moment.number())?.bytes(&report.receipt)?;
    write_digest(e, report.ahead.as_ref())
}

fn write_prove(e: &mut Out<'_>, prove: &Prove) -> Written {
    e.array(PROVE_ITEMS)?.bytes(&prove.token)?.u8(prove_row_number(prove.row))?;
    write_place(e, prove.place)?;
    write_optional(e, prove.counter_highest)?;
    e.u64(prove.expires)?;
    Ok(())
}

fn read_state(d: &mut Decoder<'_>, form: Form, revision: u64) -> Read<IdentityState> {
    let place = read_place(d)?;
    let mut state = IdentityState {
        revision,
        place,
        fork: read_fixed(d)?,
        counter_highest: read_optional(d, Decoder::u64)?,
        last: read_or_nil(d, read_last)?,
        grant_highest: d.u64()?,
        grants: read_each(d, |d| read_grant(d, form))?,
        confirmed: read_each(d, |d| read_confirmed(d, form))?.into_iter().collect(),
        reports: read_each(d, |d| read_report(d, form))?,
        proves: read_each(d, read_prove)?,
        ..IdentityState::new(place.epoch)
    };
    if form == Form::V2 {
        read_appended(d, &mut state)?;
    }
    Ok(state)
}

fn read_appended(d: &mut Decoder<'_>, state: &mut IdentityState) -> Read<()> {
    state.restores = d.u64()?;
    state.unknown_at = read_or_nil(d, read_place)?;
    state.fork_unsure = d.bool()?;
    state.counter_doubtful = read_optional(d, Decoder::u64)?;
    state.seed_oldest = d.u16()?;
    state.epochs_shared = read_each(d, |d| Ok(d.u16()?))?.into_iter().collect();
    state.permits = Permits {
        resync_until: read_optional(d, Decoder::u64)?,
        reissue: read_each(d, read_fixed)?,
        forward: read_or_nil(d, read_forward)?,
    };
    state.blocked_until = read_optional(d, Decoder::u64)?;
    Ok(())
}

fn read_forward(d: &mut Decoder<'_>) -> Read<ForwardPermit> {
    expect_items(d, 2)?;
    Ok(ForwardPermit { until: d.u64()?, used: d.bool()? })
}

fn read_or_nil<T>(d: &mut Decoder<'_>, read: fn(&mut Decoder<'_>) -> Read<T>) -> Read<Option<T>> {
    if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}

/// Reads an array item by item: its claimed length allocates nothing.
fn read_each<T>(d: &mut Decoder<'_>, mut read: impl FnMut(&mut Decoder<'_>) -> Read<T>) -> Read<Vec<T>> {
    let count = d.array()?.ok_or(CodecError::Malformed("array without a length"))?;
    (0..count).map(|_| read(d)).collect()
}

fn expect_items(d: &mut Decoder<'_>, items: u64) -> Read<()> {
    match d.array()? {
        Some(found) if found == items => Ok(()),
        _ => Err(CodecError::Malformed("number of items")),
    }
}

fn read_fixed<const N: usize>(d: &mut Decoder<'_>) -> Read<[u8; N]> {
    d.bytes()?.try_into().map_err(|_| CodecError::Malformed("length of a byte string"))
}

fn read_optional<'b, T>(
    d: &mut Decoder<'b>,
    read: fn(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
) -> Read<Option<T>> {
    if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        return Ok(None);
    }
    Ok(Some(read(d)?))
}

fn read_place(d: &mut Decoder<'_>) -> Read<Place> {
    expect_items(d, 2)?;
    Ok(Place { epoch: d.u16()?, index: d.u16()? })
}

fn read_last(d: &mut Decoder<'_>) -> Read<LastAnswer> {
    expect_items(d, 2)?;
    Ok(LastAnswer { request: read_fixed(d)?, answer: d.bytes()?.to_vec() })
}

fn read_grant(d: &mut Decoder<'_>, form: Form) -> Read<Grant> {
    expect_items(d, form.items(GRANT_ITEMS))?;
    let mut grant = Grant {
        number: d.u64()?,
        place: read_place(d)?,
        leads_to: read_place(d)?,
        manifest: read_fixed(d)?,
        selector: read_fixed(d)?,
        contents: read_each(d, read_content)?,
        keys: read_or_nil(d, read_fixed)?,
        not_after: d.u64()?,
        confirm: read_confirm(d)?,
        message: d.bytes()?.to_vec(),
        state: read_grant_state(d)?,
        reseed: None,
        go: false,
    };
    if form == Form::V2 {
        grant.reseed = read_or_nil(d, read_reseed)?;
        grant.go = d.bool()?;
    }
    Ok(grant)
}

fn read_reseed(d: &mut Decoder<'_>) -> Read<Reseed> {
    let shares = match d.array()? {
        Some(0) => None,
        Some(2) => Some(Shares { server: d.bytes()?.to_vec(), device: d.bytes()?.to_vec() }),
        _ => return Err(CodecError::Malformed("number of shares")),
    };
    Ok(Reseed { shares })
}

fn read_content(d: &mut Decoder<'_>) -> Read<Content> {
    expect_items(d, 3)?;
    Ok(Content { component: d.u64()?, content: read_fixed(d)?, installed: read_fixed(d)? })
}

fn read_confirm(d: &mut Decoder<'_>) -> Read<Confirm> {
    Confirm::from_number(d.u8()?).ok_or(CodecError::Malformed("number of confirm"))
}

fn read_confirmed(d: &mut Decoder<'_>, form: Form) -> Read<(Place, Confirmed)> {
    expect_items(d, form.items(CONFIRMED_ITEMS))?;
    let place = read_place(d)?;
    let mut confirmed = Confirmed {
        grant: d.u64()?,
        confirm: read_confirm(d)?,
        report: read_fixed(d)?,
        manifest: read_fixed(d)?,
        installed: read_each(d, read_installed)?,
        given_again: d.u32()?,
        // No grant of version 1 re-seeds, so none leaves the last index that the wire can carry.
        leads_to: place.successor().unwrap_or(place),
    };
    if form == Form::V2 {
        confirmed.leads_to = read_place(d)?;
    }
    Ok((place, confirmed))
}

fn read_installed(d: &mut Decoder<'_>) -> Read<(u64, [u8; 32])> {
    expect_items(d, 2)?;
    Ok((d.u64()?, read_fixed(d)?))
}

fn read_report(d: &mut Decoder<'_>, form: Form) -> Read<KeptReport> {
    expect_items(d, form.items(REPORT_ITEMS))?;
    Ok(KeptReport {
        digest: read_fixed(d)?,
        place: read_place(d)?,
        grant: d.u64()?,
        moment: Moment::from_number(d.u8()?).ok_or(CodecError::Malformed("number of a moment"))?,
        receipt: d.bytes()?.to_vec(),
        ahead: if form == Form::V2 { read_or_nil(d, read_fixed)? } else { None },
    })
}

fn read_prove(d: &mut Decoder<'_>) -> Read<Prove> {
    expect_items(d, PROVE_ITEMS)?;
    Ok(Prove {
        token: read_fixed(d)?,
        row: read_prove_row(d)?,
        place: read_place(d)?,
        counter_highest: read_optional(d, Decoder::u64)?,
        expires: d.u64()?,
    })
}

/// Numbers the states of a grant on disk; never reorder.
fn grant_state_number(state: GrantState) -> u8 {
    match state {
        GrantState::Open => 0,
        GrantState::Decrypted => 1,
        GrantState::Closed => 2,
        GrantState::Failed => 3,
        GrantState::Confirmed => 4,
    }
}

fn read_grant_state(d: &mut Decoder<'_>) -> Read<GrantState> {
    Ok(match d.u8()? {
        0 => GrantState::Open,
        1 => GrantState::Decrypted,
        2 => GrantState::Closed,
        3 => GrantState::Failed,
        4 => GrantState::Confirmed,
        _ => return Err(CodecError::Malformed("state of a grant")),
    })
}

/// Numbers the rows on disk as the key-index table does.
fn prove_row_number(row: ProveRow) -> u8 {
    match row {
        ProveRow::R3 => 3,
        ProveRow::R13 => 13,
        ProveRow::R14 => 14,
    }
}

fn read_prove_row(d: &mut Decoder<'_>) -> Read<ProveRow> {
    Ok(match d.u8()? {
        3 => ProveRow::R3,
        13 => ProveRow::R13,
        14 => ProveRow::R14,
        _ => return Err(CodecError::Malformed("row of a prove")),
    })
}

const VERSION: u64 = 2;
const STATE_ITEMS: Items = Items { v1: 10, appended: 10 };
const GRANT_ITEMS: Items = Items { v1: 11, appended: 2 };
const CONFIRMED_ITEMS: Items = Items { v1: 7, appended: 1 };
const REPORT_ITEMS: Items = Items { v1: 5, appended: 1 };
const PROVE_ITEMS: u64 = 5;

#[cfg(test)]
mod tests;
