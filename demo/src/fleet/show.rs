//! The campaign of the thousands, step by step.

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bellwether_api::{Campaign, CampaignState, Manifest};

use super::cast::{self, CLASS, PREVIOUS, TARGET};
use super::figures::Cost;
use super::gateways::Gateways;
use super::metrics;
use super::outcome::{Moment, Outcome};
use super::process::{TELL_EVERY, UNITS};
use super::tally::Tally;
use crate::console::{Console, SERVER_DATA};
use crate::folder::DataFolder;
use crate::mqtt;
use crate::process::{Process, ProcessError};
use crate::setting::{VENDOR, digest, free_port, make_keys};

/// What stays up when all is shown.
#[derive(Debug)]
pub struct Shown {
    /// How the fleet ended.
    pub outcome: Outcome,
    _fleet: Vec<Part>,
    _gateways: Gateways,
    // Last, so that it outlives who calls it.
    _server: Process,
}

/// A process of devices.
#[derive(Debug)]
struct Part {
    /// Its newest line.
    tally: Arc<Mutex<Tally>>,
    process: Process,
    /// The devices' power.
    _power: ChildStdin,
}

struct Show<'a> {
    console: &'a Console,
    folder: &'a DataFolder,
    devices: u32,
}

/// Goes the whole way with so many devices.
///
/// # Errors
///
/// [`ProcessError`] names the step that failed, and the log that says more.
pub fn show(console: &Console, folder: &DataFolder, devices: u32) -> Result<Shown, ProcessError> {
    Show { console, folder, devices }.go()
}

impl Show<'_> {
    fn go(&self) -> Result<Shown, ProcessError> {
        let (target, target_bytes) = self.make_images()?;
        let server = self.start_server()?;
        make_keys(self.console)?;
        self.publish_releases()?;
        let mut gateways = Gateways::start(self.console, self.folder, self.devices)?;
        self.enrol()?;
        let began = now();
        let mut fleet = self.start_fleet()?;
        self.watch(&mut fleet, "registered", |tally| tally.registered)?;
        let joining = began.elapsed();
        gateways.wait_ready()?;
        let before = self.look(&server, &mut gateways, &fleet)?;
        let manifest = self.make_manifest()?;
        let began = now();
        let id = self.launch(&manifest)?;
        let tally = self.watch(&mut fleet, "updated", |tally| tally.updated)?;
        let updating = began.elapsed();
        if tally.back < self.devices {
            self.watch(&mut fleet, "registered again", |tally| tally.back)?;
        }
        let after = self.look(&server, &mut gateways, &fleet)?;
        let campaign = self.end(&id, after.tally.updated == self.devices)?;
        let outcome = Outcome {
            devices: self.devices,
            processes: fleet.len(),
            gateways: gateways.count(),
            campaign,
            target,
            target_bytes,
            joining,
            updating,
            before,
            after,
        };
        Ok(Shown { outcome, _fleet: fleet, _gateways: gateways, _server: server })
    }

    /// Reads everything that is counted.
    fn look(
        &self,
        server: &Process,
        gateways: &mut Gateways,
        fleet: &[Part],
    ) -> Result<Moment, ProcessError> {
        // The devices tell four times a second.
        thread::sleep(TELL_EVERY * 2);
        gateways.are_on()?;
        Ok(Moment {
            tally: total(fleet),
            gateways: gateways.totals()?,
            server: Cost::of(server.id()),
            traffic: metrics::traffic(self.folder.path())?,
        })
    }

    /// Makes the images, and gives digest and size of the target.
    fn make_images(&self) -> Result<(String, u64), ProcessError> {
        let mut target = (String::new(), 0);
        for (version, content) in cast::images() {
            self.put(&cast::image(version), &content)?;
            if version == TARGET {
                target = (digest(&content), content.len() as u64);
            }
        }
        Ok(target)
    }

    fn put(&self, to: &str, content: &[u8]) -> Result<(), ProcessError> {
        let path = self.folder.path().join(to);
        fs::write(&path, content).map_err(io_failed(&path))
    }

    fn start_server(&self) -> Result<Process, ProcessError> {
        let at = free_port()?;
        let command = format!(
            "bellwether-server --data {SERVER_DATA} --coaps {at} --http 127.0.0.1:0 \
             --mqtt-listen 127.0.0.1:0 --public-uri coaps://{at}"
        );
        let mut server = self.console.start("bellwether-server", &command, &self.folder.log("server"))?;
        let path = self.folder.path().join(SERVER_DATA).join("listening.json");
        server.wait_until("it listens", START, || Ok(path.exists().then_some(())))?;
        Ok(server)
    }

    /// The oldest version is not published, so that its deltas can't be made.
    fn publish_releases(&self) -> Result<(), ProcessError> {
        for version in [PREVIOUS, TARGET] {
            let image = cast::image(version);
            self.console
                .run(&format!("bellwether release publish {image} --class {CLASS} --version {version}"))?;
        }
        Ok(())
    }

    fn enrol(&self) -> Result<(), ProcessError> {
        self.put("fleet.csv", cast::list(self.devices).as_bytes())?;
        self.console.run(&format!("bellwether device import fleet.csv --units {UNITS}")).map(drop)
    }

    fn start_fleet(&self) -> Result<Vec<Part>, ProcessError> {
        let dealt = cast::deal(self.devices);
        let registering_max = REGISTERING_MAX / u32::try_from(dealt.len()).unwrap_or(u32::MAX);
        let mut fleet = Vec::new();
        for cast::Share { first, step, count } in dealt {
            let name = format!("fleet-{first}");
            let line = format!(
                "fleet --first {first} --step {step} --count {count} --registering-max {registering_max}"
            );
            println!("$ {line} &");
            let log = self.folder.log(&name);
            let (process, power, lines) = self.console.start_talking(&line, &log)?;
            let tally = Arc::<Mutex<Tally>>::default();
            let told = Arc::clone(&tally);
            thread::spawn(move || listen(lines, &told));
            fleet.push(Part { tally, process, _power: power });
        }
        Ok(fleet)
    }

    fn make_manifest(&self) -> Result<Manifest, ProcessError> {
        self.console.run(&format!(
            "bellwether manifest make --vendor {VENDOR} --sequence 2 --image {CLASS}={}:{TARGET} --out fleet.suit",
            cast::image(TARGET)
        ))?;
        self.console
            .run("bellwether manifest sign fleet.suit --key keys/author.key --out fleet.signed.suit")?;
        self.console.type_and_ask("bellwether --json manifest publish fleet.signed.suit")
    }

    /// Launches the campaign by MQTT and gives its name.
    fn launch(&self, manifest: &Manifest) -> Result<String, ProcessError> {
        let body = serde_json::json!({
            "request_id": "first-campaign",
            "manifest": manifest.digest,
            "targets": { "classes": [CLASS] },
            "policy": { "at_most": AT_WORK_MAX },
        });
        let campaign = mqtt::launch(self.console, self.folder.path(), &body)?;
        println!("  campaign {} was launched", campaign.id);
        Ok(campaign.id)
    }

    /// Shows how many have come there until all have, or nobody has for [`STANDSTILL`], and gives the last tally.
    fn watch(
        &self,
        fleet: &mut [Part],
        what: &str,
        of: impl Fn(&Tally) -> u32,
    ) -> Result<Tally, ProcessError> {
        let mut bar = Bar::new(what, self.devices);
        let (mut most, mut moved) = (0, now());
        loop {
            let tally = total(fleet);
            let there = of(&tally);
            bar.show(there);
            // Flashes are made before anybody registers, and devices restart between grant and receipt.
            let progress = there + tally.made;
            if progress > most {
                (most, moved) = (progress, now());
            }
            if there >= self.devices || moved.elapsed() > STANDSTILL {
                bar.end();
                return Ok(tally);
            }
            if self.console.stop().is_set() {
                bar.end();
                return Err(ProcessError::Stopped);
            }
            for part in &mut *fleet {
                part.process.is_on("all were there")?;
            }
            thread::sleep(SHOW_EVERY);
        }
    }

    /// Waits for the campaign's end; where it does not come, since some devices are not updated, it is made.
    fn end(&self, id: &str, all: bool) -> Result<Campaign, ProcessError> {
        let ended = if all { self.wait_for_end(id) } else { Ok(false) };
        match ended {
            Ok(true) => {}
            Ok(false) | Err(ProcessError::TooLate { .. }) => {
                println!("  The campaign would wait for some devices. It is ended:");
                self.console.run(&format!("bellwether campaign cancel {id} --why standstill"))?;
            }
            Err(error) => return Err(error),
        }
        self.console.ask_whatever(&format!("bellwether --json campaign watch {id}"))
    }

    fn wait_for_end(&self, id: &str) -> Result<bool, ProcessError> {
        let log = self.folder.log("server");
        self.console.stop().wait_until("the end of the campaign", START, &log, || {
            let campaigns: Vec<Campaign> = self.console.ask("bellwether --json campaign list")?;
            let ended = |one: &Campaign| one.id == id && one.state == CampaignState::Finished;
            Ok(campaigns.iter().any(ended).then_some(true))
        })
    }
}

fn total(fleet: &[Part]) -> Tally {
    let mut total = Tally::default();
    for part in fleet {
        total += &part.tally.lock().unwrap_or_else(PoisonError::into_inner);
    }
    total
}

/// Keeps the newest line of a process, until it ends.
fn listen(lines: ChildStdout, tally: &Mutex<Tally>) {
    for line in BufReader::new(lines).lines().map_while(Result::ok) {
        if let Ok(told) = serde_json::from_str(&line) {
            *tally.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct Bar<'a> {
    what: &'a str,
    of: u32,
    began: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl<'a> Bar<'a> {
    fn new(what: &'a str, of: u32) -> Self {
        Self { what, of, began: now(), shown: None, is_terminal: io::stdout().is_terminal() }
    }

    fn show(&mut self, there: u32) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= LINE_EVERY);
        if self.is_terminal {
            print!("\r{}", line(self.what, there, self.of, self.began.elapsed()));
            // A terminal that is gone does not stop the demo.
            let _ = io::stdout().flush();
        } else if is_due || there == self.of {
            println!("{}", line(self.what, there, self.of, self.began.elapsed()));
            self.shown = Some(now());
        }
    }

    fn end(&self) {
        if self.is_terminal {
            println!();
        }
    }
}

fn line(what: &str, there: u32, of: u32, since: Duration) -> String {
    let filled = usize::try_from(u64::from(there) * BAR_CELLS / u64::from(of.max(1))).unwrap_or_default();
    let cells = usize::try_from(BAR_CELLS).unwrap_or_default();
    let (done, seconds) = ("#".repeat(filled.min(cells)), since.as_secs());
    format!("  [{done:·<cells$}] {there:>5} of {of} {what}, {seconds} s")
}

fn io_failed(path: &Path) -> impl Fn(io::Error) -> ProcessError {
    let program = path.display().to_string();
    move |source| ProcessError::Io { program: program.clone(), source }
}

#[expect(clippy::disallowed_methods, reason = "the demo is a shell")]
fn now() -> Instant {
    Instant::now()
}

/// Devices on their way to their first registration, of all processes together: below the 256 handshakes that the server
/// has in progress with one address, and all of these have the same one.
const REGISTERING_MAX: u32 = 192;
/// Devices at work in the campaign at the same time, with the handshakes after their restarts: as above.
const AT_WORK_MAX: u32 = 192;
/// For a server to start, and for a campaign to end whose last device is done.
const START: Duration = Duration::from_mins(1);
/// So long no device has come further: longer than a device waits between tries after a few losses.
const STANDSTILL: Duration = Duration::from_mins(2);
const SHOW_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR_CELLS: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_empty_at_first_and_full_at_the_end() {
        let line = |there| line("updated", there, 200, Duration::from_secs(7));
        assert_eq!(line(0).matches('·').count(), 40);
        assert_eq!((line(100).matches('#').count(), line(100).matches('·').count()), (20, 20));
        assert_eq!(line(200).matches('#').count(), 40);
        assert!(line(200).ends_with("200 of 200 updated, 7 s"));
    }
}
