//! The key-index table: what the server does with each message of an identity, row by row.
//!
//! Two steps, because the bytes of an answer are made by the vault: [`decide`] says what to answer and gives the next
//! state; [`Decision::answered`], [`Decision::granted`] or [`Decision::receipted`] puts the made bytes into that
//! state. The caller stores the state by compare-and-set on its revision, and only then lets the answer leave. If the
//! compare fails, it reads the state again and decides again.
//!
//! The MAC is verified before [`decide`] is called. Rows 1 and 2, where it can't be, are [`wrong_mac`] and
//! [`unknown_identity`].
//!
//! Beyond the letter of the table, each for a reason:
//! - An open grant whose campaign was cancelled is not given again but decided anew, so that eligibility refuses it
//!   (rows 5 and 6).
//! - After a restore, a stale identity is answered "prove" by the row that it stands in: 3 at s, 13 ahead, 14 below.
//! - A grant that is not known after a restore may have moved the index by another of its reports than the one that
//!   came (row 9). Until a request shows the fork head, another head at s is row 13 and not row 15, or an honest
//!   device would be taken for a clone.
//! - A MAC under the next seed destroys the old one only once the identity stands in that epoch (row 16): who stole a
//!   seed can compute the next one, and would have the server forget the keys of the device that still needs them.
//! - "Forward" closes the open grant, whose number the device would refuse, and from then on a counter that may be a
//!   replay of what the device sent before it lost its state has to be proved (row 18).
//! - The leave for it reaches a device that stands at s with another fork head (row 15), too: it lost its state after a
//!   confirm and confirmed again.
//! - A grant that moved the index when *decrypted* is not given again once it expired, since a device that lost it could
//!   not take it: then the policy's number of new grants counts. And where the *installed* report of such a grant may
//!   have overtaken the request, "already sent" and its alarm wait for a proof (row 7).
//! - A device ignores what has ended by its own clock, which may be ahead of the server's, and then tells what it says.
//!   An open grant that has ended by it is replaced (row 6), and the new one ends by that clock, up to
//!   [`CLOCK_AHEAD_S_MAX`]; for the server it still ends by its own. What the clock says is under the request's MAC, and
//!   binds nobody but the device that says it.
//! - An operator's reissue counts before "the same grant again" (row 7), for a device that lost that grant.

mod ahead;
mod answer;
mod report;
mod request;
#[cfg(test)]
mod tests;

pub use ahead::decide_ahead;
pub use answer::GrantDetails;

use crate::alarm::{Alarm, AlarmKind};
use crate::identity::{Digest, ForkHead, Grant, GrantState, IdentityState, Moment, Place, Shares, Token};
use crate::refusal::Refusal;

/// A message whose MAC was right.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time on the stack, never in a collection")]
pub enum Arrival {
    /// Update-Request.
    Request(Request),
    /// Report.
    Report(Report),
}

/// What the table needs of an Update-Request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Place whose key made its MAC.
    pub place: Place,
    /// Its counter.
    pub counter: u64,
    /// Its fork head.
    pub fork: ForkHead,
    /// SHA-256 of the whole message, with its MAC.
    pub digest: Digest,
    /// Digest of the manifest that it asks for.
    pub manifest: Digest,
    /// SHA-256 of its encoded selector.
    pub selector: Digest,
    /// Installed images that the selector names, as (component, digest).
    pub running: Vec<(u64, Digest)>,
    /// Option 1: echo of a "prove".
    pub echo: Option<Vec<u8>>,
    /// Digest over the keys of options 4 and 6, if it has either.
    pub keys: Option<Digest>,
    /// Option 6: the device's share for the next seed, an encoded `COSE_Key`.
    pub device_share: Option<Vec<u8>>,
    /// Option 5: "go?" for the grant of this number.
    pub go: Option<u64>,
    /// Option 7: the confirming report that led here and has no receipt yet.
    pub unconfirmed: Option<Unconfirmed>,
    /// Option -1: seconds since 1970 by its own clock, after an answer that had expired by it.
    pub clock: Option<u64>,
}

/// A confirming report without a receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unconfirmed {
    /// Number of the grant that it confirmed.
    pub grant: u64,
    /// Its digest.
    pub report: Digest,
}

/// What the table needs of a Report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Report {
    /// Place whose key made its MAC: the grant's.
    pub place: Place,
    /// Number of the grant; 0: none was given.
    pub grant: u64,
    /// What it tells.
    pub moment: Moment,
    /// SHA-256 of the encoded Report.
    pub digest: Digest,
    /// Digest of the manifest that it names.
    pub manifest: Digest,
}

/// What the shell knows beside the state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Context {
    /// Seconds since 1970.
    pub now: u64,
    /// Fresh random bytes, used if a "prove" is issued.
    pub token: Token,
    /// Indices of the identity's key chain: 0 ..= N - 1.
    pub chain_length: u16,
    /// New grants for an update that was confirmed and then reported failed.
    pub given_again_max: u32,
    /// Whether the policy of the campaign that would be granted for wants a new seed.
    pub reseed_wanted: bool,
    /// Restores of the store so far.
    pub restores: u64,
    /// Last second in which an operator lets every identity resync, seconds since 1970.
    pub resync_all_until: Option<u64>,
    /// About the open grant at s; ignored if there is none.
    pub open: OpenGrant,
}

/// What the shell knows about the open grant at s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is looked up on its own, and none excludes another")]
pub struct OpenGrant {
    /// Whether the bytes of all its contents can still be served.
    pub bytes_present: bool,
    /// Whether every campaign that offered its manifest to this device was cancelled or halted.
    pub cancelled: bool,
    /// Whether the manifest of the arriving request has a higher priority than the grant's.
    pub outranked: bool,
    /// Whether it has ended by the clock that the arriving request tells, which is the one that its device goes by.
    pub ended_there: bool,
}

/// What to do with a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// Row of the table that fitted.
    pub row: Row,
    /// The next state, without the answer's bytes. Equal to the old one if nothing is to be stored.
    pub state: IdentityState,
    /// What to answer.
    pub reply: Reply,
    /// What to raise.
    pub alarm: Option<Alarm>,
    /// The epoch that the identity enters: its keys are stored with the state.
    pub enters: Option<Entered>,
    /// Row 16: the seeds of this epoch and of those before it are destroyed with the commit.
    pub destroy_seed_of: Option<u16>,
    /// Digest of the request under which the answer's bytes are kept, if they are.
    keep: Option<Digest>,
}

/// An epoch that an identity enters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entered {
    /// Its number.
    pub epoch: u16,
    /// The shares that its seed is made with; `None`: it follows from the seed before alone.
    pub shares: Option<Shares>,
}

/// What is done with a message whose identity or key is not known: there is no state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turned {
    /// Row 1 or 2.
    pub row: Row,
    /// What to raise.
    pub alarm: Option<Alarm>,
}

/// What to answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Exactly these bytes, which answered the same message before. Nothing is to be stored.
    Repeat(Vec<u8>),
    /// The grant of this place and number once more, with its descriptor; its message is in the state.
    HeldGrant {
        /// Its place.
        place: Place,
        /// Its number.
        number: u64,
    },
    /// A new grant, if eligibility and resolution allow one; else the verdict that they give.
    NewGrant(NewGrant),
    /// A verdict.
    Verdict(Verdict),
    /// A new receipt.
    Receipt,
}

/// A grant that may be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewGrant {
    /// Its number.
    pub number: u64,
    /// Its place.
    pub place: Place,
    /// Place that confirming it leads to.
    pub leads_to: Place,
    /// Whether it says that confirming leads to a new seed.
    pub reseed: bool,
    /// The device's share for the new seed, if it re-seeds and the device sent one.
    pub device_share: Option<Vec<u8>>,
    /// The time by which its device judges when it ends, seconds since 1970: now, or what its clock says where that is
    /// ahead.
    pub judged_at: u64,
    manifest: Digest,
    selector: Digest,
    keys: Option<Digest>,
    /// Place whose confirmation this grant repeats (row 7 after a failure).
    again: Option<Place>,
    /// Whether an operator's reissue allowed it.
    reissued: bool,
}

/// An authenticated answer that is no grant. The shell adds nonce and time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing to do.
    Nothing,
    /// Ask again.
    Later {
        /// After this many seconds.
        delay_s: u32,
    },
    /// No.
    Refused(Refusal),
    /// Send this back in a new request under the same key.
    Prove(Token),
    /// Swap now.
    Go {
        /// Number of the grant.
        grant: u64,
    },
    /// Do not swap; drop the grant.
    Stop {
        /// Number of the grant.
        grant: u64,
    },
    /// Go on from here, by an operator's leave. Sealed under the key of this place, not of the request's.
    Forward {
        /// The identity's place.
        place: Place,
        /// Its fork head.
        fork: ForkHead,
        /// The highest grant number given.
        grant: u64,
    },
}

/// Rows of the table, named as in the protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the table in the protocol's document says what each row is")]
pub enum Row {
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R9a,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    R16,
    R17,
    R18,
}

/// Decides what to do with a message whose MAC was right: the first row that fits.
#[must_use]
pub fn decide(state: &IdentityState, arrival: &Arrival, context: &Context) -> Decision {
    let (place, mut decision) = match arrival {
        Arrival::Request(request) => (request.place, request::decide(state, request, context)),
        Arrival::Report(report) => (report.place, report::decide(state, report, context)),
    };
    decision.enters = entered(state, &decision.state);
    row_16(place, &mut decision);
    if decision.state != *state || decision.reply == Reply::Receipt {
        decision.state.revision = state.revision + 1;
    }
    decision
}

/// Finds the epoch that a step enters, with the shares of the grant that led there.
fn entered(before: &IdentityState, after: &IdentityState) -> Option<Entered> {
    if after.place.epoch == before.place.epoch {
        return None;
    }
    let led = |grant: &&Grant| grant.state == GrantState::Confirmed && grant.leads_to == after.place;
    let shares = after.grants.iter().find(led).and_then(|grant| grant.reseed.clone()?.shares);
    Some(Entered { epoch: after.place.epoch, shares })
}

/// Row 16: whoever made a MAC under a later seed holds it, so the seeds before it are not needed any more.
fn row_16(place: Place, decision: &mut Decision) {
    let state = &mut decision.state;
    // Beyond s nothing is proved: a clone computes the next seed from the one that it stole.
    if place.epoch > state.seed_oldest && place.epoch <= state.place.epoch {
        decision.destroy_seed_of = Some(place.epoch - 1);
        state.seed_oldest = place.epoch;
    }
}

/// Row 1: a wrong MAC is dropped and counted per address; no state, and no alarm for the identity.
#[must_use]
pub fn wrong_mac() -> Turned {
    Turned { row: Row::R1, alarm: None }
}

/// Row 2: an unknown name is refused without detail, with an alarm that names it.
#[must_use]
pub fn unknown_identity(name: &str) -> Turned {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    let cause = format!("the identity {name:?}, which nobody enrolled, asks for updates");
    Turned { row: Row::R2, alarm: Some(Alarm { kind: AlarmKind::UnknownIdentity, cause }) }
}

impl Decision {
    /// Tells whether there is anything to store before the answer leaves.
    #[must_use]
    pub fn changes(&self, before: &IdentityState) -> bool {
        self.state.revision != before.revision
    }

    fn new(row: Row, state: IdentityState, reply: Reply) -> Self {
        Self { row, state, reply, alarm: None, enters: None, destroy_seed_of: None, keep: None }
    }

    fn with_alarm(mut self, kind: AlarmKind, cause: String) -> Self {
        self.alarm = Some(Alarm { kind, cause });
        self
    }
}

impl Row {
    /// Every row.
    pub const ALL: [Self; 19] = [
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
        Self::R9,
        Self::R9a,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
        Self::R16,
        Self::R17,
        Self::R18,
    ];

    /// Reads a name that [`Row::name`] gave.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.name() == name)
    }

    /// Says in words what the message of a device was that fitted the row.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::R1 => "sent a message that is not authentic",
            Self::R2 => "is not enrolled",
            Self::R3 => "sent a request that it, or a copy of its flash, may have sent before",
            Self::R4 => "asked for an update",
            Self::R5 => "asked again for what it was granted",
            Self::R6 => "asked for something else than what it was granted, or too late",
            Self::R7 => "asked for an update that it has confirmed",
            Self::R8 => "reported a failure",
            Self::R9 => "confirmed its update",
            Self::R9a => "reported something that moves nothing",
            Self::R10 => "repeated a report",
            Self::R11 => "confirmed twice, in two different ways",
            Self::R12 => "asked for the next update before the report of the last one had come",
            Self::R13 => "is ahead of what this server knows",
            Self::R14 => "asked from a place that it had left",
            Self::R15 => "asked with another history than it has told",
            Self::R16 => "proved that it holds its next seed",
            Self::R17 => "asked whether to start its image",
            Self::R18 => "proved to hold the keys of a place that it had left",
        }
    }

    /// Whether a message that fits the row tells more than the events that it leads to.
    #[must_use]
    pub fn is_told(self) -> bool {
        !matches!(self, Self::R1 | Self::R2 | Self::R4 | Self::R8 | Self::R9 | Self::R9a | Self::R10)
    }

    /// Gives the name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::R1 => "1",
            Self::R2 => "2",
            Self::R3 => "3",
            Self::R4 => "4",
            Self::R5 => "5",
            Self::R6 => "6",
            Self::R7 => "7",
            Self::R8 => "8",
            Self::R9 => "9",
            Self::R9a => "9a",
            Self::R10 => "10",
            Self::R11 => "11",
            Self::R12 => "12",
            Self::R13 => "13",
            Self::R14 => "14",
            Self::R15 => "15",
            Self::R16 => "16",
            Self::R17 => "17",
            Self::R18 => "18",
        }
    }
}

/// Seconds for which the echo of a "prove" counts. Source: the table, below row 18.
pub const PROVE_LIFETIME_S: u64 = 60;

/// How far the clock of a device may be ahead of this server's and still be granted by. A device takes the time of a server
/// up to 400 days beyond what its author signed, so none that a wrong server led astray is further ahead than that; and a
/// day more, since its author's clock may be ahead of this server's, and its own faster.
pub const CLOCK_AHEAD_S_MAX: u64 = 401 * 86_400;

/// Wait of a device whose clock is further ahead: this server's clock is the likelier one to be wrong, as after a start
/// without a time service, and once it is right the device goes on.
pub const CLOCK_DELAY_S: u32 = 600;

/// Wait of a device whose open grant is for another manifest: long enough for a trial, short beside a grant's life.
pub const BUSY_DELAY_S: u32 = 900;

/// Characters of an unknown name that an alarm repeats: a name has at most 64 bytes.
const NAME_CHARS_MAX: usize = 64;
