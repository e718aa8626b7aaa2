//! An update driven from boot to boot against a server, by flash that may lose its power at any write.

use crate::platform::{Flash, Region};
use crate::testing::server::{Radio, Said, Serve};
use crate::testing::{
    Author, CountingRandom, MemoryFlash, PowerCut, SEED, Server, UPTIME, WITH_RADIO, factory_flash_with,
    facts, image, new_image, new_radio, old_image, old_radio, sha256,
};
use crate::update::anchors::ANCHORS_BYTES_MAX;
use crate::update::boot::{BootError, BootStore};
use crate::update::facts::APP;
use crate::update::record::Place;
use crate::update::{
    AnchorsTaken, Answered, Begun, Facts, Memory, ShareOffer, UpdateError, Updater, Work, trial,
};
use bellwether_manifests::message::{Confirm, Moment};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

pub(super) type Device<'f> = Updater<'f, &'f mut MemoryFlash, CountingRandom>;

/// How a boot ended.
pub(super) enum Ended {
    /// Nothing is left to do.
    Done,
    /// The image on trial was settled, or a trial began.
    Restart,
}

/// The power went.
pub(super) struct Cut;

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
pub(super) struct Scenario {
    pub(super) serve: Serve,
    pub(super) has_many_frames: bool,
    pub(super) reseeds: bool,
    pub(super) shares: bool,
    pub(super) asks_go: bool,
    /// The decrypted report confirms.
    pub(super) early: bool,
    /// The new images fail their self-test.
    pub(super) fails: bool,
    /// What is served for the second component of a device with two.
    pub(super) radio: Option<Serve>,
    /// An operator moves the device here before its first grant.
    pub(super) forward: Option<Place>,
    /// Comes in before the manifest.
    pub(super) anchors: Option<Vec<u8>>,
    /// Comes in once a grant is open.
    pub(super) late_anchors: Option<Vec<u8>>,
}

impl Scenario {
    /// The new image of each component: a small one of the first where its frames are not what is tried.
    pub(super) fn new_images(&self) -> Vec<Vec<u8>> {
        let app = if self.has_many_frames { new_image() } else { image(2, 3_000) };
        core::iter::once(app).chain(self.radio.as_ref().map(|_| new_radio())).collect()
    }

    /// The image of each component from the factory.
    pub(super) fn old_images(&self) -> Vec<Vec<u8>> {
        let app = if self.has_many_frames { old_image() } else { image(1, 2_800) };
        core::iter::once(app).chain(self.radio.as_ref().map(|_| old_radio())).collect()
    }

    /// A delta from what the device has from the factory.
    pub(super) fn delta() -> Self {
        Self { serve: Serve::Delta(Self::default().old_images().remove(0)), ..Self::default() }
    }

    pub(super) fn server<'a>(&self, author: &'a Author) -> Server<'a> {
        let mut images = self.new_images().into_iter();
        let mut server = Server::new(author, images.next().unwrap());
        server.radio = self.radio.as_ref().zip(images.next()).map(|(serve, image)| {
            let base = if let Serve::Delta(base) = serve { Some(base.clone()) } else { None };
            Radio { image, base, is_granted: true }
        });
        server.serve = self.serve.clone();
        (server.reseed, server.shares) = (self.reseeds, self.shares);
        server.options.ask_go = self.asks_go.then_some(true);
        if self.early {
            server.confirm = Confirm::Decrypted;
        }
        server
    }

    pub(super) fn flash(&self) -> MemoryFlash {
        factory_flash_with(&self.old_images())
    }

    pub(super) fn ends_at(&self) -> Place {
        let from = self.forward.unwrap_or_default();
        if self.fails && !self.early {
            from
        } else if self.reseeds {
            Place { epoch: from.epoch + 1, index: 0 }
        } else {
            Place { epoch: from.epoch, index: from.index + 1 }
        }
    }

    pub(super) fn facts(&self, author: &Author) -> Facts<'static> {
        let share_offer = if self.shares { ShareOffer::Always } else { ShareOffer::Never };
        let components = if self.radio.is_some() { WITH_RADIO } else { APP };
        Facts { share_offer, components, ..facts(author) }
    }
}

/// One device, its server, and what was seen of both.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    pub(super) author: &'a Author,
    pub(super) scenario: &'a Scenario,
    pub(super) server: Server<'a>,
    /// The farthest place that was in flash at a boot.
    farthest: Place,
    /// All of this after each thing that changed it, with the writes until then; where it is wanted.
    pub(super) log: Option<Vec<(u32, Self)>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(author: &'a Author, scenario: &'a Scenario) -> Self {
        let server = scenario.server(author);
        Self { author, scenario, server, farthest: Place::default(), log: None }
    }

    fn note(&mut self, writes: u32) {
        if let Some(mut log) = self.log.take() {
            log.push((writes, self.clone()));
            self.log = Some(log);
        }
    }

    /// Boots and works until nothing is left or the power goes.
    pub(super) fn boot(&mut self, flash: &mut MemoryFlash) -> Result<Ended, Cut> {
        self.note(flash.writes);
        let selected = trial::select(flash)?;
        let started: Vec<_> = selected.components().map(|(_, _, image)| image.digest).collect();
        self.assert_old_or_new(&started);
        if selected.on_trial {
            assert!(!self.scenario.asks_go || self.server.said_go, "started without a go");
            if self.scenario.fails {
                trial::roll_back(flash)?;
            } else {
                trial::confirm(flash)?;
            }
            return Ok(Ended::Restart);
        }
        // Other random bytes at each boot, so that nothing is the same for having been drawn again.
        let random = CountingRandom(u64::from(flash.writes) + 3);
        let facts = self.scenario.facts(self.author);
        let mut memory = Memory::<[u8; ANCHORS_BYTES_MAX]>::new();
        let mut device = Updater::start(flash, random, facts, &mut memory, Duration::ZERO)?;
        assert!(device.record().place >= self.farthest, "the place went back");
        self.farthest = device.record().place;
        self.note(device.flash.writes);
        self.work(&mut device)
    }

    /// All components old or all new: never a mix.
    fn assert_old_or_new(&self, digests: &[[u8; 32]]) {
        let digests_of = |images: Vec<Vec<u8>>| images.iter().map(|image| sha256(image)).collect::<Vec<_>>();
        let (old, new) = (digests_of(self.scenario.old_images()), digests_of(self.scenario.new_images()));
        assert!(digests == old || digests == new, "neither all old images nor all new ones");
    }

    fn is_over(&self, device: &Device<'_>) -> bool {
        let failed = self.server.reported.iter().any(|(moment, _)| *moment == Moment::Failed);
        let is_new = device.running().digest == sha256(&self.scenario.new_images()[0]);
        if self.scenario.fails { failed } else { is_new }
    }

    fn work(&mut self, device: &mut Device<'_>) -> Result<Ended, Cut> {
        take_anchors(device, self.scenario.anchors.as_ref())?;
        self.report(device)?;
        // The server offers until the new image runs, or has failed.
        if device.work() == Work::Nothing && !self.is_over(device) {
            device.offer(UPTIME, &self.server.manifest(1))?;
        }
        loop {
            if device.record().granted().is_some() {
                take_anchors(device, self.scenario.late_anchors.as_ref())?;
            }
            self.report(device)?;
            match device.work() {
                Work::Nothing => return Ok(Ended::Done),
                Work::Reboot => return Ok(Ended::Restart),
                Work::Ask => self.ask(device)?,
                Work::AskGo => {
                    self.server.serve = Serve::Verdict(Said::Go);
                    assert_eq!(self.exchange(device)?, Answered::Go);
                }
                Work::AwaitReceipt => panic!("every report was delivered"),
                Work::Fetch => {
                    let wanted = device.frame_wanted().unwrap();
                    device.frame(&self.server.frame(&wanted.root, wanted.number).unwrap())?;
                }
                Work::Install => {
                    device.install(&mut crate::testing::patcher())?;
                }
                Work::AwaitExecute => {
                    assert_ne!(device.begin_trial()?, Begun::NotNow);
                }
            }
        }
    }

    fn report(&mut self, device: &mut Device<'_>) -> Result<(), Cut> {
        while let Some((report, _)) = device.pending_report() {
            let receipt = self.server.receipt(report).unwrap();
            self.note(device.flash.writes);
            device.receipt(UPTIME, &receipt)?;
        }
        Ok(())
    }

    fn exchange(&mut self, device: &mut Device<'_>) -> Result<Answered, Cut> {
        let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
        let length = device.ask(UPTIME, &mut scratch, &mut out)?.unwrap();
        let answer = self.server.answer(&out[..length]);
        self.note(device.flash.writes);
        Ok(device.answer(UPTIME, &mut scratch, &answer)?)
    }

    fn ask(&mut self, device: &mut Device<'_>) -> Result<(), Cut> {
        let place = device.record().place;
        if let Some(forward) = self.scenario.forward.filter(|forward| place < *forward) {
            self.server.serve = Serve::Verdict(Said::Forward(forward, *b"new head", self.server.last_grant));
            assert_eq!(self.exchange(device)?, Answered::Forwarded { place: forward });
            return Ok(());
        }
        self.server.serve = self.scenario.serve.clone();
        let answered = self.exchange(device)?;
        assert!(matches!(answered, Answered::Granted { .. }), "{answered:?}");
        Ok(())
    }

    /// Checks what both sides have in the end.
    pub(super) fn assert_ended_well(&self, mut flash: MemoryFlash, cut: &dyn core::fmt::Debug) {
        let mut record = vec![0; flash.bytes(Region::Record) as usize];
        flash.read(Region::Record, 0, &mut record).unwrap();
        let boot = BootStore::new().load(&mut flash).unwrap();
        let wanted =
            if self.scenario.fails { self.scenario.old_images() } else { self.scenario.new_images() };
        for (component, image) in wanted.iter().enumerate() {
            assert_eq!(boot.running(component).unwrap().digest, sha256(image), "cut {cut:?}: {component}");
        }
        let facts = self.scenario.facts(self.author);
        let mut memory = Memory::<[u8; ANCHORS_BYTES_MAX]>::new();
        let device = Updater::start(flash, CountingRandom(7), facts, &mut memory, Duration::ZERO).unwrap();
        let (kept, place, server) = (device.record(), self.scenario.ends_at(), &self.server);
        assert_eq!(kept.place, place, "cut {cut:?}");
        assert_eq!((server.epoch, server.index), (place.epoch, place.index), "cut {cut:?}");
        assert_eq!(server.fork, kept.fork, "cut {cut:?}");
        assert_eq!(server.seeds.get(usize::from(place.epoch)), Some(&kept.seed), "cut {cut:?}");
        assert_eq!((device.pending_report(), device.work()), (None, Work::Nothing), "cut {cut:?}");
        let last = if self.scenario.fails { Moment::Failed } else { Moment::Installed };
        assert!(server.reported.iter().any(|(moment, _)| *moment == last), "cut {cut:?}: nobody was told");
        let anchors = self.scenario.anchors.is_some() || self.scenario.late_anchors.is_some();
        let edition = if anchors { 2 } else { 1 };
        assert_eq!((device.anchors_edition(), kept.anchors_edition), (edition, edition), "cut {cut:?}");
        let old_seed = record.windows(SEED.len()).any(|window| window == SEED);
        assert_eq!(old_seed, place.epoch == 0, "cut {cut:?}");
    }
}

/// The server writes what it does not find in force.
pub(super) fn take_anchors(device: &mut Device<'_>, document: Option<&Vec<u8>>) -> Result<(), Cut> {
    if let Some(document) = document.filter(|_| device.anchors_edition() == 1) {
        let taken = device.take_anchors(UPTIME, &mut vec![0; 8192], document)?;
        assert_eq!(taken, AnchorsTaken::Taken { edition: 2 });
    }
    Ok(())
}
