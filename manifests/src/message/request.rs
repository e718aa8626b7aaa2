//! The question: what a device sends to the request identifier of a manifest.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::selector::VOLATILE;
use super::{
    Digest, List, MessageError, Part, Place, ScopeAnswers, Selector, Skipped, bound, options, read_key,
    read_version, whole, write_key,
};
use crate::cbor::{self, EncodeError, Reader};

/// Update request: with a MAC under the up key of its place, or signed by the device key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpdateRequest<'a> {
    /// Which key of which identity.
    pub place: Place<'a>,
    /// Rises with every new request, also over reboots.
    pub counter: u64,
    /// Fork head of the sender.
    pub fork: &'a [u8; 8],
    /// What a verdict on this request must carry.
    pub nonce: &'a [u8; 8],
    /// Stable answers.
    pub selector: Selector<'a>,
    /// Answers with the ids of [`VOLATILE`].
    pub volatile: List<'a, ScopeAnswers<'a>>,
    /// Options.
    pub options: RequestOptions<'a>,
}

/// Options of a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestOptions<'a> {
    /// 1: what a "prove" verdict asked to be sent back.
    pub echo: Option<&'a [u8]>,
    /// 2: root and number of the frame where to go on.
    pub resume: Option<(&'a Digest, u32)>,
    /// 3: contents of a descriptor that is held and still valid.
    pub held: Option<List<'a, &'a Digest>>,
    /// 4: encoded `COSE_Key` to wrap the content key to; the grant is then signed.
    pub wrap_to: Option<&'a [u8]>,
    /// 5: number of the grant that is installed in the spare slot: "may I swap?".
    pub go: Option<u64>,
    /// 6: encoded `COSE_Key`, this side's share for the next seed.
    pub share: Option<&'a [u8]>,
    /// 7: the confirming report that led here and has no receipt yet.
    pub unconfirmed: Option<Unconfirmed<'a>>,
    /// -1: seconds since 1970 by the sender's own clock, after an answer that had expired by it.
    pub clock: Option<u64>,
    /// Options that were skipped.
    pub skipped: Skipped<'a>,
}

/// A confirming report whose receipt has not come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unconfirmed<'a> {
    /// Number of its grant.
    pub grant: u64,
    /// SHA-256 of the encoded report.
    pub report: &'a Digest,
}

impl<'a> UpdateRequest<'a> {
    /// Reads the payload of a request.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        bound(bytes.len() <= REQUEST_BYTES_MAX, Part::Request)?;
        let request = whole(bytes, |reader| {
            reader.array_of(10)?;
            read_version(reader)?;
            Ok(Self {
                place: Place::read(reader)?,
                counter: reader.uint()?,
                fork: reader.bytes_exact()?,
                nonce: reader.bytes_exact()?,
                selector: Selector::decode(reader.bytes()?)?,
                volatile: List::read(reader, VOLATILE_SCOPES, Part::NumberOfVolatileScopes)?,
                options: RequestOptions::read(reader)?,
            })
        })?;
        request.check()?;
        Ok(request)
    }

    /// SHA-256 of the encoded request.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] if the request breaks a bound; one that was decoded does not.
    pub fn digest(&self) -> Result<Digest, EncodeError> {
        cbor::digest_of(self)
    }

    /// Encoded value of the volatile answer `id` in the scope of `component`.
    #[must_use]
    pub fn volatile_answer(&self, component: Option<u32>, id: i64) -> Option<&'a [u8]> {
        self.volatile
            .iter()
            .filter(|scope| scope.component == component)
            .find_map(|scope| scope.answers.get(id))
    }

    fn check(&self) -> Result<(), MessageError> {
        for (at, scope) in self.volatile.iter().enumerate() {
            let twice = self.volatile.iter().take(at).any(|earlier| earlier.component == scope.component);
            bound(!twice, Part::VolatileScopeThatComesTwice)?;
            let stable = scope.answers.iter().any(|(id, _)| !VOLATILE.contains(&id));
            bound(!stable, Part::StableAnswerOutsideOfTheSelector)?;
        }
        Ok(())
    }
}

impl<C> Encode<C> for UpdateRequest<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        self.check().map_err(super::refuse)?;
        encoder.array(10)?.u64(super::VERSION)?;
        self.place.write(encoder)?;
        encoder.u64(self.counter)?.bytes(self.fork)?.bytes(self.nonce)?;
        cbor::write_embedded(encoder, &self.selector)?;
        self.volatile.write(encoder, VOLATILE_SCOPES)?;
        self.options.write(encoder)
    }
}

impl<'a> RequestOptions<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let mut options = Self::default();
        options.skipped = options::read(reader, |key, reader| {
            match key {
                1 => options.echo = Some(read_echo(reader)?),
                2 => {
                    reader.array_of(2)?;
                    options.resume = Some((reader.bytes_exact()?, reader.u32()?));
                }
                3 => options.held = Some(List::read(reader, HELD, Part::NumberOfHeldContents)?),
                4 => options.wrap_to = Some(read_key(reader)?),
                5 => options.go = Some(reader.uint()?),
                6 => options.share = Some(read_key(reader)?),
                7 => {
                    reader.array_of(2)?;
                    let (grant, report) = (reader.uint()?, reader.bytes_exact()?);
                    options.unconfirmed = Some(Unconfirmed { grant, report });
                }
                CLOCK => options.clock = Some(reader.uint()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(options)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.map(self.len() as u64)?;
        if let Some(echo) = self.echo {
            bound(echo.len() <= ECHO_BYTES_MAX, Part::Echo).map_err(super::refuse)?;
            encoder.u8(1)?.bytes(echo)?;
        }
        if let Some((root, frame)) = self.resume {
            encoder.u8(2)?.array(2)?.bytes(root)?.u32(frame)?;
        }
        if let Some(held) = self.held {
            encoder.u8(3)?;
            held.write(encoder, HELD)?;
        }
        if let Some(key) = self.wrap_to {
            write_key(encoder.u8(4)?, key)?;
        }
        if let Some(grant) = self.go {
            encoder.u8(5)?.u64(grant)?;
        }
        if let Some(key) = self.share {
            write_key(encoder.u8(6)?, key)?;
        }
        if let Some(Unconfirmed { grant, report }) = self.unconfirmed {
            encoder.u8(7)?.array(2)?.u64(grant)?.bytes(report)?;
        }
        if let Some(clock) = self.clock {
            encoder.i64(CLOCK)?.u64(clock)?;
        }
        self.skipped.write(encoder)
    }

    fn len(&self) -> usize {
        let Self { echo, resume, held, wrap_to, go, share, unconfirmed, clock, skipped } = self;
        let present = [
            echo.is_some(),
            resume.is_some(),
            held.is_some(),
            wrap_to.is_some(),
            go.is_some(),
            share.is_some(),
            unconfirmed.is_some(),
            clock.is_some(),
        ];
        present.iter().filter(|present| **present).count() + skipped.len()
    }
}

pub(super) fn read_echo<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], MessageError> {
    let echo = reader.bytes()?;
    bound(echo.len() <= ECHO_BYTES_MAX, Part::Echo)?;
    Ok(echo)
}

/// Key of the sender's clock: negative, so that a server that does not know it answers as it always did.
const CLOCK: i64 = -1;

/// Bytes of an encoded request: four blocks of 1,024 bytes, so that a server can bound what a stranger makes it hold.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// Bytes of an echo: an identifier, a time and a MAC over them fit.
pub const ECHO_BYTES_MAX: usize = 64;

/// Scopes with volatile answers: none, or as many as a selector can have.
const VOLATILE_SCOPES: (usize, usize) = (0, super::selector::SCOPES_MAX);

/// Contents that can be held: those of one descriptor.
const HELD: (usize, usize) = (1, super::descriptor::RESOURCES_MAX);
