//! Reports that wait for the server, and receipts that wait for their devices.
//!
//! A report is on disk before its device hears that it is kept. It is named by a number, so that the oldest goes up
//! first, and by its digest, so that a repetition is known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_manifests::cbor::{CborError, Reader};
use bellwether_manifests::message::Digest;
use minicbor::Encoder;
use minicbor::encode::{Error as EncodeError, Write};
use thiserror::Error;

use crate::disk::{self, Durable};

/// All reports and receipts that are kept.
#[derive(Debug)]
pub struct Outbox {
    reports_folder: PathBuf,
    receipts_folder: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    reports: BTreeMap<u64, Arc<KeptReport>>,
    by_digest: HashMap<Digest, u64>,
    receipts: HashMap<Digest, Receipt>,
    next: u64,
}

/// A report as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptReport {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Device that brought it.
    pub child: String,
    /// Path that it came to.
    pub path: Vec<String>,
    /// Query that it came with.
    pub query: Vec<String>,
    /// Its bytes.
    pub report: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Receipt {
    child: String,
    at: u64,
    bytes: Vec<u8>,
}

/// Why a report is not kept.
#[derive(Debug, Error)]
pub enum KeepError {
    /// The device has as many reports waiting as allowed.
    #[error("the device has {REPORTS_PER_CHILD_MAX} reports waiting")]
    TooMany,
    /// The disk refuses.
    #[error("the report can't be kept")]
    Disk(#[from] io::Error),
}

impl Outbox {
    /// Reads what is kept; a file that is none is left alone and logged.
    ///
    /// # Errors
    ///
    /// What the system says if the folders can't be made or read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let (reports_folder, receipts_folder) = (folder.join("reports"), folder.join("receipts"));
        disk::make_folder(&reports_folder)?;
        disk::make_folder(&receipts_folder)?;
        let mut kept = Kept::default();
        for (name, bytes) in disk::read_all(&reports_folder, FILE_BYTES_MAX)? {
            if let (Ok(number), Ok(report)) = (u64::from_str_radix(&name, 16), decode_report(&bytes)) {
                kept.add(number, report);
            } else {
                tracing::warn!(name, "a kept report is not readable");
            }
        }
        for (name, bytes) in disk::read_all(&receipts_folder, FILE_BYTES_MAX)? {
            let mut digest = [0; 32];
            if let (Ok(()), Ok(receipt)) = (hex::decode_to_slice(&name, &mut digest), decode_receipt(&bytes))
            {
                kept.receipts.insert(digest, receipt);
            } else {
                tracing::warn!(name, "a kept receipt is not readable");
            }
        }
        Ok(Self { reports_folder, receipts_folder, kept: Mutex::new(kept) })
    }

    /// Writes a report down. One that is kept already is kept once.
    ///
    /// # Errors
    ///
    /// [`KeepError`]; the device must bring it again.
    pub fn keep(&self, report: KeptReport) -> Result<(), KeepError> {
        let number = {
            let mut kept = self.locked();
            if kept.by_digest.contains_key(&report.digest) {
                return Ok(());
            }
            if kept.reports.values().filter(|other| other.child == report.child).count()
                >= REPORTS_PER_CHILD_MAX
            {
                return Err(KeepError::TooMany);
            }
            // The number is taken before the file is written, so that two are never written to one file.
            kept.next += 1;
            kept.next - 1
        };
        disk::replace(&self.report_path(number), &encode_report(&report), Durable::Yes)?;
        self.locked().add(number, report);
        Ok(())
    }

    /// Gives the oldest report of each of `count` devices, leaving out those in `skipped`.
    #[must_use]
    pub fn oldest(&self, count: usize, skipped: &HashSet<String>) -> Vec<Arc<KeptReport>> {
        let mut seen = HashSet::new();
        let kept = self.locked();
        let wanted = kept.reports.values().filter(|report| !skipped.contains(&report.child));
        wanted.filter(|report| seen.insert(report.child.clone())).take(count).map(Arc::clone).collect()
    }

    /// Whether a report waits.
    #[must_use]
    pub fn is_kept(&self, digest: &Digest) -> bool {
        self.locked().by_digest.contains_key(digest)
    }

    /// Whether a report of this device waits.
    #[must_use]
    pub fn has_of(&self, child: &str) -> bool {
        self.locked().reports.values().any(|report| report.child == child)
    }

    /// Takes a report off that the server has. A receipt is kept for its device until it is fetched or too old.
    pub fn settle(&self, digest: &Digest, receipt: Option<&[u8]>, now: u64) {
        let settled = {
            let kept = self.locked();
            kept.by_digest
                .get(digest)
                .and_then(|number| Some((*number, Arc::clone(kept.reports.get(number)?))))
        };
        let Some((number, report)) = settled else { return };
        if let Some(receipt) = receipt {
            self.keep_receipt(digest, &report.child, receipt, now);
        }
        let mut kept = self.locked();
        kept.reports.remove(&number);
        kept.by_digest.remove(digest);
        drop(kept);
        unkept(disk::remove(&self.report_path(number)));
    }

    fn keep_receipt(&self, digest: &Digest, child: &str, bytes: &[u8], now: u64) {
        let receipt = Receipt { child: child.to_owned(), at: now, bytes: bytes.to_vec() };
        // Only memory is certain: a lost receipt costs one more question to the server.
        unkept(disk::replace(&self.receipt_path(digest), &encode_receipt(&receipt), Durable::Yes));
        let dropped = self.locked().add_receipt(*digest, receipt);
        for old in dropped {
            unkept(disk::remove(&self.receipt_path(&old)));
        }
    }

    /// Finds the receipt of a report that went up while its device was away. It stays, for the answer may be lost.
    #[must_use]
    pub fn receipt(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.locked().receipts.get(digest).map(|receipt| receipt.bytes.clone())
    }

    /// Drops receipts that nobody will fetch any more.
    pub fn expire(&self, now: u64) {
        let old: Vec<Digest> = {
            let mut kept = self.locked();
            let is_old = |receipt: &Receipt| receipt.at.abs_diff(now) > RECEIPT_S;
            let old = kept.receipts.iter().filter(|(_, receipt)| is_old(receipt)).map(|(digest, _)| *digest);
            let old: Vec<Digest> = old.collect();
            kept.receipts.retain(|digest, _| !old.contains(digest));
            old
        };
        for digest in old {
            unkept(disk::remove(&self.receipt_path(&digest)));
        }
    }

    /// Number of reports and of receipts.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        let kept = self.locked();
        (kept.reports.len(), kept.receipts.len())
    }

    fn report_path(&self, number: u64) -> PathBuf {
        self.reports_folder.join(format!("{number:016x}"))
    }

    fn receipt_path(&self, digest: &Digest) -> PathBuf {
        self.receipts_folder.join(hex::encode(digest))
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, number: u64, report: KeptReport) {
        self.next = self.next.max(number.saturating_add(1));
        self.by_digest.insert(report.digest, number);
        self.reports.insert(number, Arc::new(report));
    }

    /// Gives what had to make room.
    fn add_receipt(&mut self, digest: Digest, receipt: Receipt) -> Vec<Digest> {
        let child = receipt.child.clone();
        self.receipts.insert(digest, receipt);
        let mut of_child: Vec<(u64, Digest)> = self
            .receipts
            .iter()
            .filter(|(other, receipt)| **other != digest && receipt.child == child)
            .map(|(digest, receipt)| (receipt.at, *digest))
            .collect();
        of_child.sort_unstable();
        let surplus = (of_child.len() + 1).saturating_sub(RECEIPTS_PER_CHILD_MAX);
        let dropped: Vec<Digest> = of_child.into_iter().take(surplus).map(|(_, digest)| digest).collect();
        self.receipts.retain(|digest, _| !dropped.contains(digest));
        dropped
    }
}

fn unkept(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(%error, "the disk refuses the outbox");
    }
}

fn encode_report(report: &KeptReport) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing into a vector does not fail.
    let _ = write_report(&mut encoder, report);
    encoder.into_writer()
}

fn write_report<W: Write>(encoder: &mut Encoder<W>, kept: &KeptReport) -> Result<(), EncodeError<W::Error>> {
    encoder.array(6)?.u64(VERSION)?.bytes(&kept.digest)?.str(&kept.child)?;
    for texts in [&kept.path, &kept.query] {
        encoder.array(texts.len() as u64)?;
        for text in texts {
            encoder.str(text)?;
        }
    }
    encoder.bytes(&kept.report)?.ok()
}

fn decode_report(bytes: &[u8]) -> Result<KeptReport, CborError> {
    let mut reader = Reader::new(bytes);
    reader.array_of(6)?;
    read_version(&mut reader)?;
    let report = KeptReport {
        digest: *reader.bytes_exact()?,
        child: reader.text()?.to_owned(),
        path: read_texts(&mut reader)?,
        query: read_texts(&mut reader)?,
        report: reader.bytes()?.to_vec(),
    };
    reader.finish()?;
    Ok(report)
}

fn read_texts(reader: &mut Reader<'_>) -> Result<Vec<String>, CborError> {
    (0..reader.array()?).map(|_| reader.text().map(str::to_owned)).collect()
}

fn encode_receipt(receipt: &Receipt) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written = (|| -> Result<(), EncodeError<_>> {
        encoder.array(4)?.u64(VERSION)?.str(&receipt.child)?.u64(receipt.at)?.bytes(&receipt.bytes)?.ok()
    })();
    // Writing into a vector does not fail.
    written.map_or_else(|_| Vec::new(), |()| encoder.into_writer())
}

fn decode_receipt(bytes: &[u8]) -> Result<Receipt, CborError> {
    let mut reader = Reader::new(bytes);
    reader.array_of(4)?;
    read_version(&mut reader)?;
    let receipt =
        Receipt { child: reader.text()?.to_owned(), at: reader.uint()?, bytes: reader.bytes()?.to_vec() };
    reader.finish()?;
    Ok(receipt)
}

fn read_version(reader: &mut Reader<'_>) -> Result<(), CborError> {
    if reader.uint()? == VERSION { Ok(()) } else { Err(CborError::Range) }
}

/// Version of the files.
const VERSION: u64 = 1;

/// Reports of one device that wait: twice the two that a device holds.
pub const REPORTS_PER_CHILD_MAX: usize = 4;

/// Receipts of one device: as many as it can have had reports waiting, twice.
const RECEIPTS_PER_CHILD_MAX: usize = 8;

/// Seconds that a receipt is kept: a device that was away for a month asks the server again.
const RECEIPT_S: u64 = 30 * 86_400;

/// Bytes of one file: a report of the largest size with its path.
const FILE_BYTES_MAX: u64 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(n: u8, child: &str) -> KeptReport {
        KeptReport {
            digest: [n; 32],
            child: child.to_owned(),
            path: vec!["u".to_owned(), "r".to_owned()],
            query: Vec::new(),
            report: vec![n; 40],
        }
    }

    #[test]
    fn reports_are_there_after_a_restart_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for n in [3, 1, 2] {
            outbox.keep(report(n, "lamp-1")).unwrap();
        }
        outbox.keep(report(1, "lamp-1")).unwrap();
        let again = Outbox::open(folder.path()).unwrap();
        again.keep(report(4, "lamp-1")).unwrap();
        for n in [3, 1, 2, 4] {
            assert_eq!(oldest(&again, &[]), [n]);
            again.settle(&[n; 32], None, 0);
        }
    }

    fn oldest(outbox: &Outbox, skipped: &[&str]) -> Vec<u8> {
        let skipped = skipped.iter().map(|name| (*name).to_owned()).collect();
        outbox.oldest(9, &skipped).iter().map(|report| report.digest[0]).collect()
    }

    #[test]
    fn oldest_of_each_device_goes_first_and_a_device_can_be_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for (n, child) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            outbox.keep(report(n, child)).unwrap();
        }
        assert_eq!(oldest(&outbox, &[]), [1, 3, 4]);
        assert_eq!(oldest(&outbox, &["b"]), [1, 4]);
    }

    #[test]
    fn one_device_cannot_fill_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for n in 0..4 {
            outbox.keep(report(n, "lamp-1")).unwrap();
        }
        assert!(matches!(outbox.keep(report(9, "lamp-1")), Err(KeepError::TooMany)));
        outbox.keep(report(9, "lamp-2")).unwrap();
    }

    #[test]
    fn settled_report_leaves_its_receipt_until_that_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.keep(report(1, "lamp-1")).unwrap();
        outbox.settle(&[1; 32], Some(b"receipt"), 1_000);
        assert_eq!(outbox.len(), (0, 1));
        let again = Outbox::open(folder.path()).unwrap();
        assert_eq!(again.receipt(&[1; 32]).as_deref(), Some(&b"receipt"[..]));
        again.expire(1_000 + RECEIPT_S + 1);
        assert_eq!(Outbox::open(folder.path()).unwrap().len(), (0, 0));
    }

    #[test]
    fn oldest_receipts_of_a_device_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        for n in 0..10 {
            outbox.keep(report(n, "lamp-1")).unwrap();
            outbox.settle(&[n; 32], Some(&[n]), u64::from(n));
        }
        assert!(outbox.receipt(&[1; 32]).is_none() && outbox.receipt(&[2; 32]).is_some());
        assert_eq!(Outbox::open(folder.path()).unwrap().len(), (0, RECEIPTS_PER_CHILD_MAX));
    }

    #[test]
    fn refused_report_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.keep(report(1, "lamp-1")).unwrap();
        outbox.settle(&[1; 32], None, 1_000);
        assert_eq!(Outbox::open(folder.path()).unwrap().len(), (0, 0));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (decode_report(&bytes), decode_receipt(&bytes));
        }

        #[test]
        fn report_comes_back(digest: [u8; 32], child in "[a-z]{1,20}", path in proptest::collection::vec("[a-z]{0,9}", 0..4), report: Vec<u8>) {
            let kept = KeptReport { digest, child, path: path.clone(), query: path, report };
            prop_assert_eq!(decode_report(&encode_report(&kept)), Ok(kept));
        }
    }
}
