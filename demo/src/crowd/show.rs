//! The campaign of the twenty-four, step by step.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bellwether_api::{Alarm, Campaign, Device as Known, Manifest};

use super::cast::{self, CLASSES, Fate, GATEWAYS, METERS, Member, SENSORS};
use super::ending::Ending;
use crate::console::Console;
use crate::device::{Device, Status};
use crate::folder::DataFolder;
use crate::gateway::{ACK_TIMEOUT_MS, Gateway};
use crate::line::Line;
use crate::mqtt;
use crate::process::{Process, ProcessError};
use crate::row::{Got, Image};
use crate::setting::{Setting, VENDOR, free_port, make_keys};
use crate::walk::{STEP, UPDATE};

/// What stays up when all is shown.
#[derive(Debug)]
pub struct Shown {
    /// How each device ended.
    pub endings: Vec<Ending>,
    _devices: BTreeMap<String, Device>,
    _gateways: Vec<Gateway>,
    _line: Line,
    // Last, so that it outlives who calls it.
    _server: Process,
}

/// The way through.
struct Show<'a> {
    setting: &'a Setting<'a>,
    console: &'a Console,
    folder: &'a DataFolder,
    members: Vec<Member>,
    /// The version that the meters get.
    meters_target: String,
    /// Those that are on.
    on: BTreeMap<String, Device>,
    /// The last word of those that are off, and key indices of those that slept.
    last: BTreeMap<String, Status>,
    asleep: BTreeMap<String, u16>,
    /// What they got until they lost their power: a device forgets its counts then.
    traffic_before: BTreeMap<String, (u64, u64)>,
}

/// Goes the whole way; the setting has the images.
///
/// # Errors
///
/// [`ProcessError`] names the step that failed, and the log that says more.
pub fn show(setting: &Setting<'_>) -> Result<Shown, ProcessError> {
    let target = setting.firmware.target().0.clone();
    let members = cast::cast([setting.older(), &setting.firmware.previous().0, &target]);
    let mut show = Show {
        setting,
        console: setting.console,
        folder: setting.folder,
        members,
        meters_target: target,
        on: BTreeMap::new(),
        last: BTreeMap::new(),
        asleep: BTreeMap::new(),
        traffic_before: BTreeMap::new(),
    };
    show.go()
}

impl Show<'_> {
    fn go(&mut self) -> Result<Shown, ProcessError> {
        let mut line = Line::lay(self.console, &self.folder.log("uplink"))?;
        let server = self.setting.start_server(&mut line, None, AWAKE_OF_SERVER)?;
        make_keys(self.console)?;
        self.publish_releases()?;
        let gateways = self.make_devices()?;
        self.make_manifest()?;
        self.switch_all_on()?;
        self.wait_for_sleep()?;
        let id = self.launch()?;
        self.look_at_sleepers()?;
        self.befall()?;
        self.wait_for_ends()?;
        self.look_at_sleepers()?;
        self.wait_for_sleepers()?;
        let alarms = self.switch_copies_on()?;
        let campaign = self.end(&id)?;
        let endings = self.endings(&campaign, &alarms)?;
        let devices = std::mem::take(&mut self.on);
        Ok(Shown { endings, _devices: devices, _gateways: gateways, _line: line, _server: server })
    }

    fn target(&self, class: &str) -> &str {
        cast::target_of(class, &self.meters_target)
    }

    fn originals(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_original())
    }

    fn with(&self, fate: Fate) -> Vec<String> {
        self.members.iter().filter(|member| member.fate == fate).map(|member| member.name.clone()).collect()
    }

    /// The versions of the meters that they run, so that deltas can be made; of the other classes the new one alone.
    fn publish_releases(&self) -> Result<(), ProcessError> {
        for (version, _) in &self.setting.firmware.versions {
            self.setting.publish(METERS, version, &cast::image(METERS, version))?;
        }
        for class in CLASSES.into_iter().filter(|class| *class != METERS) {
            let version = self.target(class);
            self.setting.publish(class, version, &cast::image(class, version))?;
        }
        Ok(())
    }

    /// Makes the gateways, starts them, and makes the devices. One device is typed, the others go the same way.
    fn make_devices(&self) -> Result<Vec<Gateway>, ProcessError> {
        let mut addresses = Vec::new();
        for name in GATEWAYS {
            let at = free_port()?;
            self.console.run(&format!(
                "bellwether gateway add {name} --uri coaps://{at} --out devices/{name}.unit"
            ))?;
            addresses.push((name, at));
        }
        for (number, member) in self.originals().enumerate() {
            let lines = lines_that_make(member);
            for line in &lines {
                if number == 0 {
                    self.console.run(line)?;
                } else {
                    self.console.run_silently(line)?;
                }
            }
            // The unit file's secrets are in the device now, and nowhere else in clear.
            let unit = self.path(&member.name, "unit");
            fs::remove_file(&unit).map_err(io_failed(&unit))?;
        }
        println!("  … and the same for {} more devices.", self.originals().count() - 1);
        let start = |(name, at)| Gateway::start(self.console, self.folder, name, at, ACK_TIMEOUT_MS);
        addresses.into_iter().map(start).collect()
    }

    fn make_manifest(&self) -> Result<(), ProcessError> {
        let image = |class: &&str| {
            let version = self.target(class);
            format!(" --image {class}={}:{version}", cast::image(class, version))
        };
        let images: String = CLASSES.iter().map(image).collect();
        self.console.run(&format!(
            "bellwether manifest make --vendor {VENDOR} --sequence 2{images} --out fleet.suit"
        ))?;
        self.console
            .run("bellwether manifest sign fleet.suit --key keys/author.key --out fleet.signed.suit")
            .map(drop)
    }

    fn switch_all_on(&mut self) -> Result<(), ProcessError> {
        let originals: Vec<Member> = self.originals().cloned().collect();
        for member in &originals {
            let halt = member.fate.halts_at().map(|point| format!(" --halt-at {point}")).unwrap_or_default();
            let sleeps = if member.fate == Fate::Sleeps { QUEUE_MODE } else { "" };
            self.switch_on(&member.name, &format!("{halt}{sleeps}"))?;
        }
        for member in &originals {
            self.wait(&member.name, "its registration", |it| it.registered)?;
        }
        println!("  {} devices are registered.", originals.len());
        Ok(())
    }

    fn switch_on(&mut self, name: &str, more: &str) -> Result<(), ProcessError> {
        let device = Device::switch_on(self.console, self.folder.path(), &self.folder.log(name), name, more)?;
        self.on.insert(name.to_owned(), device);
        Ok(())
    }

    fn wait(
        &mut self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status, ProcessError> {
        let device = self
            .on
            .get_mut(name)
            .ok_or_else(|| ProcessError::Failed { command: name.to_owned(), said: "it is off".to_owned() })?;
        device.wait(what, UPDATE, wanted)
    }

    /// A device that sleeps hears nothing and sends nothing, and keeps its session.
    fn wait_for_sleep(&mut self) -> Result<(), ProcessError> {
        for name in self.with(Fate::Sleeps) {
            self.wait(&name, "its sleep", Status::is_asleep)?;
            println!("  {name} sleeps now (LwM2M queue mode): its radio is off, and it keeps its session.");
        }
        Ok(())
    }

    /// Looks at those that sleep while the campaign goes on: how the server holds them then.
    fn look_at_sleepers(&mut self) -> Result<(), ProcessError> {
        for name in self.with(Fate::Sleeps) {
            let known: Known = self.console.ask(&format!("bellwether --json device show {name}"))?;
            let asleep = known.queue_mode.as_ref().is_some_and(|queue| queue.asleep);
            // It may have woken in its own time on a slow machine.
            if asleep && self.wait(&name, "its status", |_| true)?.is_asleep() {
                println!("  {name} sleeps; the server knows, and holds it at key index {}.", known.index);
                self.asleep.insert(name, known.index);
            }
        }
        Ok(())
    }

    /// Launches the campaign by MQTT and gives its name.
    fn launch(&self) -> Result<String, ProcessError> {
        let manifest: Manifest =
            self.console.type_and_ask("bellwether --json manifest publish fleet.signed.suit")?;
        let body = serde_json::json!({
            "request_id": "first-campaign",
            "manifest": manifest.digest,
            "targets": { "classes": CLASSES },
        });
        let campaign: Campaign = mqtt::launch(self.console, self.folder.path(), &body)?;
        println!("  campaign {} was launched", campaign.id);
        Ok(campaign.id)
    }

    /// Lets those end that halt, and does to them what is to befall them.
    fn befall(&mut self) -> Result<(), ProcessError> {
        let halting: Vec<Member> =
            self.originals().filter(|member| member.fate.halts_at().is_some()).cloned().collect();
        for Member { name, fate, class, .. } in halting {
            let Some(mut device) = self.on.remove(&name) else { continue };
            if let Some(status) = device.wait_end(UPDATE)? {
                let traffic = status.traffic();
                let both =
                    (traffic.bytes_in + traffic.handshake_in, traffic.bytes_out + traffic.handshake_out);
                self.traffic_before.insert(name.clone(), both);
                self.last.insert(name.clone(), status);
            }
            println!("  {name} is off ({}).", fate.text());
            match fate {
                Fate::BatteryIsEmpty => continue,
                Fate::IsCopied => self.copy(&name)?,
                Fate::SlotIsDamaged => {
                    let image = self.setting.content(&cast::image(class, self.target(class)))?;
                    damage(&self.path(&name, "flash"), &image)?;
                }
                _ => {}
            }
            self.switch_on(&name, "")?;
        }
        Ok(())
    }

    fn copy(&self, name: &str) -> Result<(), ProcessError> {
        println!("$ cp devices/{name}.flash devices/{name}′.flash");
        let (from, to) = (self.path(name, "flash"), self.path(&format!("{name}′"), "flash"));
        fs::copy(&from, &to).map(drop).map_err(io_failed(&from))
    }

    fn wait_for_ends(&mut self) -> Result<(), ProcessError> {
        let on: Vec<Member> =
            self.originals().filter(|one| self.on.contains_key(&one.name)).cloned().collect();
        for Member { name, fate, .. } in on {
            match fate {
                Fate::Sleeps => {}
                Fate::IsCurrent => drop(self.wait(&name, "its answer", Status::has_nothing_to_do)?),
                Fate::FailsSelfTest => {
                    let failed = |it: &Status| it.result > 1 && it.reports_waiting == 0;
                    drop(self.wait(&name, "the receipt of its failure", failed)?);
                }
                _ => {
                    self.wait(&name, "the receipt of its report", |it| it.updated)?;
                    self.wait(&name, "its registration after the update", |it| it.registered)?;
                }
            }
        }
        Ok(())
    }

    /// They wake in their own time, to renew their registration.
    fn wait_for_sleepers(&mut self) -> Result<(), ProcessError> {
        for name in self.with(Fate::Sleeps) {
            let status = self.wait(&name, "the receipt of its report", |it| it.updated)?;
            let missed = status.queue_mode.map_or(0, |sleep| sleep.missed);
            println!(
                "  {name} woke to renew its registration, and was served; {missed} datagrams came in its sleep."
            );
        }
        Ok(())
    }

    /// Switches the copies on, and off again once the server has refused them; gives the alarms.
    fn switch_copies_on(&mut self) -> Result<Vec<Alarm>, ProcessError> {
        let copies: Vec<_> = self.members.iter().filter(|member| !member.is_original()).cloned().collect();
        for Member { name, fate, .. } in &copies {
            println!("  {name}, which {}, is switched on:", fate.text());
            self.switch_on(name, "")?;
            let status = self.wait(name, "its refusal", Status::refused)?;
            self.last.insert(name.clone(), status);
            if let Some(device) = self.on.remove(name) {
                device.switch_off();
            }
        }
        let log = self.folder.log("server");
        self.console.stop().wait_until("an alarm for each copy", STEP, &log, || {
            let alarms: Vec<Alarm> = self.console.ask("bellwether --json alarm list")?;
            Ok((alarms.len() >= copies.len()).then_some(alarms))
        })
    }

    /// Ends the campaign, which would wait for the device without power, and gives how it stood.
    fn end(&self, id: &str) -> Result<Campaign, ProcessError> {
        let name = self.with(Fate::BatteryIsEmpty).join(", ");
        println!("  The campaign would wait for {name}. It is ended:");
        self.console.run(&format!("bellwether campaign cancel {id} --why battery"))?;
        self.console.ask_whatever(&format!("bellwether --json campaign watch {id}"))
    }

    fn endings(&mut self, campaign: &Campaign, alarms: &[Alarm]) -> Result<Vec<Ending>, ProcessError> {
        let members = self.members.clone();
        members.into_iter().map(|member| self.ending(member, campaign, alarms)).collect()
    }

    fn ending(
        &mut self,
        member: Member,
        campaign: &Campaign,
        alarms: &[Alarm],
    ) -> Result<Ending, ProcessError> {
        let name = member.name.clone();
        let status = if self.on.contains_key(&name) {
            self.wait(&name, "its status", |_| true)?
        } else {
            self.last.get(&name).cloned().ok_or_else(|| ProcessError::Failed {
                command: name.clone(),
                said: "it left no word of itself".to_owned(),
            })?
        };
        let shown = campaign.devices.iter().find(|one| one.endpoint == name).cloned();
        let given = shown.as_ref().and_then(|shown| shown.got.as_ref()).map(given);
        let of_copy = status.got.as_ref().map(|grant| Got::Full { bytes: grant.content_bytes });
        let now = status.traffic();
        let is_on = self.on.contains_key(&name);
        let before = self.traffic_before.get(&name).copied().filter(|_| is_on).unwrap_or_default();
        let bytes =
            (before.0 + now.bytes_in + now.handshake_in, before.1 + now.bytes_out + now.handshake_out);
        let alarmed = match member.fate {
            Fate::IsCopyOf(original) => original,
            _ => name.as_str(),
        };
        let target = cast::image(member.class, self.target(member.class));
        Ok(Ending {
            ran: self.setting.image_of(&member.image())?,
            target: self.setting.image_of(&target)?,
            runs: self.setting.image(&status.running.digest),
            got: given.or(of_copy.filter(|_| !member.is_original())),
            bytes,
            bytes_since: now.bytes_in,
            shown,
            is_alarmed: alarms.iter().any(|alarm| alarm.device == alarmed),
            index_asleep: self.asleep.get(&name).copied(),
            status,
            member,
        })
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.path().join(format!("devices/{name}.{extension}"))
    }
}

/// The lines that enrol a device and make its flash.
fn lines_that_make(member: &Member) -> [String; 2] {
    let Member { name, class, version, gateway, .. } = member;
    let behind = gateway.map(|gateway| format!(" --gateway {gateway}")).unwrap_or_default();
    let patches = if *class == SENSORS { " --no-patch" } else { "" };
    [
        format!("bellwether device add {name} --class {class}{behind} --out devices/{name}.unit"),
        format!(
            "bellwether-agent flash --unit devices/{name}.unit --vendor {VENDOR} --class {class} \
             --image {} --version {version} --kind {}{patches} --out devices/{name}.flash",
            member.image(),
            member.kind()
        ),
    ]
}

/// What the server says that it gave a device.
fn given(got: &bellwether_api::Got) -> Got {
    match got {
        bellwether_api::Got::Full { bytes } => Got::Full { bytes: *bytes },
        bellwether_api::Got::Delta { base, bytes } => {
            let base = Image { version: base.clone(), digest: String::new() };
            Got::Delta { base, bytes: *bytes, of: None }
        }
    }
}

/// Flips bytes of a new image where it stands in a flash.
fn damage(flash: &Path, image: &[u8]) -> Result<(), ProcessError> {
    let bytes = fs::read(flash).map_err(io_failed(flash))?;
    let begin = image.get(..SOUGHT_BYTES).unwrap_or(image);
    let at = bytes.windows(begin.len()).position(|window| window == begin);
    let at = at.ok_or_else(|| ProcessError::Failed {
        command: format!("looking for the new image in {}", flash.display()),
        said: "it is not there".to_owned(),
    })?;
    println!("  {} bytes of it are flipped in {}", begin.len(), flash.display());
    let flipped: Vec<u8> = begin.iter().map(|byte| !byte).collect();
    let file = OpenOptions::new().write(true).open(flash).map_err(io_failed(flash))?;
    file.write_all_at(&flipped, at as u64).map_err(io_failed(flash))
}

fn io_failed(path: &Path) -> impl Fn(std::io::Error) -> ProcessError + '_ {
    |source| ProcessError::Io { program: path.display().to_string(), source }
}

/// Seconds for which the server takes a device in queue mode for awake: less than the device's own window, so that nothing
/// is under way when it closes.
const AWAKE_OF_SERVER: &str = " --queue-mode-awake-s 3";

/// A device that listens for a few seconds after each exchange, and is heard of every half minute.
const QUEUE_MODE: &str = " --queue-mode --awake-s 6 --lifetime-s 60";

/// Bytes by which an image is found in a flash.
const SOUGHT_BYTES: usize = 64;
