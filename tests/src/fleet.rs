//! A server with keys, anchors, releases and devices, set up by the command line as a person would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_api::{
    Alarm, Campaign, CampaignDevice, CampaignState, CheckState, Device, DeviceOutcome, FrameCount, NewDevice,
    Readiness,
};
use bellwether_manifests::envelope::Envelope;
use tempfile::TempDir;

use crate::cli::Cli;
use crate::gateway::Gateway;
use crate::images;
use crate::raw_device::RawDevice;
use crate::server::Server;
use crate::wait;

/// Everything that a campaign needs.
#[derive(Debug)]
pub struct Fleet {
    /// The server.
    pub server: Server,
    /// The command line.
    pub cli: Cli,
    folder: TempDir,
}

/// A signed manifest in a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file.
    pub path: PathBuf,
    /// Its digest, its name everywhere.
    pub digest: [u8; 32],
}

impl Fleet {
    /// Starts a server and gives it anchors.
    ///
    /// # Panics
    ///
    /// Where a step fails.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further flags and gives it anchors.
    ///
    /// # Panics
    ///
    /// Where a step fails.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::start_in(Self::new_folder(), flags)
    }

    /// Makes a folder for everything.
    ///
    /// # Panics
    ///
    /// Where it can't be made.
    pub fn new_folder() -> TempDir {
        tempfile::Builder::new().prefix("bellwether-test-").tempdir().expect("a folder")
    }

    /// Keeps the folder of everything from now on, and gives its path.
    pub fn keep_folder(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Starts a server in a folder with further flags and gives it anchors.
    ///
    /// # Panics
    ///
    /// Where a step fails.
    pub fn start_in(folder: TempDir, flags: &[&str]) -> Self {
        let server = Server::start_with(folder.path(), flags);
        let cli = Cli::new(folder.path(), server.data());
        let fleet = Self { server, cli, folder };
        fleet.cli.done("keys new root.key");
        fleet.cli.done("keys new author.key");
        fleet.cli.done("keys distributor --out distributor.pub");
        fleet.cli.done(&format!(
            "keys anchors --vendor {VENDOR} --root root.key --author author.pub --distributor distributor.pub \
             --out anchors.cose"
        ));
        fleet.cli.done("keys trust anchors.cose");
        if flags.contains(&"--mqtt-listen") {
            fleet.await_broker();
        }
        fleet
    }

    /// Starts a server on the data that is in a folder already, with the author's key beside it.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    pub fn resume(folder: TempDir, flags: &[&str]) -> Self {
        let server = Server::start_with(folder.path(), flags);
        let cli = Cli::new(folder.path(), server.data());
        Self { server, cli, folder }
    }

    /// Waits until the server hears the commands that come over its broker: none before would be answered.
    ///
    /// # Panics
    ///
    /// Where it does not get in.
    pub fn await_broker(&self) {
        let connected = || {
            let checks = self.server.http().read::<Readiness>("/health/ready").checks;
            checks.iter().any(|one| one.name == "broker" && one.state == CheckState::Ok).then_some(())
        };
        wait::until("the broker", wait::LONG, connected, || self.server.tail());
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    ///
    /// # Panics
    ///
    /// Where it can't be written.
    pub fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder().join(name), content).expect("written");
    }

    /// Publishes an image.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn release(&self, class: &str, version: &str, image: &[u8]) {
        let name = format!("{class}-{version}.bin");
        self.put(&name, image);
        self.cli.done(&format!("release publish {name} --class {class} --version {version}"));
    }

    /// Enrols a device and gives the path of its unit file.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn device(&self, name: &str, class: &str) -> PathBuf {
        self.cli.done(&format!("device add {name} --class {class} --out {name}.unit"));
        self.folder().join(format!("{name}.unit"))
    }

    /// Enrols a device that sends its requests and reports to a gateway, and gives the path of its unit file.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn device_behind(&self, name: &str, class: &str, gateway: &str) -> PathBuf {
        self.cli.done(&format!("device add {name} --class {class} --gateway {gateway} --out {name}.unit"));
        self.folder().join(format!("{name}.unit"))
    }

    /// Enrols a gateway; it stays off.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn gateway(&self, name: &str) -> Gateway {
        Gateway::enrol(self, name)
    }

    /// How many frames of each resource the server sent to whom, by the DTLS identity that it sent them to.
    pub fn frames_sent(&self) -> Vec<FrameCount> {
        self.server.http().read("/v1/frames")
    }

    /// Enrols a device and switches it on as a [`RawDevice`] that runs an image.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn raw(&self, name: &str, class: &str, image: &[u8]) -> RawDevice {
        let unit = self.device(name, class);
        RawDevice::switch_on(self.server.coaps(), &unit, class, images::digest(image))
    }

    /// Makes and signs a manifest: class, published version.
    ///
    /// # Panics
    ///
    /// Where the author's tool refuses.
    pub fn manifest(&self, sequence: u64, images: &[(&str, &str)]) -> Manifest {
        self.manifest_with(sequence, images, "")
    }

    /// Makes and signs a manifest with further words of the command line.
    ///
    /// # Panics
    ///
    /// Where the author's tool refuses.
    pub fn manifest_with(&self, sequence: u64, images: &[(&str, &str)], words: &str) -> Manifest {
        let image =
            |(class, version): &(&str, &str)| format!(" --image {class}={class}-{version}.bin:{version}");
        let images: String = images.iter().map(image).collect();
        let (draft, signed) = (format!("draft-{sequence}.suit"), format!("signed-{sequence}.suit"));
        self.cli.done(&format!(
            "manifest make --vendor {VENDOR} --sequence {sequence}{images} --out {draft} {words}"
        ));
        self.cli.done(&format!("manifest sign {draft} --key author.key --out {signed}"));
        let path = self.folder().join(signed);
        let envelope = std::fs::read(&path).expect("the envelope");
        let digest = *Envelope::parse(&envelope).expect("an envelope").digest();
        Manifest { path, digest }
    }

    /// Launches a campaign with further words of the command line.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn launch(&self, manifest: &Manifest, words: &str) -> String {
        let path = manifest.path.display();
        self.cli.json::<Campaign>(&format!("campaign launch --manifest {path} {words}")).id
    }

    /// Shows a campaign.
    pub fn campaign(&self, id: &str) -> Campaign {
        self.server.http().read(&format!("/v1/campaigns/{id}"))
    }

    /// Shows how far a device is in a campaign.
    ///
    /// # Panics
    ///
    /// Where it is none of its devices.
    pub fn track(&self, campaign: &str, device: &str) -> CampaignDevice {
        let devices = self.campaign(campaign).devices;
        devices.into_iter().find(|one| one.endpoint == device).expect("a device of the campaign")
    }

    /// Waits until a device is that far.
    ///
    /// # Panics
    ///
    /// Where it does not come there.
    pub fn wait_outcome(&self, campaign: &str, device: &str, outcome: DeviceOutcome) -> CampaignDevice {
        let look = || Some(self.track(campaign, device)).filter(|track| track.outcome == outcome);
        let what = format!("{device} that is {outcome:?}");
        wait::until(&what, PATIENCE, look, || self.story(campaign, device))
    }

    /// Waits until a campaign stands so.
    ///
    /// # Panics
    ///
    /// Where it does not come there.
    pub fn wait_state(&self, campaign: &str, state: CampaignState) -> Campaign {
        let look = || Some(self.campaign(campaign)).filter(|one| one.state == state);
        let what = format!("campaign {campaign} that is {state:?}");
        let tell = || format!("{:#?}\n{}", self.campaign(campaign), self.server.tail());
        wait::until(&what, PATIENCE, look, tell)
    }

    /// Shows a device.
    pub fn show(&self, device: &str) -> Device {
        self.server.http().read(&format!("/v1/devices/{device}"))
    }

    /// Waits until the server has read what a device tells of itself.
    pub fn wait_told(&self, device: &str) {
        let look = || self.show(device).told.then_some(());
        wait::until(&format!("what {device} tells"), wait::LONG, look, || self.server.tail());
    }

    /// Lists the alarms about a device.
    pub fn alarms(&self, device: &str) -> Vec<Alarm> {
        let alarms: Vec<Alarm> = self.server.http().read("/v1/alarms");
        alarms.into_iter().filter(|alarm| alarm.device == device).collect()
    }

    /// The kinds of the alarms about a device.
    pub fn alarm_kinds(&self, device: &str) -> Vec<String> {
        self.alarms(device).into_iter().map(|alarm| alarm.kind).collect()
    }

    /// Enrols by HTTP and gives the bytes of the unit file.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn enrol(&self, name: &str, class: &str) -> Vec<u8> {
        let body = serde_json::json!({"endpoint": name, "class": class});
        let new: NewDevice = self.server.http().post("/v1/devices", &body).json();
        hex::decode(new.unit).expect("hexadecimal")
    }

    /// Cuts the server's power and gives it back.
    pub fn kill_and_restart(&mut self) {
        self.server.kill9();
        self.server.restart();
    }

    /// What is known of a device, for failures.
    pub fn story(&self, campaign: &str, device: &str) -> String {
        let (campaign, device) = (self.campaign(campaign), self.show(device));
        let path = format!("/v1/devices/{}/explain", device.endpoint);
        let explained = self.server.http().get(&path).body;
        format!("{campaign:#?}\n{device:#?}\n{explained}\n{}", self.server.tail())
    }
}

/// The vendor of all tests.
pub const VENDOR: &str = "example.com";

/// What an update takes at the most, with debug binaries on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);
