//! Wrong tokens, counted: who tries many has to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Wrong tokens of this minute, by where they came from.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    minute: u64,
    all: u32,
    by: HashMap<IpAddr, u32>,
}

impl Tries {
    /// Tells how many seconds somebody has to wait before their next try; `None`: they may try now. `now` is in seconds
    /// on a clock that never steps.
    pub(super) fn wait(&self, from: IpAddr, now: u64) -> Option<u64> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.turn(now);
        let own = kept.by.get(&place(from)).copied().unwrap_or_default();
        (own >= TRIES_OF_ONE_MAX || kept.all >= TRIES_MAX).then(|| MINUTE_S - now % MINUTE_S)
    }

    /// Notes a wrong token.
    pub(super) fn wrong(&self, from: IpAddr, now: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.turn(now);
        kept.all += 1;
        *kept.by.entry(place(from)).or_default() += 1;
    }
}

impl Kept {
    fn turn(&mut self, now: u64) {
        if self.minute != now / MINUTE_S {
            *self = Self { minute: now / MINUTE_S, ..Self::default() };
        }
    }
}

/// Whoever has one address of IPv6 has all that share its first half.
fn place(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() >> 64 << 64).into()),
    }
}

const MINUTE_S: u64 = 60;

/// Wrong tokens from one place in a minute: a person pastes the wrong line a few times.
const TRIES_OF_ONE_MAX: u32 = 5;

/// Wrong tokens in a minute from everywhere, which bounds what is kept as well. The tokens have 256 bits: nobody guesses
/// one, however often; this keeps the log and the processor quiet.
const TRIES_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tries_often_waits_for_the_next_minute_and_others_do_not() {
        let (tries, one, other) =
            (Tries::default(), IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..TRIES_OF_ONE_MAX {
            assert_eq!(tries.wait(one, 130), None);
            tries.wrong(one, 130);
        }
        assert_eq!((tries.wait(one, 130), tries.wait(other, 130)), (Some(50), None));
        assert_eq!(tries.wait(one, 180), None);
    }

    #[test]
    fn addresses_of_one_network_are_one_place_and_there_is_a_bound_for_all() {
        let six = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let tries = Tries::default();
        for n in 0..5 {
            tries.wrong(six(n), 0);
        }
        assert_eq!(tries.wait(six(99), 0), Some(60));
        let all = Tries::default();
        for n in 0..100 {
            all.wrong(IpAddr::from([192, 0, 2, n]), 0);
        }
        assert!(all.wait(IpAddr::from([198, 51, 100, 1]), 0).is_some());
    }
}
