//! How the fleet ended: its figures for people, and what is not as it must be.

use std::fmt::Write;
use std::time::Duration;

use bellwether_api::{Campaign, CampaignState, DeviceOutcome, Got};

use super::cast::{self, PREVIOUS};
use super::figures::Cost;
use super::tally::Tally;

/// What came about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// How many devices there are.
    pub devices: u32,
    /// How many processes they run in.
    pub processes: usize,
    /// The devices' own word.
    pub tally: Tally,
    /// The server's word.
    pub campaign: Campaign,
    /// SHA-256 of the target, in hexadecimal.
    pub target: String,
    /// Bytes of the target.
    pub target_bytes: u64,
    /// Until all had a flash and a registration.
    pub joining: Duration,
    /// From the launch to the receipt of the last report.
    pub updating: Duration,
    /// What the server had cost at the launch and at the end, where the system tells.
    pub cost: Option<(Cost, Cost)>,
    /// Bytes received and sent by the devices before the launch.
    pub before: (u64, u64),
}

impl Outcome {
    /// Finds everything that is not as it must be; empty: all is. The devices and the server are asked separately.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.tally.faults.clone();
        let of = self.devices;
        for (what, devices) in [
            ("have the receipt of their report", self.tally.updated),
            ("are registered after their update", self.tally.back),
            ("run the target", self.tally.running.get(&self.target).copied().unwrap_or_default()),
        ] {
            if devices != of {
                faults.push(format!("{devices} of {of} devices {what}"));
            }
        }
        if self.campaign.state != CampaignState::Finished {
            faults.push(format!("the campaign is {:?}", self.campaign.state).to_lowercase());
        }
        faults.extend(self.faults_by_the_server());
        faults
    }

    fn faults_by_the_server(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut missing = Vec::new();
        for number in 1..=self.devices {
            let name = cast::name(number);
            let Some(shown) = self.campaign.devices.iter().find(|shown| shown.endpoint == name) else {
                missing.push(name);
                continue;
            };
            let is_delta = matches!(shown.got, Some(Got::Delta { .. }));
            if shown.outcome != DeviceOutcome::Installed {
                faults.push(format!("{name} is {:?} by the server's word", shown.outcome));
            } else if is_delta != (cast::version_before(number) == PREVIOUS) {
                faults.push(format!("{name} must not have been given {:?}", shown.got));
            }
        }
        if let Some(first) = missing.first() {
            faults.push(format!("{} devices, {first} first, are not in the campaign", missing.len()));
        }
        let more = faults.len().saturating_sub(FAULTS_MAX);
        faults.truncate(FAULTS_MAX);
        if more > 0 {
            faults.push(format!("and {more} more"));
        }
        faults
    }

    /// Says the figures.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let devices = f64::from(self.devices);
        writeln!(
            text,
            "{} devices, each with keys, flash and DTLS session of its own; processes: {}",
            self.devices, self.processes
        )?;
        writeln!(text, "  made and registered     {:>10.1} s", self.joining.as_secs_f64())?;
        let seconds = self.updating.as_secs_f64();
        let rate = devices / seconds.max(0.001);
        writeln!(text, "  updated                 {seconds:>10.1} s, {rate:.1} devices a second")?;
        let [(deltas, delta_bytes), (fulls, full_bytes)] = self.granted();
        let whole = u64::from(self.devices) * self.target_bytes;
        let carried = delta_bytes + full_bytes;
        writeln!(text, "  full images would be    {:>10} KiB", whole / 1024)?;
        writeln!(
            text,
            "  granted                 {:>10} KiB, {} saved: {deltas} deltas of {} bytes, {fulls} full images of {} bytes",
            carried / 1024,
            percent(whole.saturating_sub(carried), whole),
            delta_bytes.checked_div(deltas).unwrap_or_default(),
            full_bytes.checked_div(fulls).unwrap_or_default(),
        )?;
        let (bytes_in, bytes_out) =
            (self.tally.bytes_in - self.before.0, self.tally.bytes_out - self.before.1);
        writeln!(
            text,
            "  UDP payload by device   {:>10} bytes in, {} out: manifest, grant, frames, and the handshakes after the restart",
            bytes_in / u64::from(self.devices.max(1)),
            bytes_out / u64::from(self.devices.max(1)),
        )?;
        match &self.cost {
            Some((before, after)) => {
                let spent = after.processor.saturating_sub(before.processor);
                writeln!(
                    text,
                    "  server's processor      {:>10.1} s, {:.1} ms a device, in the update; {:.1} s before it",
                    spent.as_secs_f64(),
                    spent.as_secs_f64() * 1000.0 / devices,
                    before.processor.as_secs_f64()
                )?;
                writeln!(
                    text,
                    "  server's memory         {:>10} KiB resident with all registered, {} at the end, {} at most",
                    before.resident_kib, after.resident_kib, after.resident_most_kib
                )
            }
            None => writeln!(text, "  server's processor and memory are told on Linux only"),
        }
    }

    /// Counts and bytes of what was granted: deltas, then full images.
    fn granted(&self) -> [(u64, u64); 2] {
        let mut granted = [(0, 0); 2];
        for got in self.campaign.devices.iter().filter_map(|shown| shown.got.as_ref()) {
            let (at, bytes) = match got {
                Got::Delta { bytes, .. } => (0, bytes),
                Got::Full { bytes } => (1, bytes),
            };
            granted[at].0 += 1;
            granted[at].1 += bytes;
        }
        granted
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{} %", (part * 100).checked_div(whole).unwrap_or_default())
}

/// Enough to see what is the matter.
const FAULTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_api::CampaignDevice;

    fn shown(number: u32) -> CampaignDevice {
        let base = "1.1.0".to_owned();
        let got = if cast::version_before(number) == PREVIOUS {
            Got::Delta { base, bytes: 1_024 }
        } else {
            Got::Full { bytes: 8_192 }
        };
        CampaignDevice {
            endpoint: cast::name(number),
            class: "node".to_owned(),
            outcome: DeviceOutcome::Installed,
            got: Some(got),
            reason: None,
        }
    }

    fn good() -> Outcome {
        let campaign = Campaign {
            id: "c".to_owned(),
            manifest: String::new(),
            state: CampaignState::Finished,
            reason: None,
            created: 0,
            classes: Vec::new(),
            devices: (1..=20).map(shown).collect(),
            next: None,
        };
        let running = [("new".to_owned(), 20)].into();
        let tally = Tally {
            made: 20,
            registered: 20,
            updated: 20,
            back: 20,
            running,
            bytes_in: 2_000,
            ..Tally::default()
        };
        Outcome {
            devices: 20,
            processes: 1,
            tally,
            campaign,
            target: "new".to_owned(),
            target_bytes: 8_192,
            joining: Duration::from_secs(1),
            updating: Duration::from_secs(4),
            cost: None,
            before: (1_000, 0),
        }
    }

    #[test]
    fn fleet_that_ended_as_it_must_has_no_faults_and_its_figures() {
        assert_eq!(good().faults(), [""; 0]);
        let text = good().text();
        assert!(text.contains("5.0 devices a second"), "{text}");
        assert!(text.contains("18 deltas of 1024 bytes, 2 full images of 8192 bytes"), "{text}");
        assert!(text.contains("78 % saved"), "{text}");
    }

    #[test]
    fn each_thing_that_is_not_as_it_must_be_is_a_fault() {
        let alter: [fn(&mut Outcome); 8] = [
            |it| it.tally.updated = 19,
            |it| it.tally.back = 19,
            |it| it.tally.running = [("old".to_owned(), 1), ("new".to_owned(), 19)].into(),
            |it| it.tally.faults.push("node-3 ended".to_owned()),
            |it| it.campaign.state = CampaignState::Cancelled,
            |it| it.campaign.devices[4].outcome = DeviceOutcome::Failed,
            |it| it.campaign.devices[4].got = Some(Got::Full { bytes: 8_192 }),
            |it| drop(it.campaign.devices.pop()),
        ];
        for (number, alter) in alter.into_iter().enumerate() {
            let mut outcome = good();
            alter(&mut outcome);
            assert_eq!(outcome.faults().len(), 1, "{number}: {:?}", outcome.faults());
        }
    }
}
