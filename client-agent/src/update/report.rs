//! Reports: made into the record before they are sent, and kept until the receipt.
//!
//! Source: protocol.md §3, "What the device keeps"; §6.

use super::bounded::Bounded;
use super::facts::COMPONENTS_MAX;
use super::record::{Outcome, PATH_BYTES_MAX, PendingReport, Place, REPORTS_MAX, State};
use super::updater::{UpdateError, Updater};
use super::verify::Trusted;
use crate::platform::{Flash, Random};
use bellwether_keys::mac::{self, NewReport, OpenError};
use bellwether_keys::{DownKey, Secret, fork};
use bellwether_manifests::cbor;
use bellwether_manifests::manifest::ComponentId;
use bellwether_manifests::message::{Confirm, Moment};
use bellwether_manifests::report::{self as suit, Claims, Entry, Reason, ReportDraft};
use core::time::Duration;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What became of a receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Receipted {
    /// The report may be forgotten, and is.
    Done(Moment),
    /// Not a receipt of the report that was sent; it stays.
    Ignored(OpenError),
    /// No report waits.
    Unasked,
}

/// What a report says beside how it went.
struct Subject<'s> {
    manifest: [u8; 32],
    /// URI that names the manifest; `None`: that of the one that is worked on.
    reference: Option<&'s str>,
    path: Bounded<PATH_BYTES_MAX>,
    place: Place,
    grant: u64,
    moment: Moment,
    led_to: Option<Place>,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Gives the report that is to be sent next, with the path of its request identifier.
    #[must_use]
    pub fn pending_report(&self) -> Option<(&[u8], &str)> {
        let report = self.report_due()?;
        Some((report.bytes.as_slice(), report.path.as_text()))
    }

    /// Tells what the report that is to be sent next tells of.
    #[must_use]
    pub fn pending_moment(&self) -> Option<Moment> {
        self.report_due().map(|report| report.moment)
    }

    /// Lets the next report go first: this one was put off, by a gateway that may have kept it and can keep the next
    /// one too.
    pub fn report_put_off(&mut self) {
        self.report_turn = (self.report_slot() + 1) % REPORTS_MAX;
    }

    fn report_due(&self) -> Option<&PendingReport> {
        self.record.reports.get(self.report_slot())?.as_ref()
    }

    /// Reports fill the slots from the first one on; whoever has no successor is followed by the first again.
    fn report_slot(&self) -> usize {
        let is_there = self.record.reports.get(self.report_turn).is_some_and(Option::is_some);
        if is_there { self.report_turn } else { 0 }
    }

    /// Tells whether a failure report waits.
    #[must_use]
    pub fn owes_failure(&self) -> bool {
        self.record.reports.iter().flatten().any(|report| report.moment == Moment::Failed)
    }

    /// Takes what came back for the report that [`Updater::pending_report`] gave.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn receipt(&mut self, uptime: Duration, message: &[u8]) -> Result<Receipted, UpdateError<F::Error>> {
        let Some(report) = self.report_due() else {
            return Ok(Receipted::Unasked);
        };
        let moment = report.moment;
        let digest: [u8; 32] = Sha256::digest(report.bytes.as_slice()).into();
        let key = match &report.receipt_key {
            Some(kept) => DownKey::stored(kept.clone(), &report.place.of(self.facts.id))?,
            None => self.down_key(report.place)?,
        };
        let now = match mac::open_receipt(&key, &digest, message) {
            Ok(receipt) => receipt.now,
            Err(error) => return Ok(Receipted::Ignored(error)),
        };
        self.believe_time(now, uptime);
        self.record.drop_report(self.report_slot());
        self.report_turn = 0;
        self.save()?;
        Ok(Receipted::Done(moment))
    }

    /// Puts the report of an open grant into the record, and what it moves; the caller writes.
    ///
    /// False where no slot is free; nothing has changed then.
    pub(super) fn report_granted(
        &mut self,
        moment: Moment,
        outcome: suit::Outcome<'_>,
    ) -> Result<bool, UpdateError<F::Error>> {
        let State::Granted(granted) = &self.record.state else {
            return Ok(false);
        };
        let grant = granted.grant()?;
        let confirming = confirms(grant.confirm, moment) && granted.place == self.record.place;
        let next = if confirming { Some(self.successor(&grant)?) } else { None };
        let subject = Subject {
            manifest: granted.manifest.digest,
            reference: None,
            path: granted.manifest.path.clone(),
            place: granted.place,
            grant: granted.number,
            moment,
            led_to: next.as_ref().map(|next| next.place),
        };
        if moment == Moment::Failed {
            self.drop_superseded(subject.grant);
        }
        let Some(digest) = self.push_report(&subject, outcome)? else {
            return Ok(false);
        };
        if let Some(next) = next {
            self.move_to(next, fork::next(&self.record.fork, &digest))?;
        }
        Ok(true)
    }

    /// Puts a failure report about a manifest that was refused into the record, and tells whether it did; the caller
    /// writes.
    pub(super) fn report_refused(
        &mut self,
        trusted: &Trusted<'_>,
        result: u8,
        reason: Reason,
    ) -> Result<bool, UpdateError<F::Error>> {
        let told = |report: &&PendingReport| report.grant == 0 && report.manifest == *trusted.manifest;
        if self.record.reports.iter().flatten().any(|report| told(&report))
            || !self.has_report_to_spare()
            || trusted.reference.len() > super::record::REFERENCE_BYTES_MAX
        {
            return Ok(false);
        }
        let subject = Subject {
            manifest: *trusted.manifest,
            reference: Some(trusted.reference),
            path: Bounded::copy_of(trusted.path.as_bytes()).ok_or(UpdateError::Buffer)?,
            place: self.record.place,
            grant: 0,
            moment: Moment::Failed,
            led_to: None,
        };
        Ok(self.push_report(&subject, failure(result, reason))?.is_some())
    }

    /// Whether a report about something else leaves the open grant a slot: an *installed* report without one would be
    /// lost, and with it the move of the place.
    fn has_report_to_spare(&self) -> bool {
        let free = self.record.reports.iter().filter(|slot| slot.is_none()).count();
        free > usize::from(self.record.granted().is_some())
    }

    /// Puts a failure report about a grant that was not kept into the record, or about the manifest that is worked on
    /// (grant 0); the caller writes. False where there is no manifest, and nothing changed then.
    pub(super) fn report_unusable(
        &mut self,
        grant: u64,
        result: u8,
        reason: Reason,
    ) -> Result<bool, UpdateError<F::Error>> {
        let Some(manifest) = self.record.manifest() else {
            return Ok(false);
        };
        let subject = Subject {
            manifest: manifest.digest,
            reference: None,
            path: manifest.path.clone(),
            place: self.record.place,
            grant,
            moment: Moment::Failed,
            led_to: None,
        };
        self.push_report(&subject, failure(result, reason))?;
        Ok(true)
    }

    /// Gives up the open grant: failure report, no manifest, an outcome; one write.
    ///
    /// False where no report slot is free, which the caller must have made sure of, or answer "not now".
    pub(super) fn fail(&mut self, result: u8, reason: Reason) -> Result<bool, UpdateError<F::Error>> {
        if !self.report_granted(Moment::Failed, failure(result, reason))? {
            return Ok(false);
        }
        self.close(Outcome { result, refused: None });
        self.save()?;
        Ok(true)
    }

    /// Gives up the open grant, with a report where a slot is free, and its manifest; one write.
    pub(super) fn give_up(&mut self, result: u8, reason: Reason) -> Result<(), UpdateError<F::Error>> {
        if matches!(self.record.state, State::Granted(_)) && self.fail(result, reason)? {
            return Ok(());
        }
        self.close(Outcome { result, refused: None });
        self.save()
    }

    /// A decrypted report of a grant that now failed would only be followed by the failure report.
    fn drop_superseded(&mut self, grant: u64) {
        let superseded = |report: &PendingReport| {
            report.moment == Moment::Decrypted && report.grant == grant && report.led_to.is_none()
        };
        if !self.record.has_free_report()
            && let Some(slot) =
                self.record.reports.iter().position(|slot| slot.as_ref().is_some_and(superseded))
        {
            self.record.drop_report(slot);
        }
    }

    /// Makes a report, in the record, and gives its digest; `None` where no slot is free.
    fn push_report(
        &mut self,
        subject: &Subject<'_>,
        outcome: suit::Outcome<'_>,
    ) -> Result<Option<[u8; 32]>, UpdateError<F::Error>> {
        if !self.record.has_free_report() {
            return Ok(None);
        }
        let mut random = Zeroizing::new([0; 16]);
        self.random.fill(&mut *random);
        let mut body = [0; SUIT_REPORT_BYTES_MAX];
        let body_bytes = self.write_suit_report(subject, outcome, &mut body)?;
        let (key, receipt_key) = (self.up_key(subject.place)?, self.receipt_key_of(subject.place));
        let new = NewReport {
            grant: subject.grant,
            moment: subject.moment,
            random: &random,
            suit_report: &body[..body_bytes],
        };
        let Some(report) = self.record.new_report() else {
            return Ok(None);
        };
        subject.write_into(report, receipt_key);
        let sealed = report.bytes.write_with(|into| mac::seal_report(&key, &new, into));
        let digest = Sha256::digest(report.bytes.as_slice()).into();
        if let Err(error) = sealed {
            self.record.drop_newest_report();
            return Err(error.into());
        }
        Ok(Some(digest))
    }

    /// The key of a receipt at a place of an earlier epoch, whose grant has it and may close before the receipt comes.
    fn receipt_key_of(&self, place: Place) -> Option<Secret<32>> {
        let passed = self.record.granted().filter(|granted| granted.place == place)?.keys.as_ref()?;
        Some(passed.down.clone())
    }

    fn write_suit_report(
        &self,
        subject: &Subject<'_>,
        outcome: suit::Outcome<'_>,
        into: &mut [u8],
    ) -> Result<usize, UpdateError<F::Error>> {
        // A refused or decrypted image does not run: what runs is told all the same, so nobody has to guess.
        let mut entries = [Entry::Record(suit::Record::default()); COMPONENTS_MAX];
        let mut count = 0;
        if subject.moment != Moment::Decrypted {
            for (entry, claims) in entries.iter_mut().zip(self.claims()) {
                *entry = Entry::Claims(claims);
                count += 1;
            }
        }
        let worked_on = || self.record.manifest().map(|manifest| manifest.reference.as_text());
        let draft = ReportDraft {
            manifest_uri: subject.reference.or_else(worked_on).unwrap_or_default(),
            manifest: &subject.manifest,
            nonce: None,
            entries: &entries[..count],
            outcome,
        };
        cbor::write_into(&draft, into).map_err(|error| UpdateError::Seal(error.into()))
    }

    /// What each component of this device is.
    fn claims(&self) -> impl Iterator<Item = Claims<'_>> {
        self.facts.components.iter().enumerate().filter_map(|(number, id)| {
            let image = self.running_of(number);
            Some(Claims {
                component: ComponentId::parse(id).ok()?,
                digest: Some(&image.digest),
                size: Some(u64::from(image.bytes)),
                version: None,
            })
        })
    }
}

impl Subject<'_> {
    fn write_into(&self, report: &mut PendingReport, receipt_key: Option<Secret<32>>) {
        (report.place, report.grant, report.manifest) = (self.place, self.grant, self.manifest);
        (report.moment, report.led_to) = (self.moment, self.led_to);
        report.path.clone_from(&self.path);
        report.receipt_key = receipt_key;
    }
}

/// Tells whether a report of this moment moves the place.
///
/// Source: update.cddl, Grant, confirm.
fn confirms(confirm: Confirm, moment: Moment) -> bool {
    match moment {
        Moment::Decrypted => confirm == Confirm::Decrypted,
        Moment::Installed => confirm != Confirm::Decrypted,
        Moment::Failed => false,
    }
}

pub(super) fn failure(result: u8, reason: Reason) -> suit::Outcome<'static> {
    suit::Outcome::Failure { code: i64::from(result), record: suit::Record::default(), reason }
}

/// Bytes of the report inside: reference URI, a digest, about 30 bytes of heads, and a digest with its heads for each
/// component.
const SUIT_REPORT_BYTES_MAX: usize = 288 + 96 * COMPONENTS_MAX;
