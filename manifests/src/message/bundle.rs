//! What a gateway or a carrier needs for one campaign: the manifest, and descriptors and grants for its devices.

use minicbor::encode::{Encode, Encoder, Error, Write};
use thiserror::Error as ThisError;

use super::list::Element;
use super::place::NAME_BYTES_MAX;
use super::{List, MessageError, Part, Skipped, Window, bound, read_version, refuse, whole, word};
use crate::anchors::Anchors;
use crate::cbor::{KeyOrder, Reader, told};
use crate::cose::{CoseError, Sign1, SignatureError};

/// Bundle: signed by a distributor key of the anchors. What is in it stays unread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bundle<'a> {
    /// Rises for one receiver; a lower one does not replace what is kept.
    pub edition: u64,
    /// Name of the campaign.
    pub campaign: &'a str,
    /// SUIT envelope, as the author signed it.
    pub envelope: &'a [u8],
    /// COSE messages with descriptors.
    pub descriptors: List<'a, &'a [u8]>,
    /// COSE messages with grants.
    pub grants: List<'a, &'a [u8]>,
    /// How the receiver goes about it.
    pub policy: Policy<'a>,
    /// Until when the bundle may be used, seconds since 1970.
    pub not_after: u64,
}

/// How the receiver of a bundle goes about it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy<'a> {
    /// 1: most bytes per second to fetch ahead.
    pub bytes_per_s: Option<u64>,
    /// 2: most devices at a time that the manifest is pushed to; 0: the campaign is withdrawn.
    pub devices_at_a_time: Option<u64>,
    /// 3: the manifest is pushed in these windows only.
    pub windows: Option<List<'a, Window>>,
    /// -1: endpoints that the manifest is pushed to.
    pub push: Option<List<'a, Name<'a>>>,
    /// Options that were skipped; they come after -1.
    pub skipped: Skipped<'a>,
}

/// Name of an endpoint or a gateway, 1 to 64 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Name<'a>(pub &'a str);

/// Why a bundle is not believed. Drop it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ThisError)]
#[non_exhaustive]
pub enum BundleError {
    /// Not a `COSE_Sign1` of our form.
    #[error("not a signed bundle")]
    Cose(#[from] CoseError),
    /// The key that signed is no distributor's key of the anchors.
    #[error("the key that signed is no distributor's")]
    Stranger,
    /// The signature is wrong: altered.
    #[error("the signature is wrong")]
    Signature(#[from] SignatureError),
    /// The payload is no bundle.
    #[error("payload is no bundle")]
    Message(#[from] MessageError),
}

impl<'a> Bundle<'a> {
    /// Reads the payload of a bundle.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        bound(bytes.len() <= BUNDLE_BYTES_MAX, Part::Bundle)?;
        whole(bytes, |reader| {
            reader.array_of(8)?;
            read_version(reader)?;
            Ok(Self {
                edition: reader.uint()?,
                campaign: read_campaign(reader)?,
                envelope: reader.bytes()?,
                descriptors: List::read(reader, DESCRIPTORS, Part::NumberOfDescriptors)?,
                grants: List::read(reader, GRANTS, Part::NumberOfGrants)?,
                policy: Policy::read(reader)?,
                not_after: reader.uint()?,
            })
        })
    }

    /// Reads a signed bundle whose signature is by a distributor of `anchors`.
    ///
    /// # Errors
    ///
    /// [`BundleError`] with the first thing that is wrong.
    pub fn verify(message: &'a [u8], anchors: &Anchors<'_>) -> Result<Self, BundleError> {
        let signed = Sign1::parse(message)?;
        let key = anchors.distributor(signed.kid()).ok_or(BundleError::Stranger)?;
        Ok(Self::decode(signed.verify(&[word::BUNDLE], &key)?)?)
    }

    /// Writes and signs the bundle.
    ///
    /// # Errors
    ///
    /// [`crate::cbor::EncodeError`] for a bundle that no receiver would read.
    #[cfg(feature = "author")]
    pub fn sign(
        &self,
        key: &crate::cose::PrivateKey,
    ) -> Result<alloc::vec::Vec<u8>, crate::cbor::EncodeError> {
        Ok(crate::cose::sign1(&crate::cbor::to_vec(self)?, &[word::BUNDLE], key))
    }

    /// Whether the campaign is withdrawn: nothing is pushed and the grants held are dropped.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.policy.devices_at_a_time == Some(0)
    }
}

impl<C> Encode<C> for Bundle<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        bound((1..=CAMPAIGN_BYTES_MAX).contains(&self.campaign.len()), Part::Campaign).map_err(refuse)?;
        encoder.array(8)?.u64(super::VERSION)?.u64(self.edition)?.str(self.campaign)?.bytes(self.envelope)?;
        self.descriptors.write(encoder, DESCRIPTORS)?;
        self.grants.write(encoder, GRANTS)?;
        self.policy.write(encoder)?;
        encoder.u64(self.not_after)?.ok()
    }
}

impl<'a> Policy<'a> {
    // Not through `options::read`: that one skips every negative key, and -1 is known here.
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let count = reader.map()?;
        bound(count <= super::options::OPTIONS_MAX, Part::NumberOfOptions)?;
        let (mut policy, mut order) = (Self::default(), KeyOrder::default());
        for left in (1..=count).rev() {
            let start = reader.position();
            match order.next(reader)? {
                1 => policy.bytes_per_s = Some(reader.uint()?),
                2 => policy.devices_at_a_time = Some(reader.uint()?),
                3 => policy.windows = Some(List::read(reader, WINDOWS, Part::NumberOfWindows)?),
                PUSH => policy.push = Some(List::read(reader, PUSHES, Part::NumberOfEndpoints)?),
                key if key < 0 => {
                    policy.skipped = skip_rest(reader, &mut order, (start, left))?;
                    break;
                }
                key => return Err(MessageError::UnknownOption(told(key.unsigned_abs()))),
            }
        }
        Ok(policy)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        let Self { bytes_per_s, devices_at_a_time, windows, push, skipped } = self;
        let present = [bytes_per_s.is_some(), devices_at_a_time.is_some(), windows.is_some(), push.is_some()];
        let count = present.iter().filter(|present| **present).count() + skipped.len();
        encoder.map(count as u64)?;
        if let Some(rate) = *bytes_per_s {
            encoder.u8(1)?.u64(rate)?;
        }
        if let Some(devices) = *devices_at_a_time {
            encoder.u8(2)?.u64(devices)?;
        }
        if let Some(windows) = windows {
            windows.write(encoder.u8(3)?, WINDOWS)?;
        }
        if let Some(push) = push {
            push.write(encoder.i64(PUSH)?, PUSHES)?;
        }
        skipped.write(encoder)
    }
}

/// Skips `left` options, of which the key of the first has been read; it began at `start`.
fn skip_rest<'a>(
    reader: &mut Reader<'a>,
    order: &mut KeyOrder,
    (start, left): (usize, usize),
) -> Result<Skipped<'a>, MessageError> {
    reader.item()?;
    for _ in 1..left {
        order.next(reader)?;
        reader.item()?;
    }
    Ok(Skipped::received(left, reader.since(start)))
}

fn read_campaign<'a>(reader: &mut Reader<'a>) -> Result<&'a str, MessageError> {
    let campaign = reader.text()?;
    bound((1..=CAMPAIGN_BYTES_MAX).contains(&campaign.len()), Part::Campaign)?;
    Ok(campaign)
}

/// A COSE message, unread.
impl<'a> Element<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        Ok(reader.bytes()?)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.bytes(self)?.ok()
    }
}

impl<'a> Element<'a> for Name<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let name = reader.text()?;
        bound((1..=NAME_BYTES_MAX).contains(&name.len()), Part::Name)?;
        Ok(Self(name))
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        bound((1..=NAME_BYTES_MAX).contains(&self.0.len()), Part::Name).map_err(refuse)?;
        encoder.str(self.0)?.ok()
    }
}

/// Key of the endpoints to push to: the lowest negative one, so that it stands before what is skipped.
const PUSH: i64 = -1;

/// Bytes of a bundle's payload: grants and names for a thousand devices of about 400 bytes each, and a manifest.
pub const BUNDLE_BYTES_MAX: usize = 512 * 1024;

/// Grants of a bundle: the devices behind one gateway.
pub const BUNDLE_GRANTS_MAX: usize = 1_024;

/// Bytes of a campaign's name.
pub const CAMPAIGN_BYTES_MAX: usize = 128;

/// Descriptors: as many as there are grants, if no two devices are alike.
const DESCRIPTORS: (usize, usize) = (0, BUNDLE_GRANTS_MAX);

const GRANTS: (usize, usize) = (0, BUNDLE_GRANTS_MAX);

/// Endpoints to push to: also those that no grant could be made ahead for.
const PUSHES: (usize, usize) = (0, BUNDLE_GRANTS_MAX);

/// Windows: as in a verdict, two for each day of a week.
const WINDOWS: (usize, usize) = (1, 16);
