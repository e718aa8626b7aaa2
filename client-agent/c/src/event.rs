//! What happened, as a C program gets it: an event and two numbers.

use crate::abi::BellwetherEvent;
use bellwether_agent::agent::Event;
use bellwether_agent::manifests::message::Moment;

/// Translates an event; `None` for what only a log of the whole conversation would want.
pub(crate) fn told(event: &Event) -> Option<(BellwetherEvent, u32, u32)> {
    let plain = |event| Some((event, 0, 0));
    match event {
        Event::Registered => plain(BellwetherEvent::Registered),
        Event::Unanswered { .. } => plain(BellwetherEvent::Unanswered),
        Event::ManifestStored => plain(BellwetherEvent::ManifestStored),
        Event::ManifestRefused { result, .. } => {
            Some((BellwetherEvent::ManifestRefused, u32::from(*result), 0))
        }
        Event::Asked { .. } => plain(BellwetherEvent::Asked),
        Event::Granted { base, content_bytes } => {
            let bytes = u32::try_from(*content_bytes).unwrap_or(u32::MAX);
            Some((BellwetherEvent::Granted, bytes, u32::from(base.is_some())))
        }
        Event::Refused { reason } => {
            Some((BellwetherEvent::Refused, u32::try_from(*reason).unwrap_or_default(), 0))
        }
        Event::FrameStored { number, of, .. } => Some((BellwetherEvent::FrameStored, *number + 1, *of)),
        Event::Decrypted => plain(BellwetherEvent::ImageVerified),
        Event::GivenUp => plain(BellwetherEvent::GivenUp),
        Event::Stop => plain(BellwetherEvent::TakenBack),
        Event::TrialBegun => plain(BellwetherEvent::TrialBegun),
        Event::Receipt(Moment::Installed) => plain(BellwetherEvent::Installed),
        Event::Receipt(Moment::Failed) => plain(BellwetherEvent::Failed),
        _ => None,
    }
}
