//! A device in its smallest form: boot loader, update core, and a line on which each message has one answer.

use crate::memory::{Ram, exchange, uptime};
use bellwether_agent::delta::{Algorithm, Patcher};
use bellwether_agent::manifests::anchors::Anchors;
use bellwether_agent::manifests::cose::P256;
use bellwether_agent::manifests::message::request::REQUEST_BYTES_MAX;
use bellwether_agent::update::facts::APP;
use bellwether_agent::update::fetch::frames_path;
use bellwether_agent::update::{Facts, Memory, ShareOffer, Updater, Work, trial};

/// Boots, and works until an image is to be started; `None` where the device cannot go on.
pub(crate) fn run() -> Option<()> {
    let mut anchors = [0; ANCHORS_BYTES_MAX];
    let anchors = exchange(&[], &mut anchors)?;
    let facts = Facts {
        id: "device-1",
        vendor: [1; 16],
        class: [2; 16],
        patch_algorithms: &[Algorithm::FIELDS.0],
        servers: &["coaps://server.example"],
        built: 0,
        anchors: Anchors::initial(anchors).ok()?,
        signatures: &P256,
        share_offer: ShareOffer::AtChainEnd,
        components: APP,
    };
    let selected = trial::select(&mut Ram).ok()?;
    if selected.on_trial {
        trial::confirm(&mut Ram).ok()?;
    }
    let mut memory = Memory::<[u8; ANCHORS_BYTES_MAX]>::new();
    let mut updater = Updater::start(Ram, Ram, facts, &mut memory, uptime()).ok()?;
    while updater.work() != Work::Reboot {
        report(&mut updater)?;
        work(&mut updater)?;
    }
    Some(())
}

/// Does what is next, with one exchange at most.
fn work(updater: &mut Updater<'_, Ram, Ram>) -> Option<()> {
    let (mut scratch, mut message) = ([0; MANIFEST_BYTES_MAX], [0; MESSAGE_BYTES_MAX]);
    match updater.work() {
        Work::Nothing => {
            // What replaces nothing is refused, and so is what is no manifest.
            let mut document = [0; ANCHORS_BYTES_MAX];
            let document = exchange(&[], &mut document)?;
            updater.take_anchors(uptime(), &mut scratch, document).ok()?;
            let manifest = exchange(&[], &mut scratch)?;
            updater.offer(uptime(), manifest).ok()?;
        }
        Work::Ask | Work::AskGo => {
            let length = updater.ask(uptime(), &mut scratch, &mut message).ok()??;
            let mut answer = [0; MESSAGE_BYTES_MAX];
            let answer = exchange(message.get(..length)?, &mut answer)?;
            updater.answer(uptime(), &mut scratch, answer).ok()?;
        }
        Work::Fetch => {
            let path = frames_path(&updater.frame_wanted()?.root);
            let frame = exchange(path.as_slice(), &mut message)?;
            updater.frame(frame).ok()?;
        }
        Work::Install => {
            updater.install(&mut Patcher::idle()).ok()?;
        }
        Work::AwaitExecute => {
            updater.begin_trial().ok()?;
        }
        Work::AwaitReceipt | Work::Reboot => {}
    }
    Some(())
}

/// Sends the oldest report, if one waits.
fn report(updater: &mut Updater<'_, Ram, Ram>) -> Option<()> {
    let mut receipt = [0; MESSAGE_BYTES_MAX];
    let Some((report, _)) = updater.pending_report() else {
        return Some(());
    };
    let receipt = exchange(report, &mut receipt)?;
    updater.receipt(uptime(), receipt).ok()?;
    Some(())
}

/// Bytes of the anchors document: three roles with a key each and one signature have 558.
const ANCHORS_BYTES_MAX: usize = 1024;

/// Bytes of a manifest: half of the flash for manifests.
const MANIFEST_BYTES_MAX: usize = 4096;

/// Bytes of a message: a request may be the longest.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_with_empty_memory_believes_nobody_and_ends() {
        assert_eq!(run(), None);
    }
}
