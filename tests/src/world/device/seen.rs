//! What the world sees of a device: what it ran, how its record moved, what it was told.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent::agent::Event;
use bellwether_agent::manifests::message::Moment;
use bellwether_agent::update::record::{PendingReport, Place, Record, State};
use bellwether_agent::update::trial::Selected;
use sha2::{Digest as _, Sha256};

use crate::world::desk::running;

/// SHA-256.
pub type Digest = [u8; 32];

/// Everything that was seen of one device.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What runs, or ran last.
    pub running: Digest,
    /// Everything that ever ran, trials included.
    pub ran: BTreeSet<Digest>,
    /// Everything that was confirmed, the factory's image included.
    pub confirmed: BTreeSet<Digest>,
    /// Boots on trial that came to no end, by image.
    pub trials: BTreeMap<Digest, u64>,
    /// Boots, those after a trial and after power cuts included.
    pub boots: u64,
    /// How far it is.
    pub at: Option<At>,
    /// What it was acknowledged, in order.
    pub receipts: Vec<Receipted>,
    /// Digest of every grant that it kept, by epoch of its place and number.
    pub grants: BTreeMap<(u16, u64), Digest>,
    /// Numbers of the reasons why servers refused it.
    pub refused: Vec<i64>,
    /// Manifests that it did not follow.
    pub manifests_refused: u64,
    /// Times that its self-test failed.
    pub self_tests_failed: u64,
    /// Grants for a delta that it kept.
    pub deltas: u64,
    /// Frames that it stored, those again after a power cut included.
    pub frames: u64,
    /// Requests of its own that were never answered.
    pub unanswered: u64,
    /// The highest time floor that it has had, also between boots.
    pub floor_highest: u64,
    /// Rules that it broke, in words.
    pub broken: Vec<String>,
}

/// How far a device is, of its record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct At {
    /// Place in the key chain.
    pub place: Place,
    /// Highest grant number that was kept.
    pub grant_highest: u64,
    /// First counter that is not reserved.
    pub counter_reserved: u64,
    /// Sequence number of the newest manifest that was installed.
    pub manifest_sequence: u64,
    /// Seconds since 1970 that have passed for certain.
    pub time_floor: u64,
    /// Edition of the anchors.
    pub anchors_edition: u64,
    /// Reports without a receipt.
    pub owes: usize,
    /// Whether a manifest is worked on.
    pub is_busy: bool,
    /// LwM2M Update Result of the last update.
    pub result: u8,
}

/// A report that a receipt came for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipted {
    /// What it told.
    pub moment: Moment,
    /// Under which key.
    pub place: Place,
    /// Number of the grant; 0 for a refused manifest.
    pub grant: u64,
    /// The manifest.
    pub manifest: Digest,
    /// SHA-256 of the report as it was sent.
    pub report: Digest,
}

impl Seen {
    /// Takes what the boot loader starts.
    pub(super) fn boot(&mut self, selected: &Selected) {
        let image = image_of(selected);
        self.boots += 1;
        self.running = image;
        self.ran.insert(image);
        if selected.on_trial {
            *self.trials.entry(image).or_default() += 1;
        } else {
            self.confirm(image);
        }
    }

    /// Takes that an image has passed its trial.
    pub(super) fn confirm(&mut self, image: Digest) {
        self.confirmed.insert(image);
        self.trials.remove(&image);
    }

    /// Takes the record that a boot reads from flash. Between boots the time floor may be ahead of it by less than a day:
    /// it is raised with what the server says, and written with the next step, or when it has come so far.
    pub(super) fn record_at_boot(&mut self, record: &Record) {
        if record.time_floor + FLOOR_STEP_S < self.floor_highest {
            self.broken.push(format!("the time floor went back from {}: {record:?}", self.floor_highest));
        }
        self.record(record);
    }

    /// Takes the record as it stands, and holds it against what was seen before.
    pub(super) fn record(&mut self, record: &Record) {
        let at = At::of(record);
        self.floor_highest = self.floor_highest.max(at.time_floor);
        if let Some(before) = self.at {
            self.compare(&before, &at);
        }
        self.at = Some(at);
        if let Some(granted) = record.granted() {
            let digest = Sha256::digest(granted.grant.as_slice()).into();
            let kept = *self.grants.entry((granted.place.epoch, granted.number)).or_insert(digest);
            if kept != digest {
                self.broken.push(format!("grant {} was given twice with different bytes", granted.number));
            }
        }
    }

    fn compare(&mut self, before: &At, now: &At) {
        let fell = [
            ("place", now.place < before.place),
            ("highest grant number", now.grant_highest < before.grant_highest),
            ("counter", now.counter_reserved < before.counter_reserved),
            ("manifest sequence number", now.manifest_sequence < before.manifest_sequence),
            ("edition of the anchors", now.anchors_edition < before.anchors_edition),
        ];
        for (name, _) in fell.into_iter().filter(|(_, fell)| *fell) {
            self.broken.push(format!("the {name} went back: {before:?}, then {now:?}"));
        }
    }

    /// Takes what the agent tells.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Refused { reason } => self.refused.push(*reason),
            Event::ManifestRefused { .. } => self.manifests_refused += 1,
            Event::Granted { base: Some(_), .. } => self.deltas += 1,
            Event::FrameStored { .. } => self.frames += 1,
            Event::Unanswered { .. } => self.unanswered += 1,
            _ => {}
        }
    }

    /// Takes the reports of which one has just been acknowledged: those that were pending before and are not now.
    pub(super) fn receipt(&mut self, before: &[Option<PendingReport>], now: &[Option<PendingReport>]) {
        let gone = before.iter().flatten().filter(|report| !now.iter().flatten().any(|kept| kept == *report));
        self.receipts.extend(gone.map(Receipted::of));
    }
}

/// Names what the boot loader starts, all components together.
pub(super) fn image_of(selected: &Selected) -> Digest {
    let digests: Vec<Digest> = selected.components().map(|(_, _, image)| image.digest).collect();
    running(&digests)
}

impl At {
    fn of(record: &Record) -> Self {
        Self {
            place: record.place,
            grant_highest: record.grant_highest,
            counter_reserved: record.counter_reserved,
            manifest_sequence: record.manifest_sequences[0],
            time_floor: record.time_floor,
            anchors_edition: record.anchors_edition,
            owes: record.reports.iter().flatten().count(),
            is_busy: !matches!(record.state, State::None),
            result: record.outcome.result,
        }
    }
}

impl Receipted {
    fn of(report: &PendingReport) -> Self {
        Self {
            moment: report.moment,
            place: report.place,
            grant: report.grant,
            manifest: report.manifest,
            report: Sha256::digest(report.bytes.as_slice()).into(),
        }
    }
}

/// What a power cut may take back of the time floor: a day.
const FLOOR_STEP_S: u64 = 86_400;
