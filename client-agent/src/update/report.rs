//! Reports: made into the record before they are sent, and kept until the receipt.
//!
//! Source: protocol.md §3, "What the device keeps"; §6.

use super::bounded::Bounded;
use super::facts::COMPONENTS_MAX;
use super::record::{Granted, ManifestRef, Outcome, PendingReport, Place, REPORTS_MAX, State};
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
use zeroize::Zeroize;

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

/// The subject of a report.
pub(super) struct Subject<'s> {
    pub(super) manifest: &'s [u8; 32],
    pub(super) reference: &'s str,
    pub(super) path: &'s str,
    pub(super) place: Place,
    pub(super) grant: u64,
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
        let granted = granted.clone();
        let grant = granted.grant()?;
        let subject = Subject {
            manifest: &granted.manifest.digest,
            reference: granted.manifest.reference.as_text(),
            path: granted.manifest.path.as_text(),
            place: granted.place,
            grant: granted.number,
        };
        let confirming = confirms(grant.confirm, moment) && granted.place == self.record.place;
        let next = if confirming { Some(self.successor(&grant)?) } else { None };
        if moment == Moment::Failed {
            self.drop_superseded(&granted);
        }
        let led_to = next.as_ref().map(|next| next.place);
        let Some(digest) = self.push_report(&subject, moment, outcome, led_to)? else {
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
            manifest: trusted.manifest,
            reference: trusted.reference,
            path: trusted.path,
            place: self.record.place,
            grant: 0,
        };
        Ok(self.push_report(&subject, Moment::Failed, failure(result, reason), None)?.is_some())
    }

    /// Whether a report about something else leaves the open grant a slot: an *installed* report without one would be
    /// lost, and with it the move of the place.
    fn has_report_to_spare(&self) -> bool {
        let free = self.record.reports.iter().filter(|slot| slot.is_none()).count();
        free > usize::from(self.record.granted().is_some())
    }

    /// Puts a failure report about a grant that was not kept into the record, or about a manifest that was (grant 0);
    /// the caller writes.
    pub(super) fn report_unusable(
        &mut self,
        manifest: &ManifestRef,
        grant: u64,
        result: u8,
        reason: Reason,
    ) -> Result<(), UpdateError<F::Error>> {
        let subject = Subject {
            manifest: &manifest.digest,
            reference: manifest.reference.as_text(),
            path: manifest.path.as_text(),
            place: self.record.place,
            grant,
        };
        self.push_report(&subject, Moment::Failed, failure(result, reason), None)?;
        Ok(())
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
    fn drop_superseded(&mut self, granted: &Granted) {
        let superseded = |report: &PendingReport| {
            report.moment == Moment::Decrypted && report.grant == granted.number && report.led_to.is_none()
        };
        if !self.record.has_free_report()
            && let Some(slot) =
                self.record.reports.iter().position(|slot| slot.as_ref().is_some_and(superseded))
        {
            self.record.drop_report(slot);
        }
    }

    /// Makes a report and gives its digest; `None` where no slot is free.
    fn push_report(
        &mut self,
        subject: &Subject<'_>,
        moment: Moment,
        outcome: suit::Outcome<'_>,
        led_to: Option<Place>,
    ) -> Result<Option<[u8; 32]>, UpdateError<F::Error>> {
        if !self.record.has_free_report() {
            return Ok(None);
        }
        let mut random = [0; 16];
        self.random.fill(&mut random);
        let mut body = [0; SUIT_REPORT_BYTES_MAX];
        let body_bytes = self.write_suit_report(subject, moment, outcome, &mut body)?;
        let key = self.up_key(subject.place)?;
        let new =
            NewReport { grant: subject.grant, moment, random: &random, suit_report: &body[..body_bytes] };
        let mut sealed = [0; super::record::REPORT_BYTES_MAX];
        let sealed_bytes = mac::seal_report(&key, &new, &mut sealed)?;
        let sealed_report = &sealed[..sealed_bytes];
        let digest = Sha256::digest(sealed_report).into();
        let report = PendingReport {
            bytes: Bounded::copy_of(sealed_report).ok_or(UpdateError::Buffer)?,
            place: subject.place,
            grant: subject.grant,
            manifest: *subject.manifest,
            path: Bounded::copy_of(subject.path.as_bytes()).ok_or(UpdateError::Buffer)?,
            moment,
            led_to,
            receipt_key: self.receipt_key_of(subject.place),
        };
        random.zeroize();
        Ok(self.record.push_report(report).then_some(digest))
    }

    /// The key of a receipt at a place of an earlier epoch, whose grant has it and may close before the receipt comes.
    fn receipt_key_of(&self, place: Place) -> Option<Secret<32>> {
        let passed = self.record.granted().filter(|granted| granted.place == place)?.keys.as_ref()?;
        Some(passed.down.clone())
    }

    fn write_suit_report(
        &self,
        subject: &Subject<'_>,
        moment: Moment,
        outcome: suit::Outcome<'_>,
        into: &mut [u8],
    ) -> Result<usize, UpdateError<F::Error>> {
        // A refused or decrypted image does not run: what runs is told all the same, so nobody has to guess.
        let mut entries = [Entry::Record(suit::Record::default()); COMPONENTS_MAX];
        let mut count = 0;
        if moment != Moment::Decrypted {
            for (entry, claims) in entries.iter_mut().zip(self.claims()) {
                *entry = Entry::Claims(claims);
                count += 1;
            }
        }
        let draft = ReportDraft {
            manifest_uri: subject.reference,
            manifest: subject.manifest,
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
