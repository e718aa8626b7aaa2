//! What happened in a campaign: the ledger's events.

use super::CampaignId;
use crate::alarm::AlarmKind;
use crate::deed::Deed;
use crate::device::Endpoint;
use crate::identity::Digest;
use crate::key_index::Row;
use crate::operator::Act;

/// One thing that happened. The ledger numbers them; their text form is [`super::event_json`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// When, seconds since 1970.
    pub at: u64,
    /// In which campaign; `None` for what belongs to none (an alarm).
    pub campaign: Option<CampaignId>,
    /// To which device; `None` for what concerns the campaign as a whole, or an unknown device.
    pub device: Option<Endpoint>,
    /// What.
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// The campaign began.
    Launched {
        /// Devices that it is for.
        targeted: u32,
        /// Who, and why.
        by: By,
    },
    /// The device is among the campaign's targets.
    Targeted {
        /// Name of its class.
        class: String,
    },
    /// The manifest goes out to the device; written before it leaves, so that it counts as in flight.
    Offered,
    /// The manifest did not reach the device; it will be offered again after a while.
    OfferFailed {
        /// Why, for people.
        reason: String,
    },
    /// The device, which is in queue mode, slept before the manifest came to it: it goes out when the device wakes.
    OfferWaits,
    /// The device asked, and its key was right.
    Asked,
    /// The device got a grant.
    Resolved {
        /// What it fetches.
        delivery: Delivery,
        /// Number of the grant.
        grant: u64,
        /// Digest of the bytes as carried.
        content: Digest,
        /// Bytes as carried.
        bytes: u64,
    },
    /// The device runs the target already.
    AlreadyCurrent,
    /// The device said that the image stands verified in its spare slot.
    Decrypted {
        /// Number of the grant.
        grant: u64,
    },
    /// The device said that it runs the image.
    Installed {
        /// Number of the grant.
        grant: u64,
    },
    /// The device said that the update failed.
    Failed {
        /// Number of the grant; 0: none was given.
        grant: u64,
        /// Why, for people.
        reason: String,
    },
    /// The server refused the device's request.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// An operator ended the campaign.
    Cancelled {
        /// Who, and why.
        by: By,
    },
    /// An operator stopped the campaign for a while.
    Paused {
        /// Who, and why.
        by: By,
    },
    /// An operator let the campaign go on.
    Resumed {
        /// Who, and why.
        by: By,
    },
    /// An operator wants what failed or was refused to be tried again: of the campaign as a whole, and of each such
    /// device.
    Retried {
        /// Who, and why; told of the campaign as a whole alone.
        by: By,
    },
    /// Too many devices failed.
    Halted {
        /// Share of the ended devices that failed, in thousandths.
        failure_per_mille: u32,
    },
    /// A release that the campaign leads to was recalled.
    Recalled {
        /// Which, in words.
        release: String,
        /// Who recalled it, and why.
        by: By,
    },
    /// Every device came to an end.
    Finished,
    /// An operator gave an order about the identity of a device, or about all of them.
    Operated {
        /// What was ordered.
        act: Act,
        /// Who, and why.
        by: By,
        /// Last second in which it holds, seconds since 1970; `None`: for ever, or at once.
        until: Option<u64>,
    },
    /// The device's message was of the less usual kind: which row of the key-index table it fitted.
    Fitted {
        /// The row.
        row: Row,
    },
    /// Somebody enrolled or published something.
    Done {
        /// What.
        deed: Deed,
        /// Who, and why.
        by: By,
    },
    /// An alarm was raised.
    AlarmRaised {
        /// What kind.
        kind: AlarmKind,
        /// One sentence: what was seen.
        cause: String,
    },
}

/// Who gave an order, and why: as they say themselves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct By {
    /// Who, where it was said.
    pub who: Option<String>,
    /// Why, where it was said.
    pub why: Option<String>,
    /// The request by which it was done, as the log names it.
    pub request: Option<String>,
}

impl EventKind {
    /// Gives the name of the kind that stands in interfaces; never changes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Launched { .. } => "launched",
            Self::Targeted { .. } => "targeted",
            Self::Offered => "offered",
            Self::OfferFailed { .. } => "offer_failed",
            Self::OfferWaits => "offer_waits",
            Self::Asked => "asked",
            Self::Resolved { .. } => "resolved",
            Self::AlreadyCurrent => "already_current",
            Self::Decrypted { .. } => "decrypted",
            Self::Installed { .. } => "installed",
            Self::Failed { .. } => "failed",
            Self::Refused { .. } => "refused",
            Self::Cancelled { .. } => "cancelled",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Retried { .. } => "retried",
            Self::Halted { .. } => "halted",
            Self::Recalled { .. } => "recalled",
            Self::Finished => "finished",
            Self::Operated { act: Act::Resync, .. } => "resync_allowed",
            Self::Operated { act: Act::Reissue, .. } => "reissue_allowed",
            Self::Operated { act: Act::Forward, .. } => "forward_allowed",
            Self::Operated { act: Act::Block, .. } => "blocked",
            Self::Operated { act: Act::Unblock, .. } => "unblocked",
            Self::Fitted { .. } => "fitted",
            Self::Done { deed, .. } => deed.name(),
            Self::AlarmRaised { .. } => "alarm_raised",
        }
    }
}

impl EventKind {
    /// Gives who did it and why, of what people do.
    #[must_use]
    pub fn by(&self) -> Option<&By> {
        match self {
            Self::Launched { by, .. }
            | Self::Cancelled { by }
            | Self::Paused { by }
            | Self::Resumed { by }
            | Self::Retried { by }
            | Self::Recalled { by, .. }
            | Self::Operated { by, .. }
            | Self::Done { by, .. } => Some(by),
            _ => None,
        }
    }
}

/// What a device fetches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// The whole image.
    Full,
    /// A delta.
    Delta {
        /// Digest of the image that it starts from.
        base: Digest,
        /// Number of the patch algorithm.
        algorithm: i64,
    },
}
