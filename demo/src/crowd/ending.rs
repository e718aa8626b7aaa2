//! How each of them ended, as a row of the table, and whether it is as it must be.

use bellwether_api::{CampaignDevice, DeviceOutcome};

use super::cast::{Fate, Member};
use crate::device::Status;
use crate::row::{Got, Image, grouped};
use crate::table::{Column, render};

/// How a device ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Who it is.
    pub member: Member,
    /// What it ran at first.
    pub ran: Image,
    /// What its class's new image is.
    pub target: Image,
    /// What it runs now.
    pub runs: Image,
    /// What it was given: by the server's word, and by its own where it is a copy.
    pub got: Option<Got>,
    /// Bytes of UDP payload that came in since it was switched on last, handshakes left out.
    pub bytes_since: u64,
    /// Its last word of itself.
    pub status: Status,
    /// UDP payload in and out, handshakes included.
    pub bytes: (u64, u64),
    /// How the campaign shows it; `None` for a copy, which has no name of its own.
    pub shown: Option<CampaignDevice>,
    /// Whether an alarm names it.
    pub is_alarmed: bool,
    /// Key index at which the server held it while it slept, where it did.
    pub index_asleep: Option<u16>,
}

impl Ending {
    /// Tells what is not as it must be.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{} {what}", self.member.name));
            }
        };
        let outcome = self.shown.as_ref().map(|shown| shown.outcome);
        let is_new = self.runs.digest == self.target.digest;
        match self.member.fate {
            Fate::Nothing | Fate::Sleeps | Fate::LosesPower | Fate::IsCopied => {
                must(is_new, "must run the new image");
                must(outcome == Some(DeviceOutcome::Installed), "must stand as installed in the campaign");
                must(self.got.is_some(), "must have been given it");
            }
            Fate::IsCurrent => {
                must(is_new && self.got.is_none(), "must run what it ran, and get nothing");
                let nothing = outcome == Some(DeviceOutcome::NothingToDo);
                must(nothing, "must stand in the campaign as one with nothing to do");
            }
            Fate::SlotIsDamaged => {
                must(is_new, "must run the new image");
                must(outcome == Some(DeviceOutcome::Installed), "must stand as installed in the campaign");
                let whole = matches!(self.got, Some(Got::Full { bytes }) if self.bytes_since > bytes);
                must(whole, "must have fetched its whole image again");
            }
            Fate::FailsSelfTest => {
                must(self.runs.digest == self.ran.digest, "must run the old image");
                must(outcome == Some(DeviceOutcome::Failed), "must stand as failed in the campaign");
                let why = self.shown.as_ref().is_some_and(|shown| shown.reason.is_some());
                must(why, "must be shown with a reason");
            }
            Fate::BatteryIsEmpty => {
                must(self.runs.digest == self.ran.digest, "must have run the old image when it went out");
                must(outcome == Some(DeviceOutcome::Granted), "must stand in the campaign as it was left");
            }
            Fate::IsCopyOf(_) => {
                must(self.status.refused(), "must have been refused");
                must(self.got.is_none() && !is_new, "must have got nothing");
                must(self.is_alarmed, "must have raised an alarm");
            }
        }
        if self.member.fate == Fate::Sleeps {
            must(self.index_asleep == Some(0), "must not have been updated while it slept");
            let slept = self.status.queue_mode.is_some_and(|sleep| sleep.times > 0 && sleep.missed == 0);
            must(slept, "must have slept without anything being sent to it");
        }
        if self.member.fate == Fate::FailsSelfTest {
            let says = self.status.reason.as_deref().is_some_and(|why| why.starts_with("rolled back"));
            must(says, "must say that it went back");
        }
        faults
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let got = match &self.got {
            None => "nothing".to_owned(),
            Some(Got::Full { bytes }) => format!("full image, {} B", grouped(*bytes)),
            Some(Got::Delta { base, bytes, .. }) => {
                format!("delta from {}, {} B", base.version, grouped(*bytes))
            }
        };
        [
            self.member.name.clone(),
            self.member.gateway.unwrap_or("-").to_owned(),
            self.ran.version.clone(),
            self.member.fate.text(),
            got,
            format!("{} in\n{} out", grouped(self.bytes.0), grouped(self.bytes.1)),
            self.runs.version.clone(),
            self.end(),
        ]
    }

    fn end(&self) -> String {
        let why = || self.status.reason.clone().unwrap_or_default();
        match (self.member.fate, self.shown.as_ref().map(|shown| shown.outcome)) {
            (Fate::IsCopyOf(_), _) if self.is_alarmed => format!("{}; an alarm says so", why()),
            (Fate::BatteryIsEmpty, Some(DeviceOutcome::Granted)) => {
                "nothing was heard of it since; it goes on when it is back".to_owned()
            }
            (Fate::IsCurrent, Some(DeviceOutcome::NothingToDo)) => "nothing to do".to_owned(),
            (Fate::SlotIsDamaged, Some(DeviceOutcome::Installed)) => {
                "noticed it, fetched all of it again; installed".to_owned()
            }
            (Fate::Sleeps, Some(DeviceOutcome::Installed)) => "offered when it woke; installed".to_owned(),
            (_, Some(DeviceOutcome::Installed)) => "installed".to_owned(),
            (_, Some(DeviceOutcome::Failed)) => format!("failed, runs the old one: {}", self.why_failed()),
            (_, outcome) => format!("{outcome:?}"),
        }
    }

    /// By the device's word, else by the server's.
    fn why_failed(&self) -> String {
        let shown = self.shown.as_ref().and_then(|shown| shown.reason.clone());
        self.status.reason.clone().or(shown).unwrap_or_default()
    }
}

/// Lays the table out.
#[must_use]
pub fn table(endings: &[Ending]) -> String {
    render(COLUMNS, &endings.iter().map(Ending::cells).collect::<Vec<_>>())
}

const COLUMNS: [Column; 8] = [
    Column { head: "DEVICE", width: 10 },
    Column { head: "BEHIND", width: 10 },
    Column { head: "RAN", width: 10 },
    Column { head: "WHAT BEFELL IT", width: 22 },
    Column { head: "GOT", width: 22 },
    Column { head: "UDP BYTES", width: 12 },
    Column { head: "RUNS NOW", width: 10 },
    Column { head: "HOW IT ENDED", width: 34 },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::cast::cast;
    use crate::device::Sleep;

    fn image(version: &str) -> Image {
        Image { version: version.to_owned(), digest: version.to_owned() }
    }

    /// A device with that fate that ended as it must.
    fn good(fate: impl Fn(Fate) -> bool) -> Ending {
        let member = cast(["1.0", "1.1", "1.2"]).into_iter().find(|one| fate(one.fate)).expect("one");
        let shown = |outcome| CampaignDevice {
            endpoint: member.name.clone(),
            class: member.class.to_owned(),
            outcome,
            got: None,
            reason: Some("why".to_owned()),
        };
        let (outcome, is_new, got) = match member.fate {
            Fate::IsCurrent => (DeviceOutcome::NothingToDo, true, false),
            Fate::FailsSelfTest => (DeviceOutcome::Failed, false, true),
            Fate::BatteryIsEmpty => (DeviceOutcome::Granted, false, true),
            Fate::IsCopyOf(_) => (DeviceOutcome::Waiting, false, false),
            _ => (DeviceOutcome::Installed, true, true),
        };
        let mut status = crate::device::tests::status();
        status.reason = Some("rolled back: it hangs".to_owned());
        status.queue_mode = Some(Sleep { asleep: false, times: 2, missed: 0 });
        Ending {
            ran: image("old"),
            target: image("new"),
            runs: image(if is_new { "new" } else { "old" }),
            got: got.then_some(Got::Full { bytes: 9 }),
            bytes_since: 10,
            status,
            bytes: (1, 2),
            shown: Some(shown(outcome)),
            is_alarmed: true,
            index_asleep: Some(0),
            member,
        }
    }

    #[test]
    fn whoever_ended_as_its_fate_has_it_has_no_faults_and_whoever_ended_otherwise_has() {
        for member in cast(["1.0", "1.1", "1.2"]) {
            let ending = good(|fate| fate == member.fate);
            assert_eq!(ending.faults(), [""; 0], "{ending:?}");
            let runs = if ending.runs == ending.target { image("old") } else { image("new") };
            let other = Ending { runs, ..ending.clone() };
            assert_eq!(other.faults().len(), 1, "{:?}", member.fate);
            let mut other = ending.clone();
            other.shown = None;
            let is_copy = matches!(member.fate, Fate::IsCopyOf(_));
            assert_eq!(other.faults().is_empty(), is_copy, "{:?}", member.fate);
        }
    }

    #[test]
    fn copy_without_an_alarm_sleeper_that_was_updated_and_roll_back_without_a_word_are_faults() {
        let copy = Ending { is_alarmed: false, ..good(|fate| matches!(fate, Fate::IsCopyOf(_))) };
        assert_eq!(copy.faults().len(), 1);
        let went_on = Ending { bytes_since: 5, ..good(|fate| fate == Fate::SlotIsDamaged) };
        assert_eq!(went_on.faults().len(), 1);
        let awake = Ending { index_asleep: Some(1), ..good(|fate| fate == Fate::Sleeps) };
        assert_eq!(awake.faults().len(), 1);
        let mut disturbed = good(|fate| fate == Fate::Sleeps);
        disturbed.status.queue_mode = Some(Sleep { asleep: false, times: 2, missed: 1 });
        assert_eq!(disturbed.faults().len(), 1);
        let mut silent = good(|fate| fate == Fate::FailsSelfTest);
        silent.status.reason = None;
        assert_eq!(silent.faults().len(), 1);
    }

    #[test]
    fn table_tells_of_each_what_befell_it_and_how_it_ended() {
        let table = table(&[good(|fate| fate == Fate::Sleeps), good(|fate| fate == Fate::FailsSelfTest)]);
        assert!(table.contains("offered when it woke"), "{table}");
        // The words that stay on one line of their column.
        assert!(table.contains("one: rolled") && table.contains("back: it hangs"), "{table}");
    }
}
