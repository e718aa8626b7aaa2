//! Meters behind a gateway, which reaches its server over a line that can be cut.

use bellwether_api::{DeviceOutcome, FrameCount};

use crate::agent::Agent;
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::meters::Meters;
use crate::raw_device::{Identity, RawDevice};
use crate::uplink::Uplink;
use crate::{images, stored, wait};

/// A gateway with its line; devices come one by one.
#[derive(Debug)]
pub struct Site {
    /// The server's side, with the usual releases and manifest.
    pub meters: Meters,
    /// The gateway; it is on.
    pub gateway: Gateway,
    /// What devices and gateway reach the server over.
    pub uplink: Uplink,
}

impl Site {
    /// Sets everything up with images of 24,000 bytes.
    pub fn new() -> Self {
        Self::with(24_000, &[])
    }

    /// Sets everything up with images of about so many bytes and further flags of the gateway.
    pub fn with(bytes: usize, flags: &[&str]) -> Self {
        Self::on(bytes, |fleet| fleet.gateway(GATEWAY).with_flags(flags))
    }

    /// Sets everything up with a gateway of which devices are told that it is at `uri`.
    pub fn called(uri: &str) -> Self {
        Self::on(24_000, |fleet| Gateway::enrol_behind(fleet, GATEWAY, uri))
    }

    /// Sets everything up with further flags of the server.
    pub fn of_server(bytes: usize, flags: &[&str]) -> Self {
        let uplink = Uplink::open();
        let uri = uplink.uri();
        let flags: Vec<&str> = ["--public-uri", &uri].into_iter().chain(flags.iter().copied()).collect();
        let fleet = Fleet::start_with(&flags);
        Self::laid(uplink, fleet, bytes, |fleet| fleet.gateway(GATEWAY))
    }

    fn on(bytes: usize, gateway: impl FnOnce(&Fleet) -> Gateway) -> Self {
        let uplink = Uplink::open();
        let fleet = Fleet::start_with(&["--public-uri", &uplink.uri()]);
        Self::laid(uplink, fleet, bytes, gateway)
    }

    fn laid(uplink: Uplink, fleet: Fleet, bytes: usize, gateway: impl FnOnce(&Fleet) -> Gateway) -> Self {
        uplink.lead_to(fleet.server.coaps());
        let meters = Meters::on(fleet, bytes);
        let mut gateway = gateway(&meters.fleet);
        gateway.start();
        Self { meters, gateway, uplink }
    }

    /// Enrols a meter behind the gateway; it takes full images and is off.
    pub fn agent(&self, name: &str) -> Agent {
        Agent::make_behind_without_patches(&self.meters.fleet, name, "meter", "1.0", GATEWAY)
    }

    /// Enrols a meter behind the gateway that the server then knows, and that is switched off again.
    ///
    /// # Panics
    ///
    /// Where it does not come to be known.
    pub fn known_agent(&self, name: &str) -> Agent {
        let mut meter = self.agent(name);
        meter.switch_on(&[]);
        meter.wait_status("a registration", |status| status["registered"] == true);
        self.meters.fleet.wait_told(name);
        meter.kill9();
        meter.forget_status();
        meter
    }

    /// Waits until the gateway has a bundle with a grant, and all frames of the one resource.
    pub fn wait_prefetched(&self) {
        self.wait_gateway("a bundle with its frames", |status| {
            let bundles = status["bundles"].as_array().map_or(&[][..], Vec::as_slice);
            let granted = bundles.iter().any(|bundle| bundle["grants"].as_u64() > Some(0));
            granted && bundles.iter().all(|bundle| bundle["resources"] == bundle["fetched"])
        });
    }

    /// Waits until the gateway keeps so many reports that the server has not.
    pub fn wait_reports(&self, count: u64) {
        self.wait_gateway("reports that are kept", |status| status["outbox"]["reports"] == count);
    }

    /// Enrols a meter behind the gateway and gives what the factory put into it.
    pub fn identity(&self, name: &str) -> Identity {
        let unit = self.meters.fleet.device_behind(name, "meter", GATEWAY);
        Identity::from_factory(&unit, "meter", images::digest(&self.meters.old))
    }

    /// Connects a meter to the gateway.
    pub fn connect(&self, identity: Identity) -> RawDevice {
        RawDevice::behind(self.gateway.coaps(), identity)
    }

    /// A device that was on must be updated, and known as such without an alarm.
    ///
    /// # Panics
    ///
    /// Where it is not.
    pub fn ends_well(&self, agent: &mut Agent, campaign: &str) {
        let status = agent.wait_end();
        assert!(status.success(), "{}\n{}\n{}", agent.name, agent.tail(), self.gateway.tail());
        let fleet = &self.meters.fleet;
        fleet.wait_outcome(campaign, &agent.name, DeviceOutcome::Installed);
        assert_eq!(agent.status()["running"]["version"], "2.0");
        assert_eq!(fleet.show(&agent.name).index, 1);
        assert!(fleet.alarms(&agent.name).is_empty());
    }

    /// The one resource of which the server sent frames to the gateway.
    ///
    /// # Panics
    ///
    /// Where there is none, or more.
    pub fn sent(&self) -> FrameCount {
        let mut sent = self.meters.fleet.frames_sent();
        sent.retain(|one| one.sent.contains_key(GATEWAY));
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Waits until the gateway's status is so.
    pub fn wait_gateway(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        self.gateway.wait_status(what, is_so);
    }

    /// All bytes of all files in the gateway's folder, by file.
    ///
    /// # Panics
    ///
    /// Where it can't be read.
    pub fn stored(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        stored::files(self.gateway.data())
    }

    /// Waits until so many frames left the server for the gateway.
    pub fn wait_sent(&self, at_least: u64) {
        let look = || {
            let sent = self.meters.fleet.frames_sent();
            let counts = sent.iter().filter_map(|one| one.sent.get(GATEWAY));
            (counts.sum::<u64>() >= at_least).then_some(())
        };
        wait::until("frames to the gateway", wait::LONG, look, || self.gateway.tail());
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// Name of the gateway.
pub const GATEWAY: &str = "gateway-1";
