//! The power cut at every flash write of an update: the device always boots, and the update always ends.

use crate::testing::server::Serve;
use crate::testing::{
    Author, CountingRandom, MemoryFlash, PowerCut, Server, UPTIME, factory_flash, facts, new_image,
    old_image, sha256,
};
use crate::update::boot::BootError;
use crate::update::{Answered, Begun, UpdateError, Updater, Work, trial};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

type Device<'f> = Updater<'static, &'f mut MemoryFlash, CountingRandom>;

/// How a boot ended.
enum Ended {
    /// Nothing is left to do.
    Done,
    /// The image on trial was settled, or a trial began.
    Restart,
}

/// The power went.
struct Cut;

impl From<UpdateError<PowerCut>> for Cut {
    fn from(error: UpdateError<PowerCut>) -> Self {
        let cut = matches!(
            error,
            UpdateError::Flash(_)
                | UpdateError::Record(crate::update::record::RecordError::Flash(_))
                | UpdateError::Boot(BootError::Flash(_))
        );
        assert!(cut, "{error:?}");
        Self
    }
}

impl From<BootError<PowerCut>> for Cut {
    fn from(error: BootError<PowerCut>) -> Self {
        assert!(matches!(error, BootError::Flash(_)), "a device that does not boot: {error:?}");
        Self
    }
}

/// Boots and works until nothing is left or the power goes.
fn boot(flash: &mut MemoryFlash, author: &Author, server: &mut Server<'_>) -> Result<Ended, Cut> {
    let selected = trial::select(flash)?;
    assert!(
        [sha256(&old_image()), sha256(&new_image())].contains(&selected.image.digest),
        "neither the old image nor the new one was started"
    );
    if selected.on_trial {
        trial::confirm(flash)?;
        return Ok(Ended::Restart);
    }
    let random = CountingRandom(u64::from(server.index) + 3);
    let mut device = Updater::start(flash, random, facts(author), Duration::ZERO)?;
    work(&mut device, server)
}

fn work(device: &mut Device<'_>, server: &mut Server<'_>) -> Result<Ended, Cut> {
    // The server offers until the new image runs.
    if device.work() == Work::Nothing && device.running().digest != sha256(&new_image()) {
        device.offer(UPTIME, &server.manifest(1))?;
    }
    loop {
        while let Some((report, _)) = device.pending_report() {
            let receipt = server.receipt(report).unwrap();
            device.receipt(UPTIME, &receipt)?;
        }
        match device.work() {
            Work::Nothing => return Ok(Ended::Done),
            Work::Reboot => return Ok(Ended::Restart),
            Work::Ask | Work::AskGo => ask(device, server)?,
            Work::AwaitReceipt => panic!("every report was delivered"),
            Work::Fetch => {
                let wanted = device.frame_wanted().unwrap();
                device.frame(&server.frame(&wanted.root, wanted.number).unwrap())?;
            }
            Work::Install => {
                device.install()?;
            }
            Work::AwaitExecute => {
                assert_eq!(device.begin_trial()?, Begun::Trial);
            }
        }
    }
}

fn ask(device: &mut Device<'_>, server: &mut Server<'_>) -> Result<(), Cut> {
    let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
    let length = device.ask(UPTIME, &mut scratch, &mut out)?.unwrap();
    let answer = server.answer(&out[..length]);
    let answered = device.answer(UPTIME, &mut scratch, &answer)?;
    assert!(matches!(answered, Answered::Granted { .. }), "{answered:?}");
    Ok(())
}

/// Runs to the end with the power cut at write number `cut`; gives how many boots it took.
fn update_with_cut(author: &Author, serve: &Serve, cut: u32) -> u32 {
    let mut server = Server::new(author, new_image());
    server.serve = serve.clone();
    let mut flash = factory_flash();
    flash.writes_left = Some(cut);
    for boots in 1..20 {
        match boot(&mut flash, author, &mut server) {
            Ok(Ended::Done) => {
                assert_ended_well(flash, author, &server, cut);
                return boots;
            }
            Ok(Ended::Restart) => {}
            Err(Cut) => flash.power_on(),
        }
    }
    panic!("cut at write {cut}: the update does not end");
}

fn assert_ended_well(flash: MemoryFlash, author: &Author, server: &Server<'_>, cut: u32) {
    let device = crate::testing::start(flash, author);
    assert_eq!(device.running().digest, sha256(&new_image()), "cut at write {cut}");
    assert_eq!(device.record().place.index, 1, "cut at write {cut}");
    assert_eq!((server.index, server.fork), (1, device.record().fork), "cut at write {cut}");
    assert_eq!(device.pending_report(), None, "cut at write {cut}");
}

/// Counts the writes of an update that nothing disturbs.
fn writes(author: &Author, serve: &Serve) -> u32 {
    let mut server = Server::new(author, new_image());
    server.serve = serve.clone();
    let mut flash = factory_flash();
    loop {
        if matches!(boot(&mut flash, author, &mut server), Ok(Ended::Done)) {
            return flash.writes;
        }
    }
}

fn sweep(serve: &Serve) {
    let author = Author::new();
    let writes = writes(&author, serve);
    let cut_short = (1..=writes).filter(|cut| update_with_cut(&author, serve, *cut) > 3).count();
    // Three boots are the least: work, trial, report. Nearly every cut must have cost one more.
    assert!(cut_short > writes as usize / 2, "{cut_short} of {writes} cuts were felt");
}

#[test]
fn power_cut_at_any_write_of_a_full_update_ends_with_the_new_image() {
    sweep(&Serve::Full);
}

#[test]
fn power_cut_at_any_write_of_a_delta_update_ends_with_the_new_image() {
    sweep(&Serve::Delta(old_image()));
}

#[test]
fn two_cuts_in_a_row_end_with_the_new_image_as_well() {
    let author = Author::new();
    let writes = writes(&author, &Serve::Full);
    for first in (1..writes).step_by(5) {
        let mut server = Server::new(&author, new_image());
        let mut flash = factory_flash();
        let mut cuts: Vec<u32> = vec![2, first];
        flash.writes_left = cuts.pop();
        let mut ended = false;
        for _ in 0..20 {
            match boot(&mut flash, &author, &mut server) {
                Ok(Ended::Done) => {
                    ended = true;
                    break;
                }
                Ok(Ended::Restart) => {}
                Err(Cut) => flash.writes_left = cuts.pop(),
            }
        }
        assert!(ended, "cuts at write {first} and the second after it");
        flash.power_on();
        assert_ended_well(flash, &author, &server, first);
    }
}
