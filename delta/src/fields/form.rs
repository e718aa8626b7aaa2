//! What an instruction with a field looks like, as data.

/// One form of instruction that holds an address.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Form {
    /// Bits of the first word that tell it, and what they are.
    mask: u32,
    value: u32,
    /// What must follow it for it to be this form.
    pair: Option<&'static Pair>,
    /// Where the bits of the address or distance stand.
    pieces: &'static [Piece],
    /// Kind within the architecture; [`NO_FIELD`] for what only looks like one.
    pub(super) kind: u8,
    pub(super) length: u8,
    /// Bytes that all movements are multiples of.
    pub(super) unit: u8,
    origin: Origin,
    /// Bits of the number, the highest one its sign; 0 for one without.
    signed_bits: u8,
    twist: Twist,
}

/// Second word of an instruction of two.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Pair {
    /// Bits of the word that tell it, and what they are.
    pub(super) mask: u32,
    pub(super) value: u32,
    /// Where both instructions name a register, counted from the first one's lowest bit.
    pub(super) registers: [u8; 2],
    pub(super) register_mask: u8,
    /// How much higher the second one's is than the first one's.
    pub(super) register_step: u8,
    /// Whether register 0 is none.
    pub(super) but_zero: bool,
}

/// Some neighbouring bits: lowest one in the instruction, how many less one, and lowest one in the number; packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Piece(u16);

/// What a field's number counts from: its own address plus the lowest four bits, with as many bits cleared as the next
/// four say; or what is fixed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Origin(u8);

/// What is particular to a form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Twist {
    None,
    /// Bits 22 and 23 are coded as whether they are the sign: BL and B.W.
    Wide,
    /// A size, and whether it counts up: LDR.W of a literal.
    UpOrDown,
    /// The lowest twelve bits are signed.
    Carry,
    /// The number of pages has a bit more than addresses have, and what is within a page is no part of it.
    Pages,
    /// Always behind the origin.
    Behind,
    /// Nothing as far away as no program is large.
    Near,
}

/// Kind of what is no field.
const NO_FIELD: u8 = u8::MAX;

/// Whole words that are addresses.
pub(super) static WORD: Form =
    Form::new([0, 0], [super::POINTER as u8, 4, 1], Origin::ZERO, &[Piece::new(0, 32, 0)]);

impl Piece {
    /// `count` bits from bit `from` of the instruction on, which are the number's from bit `to` on.
    pub(super) const fn new(from: u16, count: u16, to: u16) -> Self {
        Self(from << 10 | (count - 1) << 5 | to)
    }

    const fn from(self) -> u32 {
        (self.0 >> 10) as u32
    }

    const fn to(self) -> u32 {
        (self.0 & 31) as u32
    }

    /// Its bits, moved down to bit 0.
    const fn mask(self) -> u64 {
        u32::MAX as u64 >> (31 - (self.0 >> 5 & 31))
    }
}

impl Origin {
    pub(super) const ZERO: Self = Self(0xff);
    /// Where data addresses of AVR stand.
    pub(super) const AVR_DATA: Self = Self(0xfe);

    /// So many bytes after the field's address, with the lowest `cleared` bits cleared.
    pub(super) const fn after(bytes: u8, cleared: u8) -> Self {
        Self(cleared << 4 | bytes)
    }

    const fn of(self, address: u32) -> u32 {
        match self {
            Self::ZERO => 0,
            Self::AVR_DATA => 0x80_0000,
            Self(packed) => address.wrapping_add((packed & 15) as u32) >> (packed >> 4) << (packed >> 4),
        }
    }
}

impl Form {
    /// A form by bits of its first word and what they are; its kind, length and unit.
    pub(super) const fn new(
        [mask, value]: [u32; 2],
        [kind, length, unit]: [u8; 3],
        origin: Origin,
        pieces: &'static [Piece],
    ) -> Self {
        Self {
            mask,
            value,
            pair: None,
            pieces,
            kind,
            length,
            unit,
            origin,
            signed_bits: 0,
            twist: Twist::None,
        }
    }

    /// What looks like the next ones, but is no field.
    pub(super) const fn none(mask: u32, value: u32) -> Self {
        Self::new([mask, value], [NO_FIELD, 0, 1], Origin::ZERO, &[])
    }

    /// The same with a number of so many bits that has a sign.
    pub(super) const fn signed(mut self, bits: u8) -> Self {
        self.signed_bits = bits;
        self
    }

    pub(super) const fn twisted(mut self, twist: Twist) -> Self {
        self.twist = twist;
        self
    }

    pub(super) const fn followed_by(mut self, pair: &'static Pair) -> Self {
        self.pair = Some(pair);
        self
    }

    pub(super) const fn is_absolute(&self) -> bool {
        self.origin.0 >= 0xfe
    }

    pub(super) fn fits(&self, bytes: u64) -> bool {
        bytes as u32 & self.mask == self.value && self.pair.is_none_or(|pair| pair.fits(bytes))
    }

    /// Address that an instruction of this form points to from `address`.
    pub(super) fn target(&self, bytes: u64, address: u32) -> Option<u32> {
        if self.kind == NO_FIELD {
            return None;
        }
        let mut number = 0_u32;
        for piece in self.pieces {
            number = number.wrapping_add(((bytes >> piece.from() & piece.mask()) as u32) << piece.to());
        }
        if self.signed_bits > 0 {
            let unused = 32 - self.signed_bits;
            number = ((number << unused).cast_signed() >> unused).cast_unsigned();
        }
        number = match self.twist {
            Twist::Wide => exchanged(number),
            Twist::UpOrDown if bytes & 0x80 == 0 => number.wrapping_neg(),
            Twist::Carry => number.wrapping_sub((number & 0x800) << 1),
            Twist::Behind => number | 0xfffc_0000,
            Twist::Near if number.wrapping_add(DISTANCE_MAX) > 2 * DISTANCE_MAX => return None,
            Twist::None | Twist::UpOrDown | Twist::Pages | Twist::Near => number,
        };
        Some(self.origin.of(address).wrapping_add(number))
    }

    /// An instruction of this form, pointing to `target` from `address`.
    pub(super) fn with_target(&self, mut bytes: u64, target: u32, address: u32) -> u64 {
        let mut number = u64::from(target).wrapping_sub(u64::from(self.origin.of(address)));
        match self.twist {
            Twist::Wide => number = exchanged(number as u32).into(),
            Twist::UpOrDown => {
                let ahead = (number as u32).cast_signed();
                bytes = bytes & !0x80 | u64::from(ahead >= 0) << 7;
                number = ahead.unsigned_abs().into();
            }
            Twist::Carry => number = number.wrapping_add((number & 0x800) << 1),
            Twist::None | Twist::Pages | Twist::Behind | Twist::Near => {}
        }
        for piece in self.pieces {
            let mut part = number;
            if self.twist == Twist::Pages && piece.from() >= 32 {
                part &= 0xfff;
            }
            let mask = piece.mask() << piece.from();
            bytes = bytes & !mask | (part >> piece.to()) << piece.from() & mask;
        }
        bytes
    }
}

impl Pair {
    fn fits(&self, bytes: u64) -> bool {
        let [one, other] = self.registers.map(|at| (bytes >> at) as u8 & self.register_mask);
        (bytes >> 32) as u32 & self.mask == self.value
            && one + self.register_step == other
            && !(self.but_zero && one == 0)
    }
}

/// Bits 22 and 23 of a distance say whether they are as bit 24: there and back.
const fn exchanged(number: u32) -> u32 {
    if number >> 24 & 1 == 0 { number ^ 0x00c0_0000 } else { number }
}

/// Farther than this, four bytes are hardly the distance of a jump.
const DISTANCE_MAX: u32 = 1 << 24;
