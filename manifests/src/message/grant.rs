//! The right of one device to open its resources, once.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::algorithm::{A128KW, A256KW, ECDH_ES_A128KW, ECDH_ES_A256KW, iv_bytes};
use super::descriptor::{RESOURCES, once};
use super::list::Element;
use super::{
    Digest, List, MessageError, Part, Place, Skipped, bound, options, read_key, read_version, refuse, whole,
    write_key,
};
use crate::cbor::{self, EncodeError, Reader, told};

/// Grant: for one identity, one manifest, one place; with a MAC under the down key, or signed by a distributor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant<'a> {
    /// Which key of which identity.
    pub place: Place<'a>,
    /// Number: the highest of last + 1 and now in seconds.
    pub grant: u64,
    /// Digest of the manifest.
    pub manifest: &'a Digest,
    /// Hash of the selector.
    pub selector: &'a Digest,
    /// 1 to 8 resources with their wrapped keys.
    pub resources: List<'a, GrantedResource<'a>>,
    /// Until when it may be used, seconds since 1970.
    pub not_after: u64,
    /// Which reports are sent, and which of them moves the index.
    pub confirm: Confirm,
    /// Options.
    pub options: GrantOptions<'a>,
}

/// The key to one resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrantedResource<'a> {
    /// Index of the component in the manifest.
    pub component: u32,
    /// Digest of the bytes as carried.
    pub content: &'a Digest,
    /// Digest of what will run.
    pub installed: &'a Digest,
    /// Number of the content algorithm, as in [`super::algorithm`].
    pub algorithm: i64,
    /// Initialisation vector.
    pub iv: &'a [u8],
    /// The content key.
    pub key: Wrapped<'a>,
}

/// A wrapped content key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wrapped<'a> {
    /// Number of the wrap algorithm, as in [`super::algorithm`].
    pub algorithm: i64,
    /// Encoded `COSE_Key` of the sender, exactly with ECDH-ES.
    pub ephemeral: Option<&'a [u8]>,
    /// The wrapped key.
    pub wrapped: &'a [u8],
}

/// Which of the success reports are sent, and which of them moves the key index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confirm {
    /// The decrypted report moves the index.
    Decrypted = 1,
    /// The installed report moves the index.
    Installed = 2,
    /// Both are sent, the installed one moves the index.
    Both = 3,
}

/// Options of a grant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GrantOptions<'a> {
    /// 1: confirming leads to the next epoch, index 0.
    pub reseed: Option<bool>,
    /// 2: ask "go?" before the swap.
    pub ask_go: Option<bool>,
    /// 3: encoded `COSE_Key` shares of server and device for the next seed; only in a signed grant.
    pub shares: Option<Shares<'a>>,
    /// 4: needs this edition of the anchors.
    pub anchors_edition: Option<u64>,
    /// Options that were skipped.
    pub skipped: Skipped<'a>,
}

/// The two shares of which the next seed is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shares<'a> {
    /// Encoded `COSE_Key` of the server.
    pub server: &'a [u8],
    /// Encoded `COSE_Key` of the device, as it sent it.
    pub device: &'a [u8],
}

impl<'a> Grant<'a> {
    /// Reads the payload of a grant.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let grant = whole(bytes, |reader| {
            let elements = reader.array()?;
            read_version(reader)?;
            match reader.uint()? {
                KIND => bound(elements == ELEMENTS, Part::NumberOfElementsInAGrant)?,
                other => return Err(MessageError::Kind(told(other))),
            }
            Ok(Self {
                place: Place::read(reader)?,
                grant: reader.uint()?,
                manifest: reader.bytes_exact()?,
                selector: reader.bytes_exact()?,
                resources: List::read(reader, RESOURCES, Part::NumberOfResources)?,
                not_after: reader.uint()?,
                confirm: Confirm::read(reader)?,
                options: GrantOptions::read(reader)?,
            })
        })?;
        grant.check()?;
        Ok(grant)
    }

    /// SHA-256 of the encoded grant.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] if the grant breaks a bound; one that was decoded does not.
    pub fn digest(&self) -> Result<Digest, EncodeError> {
        cbor::digest_of(self)
    }

    /// The key for `component`.
    #[must_use]
    pub fn resource(&self, component: u32) -> Option<GrantedResource<'a>> {
        self.resources.iter().find(|resource| resource.component == component)
    }

    fn check(&self) -> Result<(), MessageError> {
        let asks_too_late = self.options.ask_go == Some(true) && self.confirm == Confirm::Decrypted;
        bound(!asks_too_late, Part::Option2WithConfirm1)?;
        bound(once(&self.resources.iter().map(|resource| resource.component)), Part::ComponentThatComesTwice)
    }
}

impl<C> Encode<C> for Grant<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        self.check().map_err(refuse)?;
        encoder.array(ELEMENTS as u64)?.u64(super::VERSION)?.u64(KIND)?;
        self.place.write(encoder)?;
        encoder.u64(self.grant)?.bytes(self.manifest)?.bytes(self.selector)?;
        self.resources.write(encoder, RESOURCES)?;
        encoder.u64(self.not_after)?.u8(self.confirm as u8)?;
        self.options.write(encoder)
    }
}

impl GrantedResource<'_> {
    fn check(&self) -> Result<(), MessageError> {
        let iv = match iv_bytes(self.algorithm) {
            Some(bytes) => self.iv.len() == bytes,
            None => self.iv.len() <= IV_BYTES_MAX,
        };
        bound(iv, Part::InitialisationVector)?;
        let form = match self.key.algorithm {
            A128KW | A256KW => self.key.ephemeral.is_none(),
            ECDH_ES_A128KW | ECDH_ES_A256KW => self.key.ephemeral.is_some(),
            _ => true,
        };
        bound(form && self.key.wrapped.len() <= WRAPPED_BYTES_MAX, Part::WrappedKey)
    }
}

impl<'a> Element<'a> for GrantedResource<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(6)?;
        let resource = Self {
            component: reader.u32()?,
            content: reader.bytes_exact()?,
            installed: reader.bytes_exact()?,
            algorithm: reader.int()?,
            iv: reader.bytes()?,
            key: Wrapped::read(reader)?,
        };
        resource.check()?;
        Ok(resource)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        self.check().map_err(refuse)?;
        encoder.array(6)?.u32(self.component)?.bytes(self.content)?.bytes(self.installed)?;
        encoder.i64(self.algorithm)?.bytes(self.iv)?;
        encoder.array(if self.key.ephemeral.is_some() { 3 } else { 2 })?.i64(self.key.algorithm)?;
        if let Some(key) = self.key.ephemeral {
            write_key(encoder, key)?;
        }
        encoder.bytes(self.key.wrapped)?.ok()
    }
}

impl<'a> Wrapped<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let elements = reader.array()?;
        bound((2..=3).contains(&elements), Part::WrappedKey)?;
        let algorithm = reader.int()?;
        let ephemeral = if elements == 3 { Some(read_key(reader)?) } else { None };
        Ok(Self { algorithm, ephemeral, wrapped: reader.bytes()? })
    }
}

impl Confirm {
    fn read(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        match reader.uint()? {
            1 => Ok(Self::Decrypted),
            2 => Ok(Self::Installed),
            3 => Ok(Self::Both),
            _ => Err(MessageError::Bound(Part::Confirm)),
        }
    }
}

impl TryFrom<u8> for Confirm {
    type Error = MessageError;

    fn try_from(number: u8) -> Result<Self, MessageError> {
        Self::read(&mut Reader::new(&[number]))
    }
}

impl<'a> GrantOptions<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let mut options = Self::default();
        options.skipped = options::read(reader, |key, reader| {
            match key {
                1 => options.reseed = Some(reader.bool()?),
                2 => options.ask_go = Some(reader.bool()?),
                3 => {
                    reader.array_of(2)?;
                    options.shares = Some(Shares { server: read_key(reader)?, device: read_key(reader)? });
                }
                4 => options.anchors_edition = Some(reader.uint()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(options)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        let Self { reseed, ask_go, shares, anchors_edition, skipped } = self;
        let present = [reseed.is_some(), ask_go.is_some(), shares.is_some(), anchors_edition.is_some()];
        let count = present.iter().filter(|present| **present).count() + skipped.len();
        encoder.map(count as u64)?;
        if let Some(reseed) = *reseed {
            encoder.u8(1)?.bool(reseed)?;
        }
        if let Some(ask_go) = *ask_go {
            encoder.u8(2)?.bool(ask_go)?;
        }
        if let Some(shares) = shares {
            write_key(encoder.u8(3)?.array(2)?, shares.server)?;
            write_key(encoder, shares.device)?;
        }
        if let Some(edition) = *anchors_edition {
            encoder.u8(4)?.u64(edition)?;
        }
        skipped.write(encoder)
    }
}

/// Kind of a grant among the answers.
const KIND: u64 = 0;

/// Elements of a grant.
const ELEMENTS: usize = 12;

/// Bytes of an initialisation vector: one block of AES.
const IV_BYTES_MAX: usize = 16;

/// Bytes of a wrapped key: 32, and the 8 that the wrap adds (RFC 3394).
pub const WRAPPED_BYTES_MAX: usize = 40;
