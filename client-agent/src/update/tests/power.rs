//! The power cut at every flash write of an update: the device always boots, and the update always ends.

use crate::platform::{Flash, Region};
use crate::testing::server::{Said, Serve};
use crate::testing::{
    Author, CountingRandom, MemoryFlash, PowerCut, SEED, Server, UPTIME, factory_flash, facts, image,
    new_image, old_image, sha256,
};
use crate::update::boot::BootError;
use crate::update::record::Place;
use crate::update::{AnchorsTaken, Answered, Begun, Facts, ShareOffer, UpdateError, Updater, Work, trial};
use bellwether_manifests::message::Confirm;
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

/// What an update is like, beside being an update.
#[derive(Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that an update may be beside the others"
)]
struct Scenario {
    serve: Serve,
    has_many_frames: bool,
    reseeds: bool,
    shares: bool,
    asks_go: bool,
    /// The decrypted report confirms.
    early: bool,
    /// An operator moves the device here before its first grant.
    forward: Option<Place>,
    /// Comes in before the manifest.
    anchors: Option<Vec<u8>>,
    /// Comes in once a grant is open.
    late_anchors: Option<Vec<u8>>,
}

impl Scenario {
    /// The new image: a small one where its frames are not what is tried.
    fn image(&self) -> Vec<u8> {
        if self.has_many_frames { new_image() } else { image(2, 3_000) }
    }

    fn server<'a>(&self, author: &'a Author) -> Server<'a> {
        let mut server = Server::new(author, self.image());
        server.serve = self.serve.clone();
        (server.reseed, server.shares) = (self.reseeds, self.shares);
        server.options.ask_go = self.asks_go.then_some(true);
        if self.early {
            server.confirm = Confirm::Decrypted;
        }
        server
    }

    fn ends_at(&self) -> Place {
        let from = self.forward.unwrap_or_default();
        if self.reseeds {
            Place { epoch: from.epoch + 1, index: 0 }
        } else {
            Place { epoch: from.epoch, index: from.index + 1 }
        }
    }

    fn facts(&self, author: &Author) -> Facts<'static> {
        let share_offer = if self.shares { ShareOffer::Always } else { ShareOffer::Never };
        Facts { share_offer, ..facts(author) }
    }
}

/// Boots and works until nothing is left or the power goes.
fn boot(
    flash: &mut MemoryFlash,
    author: &Author,
    server: &mut Server<'_>,
    scenario: &Scenario,
) -> Result<Ended, Cut> {
    let selected = trial::select(flash)?;
    assert!(
        [sha256(&old_image()), sha256(&scenario.image())].contains(&selected.image.digest),
        "neither the old image nor the new one was started"
    );
    if selected.on_trial {
        assert!(!scenario.asks_go || server.said_go, "started without a go");
        trial::confirm(flash)?;
        return Ok(Ended::Restart);
    }
    // Other random bytes at each boot, so that nothing is the same for having been drawn again.
    let random = CountingRandom(u64::from(flash.writes) + 3);
    let mut device = Updater::start(flash, random, scenario.facts(author), Duration::ZERO)?;
    work(&mut device, server, scenario)
}

fn work(device: &mut Device<'_>, server: &mut Server<'_>, scenario: &Scenario) -> Result<Ended, Cut> {
    take_anchors(device, scenario.anchors.as_ref())?;
    // The server offers until the new image runs.
    if device.work() == Work::Nothing && device.running().digest != sha256(&scenario.image()) {
        device.offer(UPTIME, &server.manifest(1))?;
    }
    loop {
        if device.record().granted().is_some() {
            take_anchors(device, scenario.late_anchors.as_ref())?;
        }
        while let Some((report, _)) = device.pending_report() {
            let receipt = server.receipt(report).unwrap();
            device.receipt(UPTIME, &receipt)?;
        }
        match device.work() {
            Work::Nothing => return Ok(Ended::Done),
            Work::Reboot => return Ok(Ended::Restart),
            Work::Ask => ask(device, server, scenario)?,
            Work::AskGo => ask_go(device, server)?,
            Work::AwaitReceipt => panic!("every report was delivered"),
            Work::Fetch => {
                let wanted = device.frame_wanted().unwrap();
                device.frame(&server.frame(&wanted.root, wanted.number).unwrap())?;
            }
            Work::Install => {
                device.install()?;
            }
            Work::AwaitExecute => {
                assert_ne!(device.begin_trial()?, Begun::NotNow);
            }
        }
    }
}

/// The server writes what it does not find in force.
fn take_anchors(device: &mut Device<'_>, document: Option<&Vec<u8>>) -> Result<(), Cut> {
    if let Some(document) = document.filter(|_| device.anchors_edition() == 1) {
        let taken = device.take_anchors(UPTIME, &mut vec![0; 8192], document)?;
        assert_eq!(taken, AnchorsTaken::Taken { edition: 2 });
    }
    Ok(())
}

fn exchange(device: &mut Device<'_>, server: &mut Server<'_>) -> Result<Answered, Cut> {
    let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
    let length = device.ask(UPTIME, &mut scratch, &mut out)?.unwrap();
    let answer = server.answer(&out[..length]);
    Ok(device.answer(UPTIME, &mut scratch, &answer)?)
}

fn ask(device: &mut Device<'_>, server: &mut Server<'_>, scenario: &Scenario) -> Result<(), Cut> {
    let place = device.record().place;
    if let Some(forward) = scenario.forward.filter(|forward| place < *forward) {
        server.serve = Serve::Verdict(Said::Forward(forward, *b"new head", server.last_grant));
        assert_eq!(exchange(device, server)?, Answered::Forwarded { place: forward });
        return Ok(());
    }
    server.serve = scenario.serve.clone();
    let answered = exchange(device, server)?;
    assert!(matches!(answered, Answered::Granted { .. }), "{answered:?}");
    Ok(())
}

fn ask_go(device: &mut Device<'_>, server: &mut Server<'_>) -> Result<(), Cut> {
    server.serve = Serve::Verdict(Said::Go);
    assert_eq!(exchange(device, server)?, Answered::Go);
    Ok(())
}

/// Runs to the end with the power cut at write number `cut`; gives how many boots it took.
fn update_with_cut(author: &Author, scenario: &Scenario, cut: u32) -> u32 {
    let mut server = scenario.server(author);
    let mut flash = factory_flash();
    flash.writes_left = Some(cut);
    for boots in 1..20 {
        match boot(&mut flash, author, &mut server, scenario) {
            Ok(Ended::Done) => {
                assert_ended_well(flash, author, &server, scenario, cut);
                return boots;
            }
            Ok(Ended::Restart) => {}
            Err(Cut) => flash.power_on(),
        }
    }
    panic!("cut at write {cut}: the update does not end");
}

fn assert_ended_well(
    mut flash: MemoryFlash,
    author: &Author,
    server: &Server<'_>,
    scenario: &Scenario,
    cut: u32,
) {
    let mut record = vec![0; flash.bytes(Region::Record) as usize];
    flash.read(Region::Record, 0, &mut record).unwrap();
    let device = crate::testing::start(flash, author);
    let (kept, place) = (device.record(), scenario.ends_at());
    assert_eq!(device.running().digest, sha256(&scenario.image()), "cut at write {cut}");
    assert_eq!(kept.place, place, "cut at write {cut}");
    assert_eq!((server.epoch, server.index), (place.epoch, place.index), "cut at write {cut}");
    assert_eq!(server.fork, kept.fork, "cut at write {cut}");
    assert_eq!(server.seeds.get(usize::from(place.epoch)), Some(&kept.seed), "cut at write {cut}");
    assert_eq!(device.pending_report(), None, "cut at write {cut}");
    let anchors = scenario.anchors.is_some() || scenario.late_anchors.is_some();
    let edition = if anchors { 2 } else { 1 };
    assert_eq!((device.anchors_edition(), kept.anchors_edition), (edition, edition), "cut at write {cut}");
    let old_seed = record.windows(SEED.len()).any(|window| window == SEED);
    assert_eq!(old_seed, place.epoch == 0, "cut at write {cut}");
}

/// Counts the writes of an update that nothing disturbs.
fn writes(author: &Author, scenario: &Scenario) -> u32 {
    let mut server = scenario.server(author);
    let mut flash = factory_flash();
    loop {
        if matches!(boot(&mut flash, author, &mut server, scenario), Ok(Ended::Done)) {
            return flash.writes;
        }
    }
}

fn sweep(scenario: &Scenario) {
    let author = Author::new();
    let writes = writes(&author, scenario);
    let cut_short = (1..=writes).filter(|cut| update_with_cut(&author, scenario, *cut) > 3).count();
    // Three boots are the least: work, trial, report. Nearly every cut must have cost one more.
    assert!(cut_short > writes as usize / 2, "{cut_short} of {writes} cuts were felt");
}

fn small() -> Scenario {
    Scenario::default()
}

#[test]
fn power_cut_at_any_write_of_a_full_update_ends_with_the_new_image() {
    sweep(&Scenario { has_many_frames: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_delta_update_ends_with_the_new_image() {
    sweep(&Scenario { serve: Serve::Delta(old_image()), has_many_frames: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_re_seeding_leaves_both_sides_with_one_seed() {
    sweep(&Scenario { reseeds: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_re_seeding_with_shares_leaves_both_sides_with_one_seed() {
    sweep(&Scenario { reseeds: true, shares: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_re_seeding_before_the_trial_leaves_both_sides_with_one_seed() {
    sweep(&Scenario { reseeds: true, shares: true, early: true, ..small() });
}

#[test]
fn power_cut_at_any_write_starts_no_image_before_its_go() {
    sweep(&Scenario { asks_go: true, ..small() });
}

#[test]
fn power_cut_at_any_write_of_a_forward_ends_at_the_new_place_or_asks_again() {
    for place in [Place { epoch: 0, index: 9 }, Place { epoch: 2, index: 1 }] {
        sweep(&Scenario { forward: Some(place), ..small() });
    }
}

#[test]
fn power_cut_at_any_write_of_new_anchors_ends_with_them_in_force() {
    let author = Author::new();
    let document = Some(author.replacing(&author.edition(2)));
    sweep(&Scenario { anchors: document.clone(), ..small() });
    sweep(&Scenario { late_anchors: document, ..small() });
}

#[test]
fn power_cut_while_new_anchors_revoke_an_author_never_leaves_its_update_going_on() {
    let author = Author::new();
    let other = author.stranger.clone();
    let mut edition = author.edition(2);
    edition.author = &other;
    let document = author.replacing(&edition);
    for cut in 1..=2 {
        let mut flash = factory_flash();
        let mut server = Server::new(&author, image(2, 3_000));
        let mut device =
            Updater::start(&mut flash, CountingRandom(3), facts(&author), Duration::ZERO).unwrap();
        device.offer(UPTIME, &server.manifest(1)).unwrap();
        assert!(matches!(exchange(&mut device, &mut server), Ok(Answered::Granted { .. })));
        while let Some(wanted) = device.frame_wanted() {
            device.frame(&server.frame(&wanted.root, wanted.number).unwrap()).unwrap();
        }
        device.install().unwrap();
        flash.writes_left = Some(cut);
        let mut device =
            Updater::start(&mut flash, CountingRandom(4), facts(&author), Duration::ZERO).unwrap();
        assert!(device.take_anchors(UPTIME, &mut vec![0; 8192], &document).is_err());
        flash.power_on();
        let mut device =
            Updater::start(&mut flash, CountingRandom(5), facts(&author), Duration::ZERO).unwrap();
        // Cut within the document, the old anchors count; after it, the open update is checked before it goes on.
        let expected = if cut == 1 { (1, Work::AwaitExecute) } else { (2, Work::Ask) };
        assert_eq!((device.anchors_edition(), device.work()), expected);
        if cut == 2 {
            // Not even by a server that has not heard of the anchors.
            assert_eq!(device.begin_trial().unwrap(), Begun::NotNow);
            let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
            assert_eq!(device.ask(UPTIME, &mut scratch, &mut out).unwrap(), None);
            assert_eq!(device.record().outcome.result, 5);
            assert!(device.owes_failure());
        }
    }
}

#[test]
fn two_cuts_in_a_row_end_with_the_new_image_as_well() {
    let author = Author::new();
    let scenario = Scenario { reseeds: true, ..small() };
    let writes = writes(&author, &scenario);
    for first in (1..writes).step_by(5) {
        let mut server = scenario.server(&author);
        let mut flash = factory_flash();
        let mut cuts: Vec<u32> = vec![2, first];
        flash.writes_left = cuts.pop();
        let mut ended = false;
        for _ in 0..20 {
            match boot(&mut flash, &author, &mut server, &scenario) {
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
        assert_ended_well(flash, &author, &server, &scenario, first);
    }
}
