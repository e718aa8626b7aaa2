//! Chooses, copies, starts.

use bellwether_agent::platform::{Flash, Region};
use bellwether_agent::update::trial;
use bellwether_board::chip::{self, BoardChip, Phase};
use bellwether_board::clock::put_off_watchdog;
use bellwether_board::metal::{EXECUTION, start_image};
use bellwether_board::nor::{Nor, NorError};

/// Starts an image; returns, with the reason, where none can be started.
pub(crate) fn run() -> &'static str {
    put_off_watchdog();
    chip::begin(Phase::Boot);
    let mut flash = Nor::new(BoardChip);
    let Ok(selected) = trial::select(&mut flash) else {
        return "the flash holds no image that can be started\n";
    };
    let Some(image) = selected.image(0) else {
        return "the boot state names no image\n";
    };
    if image.bytes as usize > EXECUTION.bytes() {
        return "the image is too large to be started\n";
    }
    if copy(&mut flash, selected.slot(0).region(0), image.bytes).is_err() {
        return "the image cannot be read\n";
    }
    put_off_watchdog();
    start_image();
    "the image does not begin as one\n"
}

/// Copies an image to where it is started.
fn copy(flash: &mut Nor<BoardChip>, slot: Region, bytes: u32) -> Result<(), NorError> {
    let mut at = 0;
    while at < bytes {
        let mut word = [0; 4];
        let length = (bytes - at).min(4);
        flash.read(slot, at, &mut word[..length as usize])?;
        EXECUTION.write(at as usize, u32::from_le_bytes(word));
        at += 4;
    }
    Ok(())
}
