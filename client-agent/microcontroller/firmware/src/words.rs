//! What happened, in words; numbers of frames in steps.

use bellwether_agent::agent::Event;
use bellwether_agent::manifests::message::Moment;
use bellwether_board::console::{Said, say};

/// Says an event that an observer needs.
pub(crate) fn tell(event: &Event) {
    match event {
        Event::Granted { base, content_bytes } => {
            let what = if base.is_some() { "granted delta of " } else { "granted image of " };
            let bytes = u32::try_from(*content_bytes).unwrap_or(u32::MAX);
            say(&[Said::Text(what), Said::Number(bytes), Said::Text(" bytes")]);
        }
        Event::FrameStored { number, of, .. } => {
            if (number + 1).is_multiple_of(FRAMES_PER_LINE) || number + 1 == *of {
                say(&[Said::Text("frame "), Said::Number(number + 1), Said::Text(" of "), Said::Number(*of)]);
            }
        }
        Event::ManifestRefused { result, .. } => {
            say(&[Said::Text("manifest refused, result "), Said::Number((*result).into())]);
        }
        other => say(&[Said::Text(word(other))]),
    }
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Registered => "registered",
        Event::Declined { .. } => "declined",
        Event::Unanswered { .. } => "unanswered",
        Event::ManifestStored => "manifest stored",
        Event::Asked { .. } => "asked",
        Event::GrantUnusable(_) => "grant unusable",
        Event::AnswerIgnored(_) => "answer ignored",
        Event::Refused { .. } => "refused",
        Event::NothingToDo => "nothing to do",
        Event::FrameAltered { .. } => "frame altered",
        Event::Decrypted => "image verified",
        Event::GivenUp => "given up",
        Event::TrialBegun => "trial begun",
        Event::Reporting(Moment::Decrypted) => "reporting decrypted",
        Event::Reporting(Moment::Installed) => "reporting installed",
        Event::Reporting(Moment::Failed) => "reporting failed",
        Event::Receipt(Moment::Decrypted) => "receipt for decrypted",
        Event::Receipt(Moment::Installed) => "receipt for installed",
        Event::Receipt(Moment::Failed) => "receipt for failed",
        Event::Reboot => "restarting",
        Event::Stopped => "stopped",
        _ => "went on",
    }
}

/// Frames between two lines.
const FRAMES_PER_LINE: u32 = 32;
