//! How the fleet ended: its figures for people, and what is not as it must be.

use std::fmt::Write;
use std::time::Duration;

use bellwether_api::{Campaign, CampaignState, DeviceOutcome, Got};

use super::cast::{self, PREVIOUS};
use super::figures::Cost;
use super::gateways::Totals;
use super::tally::{Tally, Traffic};
use crate::gateway::Served;

/// What came about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// How many devices there are.
    pub devices: u32,
    /// How many processes they run in.
    pub processes: usize,
    /// How many gateways there are.
    pub gateways: usize,
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
    /// What was counted until the launch.
    pub before: Moment,
    /// What was counted until all were registered again.
    pub after: Moment,
}

/// What is counted, at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Moment {
    /// The devices' own word.
    pub tally: Tally,
    /// The gateways' word.
    pub gateways: Totals,
    /// What the server has cost, where the system tells.
    pub server: Option<Cost>,
    /// What went between the server and all others.
    pub traffic: Traffic,
}

impl Outcome {
    /// Finds everything that is not as it must be; empty: all is. The devices and the server are asked separately.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.after.tally.faults.clone();
        let of = self.devices;
        for (what, devices) in [
            ("have the receipt of their report", self.after.tally.updated),
            ("are registered after their update", self.after.tally.back),
            ("run the target", self.after.tally.running.get(&self.target).copied().unwrap_or_default()),
        ] {
            if devices != of {
                faults.push(format!("{devices} of {of} devices {what}"));
            }
        }
        if self.campaign.state != CampaignState::Finished {
            faults.push(format!("the campaign is {:?}", self.campaign.state).to_lowercase());
        }
        if self.after.gateways.served.frames.bytes_down == 0 {
            faults.push("the gateways gave no frames".to_owned());
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
            "{} devices, each with keys, flash and DTLS session of its own, {} of them behind gateways ({}); processes: {}",
            self.devices,
            (1..=self.devices).filter(|device| cast::gateway_of(*device, self.devices).is_some()).count(),
            self.gateways,
            self.processes
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
        self.write_traffic(text)?;
        self.write_gateways(text)?;
        self.write_cost(text)
    }

    /// What the devices received and sent, on either link.
    fn write_traffic(&self, text: &mut String) -> std::fmt::Result {
        let direct = self.traffic(|tally| tally.server);
        let by_gateways = self.traffic(|tally| tally.gateway);
        let by_server = self.after.traffic - self.before.traffic;
        let all = u64::from(self.devices.max(1));
        writeln!(
            text,
            "  UDP payload by device   {:>10} bytes in, {} out: manifest, grant, frames, and the handshakes after the restart",
            (direct.bytes_in + by_gateways.bytes_in) / all,
            (direct.bytes_out + by_gateways.bytes_out) / all,
        )?;
        writeln!(
            text,
            "  devices received        {:>10} KiB by gateways, {} KiB by the server",
            by_gateways.bytes_in / 1024,
            direct.bytes_in / 1024,
        )?;
        writeln!(
            text,
            "  server sent             {:>10} KiB in all: that, {} KiB to the gateways",
            by_server.bytes_in / 1024,
            by_server.bytes_in.saturating_sub(direct.bytes_in) / 1024,
        )
    }

    /// What the gateways did in the update.
    fn write_gateways(&self, text: &mut String) -> std::fmt::Result {
        let Served { requests, frames, pushes } = self.after.gateways.served;
        writeln!(
            text,
            "  frames by gateways      {:>10} KiB to devices, {} KiB fetched of the server",
            frames.bytes_down / 1024,
            frames.bytes_upstream / 1024,
        )?;
        writeln!(
            text,
            "  requests at gateways    {:>10} answered ahead, {} again, {} brought to the server; {} manifests pushed",
            requests.answered_from_bundle, requests.from_kept, requests.forwarded, pushes.taken,
        )
    }

    fn write_cost(&self, text: &mut String) -> std::fmt::Result {
        let gateways = self.before.gateways.cost.zip(self.after.gateways.cost);
        let (Some((before, after)), Some((gateways_before, gateways_after))) =
            (self.before.server.zip(self.after.server), gateways)
        else {
            return writeln!(text, "  processor and memory are told on Linux only");
        };
        let devices = f64::from(self.devices);
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
        )?;
        let spent = gateways_after.processor.saturating_sub(gateways_before.processor);
        writeln!(
            text,
            "  gateways' processor     {:>10.1} s; {} KiB resident at the end, all {} together",
            spent.as_secs_f64(),
            gateways_after.resident_kib,
            self.gateways
        )
    }

    fn traffic(&self, of: impl Fn(&Tally) -> Traffic) -> Traffic {
        of(&self.after.tally) - of(&self.before.tally)
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
    use crate::gateway::Frames;
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
        let traffic = |bytes_in| Traffic { bytes_in, bytes_out: bytes_in / 2 };
        let tally = Tally {
            made: 20,
            registered: 20,
            updated: 20,
            back: 20,
            running,
            server: traffic(10 * 1024),
            gateway: traffic(40 * 1024),
            ..Tally::default()
        };
        let frames = Frames { bytes_upstream: 9 * 1024, bytes_down: 30 * 1024 };
        let served = Served { frames, ..Served::default() };
        let after = Moment {
            tally,
            gateways: Totals { served, cost: None },
            server: None,
            traffic: traffic(22 * 1024),
        };
        Outcome {
            devices: 20,
            processes: 1,
            gateways: 1,
            campaign,
            target: "new".to_owned(),
            target_bytes: 8_192,
            joining: Duration::from_secs(1),
            updating: Duration::from_secs(4),
            before: Moment::default(),
            after,
        }
    }

    #[test]
    fn fleet_that_ended_as_it_must_has_no_faults_and_its_figures() {
        assert_eq!(good().faults(), [""; 0]);
        let text = good().text();
        assert!(text.contains("5.0 devices a second"), "{text}");
        assert!(text.contains("18 deltas of 1024 bytes, 2 full images of 8192 bytes"), "{text}");
        assert!(text.contains("78 % saved"), "{text}");
        assert!(text.contains("40 KiB by gateways, 10 KiB by the server"), "{text}");
        assert!(text.contains("22 KiB in all: that, 12 KiB to the gateways"), "{text}");
        assert!(text.contains("30 KiB to devices, 9 KiB fetched of the server"), "{text}");
    }

    #[test]
    fn each_thing_that_is_not_as_it_must_be_is_a_fault() {
        let alter: [fn(&mut Outcome); 9] = [
            |it| it.after.tally.updated = 19,
            |it| it.after.tally.back = 19,
            |it| it.after.tally.running = [("old".to_owned(), 1), ("new".to_owned(), 19)].into(),
            |it| it.after.tally.faults.push("node-3 ended".to_owned()),
            |it| it.campaign.state = CampaignState::Cancelled,
            |it| it.after.gateways.served = Served::default(),
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
