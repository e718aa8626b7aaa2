//! The messages of the world's engine, and the window that tells repeated records.

/// Names a session on the wire, as a Connection ID does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SessionNumber(pub(super) u64);

/// One datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Message<'a> {
    Hello { nonce: u64, proof: [u8; 32], identity: &'a [u8] },
    Welcome { nonce: u64, number: SessionNumber },
    Refused { nonce: u64 },
    Finish { number: SessionNumber },
    Done { number: SessionNumber },
    Record { number: SessionNumber, sent: u64, payload: &'a [u8] },
}

impl<'a> Message<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, numbers, rest): (u8, &[u64], [&[u8]; 2]) = match self {
            Self::Hello { nonce, proof, identity } => (1, &[*nonce], [proof, identity]),
            Self::Welcome { nonce, number } => (2, &[*nonce, number.0], [&[], &[]]),
            Self::Refused { nonce } => (3, &[*nonce], [&[], &[]]),
            Self::Finish { number } => (4, &[number.0], [&[], &[]]),
            Self::Done { number } => (5, &[number.0], [&[], &[]]),
            Self::Record { number, sent, payload } => (6, &[number.0, *sent], [payload, &[]]),
        };
        let mut datagram = vec![kind];
        for number in numbers {
            datagram.extend(number.to_be_bytes());
        }
        datagram.extend(rest.concat());
        datagram
    }

    pub(super) fn decode(datagram: &'a [u8]) -> Option<Self> {
        let (kind, mut rest) = datagram.split_first()?;
        Some(match kind {
            1 => {
                let nonce = number(&mut rest)?;
                let (proof, identity) = rest.split_first_chunk()?;
                Self::Hello { nonce, proof: *proof, identity }
            }
            2 => Self::Welcome { nonce: number(&mut rest)?, number: SessionNumber(number(&mut rest)?) },
            3 => Self::Refused { nonce: number(&mut rest)? },
            4 => Self::Finish { number: SessionNumber(number(&mut rest)?) },
            5 => Self::Done { number: SessionNumber(number(&mut rest)?) },
            6 => {
                let (session, sent) = (number(&mut rest)?, number(&mut rest)?);
                Self::Record { number: SessionNumber(session), sent, payload: rest }
            }
            _ => return None,
        })
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_be_bytes(*number))
}

/// The records that came, of the latest 64; older ones count as repeated (RFC 6347 §4.1.2.6).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: whether `highest - n` came.
    came: u64,
}

impl Window {
    /// Goes on with what [`Window::parts`] gave.
    pub(super) fn of(highest: u64, came: u64) -> Self {
        Self { highest, came }
    }

    pub(super) fn parts(self) -> (u64, u64) {
        (self.highest, self.came)
    }

    pub(super) fn is_newest(self, sent: u64) -> bool {
        sent > self.highest
    }

    /// Marks a record as come; `false` if it came before, or may have.
    pub(super) fn take(&mut self, sent: u64) -> bool {
        if sent > self.highest {
            let by = u32::try_from(sent - self.highest).unwrap_or(u32::MAX);
            self.came = self.came.checked_shl(by).unwrap_or(0) | 1;
            self.highest = sent;
            return true;
        }
        let bit = u32::try_from(self.highest - sent).ok().and_then(|back| 1_u64.checked_shl(back));
        let is_new = bit.is_some_and(|bit| self.came & bit == 0);
        self.came |= bit.unwrap_or(0);
        is_new
    }
}

/// What a record adds to its payload.
pub(super) const RECORD_BYTES: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_taken_once_and_never_when_it_is_too_old_to_tell() {
        let mut window = Window::default();
        let taken = [1, 1, 3, 2, 2, 100, 37, 36, 100].map(|sent| window.take(sent));
        assert_eq!(taken, [true, false, true, true, false, true, true, false, false]);
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let number = SessionNumber(7);
        for message in [
            Message::Hello { nonce: 1, proof: [2; 32], identity: b"lamp-1" },
            Message::Welcome { nonce: 1, number },
            Message::Refused { nonce: 1 },
            Message::Finish { number },
            Message::Done { number },
            Message::Record { number, sent: 2, payload: b"" },
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[6, 0]), None);
    }
}
