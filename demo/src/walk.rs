//! The main job, step by step: one manifest, one campaign by MQTT, a copy of a device, a gateway, and a line that is
//! cut.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bellwether_api::{Alarm, Campaign, Device as Known, FrameCount, Manifest};

use crate::board::{self, Board};
use crate::console::Console;
use crate::device::{Device, Status};
use crate::firmware::Firmware;
use crate::folder::DataFolder;
use crate::mqtt;
use crate::outcome::{Away, End, Expected, ExpectedGot, ExpectedRow, Outcome};
use crate::process::ProcessError;
use crate::row::{Asked, Got, Row, Served};
use crate::setting::{GATEWAY, LAMP, Setting, Site, VALVE_IMAGE, lamp_image, meter_image};

/// What stays up when all is shown.
#[derive(Debug)]
pub struct Stage {
    /// What came about.
    pub outcome: Outcome,
    /// What had to.
    pub expected: Expected,
    /// The alarms, for people.
    pub alarms: Vec<Alarm>,
    _devices: Vec<Device>,
    _board: Option<Board>,
    // Last, so that devices are switched off before it.
    _site: Site,
}

/// The way through the main job.
#[derive(Debug)]
pub struct Walk<'a> {
    setting: &'a Setting<'a>,
    console: &'a Console,
    folder: &'a DataFolder,
    firmware: &'a Firmware,
}

/// The devices that are switched on from the beginning.
struct Fleet {
    lamp: On,
    meter_1: On,
    meter_2: On,
    meter_3: On,
    valve: On,
    /// meter-4's status; it was switched off again.
    meter_4: Status,
}

/// A device that is on, and how it was before the campaign.
struct On {
    device: Device,
    before: Status,
}

/// A device's row is made of these.
struct Seen {
    device: &'static str,
    before: Status,
    after: Status,
}

impl<'a> Walk<'a> {
    /// Goes through what was made.
    #[must_use]
    pub fn new(setting: &'a Setting<'a>) -> Self {
        Self { setting, console: setting.console, folder: setting.folder, firmware: setting.firmware }
    }

    /// Goes the whole way.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] names the step that failed, and the log that says more.
    pub fn go(&self) -> Result<Stage, ProcessError> {
        let mut site = self.setting.make()?;
        let on = || Board::switch_on(self.console, self.folder);
        let mut board = self.setting.has_board.then(on).transpose()?;
        let mut fleet = self.switch_fleet_on(&mut site)?;
        let id = self.launch()?;
        let halted = fleet.meter_1.device.wait_end(STEP)?;
        self.copy_meter()?;
        fleet.meter_1.device = self.switch_on("meter-1", "")?;

        let mut seen = Self::see_updates(&mut fleet)?;
        let (copy, alarms) = self.switch_copy_on()?;
        seen.insert(2, Seen { device: COPY, before: copy.clone(), after: copy });
        let (meter_4, status, away) = self.serve_without_server(&mut site)?;
        seen.insert(5, Seen { device: "meter-4", before: fleet.meter_4, after: status });
        if let Some(board) = &mut board {
            board.wait("receipt for installed", UPDATE)?;
        }
        let campaign = self.watch_campaign(&id)?;

        let frames = self.frames()?;
        let mut rows: Vec<Row> = seen.iter().map(|one| self.row(one, &frames, &away)).collect();
        if let Some(meter) = rows.iter_mut().find(|row| row.device == "meter-1") {
            // It was switched on twice; both count.
            meter.traffic += halted.map(|status| status.traffic()).unwrap_or_default();
        }
        if let Some((board, line)) = board.as_ref().zip(site.board_line.as_mut()) {
            rows.push(board.row(line.count()?)?);
        }
        let listed = alarms.iter().map(|alarm| (alarm.kind.clone(), alarm.device.clone())).collect();
        let outcome = Outcome { rows, alarms: listed, campaign: campaign.devices, frames, away };
        let Fleet { lamp, meter_1, meter_2, meter_3, valve, .. } = fleet;
        let mut devices: Vec<Device> = [lamp, meter_1, meter_2, meter_3, valve].map(|on| on.device).into();
        devices.push(meter_4);
        Ok(Stage {
            outcome,
            expected: self.expected()?,
            alarms,
            _devices: devices,
            _board: board,
            _site: site,
        })
    }

    fn switch_fleet_on(&self, site: &mut Site) -> Result<Fleet, ProcessError> {
        let lamp = self.switch_on("lamp-1", "")?;
        let meter_1 = self.switch_on("meter-1", " --halt-at manifest-stored")?;
        let meter_2 = self.switch_on("meter-2", "")?;
        let meter_3 = self.switch_on("meter-3", "")?;
        let meter_4 = self.switch_on("meter-4", "")?;
        let valve = self.switch_on("valve-1", "")?;
        let registered = |mut device: Device| {
            let before = device.wait("its registration", STEP, |it| it.registered)?;
            Ok(On { device, before })
        };
        let meter_4 = registered(meter_4)?;
        let fleet = Fleet {
            lamp: registered(lamp)?,
            meter_1: registered(meter_1)?,
            meter_2: registered(meter_2)?,
            meter_3: registered(meter_3)?,
            valve: registered(valve)?,
            meter_4: meter_4.before,
        };
        self.wait_told(&["meter-2", "meter-3", "meter-4"])?;
        site.gateway.wait_ready(3)?;
        println!("  The server has read what meter-4 is. It is switched off before the campaign begins.");
        meter_4.device.switch_off();
        Ok(fleet)
    }

    fn switch_on(&self, name: &str, more: &str) -> Result<Device, ProcessError> {
        Device::switch_on(self.console, self.folder.path(), &self.folder.log(name), name, more)
    }

    /// Launches the campaign by MQTT and gives its name.
    fn launch(&self) -> Result<String, ProcessError> {
        let manifest: Manifest =
            self.console.type_and_ask("bellwether --json manifest publish fleet.signed.suit")?;
        let board = self.setting.has_board.then_some(board::CLASS);
        let classes: Vec<&str> = ["lamp", "meter", "valve"].into_iter().chain(board).collect();
        let body = serde_json::json!({
            "request_id": "first-campaign",
            "manifest": manifest.digest,
            "targets": { "classes": classes },
        });
        let campaign: Campaign = mqtt::launch(self.console, self.folder.path(), &body)?;
        println!("  campaign {} was launched", campaign.id);
        Ok(campaign.id)
    }

    /// Copies the meter's flash while it is without power.
    fn copy_meter(&self) -> Result<(), ProcessError> {
        println!("  meter-1 stored the manifest and lost its power. A copy of its flash, before it asked:");
        println!("$ cp devices/meter-1.flash devices/{COPY_FILE}.flash");
        let devices = self.folder.path().join("devices");
        let (from, to) = (devices.join("meter-1.flash"), devices.join(format!("{COPY_FILE}.flash")));
        let failed = |source| ProcessError::Io { program: from.display().to_string(), source };
        fs::copy(&from, to).map(drop).map_err(failed)
    }

    /// Waits for the ends of the devices that are on.
    fn see_updates(fleet: &mut Fleet) -> Result<Vec<Seen>, ProcessError> {
        let updated = |device: &'static str, on: &mut On| {
            on.device.wait("the receipt of its report", UPDATE, |it| it.updated)?;
            let after = on.device.wait("its registration after the update", STEP, |it| it.registered)?;
            Ok(Seen { device, before: on.before.clone(), after })
        };
        let lamp = updated("lamp-1", &mut fleet.lamp)?;
        let after = fleet.lamp.device.wait("the word of its new program", STEP, |it| it.says.is_some())?;
        let lamp = Seen { after, ..lamp };
        let meter_1 = updated("meter-1", &mut fleet.meter_1)?;
        let meter_2 = updated("meter-2", &mut fleet.meter_2)?;
        let meter_3 = updated("meter-3", &mut fleet.meter_3)?;
        let refused = |it: &Status| it.reason.is_some();
        let after = fleet.valve.device.wait("its refusal of the manifest", UPDATE, refused)?;
        let valve = Seen { device: "valve-1", before: fleet.valve.before.clone(), after };
        Ok(vec![lamp, meter_1, meter_2, meter_3, valve])
    }

    /// Switches the copy on, and off again once the server has refused it.
    fn switch_copy_on(&self) -> Result<(Status, Vec<Alarm>), ProcessError> {
        println!("  meter-1 runs its update. Its copy, {COPY}, is switched on:");
        let mut copy = self.switch_on(COPY_FILE, "")?;
        let status = copy.wait("its refusal", STEP, Status::refused)?;
        let log = self.folder.log("server");
        let alarms = self.console.stop().wait_until("an alarm", STEP, &log, || {
            let alarms: Vec<Alarm> = self.console.ask("bellwether --json alarm list")?;
            Ok((!alarms.is_empty()).then_some(alarms))
        })?;
        Ok((status, alarms))
    }

    /// Cuts the line, lets the gateway serve meter-4, and mends the line.
    fn serve_without_server(&self, site: &mut Site) -> Result<(Device, Status, Away), ProcessError> {
        site.gateway.wait_prefetched()?;
        self.tell_shared()?;
        println!("  {GATEWAY} holds its bundle and the frames of meter-4. The line to the server is cut,");
        println!("  and meter-4 is switched on:");
        let passed_before = site.line.cut()?;
        let mut meter = self.switch_on("meter-4", "")?;
        let target = self.setting.image_of(&meter_image(&self.firmware.target().0))?;
        let runs = |it: &Status| it.running.digest == target.digest && it.reports_waiting > 0;
        let status = meter.wait("its new image", UPDATE, runs)?;
        let kept = site.gateway.wait_reports()?;
        let known: Known = self.console.ask("bellwether --json device show meter-4")?;
        let passed_after = site.line.mend()?;
        let away = Away {
            device: "meter-4".to_owned(),
            ran: self.setting.image(&status.running.digest),
            registered: status.registered,
            reports_waiting: status.reports_waiting,
            index_known: known.index,
            passed_before,
            passed_after,
        };
        println!(
            "  meter-4 runs {}, and {GATEWAY} keeps {kept} of its reports. The server, which does not know, is at \
             key index {};\n  {} datagrams were lost on the way to it. The line is mended:",
            away.ran.version,
            known.index,
            passed_after.lost - passed_before.lost
        );
        meter.wait("the receipt of its report", UPDATE, |it| it.updated)?;
        let status = meter.wait("its registration", UPDATE, |it| it.registered)?;
        Ok((meter, status, away))
    }

    /// Tells what the server's counter says of the frames that two devices behind the gateway share.
    fn tell_shared(&self) -> Result<(), ProcessError> {
        let frames = self.frames()?;
        let shared = frames.iter().find(|one| one.sent.contains_key("meter-1"));
        if let Some(FrameCount { frames, sent, .. }) = shared {
            let sent = sent.get(GATEWAY).copied().unwrap_or_default();
            println!(
                "  meter-2 and meter-3 share a delta of {frames} frames; the server sent {GATEWAY} {sent}, and \
                 them none."
            );
        }
        Ok(())
    }

    fn frames(&self) -> Result<Vec<FrameCount>, ProcessError> {
        self.console.ask("bellwether --json release frames")
    }

    /// Waits until the server has read what these devices are.
    fn wait_told(&self, devices: &[&str]) -> Result<(), ProcessError> {
        let log = self.folder.log("server");
        for device in devices {
            self.console.stop().wait_until(&format!("the answers of {device}"), STEP, &log, || {
                let known: Known = self.console.ask(&format!("bellwether --json device show {device}"))?;
                Ok(known.told.then_some(()))
            })?;
        }
        Ok(())
    }

    /// Shows the campaign to its end; valve-1 makes it end otherwise than well.
    fn watch_campaign(&self, id: &str) -> Result<Campaign, ProcessError> {
        self.console.watch(&format!("bellwether campaign watch {id}"), UPDATE, &self.folder.log("server"))?;
        self.console.ask_whatever(&format!("bellwether --json campaign watch {id}"))
    }

    fn row(&self, seen: &Seen, frames: &[FrameCount], away: &Away) -> Row {
        let Seen { device, before, after } = seen;
        let Asked { requests, index } = after.asked();
        let of = self.target_bytes();
        let got = after.got.as_ref().map(|grant| match &grant.base {
            None => Got::Full { bytes: grant.content_bytes },
            Some(base) => Got::Delta { base: self.setting.image(base), bytes: grant.content_bytes, of },
        });
        // By the server's word: what came from it partly was not served by the gateway.
        let from_server = frames.iter().any(|one| one.sent.contains_key(*device));
        let served = match &got {
            None => Served::Nobody,
            Some(_) if from_server || after.frames_from_gateway() == 0 => Served::Server,
            Some(_) if away.device == *device => Served::GatewayAlone,
            Some(_) => Served::Gateway,
        };
        Row {
            device: (*device).to_owned(),
            ran: self.setting.image(&before.running.digest),
            asked: Asked { requests, index },
            got,
            served,
            traffic: after.traffic(),
            is_plain: false,
            runs: self.setting.image(&after.running.digest),
            said: after.says.clone(),
            refused: after.refused(),
            result: after.result,
            why_not: after.reason.clone(),
        }
    }

    /// Bytes of the meters' new image; `None` where it was made up, so that a ratio means nothing.
    fn target_bytes(&self) -> Option<u64> {
        let content = self.setting.content(&meter_image(&self.firmware.target().0)).ok()?;
        (!self.firmware.made_up).then_some(content.len() as u64)
    }

    fn expected(&self) -> Result<Expected, ProcessError> {
        let image = |version: &str| self.setting.image_of(&meter_image(version));
        let (target, previous) = (image(&self.firmware.target().0)?, image(&self.firmware.previous().0)?);
        let older = image(self.setting.older())?;
        let lamp = self.setting.image_of(&lamp_image(LAMP))?;
        let valve = self.setting.image_of(VALVE_IMAGE)?;
        let delta = || ExpectedGot::DeltaFrom(previous.clone());
        let listed = self.firmware.older().is_some();
        let from_older = if listed { ExpectedGot::DeltaFrom(older) } else { ExpectedGot::Full };
        let row = |device: &str, got, served, runs: &_, end| {
            let runs = Clone::clone(runs);
            ExpectedRow { device: device.to_owned(), got, served, runs, says: None, end }
        };
        let says = Some(format!("lamp firmware {LAMP} shines"));
        let copy = End::CopyOf("meter-1".to_owned());
        let mut rows = vec![
            ExpectedRow { says, ..row("lamp-1", ExpectedGot::Full, Served::Server, &lamp, End::Installed) },
            row("meter-1", delta(), Served::Server, &target, End::Installed),
            row(COPY, ExpectedGot::Nothing, Served::Nobody, &previous, copy),
            row("meter-2", delta(), Served::Gateway, &target, End::Installed),
            row("meter-3", delta(), Served::Gateway, &target, End::Installed),
            row("meter-4", from_older, Served::GatewayAlone, &target, End::Installed),
            row("valve-1", ExpectedGot::Nothing, Served::Nobody, &valve, End::NotForIt),
        ];
        if self.setting.has_board {
            let [before, target] = [board::BEFORE, board::TARGET].map(board::image);
            let (before, target) = (self.setting.image_of(&before)?, self.setting.image_of(&target)?);
            let says = Some(format!("firmware {} on trial", board::TARGET));
            let got = ExpectedGot::DeltaFrom(before);
            rows.push(ExpectedRow { says, ..row(board::NAME, got, Served::Server, &target, End::Installed) });
        }
        Ok(Expected { rows, gateway: GATEWAY.to_owned() })
    }

    /// Where the logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }
}

/// Name of the copy in the table, and of its files.
const COPY: &str = "meter-1′";
const COPY_FILE: &str = "meter-1-prime";

/// A step takes a second; a loaded machine is given twenty.
pub(crate) const STEP: Duration = Duration::from_secs(20);
/// An update takes a few seconds; images of several megabytes on a loaded machine take a minute.
pub(crate) const UPDATE: Duration = Duration::from_mins(2);
