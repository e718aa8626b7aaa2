//! The usual set-up: a class of meters with two versions and a signed manifest for the second.

use crate::fleet::{Fleet, Manifest};
use crate::images;
use crate::raw_device::RawDevice;

/// A fleet of meters; the devices come one by one.
#[derive(Debug)]
pub struct Meters {
    /// Server, keys, anchors.
    pub fleet: Fleet,
    /// Image of version 1.0, which devices run at first.
    pub old: Vec<u8>,
    /// Image of version 2.0.
    pub new: Vec<u8>,
    /// For version 2.0, sequence number 2.
    pub manifest: Manifest,
}

impl Meters {
    /// Sets everything up; no campaign yet.
    pub fn new() -> Self {
        Self::on(Fleet::start(), IMAGE_BYTES)
    }

    /// Sets everything up on a fleet, with images of about so many bytes.
    pub fn on(fleet: Fleet, bytes: usize) -> Self {
        let old = images::image(1, bytes);
        let new = images::next_version(&old);
        fleet.release("meter", "1.0", &old);
        fleet.release("meter", "2.0", &new);
        let manifest = fleet.manifest(2, &[("meter", "2.0")]);
        Self { fleet, old, new, manifest }
    }

    /// Enrols a meter and switches it on.
    pub fn device(&self, name: &str) -> RawDevice {
        self.fleet.raw(name, "meter", &self.old)
    }

    /// Enrols a meter with a key chain of this length and switches it on.
    pub fn device_of_chain(&self, name: &str, length: u16) -> RawDevice {
        let add = format!("device add {name} --class meter --chain-length {length} --out {name}.unit");
        self.fleet.cli.done(&add);
        let unit = self.fleet.folder().join(format!("{name}.unit"));
        RawDevice::switch_on(self.fleet.server.coaps(), &unit, "meter", images::digest(&self.old))
    }

    /// Publishes the `n`th version and makes its manifest with further words of the command line.
    pub fn version(&self, n: u64, words: &str) -> (Manifest, [u8; 32]) {
        let image = images::image(u32::try_from(n).unwrap_or(u32::MAX), self.new.len());
        let version = format!("{n}.0");
        self.fleet.release("meter", &version, &image);
        (self.fleet.manifest_with(n, &[("meter", &version)], words), images::digest(&image))
    }

    /// Launches the campaign for all meters that are enrolled.
    pub fn launch(&self) -> String {
        self.fleet.launch(&self.manifest, "")
    }

    /// SHA-256 of version 2.0.
    pub fn new_digest(&self) -> [u8; 32] {
        images::digest(&self.new)
    }

    /// Publishes version 3.0 and makes its manifest, sequence number 3.
    pub fn third(&self) -> (Manifest, [u8; 32]) {
        let image = images::next_version(&self.new);
        self.fleet.release("meter", "3.0", &image);
        (self.fleet.manifest(3, &[("meter", "3.0")]), images::digest(&image))
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}

/// Twenty frames and a few more: enough to be stopped in the middle of.
const IMAGE_BYTES: usize = 24_000;
