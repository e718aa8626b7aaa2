//! An authenticated answer that is no grant.

use minicbor::encode::{Encode, Encoder, Error, Write};

use super::list::Element;
use super::request::{ECHO_BYTES_MAX, read_echo};
use super::{List, MessageError, Part, Place, bound, read_version, refuse, whole};
use crate::cbor::{CborError, Reader, told};

/// Verdict: bound to the nonce of the request, with a MAC under the down key of the request's place (`Forward`: of the new
/// place).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict<'a> {
    /// Which key of which identity.
    pub place: Place<'a>,
    /// Nonce of the request.
    pub nonce: &'a [u8; 8],
    /// Time of the server, seconds since 1970.
    pub now: u64,
    /// What was decided.
    pub detail: Detail<'a>,
}

/// What was decided, by kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail<'a> {
    /// 1: nothing to do.
    Nothing,
    /// 2: ask again later.
    Later(Later<'a>),
    /// 3: refused.
    Refused {
        /// Number of the reason.
        reason: i64,
        /// The reason in words.
        text: &'a str,
    },
    /// 4: ask another distributor, at one of these request identifiers.
    Elsewhere(List<'a, &'a str>),
    /// 5: send these bytes back as option 1, in a request under the same key.
    Prove(&'a [u8]),
    /// 6: swap now; number of the grant.
    Go(u64),
    /// 7: do not swap, drop the grant; its number.
    Stop(u64),
    /// 8: this identity goes on from the verdict's place; approved by an operator, never backward.
    Forward {
        /// Fork head at that place.
        fork: &'a [u8; 8],
        /// Grant number from which on grants count.
        grant: u64,
    },
}

/// When to ask again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Later<'a> {
    /// Seconds to wait.
    pub delay_s: u64,
    /// Not before this time, seconds since 1970.
    pub not_before: Option<u64>,
    /// Only in these windows; empty: at any time.
    pub windows: List<'a, Window>,
    /// Most seconds to add at random.
    pub jitter_s: u64,
}

/// Time window that comes back every week.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// First second of the day, UTC.
    pub start_s: u32,
    /// Length in seconds.
    pub duration_s: u32,
    /// Bit 0 is Monday, bit 6 Sunday.
    pub weekdays: u8,
}

impl<'a> Verdict<'a> {
    /// Reads the payload of a verdict.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        whole(bytes, |reader| {
            let elements = reader.array()?;
            read_version(reader)?;
            let kind = reader.uint()?;
            if !(1..=8).contains(&kind) {
                return Err(MessageError::Kind(told(kind)));
            }
            bound(elements == ELEMENTS, Part::NumberOfElementsInAVerdict)?;
            Ok(Self {
                place: Place::read(reader)?,
                nonce: reader.bytes_exact()?,
                now: reader.uint()?,
                detail: Detail::read(kind, reader)?,
            })
        })
    }
}

impl<C> Encode<C> for Verdict<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        encoder.array(ELEMENTS as u64)?.u64(super::VERSION)?.u8(self.detail.kind())?;
        self.place.write(encoder)?;
        encoder.bytes(self.nonce)?.u64(self.now)?;
        self.detail.write(encoder)
    }
}

impl<'a> Detail<'a> {
    /// Number of the kind, 1 to 8.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Nothing => 1,
            Self::Later(_) => 2,
            Self::Refused { .. } => 3,
            Self::Elsewhere(_) => 4,
            Self::Prove(_) => 5,
            Self::Go(_) => 6,
            Self::Stop(_) => 7,
            Self::Forward { .. } => 8,
        }
    }

    fn read(kind: u64, reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        Ok(match kind {
            1 if reader.nil()? => Self::Nothing,
            1 => return Err(CborError::Type.into()),
            2 => Self::Later(Later::read(reader)?),
            3 => {
                reader.array_of(2)?;
                let (reason, text) = (reader.int()?, reader.text()?);
                bound(text.len() <= TEXT_BYTES_MAX, Part::TextOfAReason)?;
                Self::Refused { reason, text }
            }
            4 => Self::Elsewhere(List::read(reader, ELSEWHERE, Part::NumberOfDistributors)?),
            5 => Self::Prove(read_echo(reader)?),
            6 => Self::Go(reader.uint()?),
            7 => Self::Stop(reader.uint()?),
            8 => {
                reader.array_of(2)?;
                Self::Forward { fork: reader.bytes_exact()?, grant: reader.uint()? }
            }
            other => return Err(MessageError::Kind(told(other))),
        })
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        match *self {
            Self::Nothing => encoder.null()?,
            Self::Later(later) => return later.write(encoder),
            Self::Refused { reason, text } => {
                bound(text.len() <= TEXT_BYTES_MAX, Part::TextOfAReason).map_err(refuse)?;
                encoder.array(2)?.i64(reason)?.str(text)?
            }
            Self::Elsewhere(others) => return others.write(encoder, ELSEWHERE),
            Self::Prove(echo) => {
                bound(echo.len() <= ECHO_BYTES_MAX, Part::Echo).map_err(refuse)?;
                encoder.bytes(echo)?
            }
            Self::Go(grant) | Self::Stop(grant) => encoder.u64(grant)?,
            Self::Forward { fork, grant } => encoder.array(2)?.bytes(fork)?.u64(grant)?,
        }
        .ok()
    }
}

impl<'a> Later<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(4)?;
        Ok(Self {
            delay_s: reader.uint()?,
            not_before: if reader.nil()? { None } else { Some(reader.uint()?) },
            windows: List::read(reader, WINDOWS, Part::NumberOfWindows)?,
            jitter_s: reader.uint()?,
        })
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.array(4)?.u64(self.delay_s)?;
        match self.not_before {
            None => encoder.null()?,
            Some(time) => encoder.u64(time)?,
        };
        self.windows.write(encoder, WINDOWS)?;
        encoder.u64(self.jitter_s)?.ok()
    }
}

impl Window {
    /// Tells whether `now`, seconds since 1970, lies in the window; one that begins before midnight may end after it.
    #[must_use]
    pub fn contains(self, now: u64) -> bool {
        // 1970-01-01 was a Thursday, day 3 of a week that begins on Monday.
        let (today, second) = ((now / DAY_S + 3) % 7, now % DAY_S);
        (0..=7).any(|days_ago| {
            let begun = self.weekdays >> ((today + 7 - days_ago % 7) % 7) & 1 == 1;
            let since = (days_ago * DAY_S + second).checked_sub(self.start_s.into());
            begun && since.is_some_and(|since| since < self.duration_s.into())
        })
    }

    fn check(self) -> Result<(), MessageError> {
        bound(self.start_s < 86_400 && self.duration_s <= 7 * 86_400 && self.weekdays <= 0x7f, Part::Window)
    }
}

impl<'a> Element<'a> for Window {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        reader.array_of(3)?;
        let (start_s, duration_s) = (reader.u32()?, reader.u32()?);
        let weekdays = u8::try_from(reader.uint()?).map_err(|_| MessageError::Bound(Part::Window))?;
        let window = Self { start_s, duration_s, weekdays };
        window.check()?;
        Ok(window)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        self.check().map_err(refuse)?;
        encoder.array(3)?.u32(self.start_s)?.u32(self.duration_s)?.u8(self.weekdays)?.ok()
    }
}

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// Elements of a verdict.
const ELEMENTS: usize = 8;

/// Windows: two a day of the week, with room.
const WINDOWS: (usize, usize) = (0, 16);

/// Other distributors: as many as a resource can have locations.
const ELSEWHERE: (usize, usize) = (1, 8);

/// Bytes of a reason in words: one line for a person.
pub const TEXT_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-21, a Saturday, 00:00 UTC.
    const SATURDAY: u64 = 1_795_219_200;

    #[test]
    fn window_is_open_on_its_days_from_its_start_for_its_length() {
        let window = Window { start_s: 3_600, duration_s: 7_200, weekdays: 1 << 5 };
        let open = |second: u64| window.contains(SATURDAY + second);
        assert_eq!([3_599, 3_600, 10_799, 10_800].map(open), [false, true, true, false]);
        assert!(!window.contains(SATURDAY + DAY_S + 3_600));
        assert!(window.contains(SATURDAY + 7 * DAY_S + 3_600));
    }

    #[test]
    fn window_that_begins_before_midnight_is_open_after_it() {
        let window = Window { start_s: 23 * 3_600, duration_s: 4 * 3_600, weekdays: 1 << 4 };
        assert!(window.contains(SATURDAY + 2 * 3_600));
        assert!(!window.contains(SATURDAY + 3 * 3_600));
        assert!(!window.contains(SATURDAY + 23 * 3_600));
    }

    #[test]
    fn window_of_a_whole_week_is_always_open() {
        let window = Window { start_s: 3_600, duration_s: 7 * 86_400, weekdays: 1 << 5 };
        for hour in 0..7 * 24 {
            assert!(window.contains(SATURDAY + hour * 3_600), "hour {hour}");
        }
    }
}
