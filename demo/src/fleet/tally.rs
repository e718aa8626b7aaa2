//! How the devices of a process, or of all of them, stand.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

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
    /// What went over the devices' links to the server.
    pub server: Traffic,
    /// What went over the devices' links to their gateways.
    pub gateway: Traffic,
    /// Devices that ended or could not be made, with the reason; the first few of them.
    pub faults: Vec<String>,
}

/// Bytes of UDP payload, handshakes included, as the devices count them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Traffic {
    /// Received by the devices.
    pub bytes_in: u64,
    /// Sent by the devices.
    pub bytes_out: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            bytes_in: self.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(before.bytes_out),
        }
    }
}

impl Tally {
    /// Counts a device.
    pub fn count(&mut self, told: &Told) {
        self.registered += u32::from(told.registered);
        self.updated += u32::from(told.updated);
        self.back += u32::from(told.updated && told.registered);
        self.against += u32::from(told.reason.is_some() && !told.updated);
        *self.running.entry(told.running.clone()).or_default() += 1;
        let all = Traffic { bytes_in: told.bytes_in, bytes_out: told.bytes_out };
        let gateway = Traffic { bytes_in: told.gateway_in, bytes_out: told.gateway_out };
        self.server += all - gateway;
        self.gateway += gateway;
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
        self.server += other.server;
        self.gateway += other.gateway;
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
            gateway_in: 4,
            gateway_out: 1,
            reason: None,
        };
        let (mut first, mut second) = (Tally::default(), Tally::default());
        first.count(&told(true, true, "new"));
        first.count(&told(false, true, "new"));
        second.count(&told(true, false, "old"));
        second.keep_fault("node-9: no".to_owned());
        first += &second;
        assert_eq!((first.registered, first.updated, first.back), (2, 2, 1));
        assert_eq!(first.server, Traffic { bytes_in: 3, bytes_out: 6 });
        assert_eq!(first.gateway, Traffic { bytes_in: 12, bytes_out: 3 });
        assert_eq!(first.running, BTreeMap::from([("new".to_owned(), 2), ("old".to_owned(), 1)]));
        assert_eq!(first.faults, ["node-9: no"]);
    }
}
