//! Campaigns: which devices get a manifest, how many at a time, and when to stop.

pub mod concerned;
pub mod event;
pub mod event_json;
pub mod lapse;
pub mod order;
pub mod plan;
pub mod progress;
pub mod stage;
pub mod standing;
mod targets;
pub mod why;

use crate::device::Endpoint;
use crate::identity::Digest;

/// Number of a campaign.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CampaignId(pub u64);

/// One campaign as it was launched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Campaign {
    /// Its number.
    pub id: CampaignId,
    /// Digest in the manifest's authentication block.
    pub manifest: Digest,
    /// Devices that it is for.
    pub targets: Targets,
    /// How it proceeds.
    pub policy: Policy,
    /// When it was launched, seconds since 1970.
    pub launched_at: u64,
    /// Where it stands.
    pub state: CampaignState,
}

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CampaignState {
    /// Offers go out.
    Running,
    /// An operator stopped it for a while: nothing is offered, granted or started.
    Paused,
    /// Too many devices failed; nothing more is offered or granted.
    Halted,
    /// An operator ended it; nothing more is offered or granted.
    Cancelled,
    /// Every device came to an end.
    Finished,
}

/// Devices that a campaign is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Targets {
    /// Every enrolled device.
    All,
    /// Devices of these classes, by name.
    Classes(Vec<String>),
    /// These devices.
    Endpoints(Vec<Endpoint>),
}

/// How a campaign proceeds: all at once or at most n at a time, and when it halts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Most devices in flight at a time; `None`: all at once.
    pub in_flight_max: Option<u32>,
    /// Halts when more than this share of the ended devices failed, in thousandths.
    pub failure_per_mille_max: u32,
    /// Ended devices before the share counts.
    pub failure_sample_min: u32,
    /// Whether every grant of the campaign opens a new epoch of its device's keys.
    pub reseed: bool,
    /// Whether devices ask "go?" before they start the new image.
    pub ask_go: bool,
}

impl CampaignState {
    /// Gives the name that stands in stores and interfaces; never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
        }
    }

    /// Reads a name that [`CampaignState::name`] gave.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Running, Self::Paused, Self::Halted, Self::Cancelled, Self::Finished]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Tells whether the campaign is at work, or may be again: then its events stay in the ledger, however old they are.
    #[must_use]
    pub fn may_go_on(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Finished)
    }

    /// Tells whether the campaign still counts what its devices do: it runs, or may run again without being asked to
    /// try anything again.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}
