//! What may happen in one exploration.

use bellwether_decide::identity::Confirm;

/// One exploration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Updates that the device is to get.
    pub(crate) updates: u8,
    /// Which report of a grant moves the index.
    pub(crate) confirm: Confirm,
    /// Whether grants lead to a new seed.
    pub(crate) reseed: bool,
    /// Whether grants demand "go?".
    pub(crate) go: bool,
    /// Whether operators let every identity resync after a restore.
    pub(crate) resync_all: bool,
    pub(crate) faults: Faults,
}

/// How often each fault may happen. Loss, repetition and reordering have no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Backups of the store that are restored.
    pub(crate) restores: u8,
    /// Older records of the device that are restored.
    pub(crate) rollbacks: u8,
    /// Copies of the device's record.
    pub(crate) copies: u8,
    /// Updates that fail on the device.
    pub(crate) failures: u8,
    /// Times that a grant's life passes.
    pub(crate) passes: u8,
}

impl Default for Faults {
    fn default() -> Self {
        Self { restores: 0, rollbacks: 0, copies: 0, failures: 1, passes: 1 }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "",
            updates: 2,
            confirm: Confirm::Both,
            reseed: false,
            go: false,
            resync_all: false,
            faults: Faults::default(),
        }
    }
}

impl Scenario {
    /// The scenario with each kind of grant: the one that this server gives, one that re-seeds and demands "go?", and one
    /// that *decrypted* confirms.
    pub(crate) fn of_every_grant(self) -> [Self; 3] {
        [
            self,
            Self { confirm: Confirm::Installed, reseed: true, go: true, ..self },
            Self { confirm: Confirm::Decrypted, ..self },
        ]
    }

    pub(crate) fn has_no_faults(&self) -> bool {
        (self.faults.restores, self.faults.rollbacks, self.faults.copies) == (0, 0, 0)
    }
}

/// Indices of a chain: the second update of one epoch is granted at its last place, from where every grant re-seeds.
pub(crate) const CHAIN_LENGTH: u16 = 2;
