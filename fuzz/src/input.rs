//! Hostile bytes taken apart for targets that need more than one value.

/// Bytes that are taken from the front; past their end everything is zero or empty.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Takes up to `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// Takes bytes behind a length of two bytes.
    pub(crate) fn counted(&mut self) -> &'a [u8] {
        let count = self.u16();
        self.take(count.into())
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Writes what [`Input::counted`] takes.
pub(crate) fn counted(bytes: &[u8]) -> Vec<u8> {
    let count = u16::try_from(bytes.len()).expect("seeds are short");
    [&count.to_be_bytes()[..], bytes].concat()
}
