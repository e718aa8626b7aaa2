//! How the devices of a process, or of all of them, stand.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use bellwether_agent_host::fleet::Told;
use serde::{Deserialize, Serialize};

/// Counts of devices; a process writes them as a line of JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Those whose flash is made.
    pub made: u32,
    /// Those that hold a registration.
    pub registered: u32,
    /// Those that were updated and have the receipt of their report.
    pub updated: u32,
    /// Those that were updated and hold a registration again.
    pub back: u32,
    /// Those whose newest word is a reason against an update.
    pub against: u32,
    /// How many run which image, by SHA-256 in hexadecimal.
    pub running: BTreeMap<String, u32>,
    /// Bytes of UDP payload received, handshakes included.
    pub bytes_in: u64,
    /// Bytes of UDP payload sent, handshakes included.
    pub bytes_out: u64,
    /// Devices that ended or could not be made, with the reason; the first few of them.
    pub faults: Vec<String>,
}

impl Tally {
    /// Counts a device.
    pub fn count(&mut self, told: &Told) {
        self.registered += u32::from(told.registered);
        self.updated += u32::from(told.updated);
        self.back += u32::from(told.updated && told.registered);
        self.against += u32::from(told.reason.is_some() && !told.updated);
        *self.running.entry(told.running.clone()).or_default() += 1;
        self.bytes_in += told.bytes_in;
        self.bytes_out += told.bytes_out;
    }

    /// Keeps a fault, unless there are enough already.
    pub fn keep_fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.made += other.made;
        self.registered += other.registered;
        self.updated += other.updated;
        self.back += other.back;
        self.against += other.against;
        for (digest, devices) in &other.running {
            *self.running.entry(digest.clone()).or_default() += devices;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        for fault in &other.faults {
            self.keep_fault(fault.clone());
        }
    }
}

/// Enough to see what is the matter.
const FAULTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_processes_add_up_to_that_of_all() {
        let told = |registered, updated, running: &str| Told {
            registered,
            updated,
            running: running.to_owned(),
            bytes_in: 5,
            bytes_out: 3,
            reason: None,
        };
        let (mut first, mut second) = (Tally::default(), Tally::default());
        first.count(&told(true, true, "new"));
        first.count(&told(false, true, "new"));
        second.count(&told(true, false, "old"));
        second.keep_fault("node-9: no".to_owned());
        first += &second;
        assert_eq!((first.registered, first.updated, first.back), (2, 2, 1));
        assert_eq!((first.bytes_in, first.bytes_out), (15, 9));
        assert_eq!(first.running, BTreeMap::from([("new".to_owned(), 2), ("old".to_owned(), 1)]));
        assert_eq!(first.faults, ["node-9: no"]);
    }
}
