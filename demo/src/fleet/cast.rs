//! Who is in it: names, versions, gateways, and how devices are dealt to processes.

use crate::firmware::noise;

/// Names a device; numbers begin at 1.
#[must_use]
pub fn name(number: u32) -> String {
    format!("{CLASS}-{number}")
}

/// The version that a device runs at first. The oldest is not published, so that who runs it gets the full image.
#[must_use]
pub fn version_before(number: u32) -> &'static str {
    if number.is_multiple_of(OLDEST_EVERY) { OLDEST } else { PREVIOUS }
}

/// Names the image of a version, in the demo's folder.
#[must_use]
pub fn image(version: &str) -> String {
    format!("images/{CLASS}-{version}.bin")
}

/// Makes the images of all versions, which differ as a small change of a program does.
#[must_use]
pub fn images() -> [(&'static str, Vec<u8>); 3] {
    let mut oldest = noise(IMAGE_BYTES + 2 * NEW_BYTES);
    let mut new = oldest.split_off(IMAGE_BYTES);
    let newest = new.split_off(NEW_BYTES);
    let previous = changed(&oldest, 1_499, &new);
    let target = changed(&previous, 1_999, &newest);
    [(OLDEST, oldest), (PREVIOUS, previous), (TARGET, target)]
}

/// Changes a byte in every `step`, and puts code in the middle that was nowhere before.
fn changed(image: &[u8], step: usize, new: &[u8]) -> Vec<u8> {
    let mut next = image.to_vec();
    next.iter_mut().step_by(step).for_each(|byte| *byte ^= 0x5a);
    let at = next.len() / 2;
    next.splice(at..at, new.iter().copied());
    next
}

/// Names the gateway that a device of so many is behind. One in five has none, of either version.
#[must_use]
pub fn gateway_of(number: u32, devices: u32) -> Option<String> {
    let is_direct = (number / OLDEST_EVERY + number).is_multiple_of(DIRECT_EVERY);
    (!is_direct).then(|| gateway(1 + number % gateways(devices)))
}

/// Names a gateway; numbers begin at 1.
#[must_use]
pub fn gateway(number: u32) -> String {
    format!("gateway-{number}")
}

/// Gives the number of gateways for so many devices: a site of a thousand has one.
#[must_use]
pub fn gateways(devices: u32) -> u32 {
    (devices - devices / DIRECT_EVERY).div_ceil(DEVICES_PER_GATEWAY).max(1)
}

/// Writes the list that `bellwether device import` reads.
#[must_use]
pub fn list(devices: u32) -> String {
    let mut list = "endpoint,class,gateway\n".to_owned();
    for number in 1..=devices {
        let gateway = gateway_of(number, devices).unwrap_or_default();
        list.extend([&name(number), ",", CLASS, ",", &gateway, "\n"]);
    }
    list
}

/// The devices of one process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// Number of the first.
    pub first: u32,
    /// From one to the next.
    pub step: u32,
    /// How many.
    pub count: u32,
}

impl Share {
    /// Gives the numbers of all.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..self.count).map(move |at| self.first + at * self.step)
    }

    /// Gives the place of a number among them.
    #[must_use]
    pub fn place(self, number: u32) -> usize {
        usize::try_from(number.saturating_sub(self.first) / self.step.max(1)).unwrap_or(usize::MAX)
    }
}

/// Deals the devices 1 to `devices` to processes in turn, as cards are: a campaign offers in the order of names, and so all
/// processes are at work at the same time.
#[must_use]
pub fn deal(devices: u32) -> Vec<Share> {
    let step = devices.div_ceil(DEVICES_PER_PROCESS_MAX);
    (1..=step).map(|first| Share { first, step, count: (devices + step - first) / step }).collect()
}

/// The class of all.
pub const CLASS: &str = "node";
/// What the campaign brings.
pub const TARGET: &str = "1.2.0";
/// What most run at first.
pub const PREVIOUS: &str = "1.1.0";
const OLDEST: &str = "1.0.0";
/// One in ten: a fleet has a tail that missed the last campaign.
const OLDEST_EVERY: u32 = 10;
const DIRECT_EVERY: u32 = 5;
/// Half of what a server allows a gateway.
const DEVICES_PER_GATEWAY: u32 = 1_000;
/// A small sensor's whole program, so that what a device costs is not hidden behind what its image costs.
const IMAGE_BYTES: usize = 8 * 1024;
/// What a version adds: a small function, which no delta can spare.
const NEW_BYTES: usize = 600;
/// Room for image and patch together.
pub const SLOT_BYTES: u32 = 24 * 1024;
/// Most devices of this demo: at a thread, 180 KiB of memory and 200 KiB of disk each they take 1.8 GB and 2 GB.
pub const DEVICES_MAX: u32 = 10_000;
/// Devices of one process: with 13 open files each, two sockets among them, it stays below the 4,096 that Linux allows without being asked.
const DEVICES_PER_PROCESS_MAX: u32 = 310;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_dealt_once_and_no_process_gets_too_many() {
        for devices in [25, 310, 311, 1_000, 5_000, DEVICES_MAX] {
            let dealt = deal(devices);
            let mut all: Vec<u32> = dealt.iter().flat_map(|share| share.numbers()).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(1..=devices), "{devices}");
            assert!(dealt.iter().all(|share| share.count <= DEVICES_PER_PROCESS_MAX));
            let placed =
                |share: &Share| share.numbers().map(|number| share.place(number)).eq(0..share.count as usize);
            assert!(dealt.iter().all(placed));
        }
        assert_eq!(deal(5_000).len(), 17);
    }

    #[test]
    fn list_has_a_header_and_a_line_a_device() {
        assert_eq!(
            list(5),
            "endpoint,class,gateway\nnode-1,node,gateway-1\nnode-2,node,gateway-1\nnode-3,node,gateway-1\n\
             node-4,node,gateway-1\nnode-5,node,\n"
        );
    }

    #[test]
    fn four_of_five_are_behind_gateways_which_have_about_a_thousand_each_of_either_version() {
        for (devices, gateways) in [(25, 1), (1_000, 1), (5_000, 4), (DEVICES_MAX, 8)] {
            assert_eq!(super::gateways(devices), gateways);
            for version in [OLDEST, PREVIOUS] {
                let ran = (1..=devices).filter(|number| version_before(*number) == version);
                let (all, direct): (Vec<_>, Vec<_>) =
                    ran.partition(|number| gateway_of(*number, devices).is_some());
                assert!(all.len().abs_diff(4 * direct.len()) <= 5, "{version} of {devices}");
            }
            for gateway in (1..=gateways).map(gateway) {
                let children =
                    (1..=devices).filter(|number| gateway_of(*number, devices).as_ref() == Some(&gateway));
                assert!(children.count() <= 1_000, "{gateway} of {devices}");
            }
        }
    }

    #[test]
    fn images_differ_and_fit_their_slots_together_with_a_full_download() {
        let images = images();
        for (at, (_, image)) in images.iter().enumerate() {
            assert!(images.iter().skip(at + 1).all(|(_, other)| other != image));
            assert!(image.len() * 2 <= SLOT_BYTES as usize);
        }
        let oldest = (1..=100).filter(|number| version_before(*number) == OLDEST).count();
        assert_eq!(oldest, 10);
    }
}
