//! Command sequences: flat arrays of command and argument.
//!
//! Source: draft-ietf-suit-manifest-37 §8.4.6 to §8.4.10.

use super::parameter::{Parameter, Parameters};
use super::{COMPONENTS_MAX, ManifestError};
use crate::cbor::{CborError, Kind, Reader};

/// Sequences within sequences: section, try-each over the class, one inside for the slot, one spare. It bounds the
/// stack that a manifest can take on a device.
pub const SEQUENCE_DEPTH_MAX: usize = 4;

/// One command sequence, as encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sequence<'a> {
    encoded: &'a [u8],
}

/// What a condition asks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Condition {
    /// 1: is the component of this vendor?
    VendorId,
    /// 2: is the component of this class?
    ClassId,
    /// 3: does the component hold the image of this digest?
    ImageMatch,
    /// 4: is it still before this time?
    UseBefore,
    /// 5: is the component in this slot?
    ComponentSlot,
    /// 14: never fulfilled.
    Abort,
    /// 24: is it this device?
    DeviceId,
}

impl Condition {
    /// Gives the command number.
    #[must_use]
    pub const fn label(self) -> i64 {
        match self {
            Self::VendorId => 1,
            Self::ClassId => 2,
            Self::ImageMatch => 3,
            Self::UseBefore => 4,
            Self::ComponentSlot => 5,
            Self::Abort => 14,
            Self::DeviceId => 24,
        }
    }

    const fn from_label(label: i64) -> Option<Self> {
        Some(match label {
            1 => Self::VendorId,
            2 => Self::ClassId,
            3 => Self::ImageMatch,
            4 => Self::UseBefore,
            5 => Self::ComponentSlot,
            14 => Self::Abort,
            24 => Self::DeviceId,
            _ => return None,
        })
    }
}

/// Which components the commands that follow are for: bit i stands for component i.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IndexArgument {
    /// Every component of the manifest.
    All,
    /// Those whose bits are set.
    Listed(u8),
}

/// One command with its argument.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// A condition.
    Condition(Condition),
    /// 12: choose components.
    SetComponentIndex(IndexArgument),
    /// 15: run the first sequence that does not fail.
    TryEach(Branches<'a>),
    /// 20: set parameters.
    Override(Parameters<'a>),
    /// 21: fetch from the URI.
    Fetch,
    /// 23: run the component.
    Invoke,
    /// 32: run a sequence.
    RunSequence(Sequence<'a>),
}

impl Command<'_> {
    /// Gives the command number.
    #[must_use]
    pub const fn label(&self) -> i64 {
        match self {
            Self::Condition(condition) => condition.label(),
            Self::SetComponentIndex(_) => 12,
            Self::TryEach(_) => 15,
            Self::Override(_) => 20,
            Self::Fetch => 21,
            Self::Invoke => 23,
            Self::RunSequence(_) => 32,
        }
    }
}

impl<'a> Sequence<'a> {
    /// Takes the content of the byte string that holds the sequence.
    #[must_use]
    pub(crate) const fn new(encoded: &'a [u8]) -> Self {
        Self { encoded }
    }

    /// Walks over the commands.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if the sequence is not an array of pairs.
    pub fn commands(&self) -> Result<Commands<'a>, ManifestError> {
        let mut reader = Reader::new(self.encoded);
        let items = reader.array()?;
        if items == 0 || items % 2 != 0 {
            return Err(CborError::Range.into());
        }
        Ok(Commands { reader, left: items / 2 })
    }

    /// Finds the first URI that the sequence, or one inside it, sets.
    pub(crate) fn first_uri(&self) -> Option<&'a str> {
        self.commands().ok()?.find_map(|command| match command.ok()?.1 {
            Command::Override(mut parameters) => parameters.find_map(|parameter| match parameter {
                Ok(Parameter::Uri(uri)) => Some(uri),
                _ => None,
            }),
            Command::TryEach(mut branches) => branches.find_map(|branch| match branch {
                Branch::Sequence(sequence) => sequence.first_uri(),
                Branch::Nothing => None,
            }),
            Command::RunSequence(sequence) => sequence.first_uri(),
            _ => None,
        })
    }
}

/// Commands of one sequence, each with its offset in bytes: what a `SUIT_Record` names.
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<(usize, Command<'a>), ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let offset = self.reader.position();
        let read = self.read().map(|command| (offset, command));
        if read.is_err() {
            self.left = 0;
        }
        Some(read)
    }
}

impl<'a> Commands<'a> {
    fn read(&mut self) -> Result<Command<'a>, ManifestError> {
        let label = self.reader.int()?;
        let command = self.read_argument(label)?;
        if self.left == 0 {
            self.reader.finish()?;
        }
        Ok(command)
    }

    fn read_argument(&mut self, label: i64) -> Result<Command<'a>, ManifestError> {
        let reader = &mut self.reader;
        if let Some(condition) = Condition::from_label(label) {
            reporting_policy(reader)?;
            return Ok(Command::Condition(condition));
        }
        Ok(match label {
            12 => Command::SetComponentIndex(index_argument(reader)?),
            15 => Command::TryEach(Branches::read(reader)?),
            20 => match reader.kind()? {
                Kind::Map => Command::Override(Parameters::new(reader.item()?)?),
                _ => return Err(CborError::Type.into()),
            },
            21 | 23 => {
                reporting_policy(reader)?;
                if label == 21 { Command::Fetch } else { Command::Invoke }
            }
            32 => Command::RunSequence(Sequence::new(reader.bytes()?)),
            other => return Err(ManifestError::Command(other)),
        })
    }
}

/// Four bits that ask for records in the report; ours are made by the agent, so they are only checked.
fn reporting_policy(reader: &mut Reader<'_>) -> Result<(), ManifestError> {
    if reader.uint()? <= 15 { Ok(()) } else { Err(CborError::Range.into()) }
}

fn index_argument(reader: &mut Reader<'_>) -> Result<IndexArgument, ManifestError> {
    match reader.kind()? {
        Kind::Bool if reader.bool()? => Ok(IndexArgument::All),
        Kind::Uint => Ok(IndexArgument::Listed(index_bit(reader.uint()?)?)),
        Kind::Array => {
            let count = reader.array()?;
            let mut bits = 0;
            for _ in 0..count {
                bits |= index_bit(reader.uint()?)?;
            }
            if count == 0 { Err(CborError::Range.into()) } else { Ok(IndexArgument::Listed(bits)) }
        }
        _ => Err(CborError::Type.into()),
    }
}

fn index_bit(index: u64) -> Result<u8, ManifestError> {
    if index < COMPONENTS_MAX as u64 { Ok(1 << index) } else { Err(ManifestError::ComponentIndex(index)) }
}

/// The sequences of a try-each directive.
#[derive(Clone, Debug)]
pub struct Branches<'a> {
    reader: Reader<'a>,
    left: usize,
}

/// One choice of a try-each directive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Branch<'a> {
    /// A sequence to try.
    Sequence(Sequence<'a>),
    /// The last choice: do nothing and go on.
    Nothing,
}

impl<'a> Branches<'a> {
    /// Reads `[2* bstr, ? nil]` and checks its form.
    fn read(reader: &mut Reader<'a>) -> Result<Self, ManifestError> {
        let left = reader.array()?;
        let start = reader.clone();
        let mut sequences = 0;
        for n in 0..left {
            if n + 1 == left && reader.nil()? {
                break;
            }
            reader.bytes()?;
            sequences += 1;
        }
        if sequences < 2 { Err(CborError::Range.into()) } else { Ok(Self { reader: start, left }) }
    }
}

impl<'a> Iterator for Branches<'a> {
    type Item = Branch<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match self.reader.nil() {
            Ok(true) => Some(Branch::Nothing),
            _ => Some(Branch::Sequence(Sequence::new(self.reader.bytes().ok()?))),
        }
    }
}
