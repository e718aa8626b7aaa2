//! The clock of a shard: the one place of this crate that reads one that only goes forward.

use bellwether_coap::Instant;

/// Measures time since it was started, as the runtime has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this crate is a shell; its time enters here alone")]
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant(self.0.elapsed())
    }
}
