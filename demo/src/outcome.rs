//! What each device ended as: its row of the closing table, and what the row must be.

use std::ops::AddAssign;

use crate::table::{Column, render};

/// An image, as a device said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// Version, where the device knows it.
    pub version: String,
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

/// What a device was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Got {
    /// The whole image.
    Full {
        /// Bytes as carried.
        bytes: u64,
    },
    /// A delta.
    Delta {
        /// SHA-256 of the base, in hexadecimal.
        base: String,
        /// Bytes as carried.
        bytes: u64,
    },
}

/// Update requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// How many.
    pub requests: u32,
    /// Key index of the newest.
    pub index: Option<u16>,
}

/// Bytes of UDP payload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// In, without handshakes.
    pub bytes_in: u64,
    /// Out, without handshakes.
    pub bytes_out: u64,
    /// Handshakes, in.
    pub handshake_in: u64,
    /// Handshakes, out.
    pub handshake_out: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.handshake_in += more.handshake_in;
        self.handshake_out += more.handshake_out;
    }
}

/// One device at the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// Name in the table.
    pub device: String,
    /// What it ran before.
    pub ran: Image,
    /// What it asked.
    pub asked: Asked,
    /// What it was given.
    pub got: Option<Got>,
    /// What that cost.
    pub traffic: Traffic,
    /// What it runs now.
    pub runs: Image,
    /// What its program said last, where it is one.
    pub said: Option<String>,
    /// Whether it was refused for good.
    pub refused: bool,
    /// Why it did not update, in words.
    pub why_not: Option<String>,
}

/// The three devices and the server's word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The lamp.
    pub lamp: Row,
    /// The meter.
    pub meter: Row,
    /// The copy of the meter.
    pub copy: Row,
    /// Kind and device of each alarm that the server lists.
    pub alarms: Vec<(String, String)>,
    /// Devices that the server holds updated.
    pub installed: Vec<String>,
}

/// What must have come about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// Image that the lamp must run.
    pub lamp: Image,
    /// Line that the lamp's program must have said.
    pub lamp_says: String,
    /// Image that the meter must come from, and its copy stay on.
    pub meter_before: Image,
    /// Image that the meter must run.
    pub meter: Image,
    /// Bytes of that image.
    pub meter_bytes: u64,
    /// Whether the meter's images were made up, so that a ratio means nothing.
    pub made_up: bool,
}

impl Outcome {
    /// Finds everything that is not as it must be; empty: all is.
    #[must_use]
    pub fn faults(&self, expected: &Expected) -> Vec<String> {
        let mut faults = Faults::default();
        self.check_lamp(expected, &mut faults);
        self.check_meter(expected, &mut faults);
        self.check_copy(expected, &mut faults);
        faults.0
    }

    fn check_lamp(&self, expected: &Expected, faults: &mut Faults) {
        let lamp = &self.lamp;
        let full = matches!(lamp.got, Some(Got::Full { .. }));
        faults.unless(full, lamp, "must have got a full image");
        faults.check_runs(lamp, &expected.lamp);
        let says = lamp.said.as_deref() == Some(&expected.lamp_says);
        faults.unless(says, lamp, &format!("must have said {:?} itself", expected.lamp_says));
        self.check_installed(lamp, faults);
    }

    fn check_meter(&self, expected: &Expected, faults: &mut Faults) {
        let meter = &self.meter;
        let delta =
            matches!(&meter.got, Some(Got::Delta { base, .. }) if *base == expected.meter_before.digest);
        let what = format!("must have got a delta from {}", expected.meter_before.version);
        faults.unless(delta, meter, &what);
        faults.check_runs(meter, &expected.meter);
        self.check_installed(meter, faults);
    }

    fn check_copy(&self, expected: &Expected, faults: &mut Faults) {
        let copy = &self.copy;
        faults.unless(copy.got.is_none(), copy, "must have got no grant");
        // The first is answered "prove", the second carries the proof.
        faults.unless(copy.asked.requests >= 2, copy, "must have been challenged and have proved itself");
        faults.unless(copy.refused, copy, "must have been refused");
        faults.check_runs(copy, &expected.meter_before);
        let raised = self.alarms.iter().any(|(kind, device)| kind == CLONE && *device == self.meter.device);
        faults.unless(raised, copy, &format!("must have raised the alarm {CLONE:?}"));
    }

    fn check_installed(&self, row: &Row, faults: &mut Faults) {
        let installed = self.installed.contains(&row.device);
        faults.unless(installed, row, "must stand as installed in the campaign");
        faults.unless(row.why_not.is_none(), row, "must have nothing against it");
    }

    /// Lays out the closing table.
    #[must_use]
    pub fn table(&self, expected: &Expected) -> String {
        render(COLUMNS, &[&self.lamp, &self.meter, &self.copy].map(|row| row.cells(expected)))
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

    fn check_runs(&mut self, row: &Row, image: &Image) {
        let what = format!("must run {}, and runs {}", image.version, row.runs.version);
        self.unless(row.runs.digest == image.digest, row, &what);
    }
}

impl Row {
    fn cells(&self, expected: &Expected) -> [String; 8] {
        let both = |bytes_in, bytes_out| format!("{} in\n{} out", grouped(bytes_in), grouped(bytes_out));
        let said = self.said.as_ref().map(|said| format!("\n\"{said}\"")).unwrap_or_default();
        [
            self.device.clone(),
            self.ran.version.clone(),
            self.asked.text(),
            self.got.as_ref().map_or_else(|| "nothing".to_owned(), |got| got.text(expected)),
            both(self.traffic.bytes_in, self.traffic.bytes_out),
            both(self.traffic.handshake_in, self.traffic.handshake_out),
            format!("{}{said}", self.runs.version),
            self.why_not.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

impl Asked {
    fn text(self) -> String {
        let Some(index) = self.index else { return "nothing".to_owned() };
        match self.requests {
            1 => format!("once,\nat key index {index}"),
            requests => format!("{requests} times,\nat key index {index}"),
        }
    }
}

impl Got {
    fn text(&self, expected: &Expected) -> String {
        match self {
            Self::Full { bytes } => format!("full image,\n{} B", grouped(*bytes)),
            Self::Delta { base, bytes } => {
                let known = *base == expected.meter_before.digest;
                let base = if known { &expected.meter_before.version } else { base };
                let share = if expected.made_up {
                    String::new()
                } else {
                    format!("\n= {} of the full image", percent(*bytes, expected.meter_bytes))
                };
                format!("delta from {base},\n{} B{share}", grouped(*bytes))
            }
        }
    }
}

/// Digits in groups of three: `118,968`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share with one decimal, rounded to nearest.
fn percent(part: u64, whole: u64) -> String {
    let per_mille = (part * 1_000 + whole / 2) / whole.max(1);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

const COLUMNS: [Column; 8] = [
    Column { head: "DEVICE", width: 10 },
    Column { head: "RAN", width: 10 },
    Column { head: "ASKED", width: 26 },
    Column { head: "GOT", width: 26 },
    Column { head: "UDP BYTES", width: 14 },
    Column { head: "HANDSHAKE", width: 12 },
    Column { head: "RUNS NOW", width: 28 },
    Column { head: "WHY NOT", width: 26 },
];

/// Kind of the alarm that a copy of a device raises.
const CLONE: &str = "clone or rolled-back device";

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: &str) -> Image {
        Image { version: version.to_owned(), digest: format!("digest of {version}") }
    }

    fn expected() -> Expected {
        Expected {
            lamp: image("2.0.0"),
            lamp_says: "lamp firmware 2.0.0 shines".to_owned(),
            meter_before: image("1.0"),
            meter: image("1.1"),
            meter_bytes: 100_000,
            made_up: false,
        }
    }

    fn row(device: &str, ran: &str, runs: &str, got: Option<Got>) -> Row {
        Row {
            device: device.to_owned(),
            ran: image(ran),
            asked: Asked { requests: 1, index: Some(0) },
            got,
            traffic: Traffic { bytes_in: 1_234, bytes_out: 5, handshake_in: 6, handshake_out: 7 },
            runs: image(runs),
            said: None,
            refused: false,
            why_not: None,
        }
    }

    fn good() -> Outcome {
        let expected = expected();
        let lamp = row("lamp-1", "1.0.0", "2.0.0", Some(Got::Full { bytes: 9 }));
        let delta = Got::Delta { base: expected.meter_before.digest, bytes: 12_345 };
        Outcome {
            lamp: Row { said: Some(expected.lamp_says), ..lamp },
            meter: row("meter-1", "1.0", "1.1", Some(delta)),
            copy: Row {
                asked: Asked { requests: 2, index: Some(0) },
                refused: true,
                why_not: Some("refused".to_owned()),
                ..row("meter-1′", "1.0", "1.0", None)
            },
            alarms: vec![(CLONE.to_owned(), "meter-1".to_owned())],
            installed: vec!["lamp-1".to_owned(), "meter-1".to_owned()],
        }
    }

    /// Gives what is found after one thing went otherwise.
    fn faults_after(change: impl FnOnce(&mut Outcome)) -> Vec<String> {
        let mut outcome = good();
        change(&mut outcome);
        outcome.faults(&expected())
    }

    #[test]
    fn outcome_as_it_must_be_has_no_faults() {
        assert_eq!(good().faults(&expected()), Vec::<String>::new());
    }

    #[test]
    fn lamp_must_have_a_full_image_run_it_and_say_so_itself() {
        let delta = Got::Delta { base: "x".to_owned(), bytes: 1 };
        assert_eq!(faults_after(|it| it.lamp.got = Some(delta)).len(), 1);
        assert_eq!(
            faults_after(|it| it.lamp.runs = image("1.0.0")),
            ["lamp-1 must run 2.0.0, and runs 1.0.0"]
        );
        assert_eq!(faults_after(|it| it.lamp.said = None).len(), 1);
        assert_eq!(faults_after(|it| it.lamp.said = Some("lamp firmware 1.0.0 shines".to_owned())).len(), 1);
        assert_eq!(faults_after(|it| it.lamp.why_not = Some("rolled back".to_owned())).len(), 1);
    }

    #[test]
    fn meter_must_have_a_delta_from_what_it_ran() {
        let other = Got::Delta { base: "digest of 0.9".to_owned(), bytes: 1 };
        assert_eq!(faults_after(|it| it.meter.got = Some(other)), ["meter-1 must have got a delta from 1.0"]);
        assert_eq!(faults_after(|it| it.meter.got = Some(Got::Full { bytes: 1 })).len(), 1);
        assert_eq!(faults_after(|it| it.meter.runs = image("1.0")).len(), 1);
    }

    #[test]
    fn device_that_the_campaign_does_not_hold_updated_is_a_fault() {
        let expected = ["meter-1 must stand as installed in the campaign"];
        assert_eq!(faults_after(|it| it.installed.truncate(1)), expected);
    }

    #[test]
    fn copy_must_be_refused_without_a_grant_and_raise_an_alarm() {
        assert_eq!(faults_after(|it| it.copy.got = Some(Got::Full { bytes: 1 })).len(), 1);
        assert_eq!(faults_after(|it| it.copy.refused = false).len(), 1);
        assert_eq!(faults_after(|it| it.copy.asked.requests = 1).len(), 1);
        assert_eq!(faults_after(|it| it.copy.runs = image("1.1")).len(), 1);
        assert_eq!(faults_after(|it| it.alarms.clear()).len(), 1);
        assert_eq!(faults_after(|it| it.alarms[0].1 = "lamp-1".to_owned()).len(), 1);
        assert_eq!(faults_after(|it| it.alarms[0].0 = "unknown identity".to_owned()).len(), 1);
    }

    #[test]
    fn table_tells_base_share_and_what_the_lamp_said() {
        let table = good().table(&expected());
        assert!(table.contains("delta from 1.0,"), "{table}");
        assert!(table.contains("= 12.3 % of the full image"), "{table}");
        assert!(table.contains("\"lamp firmware 2.0.0 shines\""), "{table}");
        assert!(table.contains("1,234 in"), "{table}");
    }

    #[test]
    fn made_up_firmware_has_no_delta_ratio() {
        let table = good().table(&Expected { made_up: true, ..expected() });
        assert!(!table.contains('%'), "{table}");
    }
}
