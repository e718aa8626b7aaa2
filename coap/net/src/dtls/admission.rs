//! How many handshakes may run at once, and sessions be fetched, over all and from one place.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Counts what is in progress, handshakes or fetches, against two bounds.
pub(crate) struct Admission {
    in_progress: usize,
    in_progress_max: usize,
    of_place: HashMap<IpAddr, usize>,
    of_place_max: usize,
}

impl Admission {
    pub(crate) fn new(in_progress_max: usize, of_place_max: usize) -> Self {
        Self { in_progress: 0, in_progress_max, of_place: HashMap::new(), of_place_max }
    }

    /// Takes a place for one more from `ip`; `false` if there is none.
    pub(crate) fn begin(&mut self, ip: IpAddr) -> bool {
        let place = place(ip);
        let here = self.of_place.get(&place).copied().unwrap_or(0);
        if self.in_progress >= self.in_progress_max || here >= self.of_place_max {
            return false;
        }
        self.in_progress += 1;
        self.of_place.insert(place, here + 1);
        true
    }

    /// Gives the place of one from `ip` back.
    pub(crate) fn end(&mut self, ip: IpAddr) {
        self.in_progress = self.in_progress.saturating_sub(1);
        let place = place(ip);
        match self.of_place.get_mut(&place) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(self.of_place.remove(&place)),
        }
    }

    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress
    }
}

/// Names where an address is: an IPv6 host has its whole /64 to choose addresses from.
fn place(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_cannot_take_all_handshakes() {
        let mut admission = Admission::new(3, 2);
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(admission.begin(here) && admission.begin(here));
        assert!(!admission.begin(here));
        assert!(admission.begin(there));
        assert!(!admission.begin("192.0.2.3".parse().unwrap()));
        admission.end(here);
        assert!(admission.begin(here));
        assert_eq!(admission.in_progress(), 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bound() {
        let mut admission = Admission::new(10, 1);
        assert!(admission.begin("2001:db8::1".parse().unwrap()));
        assert!(!admission.begin("2001:db8::ffff:2".parse().unwrap()));
        assert!(admission.begin("2001:db8:0:1::1".parse().unwrap()));
    }
}
