//! What a run may send at the most, in bytes of UDP payload.
//!
//! A confirmable message is sent until it and its answer have both come, 1/(1-p)² times on average where each way loses
//! p; an answer 1/(1-p) times. So nothing is sent more than 1/(1-p)² times as often as without loss, and what is needed
//! without loss is counted from what was to be done: frames, updates, boots, registrations, signs of life, over one hop
//! or two. What goes unanswered for good costs five transmissions, and every fault lets the links of a device do so once.

use super::World;
use crate::world::device::Seen;
use crate::world::plan::DevicePlan;

impl World<'_> {
    /// Tells the bound of this run, which went on for so many seconds.
    pub(super) fn bytes_max(&self, seconds: u64) -> u64 {
        let mut needed = (self.people.gateways.len() as u64) * (GATEWAY + seconds * PRESENCE_PER_MIN / 60);
        for (planned, subject) in self.plan.devices.iter().zip(&self.people.subjects) {
            needed += of_device(planned, &subject.device.seen(), seconds);
            if let Some((copy, _)) = subject.copy() {
                needed += of_device(planned, &copy.seen(), seconds);
            }
        }
        let faults = self.plan.happenings.len() as u64;
        let arrive = 1000 - u64::from(self.plan.weather.loss_permille);
        let lossy = needed * 1_000_000 / (arrive * arrive);
        let copies = 1000 + u64::from(self.plan.weather.duplicate_permille);
        (lossy + faults * FAULT) * copies / 1000 * LUCK_PERCENT / 100
    }
}

fn of_device(planned: &DevicePlan, seen: &Seen, seconds: u64) -> u64 {
    let hops = if planned.gateway.is_some() { 2 } else { 1 };
    let updates = 1 + seen.grants.len() as u64;
    let lives = seconds / u64::from(planned.lifetime_s) + 1;
    let alive = seconds * HELLO_PER_MIN / 60 * (hops - 1);
    let done = hops * (seen.frames * FRAME + updates * UPDATE);
    done + seen.boots * BOOT + lives * SIGN_OF_LIFE + alive + seen.unanswered * GIVEN_UP
}

/// A frame of 1,024 bytes, its request, and the headers of both.
const FRAME: u64 = 1_150;
/// Manifest, request, grant with descriptor, two reports with receipts, Execute; or the same in a bundle.
const UPDATE: u64 = 5_000;
/// Two handshakes, a registration, and what the server then reads.
const BOOT: u64 = 1_800;
/// An update of the registration.
const SIGN_OF_LIFE: u64 = 150;
/// One hello a minute to a gateway.
const HELLO_PER_MIN: u64 = 80;
/// A gateway's handshake, anchors, list of devices.
const GATEWAY: u64 = 6_000;
/// A gateway's sign of life, and what it has to tell.
const PRESENCE_PER_MIN: u64 = 150;
/// Five transmissions of a message in either direction, and a handshake after it.
const GIVEN_UP: u64 = 5 * 1_150 + 300;
/// What a fault lets be sent in vain on the two links of a device.
const FAULT: u64 = 2 * GIVEN_UP;
/// The average is no bound: small runs have bad luck.
const LUCK_PERCENT: u64 = 150;
