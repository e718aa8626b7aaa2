//! What came about: each device's row, the server's word, and whether all of it is as it must be.

use bellwether_api::{CampaignDevice, DeviceOutcome, FrameCount};

use crate::row::{COLUMNS, Got, Image, Row, Served};
use crate::table::render;
use crate::uplink::Counts;

/// The devices, the server's word, and what happened while the server was away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// A row for each device.
    pub rows: Vec<Row>,
    /// Kind and device of each alarm that the server lists.
    pub alarms: Vec<(String, String)>,
    /// What the campaign holds of its devices.
    pub campaign: Vec<CampaignDevice>,
    /// Which frames left the server, at the end.
    pub frames: Vec<FrameCount>,
    /// What was seen while the line to the server was cut.
    pub away: Away,
}

/// How it stood just before the line was mended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Away {
    /// The device that was switched on after the line was cut.
    pub device: String,
    /// What it ran.
    pub ran: Image,
    /// Whether it held a registration.
    pub registered: bool,
    /// Its reports that waited for their receipt.
    pub reports_waiting: usize,
    /// At which key index the server held it.
    pub index_known: u16,
    /// What had passed the line when it was cut.
    pub passed_before: Counts,
    /// What had passed when it was mended.
    pub passed_after: Counts,
}

/// What must have come about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// For each device, in the order of the rows.
    pub rows: Vec<ExpectedRow>,
    /// DTLS identity of the gateway.
    pub gateway: String,
}

/// What must have become of one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExpectedRow {
    /// Its name.
    pub device: String,
    /// What it must have been given.
    pub got: ExpectedGot,
    /// Who must have given it.
    pub served: Served,
    /// What it must run.
    pub runs: Image,
    /// What its program must have said.
    pub says: Option<String>,
    /// How it must have ended.
    pub end: End,
}

/// What a device must have been given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExpectedGot {
    /// The whole image.
    Full,
    /// A delta from this.
    DeltaFrom(Image),
    /// Nothing.
    Nothing,
}

/// How a device must have ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Updated, and the server knows.
    Installed,
    /// Found out as a copy of the device named here.
    CopyOf(String),
    /// Not concerned by the manifest, by its own word.
    NotForIt,
}

impl Outcome {
    /// Finds everything that is not as it must be; empty: all is.
    #[must_use]
    pub fn faults(&self, expected: &Expected) -> Vec<String> {
        let mut faults = Faults::default();
        for wanted in &expected.rows {
            match self.rows.iter().find(|row| row.device == wanted.device) {
                Some(row) => self.check(row, wanted, &mut faults),
                None => faults.0.push(format!("{} has no row", wanted.device)),
            }
        }
        self.check_frames(expected, &mut faults);
        self.check_away(expected, &mut faults);
        faults.0
    }

    fn check(&self, row: &Row, wanted: &ExpectedRow, faults: &mut Faults) {
        faults.check_got(row, &wanted.got);
        let served = format!("must be served by {:?}, and was by {:?}", wanted.served, row.served);
        faults.unless(row.served == wanted.served, row, &served);
        let runs = format!("must run {}, and runs {}", wanted.runs.version, row.runs.version);
        faults.unless(row.runs.digest == wanted.runs.digest, row, &runs);
        if let Some(says) = &wanted.says {
            let what = format!("must have said {says:?} itself");
            faults.unless(row.said.as_ref() == Some(says), row, &what);
        }
        match &wanted.end {
            End::Installed => self.check_installed(row, faults),
            End::CopyOf(original) => self.check_copy(row, original, faults),
            End::NotForIt => self.check_not_for_it(row, faults),
        }
    }

    fn check_installed(&self, row: &Row, faults: &mut Faults) {
        let installed = self.outcome(&row.device) == Some(DeviceOutcome::Installed);
        faults.unless(installed, row, "must stand as installed in the campaign");
        faults.unless(row.why_not.is_none(), row, "must have nothing against it");
    }

    fn check_copy(&self, row: &Row, original: &str, faults: &mut Faults) {
        // The first is answered "prove", the second carries the proof.
        faults.unless(row.asked.requests >= 2, row, "must have been challenged and have proved itself");
        faults.unless(row.refused, row, "must have been refused");
        let raised = self.alarms.iter().any(|(kind, device)| kind == CLONE && device == original);
        faults.unless(raised, row, &format!("must have raised the alarm {CLONE:?}"));
    }

    fn check_not_for_it(&self, row: &Row, faults: &mut Faults) {
        faults.unless(row.asked.requests == 0, row, "must have asked nothing");
        let result = format!("must have Update Result {NOT_FOR_IT}, and has {}", row.result);
        faults.unless(row.result == NOT_FOR_IT, row, &result);
        faults.unless(row.why_not.is_some(), row, "must say why not");
        let failed = self.outcome(&row.device) == Some(DeviceOutcome::Failed);
        faults.unless(failed, row, "must stand as failed in the campaign");
    }

    fn outcome(&self, device: &str) -> Option<DeviceOutcome> {
        self.campaign.iter().find(|one| one.endpoint == device).map(|one| one.outcome)
    }

    /// Tells in sentences which frames left the server for the gateway.
    #[must_use]
    pub fn frames_told(&self, expected: &Expected) -> Vec<String> {
        let Expected { gateway, .. } = expected;
        let told = |one: &FrameCount| {
            let sent = one.sent.get(gateway)?;
            let root = one.root.get(..12).unwrap_or(&one.root);
            Some(format!("Frames: {root} has {}; {sent} left the server for {gateway}.", one.frames))
        };
        self.frames.iter().filter_map(told).collect()
    }

    fn check_frames(&self, expected: &Expected, faults: &mut Faults) {
        let Expected { gateway, .. } = expected;
        let to_gateway: Vec<_> = self.frames.iter().filter(|one| one.sent.contains_key(gateway)).collect();
        // One that meter-2 and meter-3 share, and the one of meter-4.
        if to_gateway.len() != 2 {
            faults
                .0
                .push(format!("the server must have sent {gateway} two resources, not {}", to_gateway.len()));
        }
        for FrameCount { root, frames, sent } in to_gateway {
            if sent[gateway] != *frames {
                let sent = sent[gateway];
                faults.0.push(format!("{sent} frames of {root} left for {gateway}, which has {frames}"));
            }
        }
    }

    fn check_away(&self, expected: &Expected, faults: &mut Faults) {
        let away = &self.away;
        let Some(wanted) = expected.rows.iter().find(|row| row.device == away.device) else {
            return faults.0.push(format!("{} is no device of the table", away.device));
        };
        let mut unless = |holds: bool, what: &str| {
            if !holds {
                faults.0.push(format!("while the line was cut, {} {what}", away.device));
            }
        };
        unless(away.ran.digest == wanted.runs.digest, "must run the new image");
        unless(!away.registered, "must not be registered");
        unless(away.reports_waiting > 0, "must wait for the receipt of its report");
        unless(away.index_known == 0, "must not be known as updated");
        let passed = |counts: Counts| (counts.up, counts.down);
        unless(passed(away.passed_before) == passed(away.passed_after), "must have nothing from the server");
    }

    /// Lays out the closing table.
    #[must_use]
    pub fn table(&self) -> String {
        let cells: Vec<_> = self.rows.iter().map(Row::cells).collect();
        render(COLUMNS, &cells)
    }
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, holds: bool, row: &Row, what: &str) {
        if !holds {
            self.0.push(format!("{} {what}", row.device));
        }
    }

    fn check_got(&mut self, row: &Row, wanted: &ExpectedGot) {
        let (holds, what) = match (wanted, &row.got) {
            (ExpectedGot::Full, got) => {
                (matches!(got, Some(Got::Full { .. })), "must have got a full image".to_owned())
            }
            (ExpectedGot::DeltaFrom(from), got) => {
                let holds = matches!(got, Some(Got::Delta { base, .. }) if base.digest == from.digest);
                (holds, format!("must have got a delta from {}", from.version))
            }
            (ExpectedGot::Nothing, got) => (got.is_none(), "must have got no grant".to_owned()),
        };
        self.unless(holds, row, &what);
    }
}

/// Kind of the alarm that a copy of a device raises.
const CLONE: &str = "clone or rolled-back device";

/// Update Result of a manifest that is not for the device's class.
/// Source: OMA-TS-LWM2M, object 5, resource 5: unsupported package type.
const NOT_FOR_IT: u8 = 6;

#[cfg(test)]
mod tests;
