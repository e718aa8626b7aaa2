//! Which events of the ledger may be removed.

/// What goes on from the ledger, and how far it has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Readers {
    /// Number of the last event; 0 for an empty ledger.
    pub last: u64,
    /// The event up to which devices' images were counted.
    pub counted: u64,
    /// The event up to which a broker has acknowledged; `None` where there is no broker that events go to.
    pub published: Option<u64>,
}

/// What keeps events from being removed, other than their age.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// The last event stays: its number tells which one comes next.
    Last,
    /// They were not counted yet.
    Census,
    /// The broker has not acknowledged them yet.
    Broker,
}

impl Readers {
    /// Gives the number from which on nothing may be removed, and why not.
    #[must_use]
    pub fn until(&self) -> (u64, Held) {
        let published = self.published.unwrap_or(u64::MAX).saturating_add(1);
        [(self.last, Held::Last), (self.counted.saturating_add(1), Held::Census), (published, Held::Broker)]
            .into_iter()
            .min_by_key(|(until, _)| *until)
            .unwrap_or((0, Held::Last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_event_and_those_that_somebody_still_reads_stay() {
        let all = Readers { last: 9, counted: 9, published: Some(9) };
        assert_eq!(all.until(), (9, Held::Last));
        assert_eq!(Readers { counted: 4, ..all }.until(), (5, Held::Census));
        assert_eq!(Readers { published: Some(3), ..all }.until(), (4, Held::Broker));
        assert_eq!(Readers { published: Some(u64::MAX), ..all }.until(), (9, Held::Last));
        assert_eq!(Readers { published: None, ..all }.until(), (9, Held::Last));
        assert_eq!(Readers { last: 0, counted: 0, published: None }.until(), (0, Held::Last));
    }
}
