//! Whether a device in queue mode listens.
//!
//! Such a device switches its radio off once nothing has gone between it and its server for a while, and what is sent to it
//! meanwhile is lost. It is awake for a window after the last message that came from it. Source: OMA LwM2M Core 1.1, §6.5.

/// Whether a registered device listens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Listening {
    /// It is in no queue mode.
    #[default]
    Always,
    /// It was heard of within the window.
    Awake {
        /// Seconds until it is taken for asleep, where nothing comes from it until then.
        left_s: u64,
    },
    /// What is sent to it is lost.
    Asleep {
        /// Seconds for which it sleeps.
        for_s: u64,
    },
}

impl Listening {
    /// Tells whether something may be sent.
    #[must_use]
    pub fn hears(self) -> bool {
        !matches!(self, Self::Asleep { .. })
    }
}

/// What is known of a device in queue mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Silence {
    /// Seconds since its last message came.
    pub silent_s: u64,
    /// Seconds since it did not acknowledge something, where no message of it came since.
    pub missed_s: Option<u64>,
}

/// Tells whether a registered device listens: `silence` is `None` where it is in no queue mode, `awake_s` is the window.
#[must_use]
pub fn listening(silence: Option<Silence>, awake_s: u64) -> Listening {
    let Some(Silence { silent_s, missed_s }) = silence else { return Listening::Always };
    match (awake_s.checked_sub(silent_s), missed_s) {
        // It sleeps earlier than the window says, whatever that is.
        (_, Some(missed_s)) => Listening::Asleep { for_s: missed_s.max(silent_s.saturating_sub(awake_s)) },
        (None | Some(0), None) => Listening::Asleep { for_s: silent_s - awake_s },
        (Some(left_s), None) => Listening::Awake { left_s },
    }
}

/// How a device can be reached now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// It is registered, and listens.
    Here,
    /// It is registered in queue mode, and asleep.
    Asleep,
    /// It is not registered.
    Away,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(silent_s: u64, missed_s: Option<u64>) -> Listening {
        listening(Some(Silence { silent_s, missed_s }), 93)
    }

    #[test]
    fn device_without_queue_mode_listens_always() {
        assert_eq!(listening(None, 93), Listening::Always);
        assert!(Listening::Always.hears());
    }

    #[test]
    fn device_is_awake_for_the_window_after_its_last_message_and_not_a_second_longer() {
        assert_eq!(after(0, None), Listening::Awake { left_s: 93 });
        assert_eq!(after(92, None), Listening::Awake { left_s: 1 });
        assert_eq!(after(93, None), Listening::Asleep { for_s: 0 });
        assert_eq!(after(u64::MAX, None), Listening::Asleep { for_s: u64::MAX - 93 });
        assert!(after(92, None).hears() && !after(93, None).hears());
    }

    #[test]
    fn device_that_did_not_acknowledge_something_sleeps_at_once() {
        assert_eq!(after(10, Some(4)), Listening::Asleep { for_s: 4 });
        assert_eq!(after(10, Some(0)), Listening::Asleep { for_s: 0 });
        // It was asleep before that was noticed.
        assert_eq!(after(200, Some(4)), Listening::Asleep { for_s: 107 });
    }
}
