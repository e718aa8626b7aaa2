//! SUIT_Report: what became of an update. Written on the device, read by the server.
//!
//! Ours goes without nonce inside [`crate::message`]'s Report, which binds it; a nonce is read and written where
//! another reporter has one.
//!
//! Source: draft-ietf-suit-report-18.

mod read;
mod write;

use crate::cbor::CborError;
use crate::manifest::ComponentId;
use thiserror::Error;

/// Why an update ended as it did: the reason numbers of SUIT_Report.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// 0: it succeeded.
    Ok,
    /// 1: not parsed.
    CborParse,
    /// 2: COSE structure not supported.
    CoseUnsupported,
    /// 3: algorithm not supported.
    AlgorithmUnsupported,
    /// 4: signature or MAC wrong, or of nobody who may.
    Unauthorised,
    /// 5: command not supported.
    CommandUnsupported,
    /// 6: component not supported.
    ComponentUnsupported,
    /// 7: the signer may not touch this component.
    ComponentUnauthorised,
    /// 8: parameter not supported.
    ParameterUnsupported,
    /// 9: a severed element is missing or differs.
    SeveringUnsupported,
    /// 10: a condition was not fulfilled.
    ConditionFailed,
    /// 11: fetching, patching, decrypting or writing failed.
    OperationFailed,
    /// 12: installed, not yet started.
    InvokePending,
}

const REASONS: [Reason; 13] = [
    Reason::Ok,
    Reason::CborParse,
    Reason::CoseUnsupported,
    Reason::AlgorithmUnsupported,
    Reason::Unauthorised,
    Reason::CommandUnsupported,
    Reason::ComponentUnsupported,
    Reason::ComponentUnauthorised,
    Reason::ParameterUnsupported,
    Reason::SeveringUnsupported,
    Reason::ConditionFailed,
    Reason::OperationFailed,
    Reason::InvokePending,
];

impl Reason {
    /// Gives the number of the reason.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads a number; `None` for one that is not assigned.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        REASONS.get(usize::try_from(code).ok()?).copied()
    }
}

/// Why bytes are not a SUIT_Report.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReportError {
    /// Not deterministic CBOR of the shape of a report.
    #[error("not a SUIT_Report")]
    Cbor(#[from] CborError),
    /// A key that must be there is not.
    #[error("key {0} is missing")]
    Missing(i64),
    /// A key that is not known.
    #[error("key {0} is not known")]
    Key(i64),
    /// A reason number that is not assigned, or "ok" in a failure.
    #[error("reason {0} is none of a failure")]
    Reason(u64),
    /// The manifest's digest is not SHA-256.
    #[error("digest is not SHA-256")]
    DigestAlgorithm,
}

/// How the update ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome<'a> {
    /// It succeeded.
    Success,
    /// It failed.
    Failure {
        /// The reporter's own number for what happened; ours is the LwM2M Update Result.
        code: i64,
        /// Which command failed.
        record: Record<'a>,
        /// Why.
        reason: Reason,
    },
}

/// One command that was run, or failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Record<'a> {
    /// Key of the manifest's section: 3 for the shared sequence, 7, 16, 20, …; 0 where no section was reached.
    pub section: i64,
    /// Bytes into the section's sequence.
    pub offset: u64,
    /// Index of the component.
    pub component: u64,
    /// SHA-256 that was found (3).
    pub digest: Option<&'a [u8; 32]>,
}

/// What a component is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claims<'a> {
    /// Identifier of the component.
    pub component: ComponentId<'a>,
    /// SHA-256 of what is installed (3).
    pub digest: Option<&'a [u8; 32]>,
    /// Bytes of what is installed (14).
    pub size: Option<u64>,
    /// Encoded version, `[3, [+ int]]` (28).
    pub version: Option<&'a [u8]>,
}

/// An element of the report's list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry<'a> {
    /// What a component is now.
    Claims(Claims<'a>),
    /// A command.
    Record(Record<'a>),
}

/// A report to be written: encode it with [`crate::cbor::write_into`].
#[derive(Clone, Copy, Debug)]
pub struct ReportDraft<'a> {
    /// The manifest's reference URI, exactly; empty where it has none.
    pub manifest_uri: &'a str,
    /// Digest that names the manifest.
    pub manifest: &'a [u8; 32],
    /// Nonce of whoever asked for the report.
    pub nonce: Option<&'a [u8]>,
    /// Claims and records.
    pub entries: &'a [Entry<'a>],
    /// How it ended.
    pub outcome: Outcome<'a>,
}

/// A report as read. Its authenticity is the message's around it.
#[derive(Clone, Copy, Debug)]
pub struct SuitReport<'a> {
    /// The manifest's reference URI.
    pub manifest_uri: &'a str,
    /// Digest that names the manifest.
    pub manifest: &'a [u8; 32],
    /// Nonce of whoever asked for the report.
    pub nonce: Option<&'a [u8]>,
    /// How it ended.
    pub outcome: Outcome<'a>,
    entries: &'a [u8],
    entry_count: usize,
}

// Keys of SUIT_Report.
const NONCE: i64 = 2;
const ENTRIES: i64 = 3;
const RESULT: i64 = 4;
const RESULT_CODE: i64 = 5;
const RESULT_RECORD: i64 = 6;
const RESULT_REASON: i64 = 7;
const CAPABILITIES: i64 = 8;
const REFERENCE: i64 = 99;

// Keys of claims: SUIT parameter labels, and 0 for the component.
const COMPONENT: i64 = 0;
const DIGEST: i64 = 3;
const SIZE: i64 = 14;
const VERSION: i64 = 28;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn record() -> impl Strategy<Value = (i64, u64, u64, Option<[u8; 32]>)> {
        (0i64..30, any::<u64>(), 0u64..8, any::<Option<[u8; 32]>>())
    }

    proptest! {
        #[test]
        fn written_report_is_read_back(
            uri in ".{0,40}", manifest: [u8; 32], failure in proptest::option::of((any::<i64>(), 1u64..13, record())),
            claims in proptest::option::of((any::<[u8; 32]>(), any::<u64>())), other in record(),
        ) {
            let component = ComponentId::parse(b"\x81\x43app").unwrap();
            let as_record = |(section, offset, component, digest): &'_ (i64, u64, u64, Option<[u8; 32]>)| {
                (*section, *offset, *component, *digest)
            };
            let (section, offset, index, digest) = as_record(&other);
            let mut entries: Vec<Entry<'_>> = std::vec![
                Entry::Record(Record { section, offset, component: index, digest: digest.as_ref() })
            ];
            if let Some((digest, size)) = &claims {
                entries.push(Entry::Claims(Claims { component, digest: Some(digest), size: Some(*size), version: None }));
            }
            let outcome = match &failure {
                None => Outcome::Success,
                Some((code, reason, (section, offset, component, digest))) => Outcome::Failure {
                    code: *code,
                    reason: Reason::from_code(*reason).unwrap(),
                    record: Record { section: *section, offset: *offset, component: *component, digest: digest.as_ref() },
                },
            };
            let draft = ReportDraft { manifest_uri: &uri, manifest: &manifest, nonce: None, entries: &entries, outcome };
            let bytes = cbor::to_vec(&draft).unwrap();
            let read = SuitReport::parse(&bytes).unwrap();
            prop_assert_eq!((read.manifest_uri, read.manifest, read.nonce), (&uri[..], &manifest, None));
            prop_assert_eq!(read.outcome, outcome);
            prop_assert_eq!(read.entries().collect::<Vec<_>>(), entries);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(report) = SuitReport::parse(&bytes) {
                let _ = report.entries().count();
            }
        }
    }

    #[test]
    fn ok_is_no_reason_of_a_failure() {
        // {3: [], 4: {5: 0, 6: [[], 0, 0, 0, {}], 7: 0}, 99: ["", [-16, …]]}
        let mut bytes =
            hex::decode("a3038004a3050006858000000 0a007001863826082".replace(' ', "") + "2f5820").unwrap();
        bytes.extend_from_slice(&[0; 32]);
        assert_eq!(SuitReport::parse(&bytes).unwrap_err(), ReportError::Reason(0));
    }
}
