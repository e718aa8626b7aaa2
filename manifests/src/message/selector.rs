//! A device's stable answers to the questions of a manifest.

use core::fmt;

use minicbor::encode::{Encode, Encoder, Error, Write};
use sha2::{Digest as _, Sha256};

use super::list::Element;
use super::{Digest, List, MessageError, Part, bound, whole};
use crate::cbor::{self, EncodeError, KeyOrder, Reader, key_order, write_raw};

/// Stable answers of a device; equal selectors get equal descriptors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selector<'a> {
    /// Digest of the manifest that asked, as in its authentication block.
    pub manifest: &'a Digest,
    /// Every scope of the characteristic definition, in its order.
    pub scopes: List<'a, ScopeAnswers<'a>>,
}

/// Answers of one scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScopeAnswers<'a> {
    /// Index of the component in the manifest; `None` for the whole device.
    pub component: Option<u32>,
    /// The answers.
    pub answers: Answers<'a>,
}

/// Everything that a device can state of itself and that only an update changes: selectors are taken from it.
///
/// Its encoding is `[* Scope-Answers]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StableAnswers<'a> {
    /// The whole device, and each of its components.
    pub scopes: List<'a, ScopeAnswers<'a>>,
}

/// Map from the id of a characteristic to its encoded value.
#[derive(Clone, Copy)]
pub struct Answers<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Checked when it was read.
    Received { count: usize, bytes: &'a [u8] },
    /// Checked when it was made.
    Values(&'a [(i64, &'a [u8])]),
}

impl<'a> Selector<'a> {
    /// Reads an encoded selector.
    ///
    /// # Errors
    ///
    /// [`MessageError`], also for an answer that is volatile and for a scope that comes twice.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        bound(bytes.len() <= SELECTOR_BYTES_MAX, Part::Selector)?;
        let selector = whole(bytes, |reader| {
            reader.array_of(2)?;
            let manifest = reader.bytes_exact()?;
            let scopes = List::read(reader, (1, SCOPES_MAX), Part::NumberOfScopes)?;
            Ok(Self { manifest, scopes })
        })?;
        selector.check()?;
        Ok(selector)
    }

    /// SHA-256 of the encoded selector: the key of every cache.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Invalid`] if the selector breaks a bound; one that was decoded does not.
    pub fn hash(&self) -> Result<Digest, EncodeError> {
        cbor::digest_of(self)
    }

    /// Encoded value of the answer `id` in the scope of `component`.
    #[must_use]
    pub fn answer(&self, component: Option<u32>, id: i64) -> Option<&'a [u8]> {
        self.scopes.iter().find(|scope| scope.component == component)?.answers.get(id)
    }

    fn check(&self) -> Result<(), MessageError> {
        check_stable(&self.scopes)
    }
}

impl<'a> StableAnswers<'a> {
    /// Reads encoded stable answers.
    ///
    /// # Errors
    ///
    /// [`MessageError`], also for an answer that is volatile and for a scope that comes twice.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        bound(bytes.len() <= SELECTOR_BYTES_MAX, Part::StableAnswers)?;
        let scopes = whole(bytes, |reader| List::read(reader, (0, SCOPES_MAX), Part::NumberOfScopes))?;
        check_stable(&scopes)?;
        Ok(Self { scopes })
    }

    /// Encoded value of the answer `id` in the scope of `component`.
    #[must_use]
    pub fn answer(&self, component: Option<u32>, id: i64) -> Option<&'a [u8]> {
        self.scopes.iter().find(|scope| scope.component == component)?.answers.get(id)
    }
}

impl<C> Encode<C> for StableAnswers<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        check_stable(&self.scopes).map_err(super::refuse)?;
        self.scopes.write(encoder, (0, SCOPES_MAX))
    }
}

fn check_stable(scopes: &List<'_, ScopeAnswers<'_>>) -> Result<(), MessageError> {
    for (at, scope) in scopes.iter().enumerate() {
        let twice = scopes.iter().take(at).any(|earlier| earlier.component == scope.component);
        bound(!twice, Part::ScopeThatComesTwice)?;
        let volatile = scope.answers.iter().any(|(id, _)| VOLATILE.contains(&id));
        bound(!volatile, Part::VolatileAnswerInTheSelector)?;
    }
    Ok(())
}

impl<C> Encode<C> for Selector<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        self.check().map_err(super::refuse)?;
        encoder.array(2)?.bytes(self.manifest)?;
        self.scopes.write(encoder, (1, SCOPES_MAX))
    }
}

impl<'a> Element<'a> for ScopeAnswers<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(2)?;
        let component = if reader.nil()? { None } else { Some(reader.u32()?) };
        Ok(Self { component, answers: Answers::read(reader)? })
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.array(2)?;
        match self.component {
            None => encoder.null()?,
            Some(component) => encoder.u32(component)?,
        };
        self.answers.write(encoder)
    }
}

impl<'a> Answers<'a> {
    /// Takes ids with their encoded values, in any order.
    ///
    /// # Errors
    ///
    /// [`MessageError::Cbor`] for a value that is not one deterministic item, [`MessageError::Bound`] for an id that
    /// comes twice or for more than [`ANSWERS_MAX`] answers.
    pub fn new(values: &'a [(i64, &'a [u8])]) -> Result<Self, MessageError> {
        bound(values.len() <= ANSWERS_MAX, Part::NumberOfAnswers)?;
        for (at, (id, value)) in values.iter().enumerate() {
            cbor::check_item(value)?;
            bound(values.iter().take(at).all(|(earlier, _)| earlier != id), Part::AnswerThatComesTwice)?;
        }
        Ok(Self(Source::Values(values)))
    }

    /// Number of answers.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Received { count, .. } => count,
            Source::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids and encoded values in the order in which they are encoded.
    #[must_use]
    pub fn iter(&self) -> AnswersIter<'a> {
        AnswersIter { answers: *self, position: 0, left: self.len(), last: None }
    }

    /// Encoded value of the answer `id`.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == id).map(|(_, value)| value)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let count = reader.map()?;
        bound(count <= ANSWERS_MAX, Part::NumberOfAnswers)?;
        let start = reader.position();
        let mut order = KeyOrder::default();
        for _ in 0..count {
            order.next(reader)?;
            reader.item()?;
        }
        Ok(Self(Source::Received { count, bytes: reader.since(start) }))
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.map(self.len() as u64)?;
        for (id, value) in self {
            encoder.i64(id)?;
            write_raw(encoder, value)?;
        }
        Ok(())
    }
}

impl Default for Answers<'_> {
    fn default() -> Self {
        Self(Source::Values(&[]))
    }
}

impl PartialEq for Answers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Answers<'_> {}

impl fmt::Debug for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &Answers<'a> {
    type Item = (i64, &'a [u8]);
    type IntoIter = AnswersIter<'a>;

    fn into_iter(self) -> AnswersIter<'a> {
        self.iter()
    }
}

/// Ids and encoded values of [`Answers`].
#[derive(Clone, Debug)]
pub struct AnswersIter<'a> {
    answers: Answers<'a>,
    position: usize,
    left: usize,
    last: Option<i64>,
}

impl<'a> Iterator for AnswersIter<'a> {
    type Item = (i64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match self.answers.0 {
            Source::Received { bytes, .. } => {
                let rest = bytes.get(self.position..)?;
                let mut reader = Reader::new(rest);
                let entry = (reader.int().ok()?, reader.item().ok()?);
                self.position += reader.position();
                Some(entry)
            }
            Source::Values(values) => {
                // A selection instead of a sort: there is no room to sort in, and few answers.
                let after = |id: i64| self.last.is_none_or(|last| key_order(last, id).is_lt());
                let next = values.iter().filter(|(id, _)| after(*id)).min_by(|a, b| key_order(a.0, b.0))?;
                self.last = Some(next.0);
                Some(*next)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for AnswersIter<'_> {}

/// Answer to a question with method 1: the digest of the encoded value, salted by manifest and id.
///
/// `salt` is the first 8 bytes of SHA-256(manifest ‖ encoded id); the answer is SHA-256(salt ‖ encoded value).
#[must_use]
pub fn salted_digest(manifest: &Digest, id: i64, value: &[u8]) -> Digest {
    let mut encoded_id = [0; 9];
    let id_bytes = cbor::write_into(&id, &mut encoded_id).unwrap_or_default();
    let salt: Digest =
        Sha256::new().chain_update(manifest).chain_update(&encoded_id[..id_bytes]).finalize().into();
    Sha256::new().chain_update(&salt[..8]).chain_update(value).finalize().into()
}

/// Ids whose answers change without an update: free staging bytes, battery, sleep schedule, link. They travel beside
/// the selector, never in it.
pub const VOLATILE: [i64; 4] = [-307, -309, -311, -312];

/// Scopes of a selector: the whole device and each of the 8 components that one grant can carry.
pub const SCOPES_MAX: usize = 9;

/// Answers of a scope: the SUIT parameters that describe a device and the private ids, twice over.
pub const ANSWERS_MAX: usize = 32;

/// Bytes of an encoded selector: it must leave room for the rest of a request in four blocks of 1,024 bytes.
pub const SELECTOR_BYTES_MAX: usize = 3072;
