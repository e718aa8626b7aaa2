//! State and result of object 5, Firmware Update.
//!
//! Numbers of the OMA registry, object 5 version 1.2: never reorder.

use thiserror::Error;

/// Resource 3, State.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum State {
    /// Nothing is going on.
    #[default]
    Idle = 0,
    /// A package is on its way; here: its manifest is accepted.
    Downloading = 1,
    /// The image is complete and verified; Update may be executed.
    Downloaded = 2,
    /// The image is being installed.
    Updating = 3,
}

/// Resource 5, Update Result: the only place where LwM2M tells a failure of an update.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum UpdateResult {
    /// Nothing has ended since the state machine was reset.
    #[default]
    Initial = 0,
    /// Installed.
    Success = 1,
    /// Not enough flash for the package.
    NotEnoughFlash = 2,
    /// Out of memory while downloading.
    OutOfRam = 3,
    /// Connection lost while downloading.
    ConnectionLost = 4,
    /// Integrity check failed.
    IntegrityFailure = 5,
    /// The package is of a kind that the device does not take.
    UnsupportedPackage = 6,
    /// The URI cannot be used.
    InvalidUri = 7,
    /// The update failed in another way.
    UpdateFailed = 8,
    /// The URI's scheme is not supported.
    UnsupportedProtocol = 9,
    /// Cancel was executed.
    Cancelled = 10,
    /// The user put it off.
    Deferred = 11,
}

/// Says that a peer sent a number that object 5 does not define.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("object 5 defines no such number: {0}")]
pub struct UndefinedNumber(pub i64);

impl From<State> for i64 {
    fn from(state: State) -> Self {
        Self::from(state as u8)
    }
}

impl TryFrom<i64> for State {
    type Error = UndefinedNumber;

    fn try_from(number: i64) -> Result<Self, UndefinedNumber> {
        Ok(match number {
            0 => Self::Idle,
            1 => Self::Downloading,
            2 => Self::Downloaded,
            3 => Self::Updating,
            _ => return Err(UndefinedNumber(number)),
        })
    }
}

impl From<UpdateResult> for i64 {
    fn from(result: UpdateResult) -> Self {
        Self::from(result as u8)
    }
}

impl TryFrom<i64> for UpdateResult {
    type Error = UndefinedNumber;

    fn try_from(number: i64) -> Result<Self, UndefinedNumber> {
        Ok(match number {
            0 => Self::Initial,
            1 => Self::Success,
            2 => Self::NotEnoughFlash,
            3 => Self::OutOfRam,
            4 => Self::ConnectionLost,
            5 => Self::IntegrityFailure,
            6 => Self::UnsupportedPackage,
            7 => Self::InvalidUri,
            8 => Self::UpdateFailed,
            9 => Self::UnsupportedProtocol,
            10 => Self::Cancelled,
            11 => Self::Deferred,
            _ => return Err(UndefinedNumber(number)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    /// Highest number of a range text such as `0..3`.
    fn range_max(resource: u16) -> i64 {
        let range = table::FIRMWARE_UPDATE.resource(resource).unwrap().range;
        range.split_once("..").unwrap().1.parse().unwrap()
    }

    #[test]
    fn every_state_of_the_registry_comes_back_from_its_number() {
        let max = range_max(table::firmware_update::STATE);
        for number in 0..=max {
            assert_eq!(i64::from(State::try_from(number).unwrap()), number);
        }
        assert_eq!(State::try_from(max + 1), Err(UndefinedNumber(max + 1)));
        assert_eq!(State::try_from(-1), Err(UndefinedNumber(-1)));
    }

    #[test]
    fn every_result_of_the_registry_comes_back_from_its_number() {
        let max = range_max(table::firmware_update::UPDATE_RESULT);
        for number in 0..=max {
            assert_eq!(i64::from(UpdateResult::try_from(number).unwrap()), number);
        }
        assert_eq!(UpdateResult::try_from(max + 1), Err(UndefinedNumber(max + 1)));
    }
}
