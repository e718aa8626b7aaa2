//! What can go wrong, as a C program gets it.

use crate::abi::BellwetherError;
use bellwether_agent::update::UpdateError;
use bellwether_agent::update::boot::BootError;
use bellwether_agent::update::record::RecordError;
use core::ffi::CStr;

impl<E> From<UpdateError<E>> for BellwetherError {
    fn from(error: UpdateError<E>) -> Self {
        match error {
            UpdateError::Flash(_) => Self::Flash,
            UpdateError::Record(error) => error.into(),
            UpdateError::Boot(error) => error.into(),
            UpdateError::OldAnchors { .. } => Self::OldAnchors,
            UpdateError::Components => Self::Components,
            UpdateError::Chain(_) | UpdateError::Derive(_) | UpdateError::KeyGone => Self::Keys,
            UpdateError::Kept(_) => Self::Record,
            UpdateError::Share(_) => Self::Random,
            _ => Self::Internal,
        }
    }
}

impl<E> From<RecordError<E>> for BellwetherError {
    fn from(error: RecordError<E>) -> Self {
        match error {
            RecordError::Flash(_) => Self::Flash,
            RecordError::Missing => Self::Unprepared,
            _ => Self::Record,
        }
    }
}

impl<E> From<BootError<E>> for BellwetherError {
    fn from(error: BootError<E>) -> Self {
        match error {
            BootError::Flash(_) => Self::Flash,
            BootError::Missing => Self::Unprepared,
            BootError::TooLong => Self::Internal,
        }
    }
}

impl BellwetherError {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Ok,
        Self::Argument,
        Self::Layout,
        Self::Memory,
        Self::Flash,
        Self::Random,
        Self::Unprepared,
        Self::Record,
        Self::Unit,
        Self::Anchors,
        Self::OldAnchors,
        Self::Components,
        Self::Keys,
        Self::Internal,
    ];

    /// Gives a sentence for whoever reads a log.
    pub(crate) const fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"it was done",
            Self::Argument => c"an argument is null, or a text is not UTF-8 or longer than 64 bytes",
            Self::Layout => {
                c"the layout of the flash has a part that is no whole number of sectors, or overlaps another"
            }
            Self::Memory => {
                c"the block of memory is smaller than BELLWETHER_MEMORY_BYTES, or its device still runs"
            }
            Self::Flash => c"a callback for the flash failed, or what was written does not stand there",
            Self::Random => c"the callback for random bytes failed or gives no random bytes",
            Self::Unprepared => {
                c"the flash holds no valid record or boot state, or no whole image: prepare it"
            }
            Self::Record => c"the record in the flash cannot be read by this version",
            Self::Unit => c"the unit file cannot be read, or has no seed any more",
            Self::Anchors => c"the anchors in the unit file are not believed",
            Self::OldAnchors => c"the anchors are older than those that were believed before",
            Self::Components => c"the components are not those that the flash was prepared for",
            Self::Keys => c"the key chain has no key for this place",
            Self::Internal => c"a bound in this library is wrong",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_found_by_its_number() {
        for (number, error) in (0..).zip(BellwetherError::ALL) {
            assert_eq!(error as i32, number);
        }
    }
}
