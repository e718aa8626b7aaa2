//! What an update request asks, and whether it can be answered here. Pure.
//!
//! The request's MAC can't be checked here, and need not be: a grant is bound to its device and place, so whoever
//! asks in another's name gets bytes that open nothing for it.

use bellwether_manifests::cbor;
use bellwether_manifests::message::peek::attached_payload;
use bellwether_manifests::message::{Answer, Digest, MessageError, Part, UpdateRequest};

use crate::held::{GrantKey, HeldDescriptor, HeldGrant};

/// What a request asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// Who asks for what.
    pub key: GrantKey,
    /// Contents of the descriptor that the device holds.
    pub held: Vec<Digest>,
    /// Whether only the server can answer: the request proves something, wants another key, asks "go?", offers a
    /// share, or tells of a report.
    pub fresh: bool,
    /// Seconds since 1970 by the clock of the device, where it tells it since what it got had expired by it; else 0.
    pub clock: u64,
}

impl Question {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if it is none.
    pub fn read(message: &[u8]) -> Result<Self, MessageError> {
        let request = UpdateRequest::decode(attached_payload(message)?)?;
        let selector = request.selector.hash().map_err(|_| MessageError::Bound(Part::Selector))?;
        let options = &request.options;
        let fresh = options.echo.is_some()
            || options.wrap_to.is_some()
            || options.go.is_some()
            || options.share.is_some()
            || options.unconfirmed.is_some();
        let clock = options.clock.unwrap_or(0);
        let held = options.held.map(|held| held.iter().copied().collect()).unwrap_or_default();
        Ok(Self {
            key: GrantKey::new(&request.place, request.selector.manifest, &selector),
            held,
            fresh,
            clock,
        })
    }

    /// Gives the time by which its device judges when an answer ends: the one here, or its own where that is ahead.
    #[must_use]
    pub fn judged_at(&self, now: u64) -> u64 {
        now.max(self.clock)
    }

    /// Writes the answer with this grant; `None` if the device needs a descriptor and none is here that fits.
    #[must_use]
    pub fn answer(
        &self,
        grant: &HeldGrant,
        descriptor: Option<&HeldDescriptor>,
        now: u64,
    ) -> Option<Vec<u8>> {
        let descriptor = if self.held == grant.contents && !self.held.is_empty() {
            None
        } else {
            Some(descriptor.filter(|descriptor| grant.is_described_by(descriptor, now))?.message.as_slice())
        };
        cbor::to_vec(&Answer { message: &grant.message, descriptor }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Ask, CLOCK, NOW};
    use bellwether_manifests::anchors::Anchors;
    use proptest::prelude::*;

    fn descriptor(world: &testing::World) -> HeldDescriptor {
        let document = testing::anchors(1, 1);
        HeldDescriptor::read(&world.descriptor(1), &Anchors::initial(&document).unwrap()).unwrap()
    }

    #[test]
    fn answer_brings_the_descriptor_unless_the_device_holds_it() {
        let world = testing::World::new();
        let (key, grant) = HeldGrant::read(&world.grant("lamp-1", 0, 5)).unwrap();
        let question = Question::read(&world.request(&Ask::default())).unwrap();
        assert_eq!(question.key, key);
        let bytes = question.answer(&grant, Some(&descriptor(&world)), NOW).unwrap();
        let answer = Answer::decode(&bytes).unwrap();
        assert_eq!((answer.message, answer.descriptor), (&grant.message[..], Some(&world.descriptor(1)[..])));
        assert!(question.answer(&grant, None, NOW).is_none());
        let holding = Question { held: grant.contents.clone(), ..question };
        let bytes = holding.answer(&grant, None, NOW).unwrap();
        assert_eq!(Answer::decode(&bytes).unwrap().descriptor, None);
    }

    #[test]
    fn descriptor_of_other_contents_or_an_expired_one_does_not_fit() {
        let world = testing::World::new();
        let (_, grant) = HeldGrant::read(&world.grant("lamp-1", 0, 5)).unwrap();
        let question = Question::read(&world.request(&Ask::default())).unwrap();
        let other = HeldDescriptor { contents: vec![[0; 32]], ..descriptor(&world) };
        assert!(question.answer(&grant, Some(&other), NOW).is_none());
        let expired = HeldDescriptor { expires: NOW - 1, ..descriptor(&world) };
        assert!(question.answer(&grant, Some(&expired), NOW).is_none());
    }

    #[test]
    fn request_with_an_option_that_only_the_server_can_act_on_says_so() {
        let world = testing::World::new();
        let fresh = |ask: &Ask| Question::read(&world.request(ask)).unwrap().fresh;
        assert!(!fresh(&Ask::default()));
        assert!(fresh(&Ask { options: &[1], ..Ask::default() }));
        assert!(fresh(&Ask { options: &[5], ..Ask::default() }));
        assert!(fresh(&Ask { options: &[7], ..Ask::default() }));
        assert!(fresh(&Ask { options: &[4], ..Ask::default() }));
        assert!(fresh(&Ask { options: &[6], ..Ask::default() }));
        assert!(!fresh(&Ask { options: &[CLOCK], ..Ask::default() }));
    }

    #[test]
    fn clock_that_a_device_tells_counts_where_it_is_ahead() {
        let world = testing::World::new();
        let read = |ask: &Ask| Question::read(&world.request(ask)).unwrap();
        let (without, with) = (read(&Ask::default()), read(&Ask { options: &[CLOCK], ..Ask::default() }));
        assert_eq!((without.judged_at(NOW - 9), without.judged_at(NOW + 9)), (NOW - 9, NOW + 9));
        assert_eq!((with.judged_at(NOW - 9), with.judged_at(NOW + 9)), (NOW, NOW + 9));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Question::read(&bytes);
        }
    }
}
