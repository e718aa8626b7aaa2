//! Reasons for which the server refuses a request.

use std::fmt;

/// Why a request is refused: a number for the wire, a sentence for people.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// Rows 15 and 18: the request is not believed to come from the one device of this identity.
    IdentityInDoubt,
    /// Row 7: this identity got this update before.
    AlreadySent,
    /// Row 13: the device is ahead of what the server knows.
    AheadOfServer,
    /// The key chain has no place left for a further update, and the epochs are used up.
    ChainEnd,
    /// An operator blocks the identity.
    Blocked,
    /// Nobody enrolled this identity.
    UnknownIdentity,
    /// The operator switched updates off for this device.
    DeviceDisabled,
    /// No campaign offers this manifest.
    NoCampaign,
    /// Campaigns offer this manifest, but not to this device.
    NotTargeted,
    /// The campaign was cancelled.
    CampaignCancelled,
    /// The campaign was halted, mostly after too many failures.
    CampaignHalted,
    /// The campaign is paused: devices are told "later", not "refused".
    CampaignPaused,
    /// The manifest has no image for the class that the device named.
    ClassNotInManifest,
    /// No release holds the image that the manifest demands.
    NoRelease,
    /// The device has too little room for the image.
    StagingTooSmall,
    /// The release that the manifest leads to was recalled.
    ReleaseRecalled,
}

impl Refusal {
    /// Gives the number on the wire; never reorder, devices log it.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::IdentityInDoubt => 1,
            Self::AlreadySent => 2,
            Self::AheadOfServer => 3,
            // 4 was "no leave needed": devices logged it, so it is not given again.
            Self::ChainEnd => 5,
            Self::Blocked => 6,
            Self::UnknownIdentity => 9,
            Self::DeviceDisabled => 10,
            Self::NoCampaign => 11,
            Self::NotTargeted => 12,
            Self::CampaignCancelled => 13,
            Self::CampaignHalted => 14,
            Self::CampaignPaused => 15,
            Self::ClassNotInManifest => 20,
            Self::NoRelease => 21,
            Self::StagingTooSmall => 22,
            Self::ReleaseRecalled => 23,
        }
    }

    /// Gives the sentence that goes with it, without anything that a clone could use.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::IdentityInDoubt => "the identity is in doubt; its operator has been told",
            Self::AlreadySent => "this update was sent to this identity before",
            Self::AheadOfServer => "the device is ahead of the server; an operator has to resync it",
            Self::ChainEnd => "the key chains of this device are used up",
            Self::Blocked => "an operator blocks updates of this identity",
            Self::UnknownIdentity => "the identity is not enrolled",
            Self::DeviceDisabled => "updates are switched off for this device",
            Self::NoCampaign => "no campaign offers this manifest",
            Self::NotTargeted => "no campaign offers this manifest to this device",
            Self::CampaignCancelled => "the campaign was cancelled",
            Self::CampaignHalted => "the campaign was halted after too many failures",
            Self::CampaignPaused => "the campaign is paused",
            Self::ClassNotInManifest => "the manifest has no image for this class",
            Self::NoRelease => "no release holds the image that the manifest demands",
            Self::StagingTooSmall => "the device has too little free room for the image",
            Self::ReleaseRecalled => "the release that the manifest leads to was recalled",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
