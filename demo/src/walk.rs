//! The main job, step by step: keys, releases, devices, one manifest, one campaign, and a copy of a device.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_api::{Alarm, Campaign, DeviceOutcome};
use sha2::{Digest, Sha256};

use crate::console::{Console, SERVER_DATA};
use crate::device::{Device, Status};
use crate::firmware::Firmware;
use crate::folder::DataFolder;
use crate::outcome::{Expected, Image, Outcome, Row};
use crate::process::{Process, ProcessError};

/// What stays up when all is shown.
#[derive(Debug)]
pub struct Stage {
    /// What came about.
    pub outcome: Outcome,
    /// What had to.
    pub expected: Expected,
    /// The alarms, for people.
    pub alarms: Vec<Alarm>,
    _lamp: Device,
    _meter: Device,
    // Last, so that devices are switched off before it.
    _server: Process,
}

/// The way through the main job.
#[derive(Debug)]
pub struct Walk<'a> {
    console: &'a Console,
    folder: &'a DataFolder,
    firmware: &'a Firmware,
    /// Images by digest, so that what a device says it runs has a version.
    versions: HashMap<String, String>,
}

/// The devices' statuses before the campaign.
struct Before {
    lamp: Status,
    meter: Status,
}

/// The devices' statuses after it.
struct After {
    lamp: Status,
    meter: Status,
    copy: Status,
    alarms: Vec<Alarm>,
    campaign: Campaign,
}

impl<'a> Walk<'a> {
    /// Prepares the images; `lamps` is the folder of the lamp's programs.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Io`] for an image that can't be copied.
    pub fn new(
        console: &'a Console,
        folder: &'a DataFolder,
        firmware: &'a Firmware,
        lamps: &Path,
    ) -> Result<Self, ProcessError> {
        let mut walk = Self { console, folder, firmware, versions: HashMap::new() };
        walk.take_image(&lamps.join("lamp-v1"), &lamp_image(LAMP_BEFORE), LAMP_BEFORE)?;
        walk.take_image(&lamps.join("lamp-v2"), &lamp_image(LAMP), LAMP)?;
        for (version, path) in &firmware.versions {
            walk.take_image(path, &meter_image(version), version)?;
        }
        Ok(walk)
    }

    fn take_image(&mut self, from: &Path, to: &str, version: &str) -> Result<(), ProcessError> {
        let failed = |source| ProcessError::Io { program: from.display().to_string(), source };
        let content = fs::read(from).map_err(failed)?;
        fs::write(self.folder.path().join(to), &content).map_err(failed)?;
        self.versions.insert(digest(&content), version.to_owned());
        Ok(())
    }

    /// Goes the whole way.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] names the step that failed, and the log that says more.
    pub fn go(&self) -> Result<Stage, ProcessError> {
        let server = self.start_server()?;
        self.make_keys()?;
        self.publish_releases()?;
        self.make_devices()?;
        self.make_manifest()?;

        let mut lamp = self.switch_on("lamp-1", "")?;
        let mut meter = self.switch_on("meter-1", " --halt-at manifest-stored")?;
        let registered = |device: &mut Device| device.wait("its registration", STEP, |it| it.registered);
        let before = Before { lamp: registered(&mut lamp)?, meter: registered(&mut meter)? };
        self.console.run("bellwether campaign launch --manifest fleet.signed.suit")?;
        let halted = meter.wait_end(STEP)?;
        self.copy_meter()?;
        let mut meter = self.switch_on("meter-1", "")?;

        let campaign = self.watch_campaign()?;
        let updated = |device: &mut Device| {
            device.wait("the receipt of its report", STEP, |it| it.updated)?;
            device.wait("its registration after the update", STEP, |it| it.registered)
        };
        let meter_after = updated(&mut meter)?;
        updated(&mut lamp)?;
        let lamp_after = lamp.wait("the word of its new program", STEP, |it| it.says.is_some())?;
        let (copy, alarms) = self.switch_copy_on()?;
        let after = After { lamp: lamp_after, meter: meter_after, copy, alarms, campaign };

        let outcome = self.outcome(&before, halted.as_ref(), &after);
        let alarms = after.alarms;
        Ok(Stage { outcome, expected: self.expected()?, alarms, _lamp: lamp, _meter: meter, _server: server })
    }

    fn start_server(&self) -> Result<Process, ProcessError> {
        let line = format!("bellwether-server --data {SERVER_DATA} --coaps 127.0.0.1:0 --http 127.0.0.1:0");
        let mut server = self.console.start("bellwether-server", &line, &self.folder.log("server"))?;
        let listening = self.folder.path().join(SERVER_DATA).join("listening.json");
        server.wait_until("it listens", STEP, || Ok(listening.exists().then_some(())))?;
        Ok(server)
    }

    fn make_keys(&self) -> Result<(), ProcessError> {
        self.console.run("bellwether keys new keys/root.key")?;
        self.console.run("bellwether keys new keys/author.key")?;
        self.console.run("bellwether keys distributor --out keys/distributor.pub")?;
        self.console.run(&format!(
            "bellwether keys anchors --vendor {VENDOR} --root keys/root.key --author keys/author.pub \
             --distributor keys/distributor.pub --out anchors.cose"
        ))?;
        self.console.run("bellwether keys trust anchors.cose")?;
        Ok(())
    }

    /// The lamp's first version is not published, so that its delta can't be made and it gets the full image.
    fn publish_releases(&self) -> Result<(), ProcessError> {
        self.publish("lamp", LAMP, &lamp_image(LAMP))?;
        for (version, _) in &self.firmware.versions {
            self.publish("meter", version, &meter_image(version))?;
        }
        Ok(())
    }

    fn publish(&self, class: &str, version: &str, image: &str) -> Result<(), ProcessError> {
        let line = format!("bellwether release publish {image} --class {class} --version {version}");
        self.console.run(&line).map(drop)
    }

    fn make_devices(&self) -> Result<(), ProcessError> {
        let (previous, _) = self.firmware.previous();
        let devices = [
            ("lamp", "lamp-1", "linux", LAMP_BEFORE, lamp_image(LAMP_BEFORE)),
            ("meter", "meter-1", "microcontroller", previous, meter_image(previous)),
        ];
        for (class, name, kind, version, image) in devices {
            self.console
                .run(&format!("bellwether device add {name} --class {class} --out devices/{name}.unit"))?;
            self.console.run(&format!(
                "bellwether-agent flash --unit devices/{name}.unit --vendor {VENDOR} --class {class} \
                 --image {image} --version {version} --kind {kind} --out devices/{name}.flash"
            ))?;
        }
        self.forget_units()
    }

    /// The unit files' secrets are in the devices now, and nowhere else in clear.
    fn forget_units(&self) -> Result<(), ProcessError> {
        println!("$ rm devices/*.unit");
        for name in ["lamp-1", "meter-1"] {
            let path = self.folder.path().join(format!("devices/{name}.unit"));
            let failed = |source| ProcessError::Io { program: path.display().to_string(), source };
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(())
    }

    fn make_manifest(&self) -> Result<(), ProcessError> {
        let (target, _) = self.firmware.target();
        self.console.run(&format!(
            "bellwether manifest make --vendor {VENDOR} --sequence 2 --image lamp={}:{LAMP} \
             --image meter={}:{target} --out fleet.suit",
            lamp_image(LAMP),
            meter_image(target)
        ))?;
        self.console
            .run("bellwether manifest sign fleet.suit --key keys/author.key --out fleet.signed.suit")?;
        Ok(())
    }

    fn switch_on(&self, name: &str, more: &str) -> Result<Device, ProcessError> {
        Device::switch_on(self.console, self.folder.path(), &self.folder.log(name), name, more)
    }

    /// Copies the meter's flash while it is without power.
    fn copy_meter(&self) -> Result<(), ProcessError> {
        println!("  meter-1 stored the manifest and lost its power. A copy of its flash, before it asked:");
        println!("$ cp devices/meter-1.flash devices/{COPY}.flash");
        let devices = self.folder.path().join("devices");
        let (from, to) = (devices.join("meter-1.flash"), devices.join(format!("{COPY}.flash")));
        let failed = |source| ProcessError::Io { program: from.display().to_string(), source };
        fs::copy(&from, to).map(drop).map_err(failed)
    }

    fn watch_campaign(&self) -> Result<Campaign, ProcessError> {
        let line = "bellwether campaign watch";
        let status = self.console.watch(line, CAMPAIGN, &self.folder.log("server"))?;
        if !status.success() {
            return Err(ProcessError::Failed {
                command: line.to_owned(),
                said: format!(
                    "not every device was updated; see above and the logs in {}",
                    self.logs().display()
                ),
            });
        }
        self.console.ask("bellwether --json campaign watch")
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// Switches the copy on, and off again once the server has refused it.
    fn switch_copy_on(&self) -> Result<(Status, Vec<Alarm>), ProcessError> {
        println!("  meter-1 runs its update. Its copy, meter-1′, is switched on:");
        let mut copy = self.switch_on(COPY, "")?;
        let status = copy.wait("its refusal", STEP, Status::refused)?;
        let log = self.folder.log("server");
        let alarms = self.console.stop().wait_until("an alarm", STEP, &log, || {
            let alarms: Vec<Alarm> = self.console.ask("bellwether --json alarm list")?;
            Ok((!alarms.is_empty()).then_some(alarms))
        })?;
        Ok((status, alarms))
    }

    fn outcome(&self, before: &Before, halted: Option<&Status>, after: &After) -> Outcome {
        let lamp = Row { said: after.lamp.says.clone(), ..self.row("lamp-1", &before.lamp, &after.lamp) };
        let mut meter = self.row("meter-1", &before.meter, &after.meter);
        // It was switched on twice; both count.
        meter.traffic += halted.unwrap_or(&before.meter).traffic();
        let installed = |device: &&bellwether_api::CampaignDevice| device.outcome == DeviceOutcome::Installed;
        Outcome {
            lamp,
            meter,
            copy: self.row("meter-1′", &after.copy, &after.copy),
            alarms: after.alarms.iter().map(|alarm| (alarm.kind.clone(), alarm.device.clone())).collect(),
            installed: after
                .campaign
                .devices
                .iter()
                .filter(installed)
                .map(|device| device.endpoint.clone())
                .collect(),
        }
    }

    fn row(&self, device: &str, before: &Status, after: &Status) -> Row {
        Row {
            device: device.to_owned(),
            ran: self.image(&before.running.digest),
            asked: after.asked(),
            got: after.got(),
            traffic: after.traffic(),
            runs: self.image(&after.running.digest),
            said: None,
            refused: after.refused(),
            why_not: after.reason.clone(),
        }
    }

    fn image(&self, digest: &str) -> Image {
        let version = self.versions.get(digest).cloned();
        let unknown = || format!("image {}", digest.get(..12).unwrap_or(digest));
        Image { version: version.unwrap_or_else(unknown), digest: digest.to_owned() }
    }

    fn expected(&self) -> Result<Expected, ProcessError> {
        let (target, _) = self.firmware.target();
        let meter = self.content(&meter_image(target))?;
        let before = self.content(&meter_image(&self.firmware.previous().0))?;
        Ok(Expected {
            lamp: self.image(&digest(&self.content(&lamp_image(LAMP))?)),
            lamp_says: format!("lamp firmware {LAMP} shines"),
            meter_before: self.image(&digest(&before)),
            meter: self.image(&digest(&meter)),
            meter_bytes: meter.len() as u64,
            made_up: self.firmware.made_up,
        })
    }

    fn content(&self, image: &str) -> Result<Vec<u8>, ProcessError> {
        let path = self.folder.path().join(image);
        fs::read(&path).map_err(|source| ProcessError::Io { program: path.display().to_string(), source })
    }
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn lamp_image(version: &str) -> String {
    format!("images/lamp-{version}")
}

fn meter_image(version: &str) -> String {
    format!("images/meter-{version}.bin")
}

const VENDOR: &str = "example.com";
const LAMP_BEFORE: &str = "1.0.0";
const LAMP: &str = "2.0.0";
/// File name of meter-1′.
const COPY: &str = "meter-1-prime";

/// A step takes a second; a loaded machine is given twenty.
const STEP: Duration = Duration::from_secs(20);
/// The campaign takes a few seconds; images of several megabytes on a loaded machine take a minute.
const CAMPAIGN: Duration = Duration::from_mins(2);
