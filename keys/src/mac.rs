//! Messages under a MAC: sealed by who has the key, opened only if the MAC is right.
//!
//! `seal_*` writes into a buffer of the caller (`seal_*_to_vec` into a vector), `open_*` gives a message out only
//! after its MAC was verified in constant time, it was read strictly, and it says the place of the key.
//!
//! The key must be known before the message can be verified, so [`peek_place`] and [`peek_report_place`] tell which
//! one is claimed.

#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};

use bellwether_manifests::cbor::{self, EncodeError, Raw};
use bellwether_manifests::cose::mac0::{self, Mac0, Mac0Error, mac_structure};
use bellwether_manifests::message::report::REPORT_BYTES_MAX;
use bellwether_manifests::message::{
    Digest, Grant, MessageError, Moment, Place, Receipt, Report, UpdateRequest, Verdict, peek, word,
};
use hmac::{Hmac, KeyInit, Mac};
use minicbor::Encode;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derive::{DownKey, PlacedKey, UpKey};

/// Why a message was not opened. Drop it; nothing in it may be believed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no message with a MAC of this protocol.
    #[error("message is not a message with a MAC of this protocol")]
    Form(#[from] Mac0Error),
    /// The MAC does not verify: altered, of another kind, or under another key.
    #[error("MAC does not verify")]
    Mac,
    /// The MAC is right, but the message is refused.
    #[error("message is refused")]
    Message(#[from] MessageError),
    /// The MAC is right, but the message is for another place than the key.
    #[error("message is for another place")]
    OtherPlace,
    /// The MAC is right, but the message answers another request or another report.
    #[error("message answers something else")]
    OtherQuestion,
    /// The grant carries shares for the next seed, which only a signed one may.
    #[error("shares for the next seed are in a grant that is not signed")]
    SharesUnsigned,
}

/// Why a message was not sealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// The message is for another place than the key.
    #[error("message is for another place than the key")]
    OtherPlace,
    /// The message was not written.
    #[error("message was not written")]
    Encode(#[from] EncodeError),
    /// The grant carries shares for the next seed, which only a signed one may.
    #[error("shares for the next seed need a grant that is signed")]
    SharesUnsigned,
}

/// Report that is still to be sealed; its place is the key's.
#[derive(Clone, Copy, Debug)]
pub struct NewReport<'a> {
    /// Number of the grant; 0: none was given.
    pub grant: u64,
    /// What is reported.
    pub moment: Moment,
    /// Fresh random bytes.
    pub random: &'a [u8; 16],
    /// Encoded `SUIT_Report`.
    pub suit_report: &'a [u8],
}

/// Report whose MAC was verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VerifiedReport<'a> {
    /// The report.
    pub report: Report<'a>,
    /// Encoded `SUIT_Report` within; not read yet.
    pub suit_report: &'a [u8],
}

/// Grant or verdict whose MAC was verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply<'a> {
    /// The right to open resources.
    Grant(Grant<'a>),
    /// Something else was decided.
    Verdict(Verdict<'a>),
}

/// Tells which place a request, grant, verdict or receipt claims. **Not verified**: only for choosing the key.
///
/// # Errors
///
/// [`MessageError`] if there is no version 1 message with a place.
pub fn peek_place(message: &[u8]) -> Result<Place<'_>, MessageError> {
    Ok(peek::peek_cose(message)?.place)
}

/// Tells which place a report claims. **Not verified**: only for choosing the key.
///
/// # Errors
///
/// [`MessageError`] if there is no version 1 message with a place.
pub fn peek_report_place(report: &[u8]) -> Result<Place<'_>, MessageError> {
    Ok(peek::peek(report)?.place)
}

/// Seals a request to `request_identifier` (as in the manifest, without `cd=`) and returns the number of bytes.
///
/// # Errors
///
/// [`SealError`] if it is for another place or does not fit.
pub fn seal_request(
    key: &UpKey,
    request_identifier: &str,
    request: &UpdateRequest<'_>,
    out: &mut [u8],
) -> Result<usize, SealError> {
    same_place(&key.0, &request.place)?;
    seal(&key.0, &[word::REQUEST, request_identifier.as_bytes()], request, out)
}

/// Opens a request that came to `request_identifier`.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_request<'a>(
    key: &UpKey,
    request_identifier: &str,
    message: &'a [u8],
) -> Result<UpdateRequest<'a>, OpenError> {
    let payload = verify(&key.0, &[word::REQUEST, request_identifier.as_bytes()], message)?;
    let request = UpdateRequest::decode(payload)?;
    placed(&key.0, &request.place, request)
}

/// Seals a grant and returns the number of bytes.
///
/// # Errors
///
/// [`SealError`] if it is for another place, carries shares, or does not fit.
pub fn seal_grant(key: &DownKey, grant: &Grant<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    same_place(&key.0, &grant.place)?;
    if grant.options.shares.is_some() {
        return Err(SealError::SharesUnsigned);
    }
    seal(&key.0, &[word::GRANT], grant, out)
}

/// Opens a grant.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_grant<'a>(key: &DownKey, message: &'a [u8]) -> Result<Grant<'a>, OpenError> {
    let payload = verify(&key.0, &[word::GRANT], message)?;
    let grant = Grant::decode(payload)?;
    if grant.options.shares.is_some() {
        return Err(OpenError::SharesUnsigned);
    }
    placed(&key.0, &grant.place, grant)
}

/// Seals a verdict and returns the number of bytes.
///
/// # Errors
///
/// [`SealError`] if it is for another place or does not fit.
pub fn seal_verdict(key: &DownKey, verdict: &Verdict<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    same_place(&key.0, &verdict.place)?;
    seal(&key.0, &[word::VERDICT], verdict, out)
}

/// Opens a verdict on the request with this `nonce`.
///
/// # Errors
///
/// [`OpenError`]; [`OpenError::OtherQuestion`] for the verdict on another request.
pub fn open_verdict<'a>(key: &DownKey, nonce: &[u8; 8], message: &'a [u8]) -> Result<Verdict<'a>, OpenError> {
    let payload = verify(&key.0, &[word::VERDICT], message)?;
    let verdict = Verdict::decode(payload)?;
    if verdict.nonce != nonce {
        return Err(OpenError::OtherQuestion);
    }
    placed(&key.0, &verdict.place, verdict)
}

/// Opens the grant or verdict that an answer to the request with this `nonce` carries.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_reply<'a>(key: &DownKey, nonce: &[u8; 8], message: &'a [u8]) -> Result<Reply<'a>, OpenError> {
    // The kind is not verified here, but each kind has words of its own under its MAC.
    match peek::peek_cose(message)?.kind {
        Some(0) => open_grant(key, message).map(Reply::Grant),
        _ => open_verdict(key, nonce, message).map(Reply::Verdict),
    }
}

/// Seals a receipt and returns the number of bytes.
///
/// # Errors
///
/// [`SealError`] if it is for another place or does not fit.
pub fn seal_receipt(key: &DownKey, receipt: &Receipt<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    same_place(&key.0, &receipt.place)?;
    seal(&key.0, &[word::RECEIPT], receipt, out)
}

/// Opens the receipt of the report with this digest.
///
/// # Errors
///
/// [`OpenError`]; [`OpenError::OtherQuestion`] for the receipt of another report.
pub fn open_receipt<'a>(key: &DownKey, report: &Digest, message: &'a [u8]) -> Result<Receipt<'a>, OpenError> {
    let payload = verify(&key.0, &[word::RECEIPT], message)?;
    let receipt = Receipt::decode(payload)?;
    if receipt.report != report {
        return Err(OpenError::OtherQuestion);
    }
    placed(&key.0, &receipt.place, receipt)
}

/// Seals a report at the place of the key, ready to be sent, and returns the number of bytes.
///
/// # Errors
///
/// [`SealError::Encode`] if it does not fit or is too long.
pub fn seal_report(key: &UpKey, report: &NewReport<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    let NewReport { grant, moment, random, suit_report } = *report;
    let within_bytes = mac0::encoded_len(suit_report.len());
    if within_bytes > REPORT_BYTES_MAX {
        return Err(EncodeError::Invalid.into());
    }
    let head = Report { place: key.place(), grant, moment, random, report: &[] }.head()?;
    let start = head.as_bytes().len();
    out.get_mut(..start).ok_or(EncodeError::Space)?.copy_from_slice(head.as_bytes());
    let rest = out.get_mut(start..).ok_or(EncodeError::Space)?;
    let length_bytes = cbor::write_into(&BytesHead(within_bytes), rest)?;
    let within = rest.get_mut(length_bytes..).ok_or(EncodeError::Space)?;
    let written = seal(&key.0, &[word::REPORT, head.as_bytes()], &Raw(suit_report), within)?;
    Ok(start + length_bytes + written)
}

/// Opens a report.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_report<'a>(key: &UpKey, message: &'a [u8]) -> Result<VerifiedReport<'a>, OpenError> {
    let report = Report::decode(message)?;
    let head = report.head().map_err(|_| OpenError::OtherPlace)?;
    let suit_report = verify(&key.0, &[word::REPORT, head.as_bytes()], report.report)?;
    placed(&key.0, &report.place, VerifiedReport { report, suit_report })
}

/// Seals a request into a vector; see [`seal_request`].
///
/// # Errors
///
/// [`SealError`].
#[cfg(feature = "alloc")]
pub fn seal_request_to_vec(
    key: &UpKey,
    request_identifier: &str,
    request: &UpdateRequest<'_>,
) -> Result<Vec<u8>, SealError> {
    to_vec(cbor::encoded_len(request)?, |out| seal_request(key, request_identifier, request, out))
}

/// Seals a grant into a vector; see [`seal_grant`].
///
/// # Errors
///
/// [`SealError`].
#[cfg(feature = "alloc")]
pub fn seal_grant_to_vec(key: &DownKey, grant: &Grant<'_>) -> Result<Vec<u8>, SealError> {
    to_vec(cbor::encoded_len(grant)?, |out| seal_grant(key, grant, out))
}

/// Seals a verdict into a vector; see [`seal_verdict`].
///
/// # Errors
///
/// [`SealError`].
#[cfg(feature = "alloc")]
pub fn seal_verdict_to_vec(key: &DownKey, verdict: &Verdict<'_>) -> Result<Vec<u8>, SealError> {
    to_vec(cbor::encoded_len(verdict)?, |out| seal_verdict(key, verdict, out))
}

/// Seals a receipt into a vector; see [`seal_receipt`].
///
/// # Errors
///
/// [`SealError`].
#[cfg(feature = "alloc")]
pub fn seal_receipt_to_vec(key: &DownKey, receipt: &Receipt<'_>) -> Result<Vec<u8>, SealError> {
    to_vec(cbor::encoded_len(receipt)?, |out| seal_receipt(key, receipt, out))
}

/// Seals a report into a vector; see [`seal_report`].
///
/// # Errors
///
/// [`SealError`].
#[cfg(feature = "alloc")]
pub fn seal_report_to_vec(key: &UpKey, report: &NewReport<'_>) -> Result<Vec<u8>, SealError> {
    to_vec(report.suit_report.len() + REPORT_AROUND_BYTES, |out| seal_report(key, report, out))
}

#[cfg(feature = "alloc")]
fn to_vec(
    payload_bytes: usize,
    seal: impl FnOnce(&mut [u8]) -> Result<usize, SealError>,
) -> Result<Vec<u8>, SealError> {
    let mut out = vec![0; mac0::encoded_len(payload_bytes)];
    let written = seal(&mut out)?;
    out.truncate(written);
    Ok(out)
}

fn seal(
    key: &PlacedKey<32>,
    external_aad: &[&[u8]],
    message: &impl Encode<()>,
    out: &mut [u8],
) -> Result<usize, SealError> {
    let tag = |payload: &[u8]| mac(key, external_aad, payload).finalize().into_bytes().into();
    Ok(mac0::write_into(message, tag, out)?)
}

fn verify<'a>(key: &PlacedKey<32>, external_aad: &[&[u8]], message: &'a [u8]) -> Result<&'a [u8], OpenError> {
    let message = Mac0::decode(message)?;
    // `verify_slice` compares in constant time.
    mac(key, external_aad, message.payload).verify_slice(message.tag).map_err(|_| OpenError::Mac)?;
    Ok(message.payload)
}

fn mac(key: &PlacedKey<32>, external_aad: &[&[u8]], payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*hmac_block(key.expose())).into());
    mac_structure(external_aad, payload, |piece| mac.update(piece));
    mac
}

/// RFC 2104 §2: a key shorter than a block is filled up with zeros, which is the key of a whole block.
fn hmac_block(key: &[u8; 32]) -> Zeroizing<[u8; 64]> {
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    block
}

fn same_place(key: &PlacedKey<32>, place: &Place<'_>) -> Result<(), SealError> {
    if key.place() == *place { Ok(()) } else { Err(SealError::OtherPlace) }
}

fn placed<T>(key: &PlacedKey<32>, place: &Place<'_>, message: T) -> Result<T, OpenError> {
    if key.place() == *place { Ok(message) } else { Err(OpenError::OtherPlace) }
}

/// Head of a byte string.
struct BytesHead(usize);

impl<C> Encode<C> for BytesHead {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes_len(self.0 as u64)?.ok()
    }
}

/// Bytes around the message within a report: 101 before it and the head of a byte string.
#[cfg(feature = "alloc")]
const REPORT_AROUND_BYTES: usize = 110;
