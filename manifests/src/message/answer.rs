//! What comes back on a request: a grant or a verdict, and with a grant perhaps its descriptor.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::{MessageError, Part, Peek, bound, peek, refuse, whole};

/// Answer to an update request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer<'a> {
    /// COSE message with a grant or a verdict.
    pub message: &'a [u8],
    /// COSE message with the descriptor, unless the device holds it already.
    pub descriptor: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    /// Reads an encoded answer; the messages in it stay unread.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        bound(bytes.len() <= ANSWER_BYTES_MAX, Part::Answer)?;
        whole(bytes, |reader| {
            let elements = reader.array()?;
            bound((1..=2).contains(&elements), Part::NumberOfElementsInAnAnswer)?;
            let message = reader.bytes()?;
            let descriptor = if elements == 2 { Some(reader.bytes()?) } else { None };
            Ok(Self { message, descriptor })
        })
    }

    /// Tells kind and place of the grant or verdict. **Not verified.**
    ///
    /// # Errors
    ///
    /// [`MessageError`] if it is neither.
    pub fn peek(&self) -> Result<Peek<'a>, MessageError> {
        peek::peek_cose(self.message)
    }
}

impl<C> Encode<C> for Answer<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        let together = self.message.len() + self.descriptor.map_or(0, <[u8]>::len);
        bound(together + HEADS_BYTES <= ANSWER_BYTES_MAX, Part::Answer).map_err(refuse)?;
        encoder.array(if self.descriptor.is_some() { 2 } else { 1 })?.bytes(self.message)?;
        match self.descriptor {
            Some(descriptor) => encoder.bytes(descriptor)?.ok(),
            None => Ok(()),
        }
    }
}

/// Bytes of an encoded answer: a grant and a descriptor of 8 resources, one of them inline, with room.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024;

/// Heads of the array and of two byte strings.
const HEADS_BYTES: usize = 7;
