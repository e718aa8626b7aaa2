//! Devices with two components: one grant, one trial, one report.

use crate::testing::server::{Radio, Serve};
use crate::testing::{
    Author, CountingRandom, Device, MemoryFlash, Server, UPTIME, WITH_RADIO, ask, factory_flash_with, facts,
    fetch, image, new_image, new_radio, old_image, old_radio, report, request, sha256,
};
use crate::update::boot::BootStore;
use crate::update::record::Place;
use crate::update::{
    Answered, Begun, Facts, GrantedFor, Installed, Offered, Unusable, UpdateError, Updater, Work, trial,
};
use bellwether_manifests::message::Moment;
use core::time::Duration;
use std::vec::Vec;

fn start(flash: MemoryFlash, author: &Author) -> Device {
    let facts = Facts { components: WITH_RADIO, ..facts(author) };
    Updater::start(flash, CountingRandom(7), facts, crate::testing::memory(), Duration::ZERO).unwrap()
}

fn device(author: &Author) -> Device {
    start(factory_flash_with(&[old_image(), old_radio()]), author)
}

fn server(author: &Author) -> Server<'_> {
    let mut server = Server::new(author, new_image());
    server.radio = Some(Radio { image: new_radio(), base: Some(old_radio()), is_granted: true });
    server
}

fn boot(device: Device, author: &Author, self_test: bool) -> Device {
    let mut flash = device.into_flash();
    if trial::select(&mut flash).unwrap().on_trial {
        let settle = if self_test { trial::confirm } else { trial::roll_back };
        settle(&mut flash).unwrap();
        trial::select(&mut flash).unwrap();
    }
    start(flash, author)
}

/// From the grant to the next boot.
fn install(mut device: Device, server: &mut Server<'_>, author: &Author, self_test: bool) -> Device {
    fetch(&mut device, server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    report(&mut device, server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, author, self_test);
    report(&mut device, server);
    device
}

fn runs(device: &Device) -> [[u8; 32]; 2] {
    [0, 1].map(|component| device.running_of(component).digest)
}

fn both(app: &[u8], radio: &[u8]) -> [[u8; 32]; 2] {
    [sha256(app), sha256(radio)]
}

#[test]
fn full_image_and_delta_of_one_grant_run_together_and_move_the_place_once() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), server(&author));
    assert_eq!(device.offer(Duration::ZERO, &server.manifest(4)).unwrap(), Offered::Stored);
    let answered = ask(&mut device, &mut server);
    assert!(matches!(answered, Answered::Granted { base: Some(base), .. } if base == sha256(&old_radio())));
    let granted: Vec<GrantedFor> = device.resources().collect();
    assert_eq!(granted.iter().map(|one| one.component).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((granted[0].base, granted[1].base), (None, Some(sha256(&old_radio()))));
    let device = install(device, &mut server, &author, true);
    assert_eq!(runs(&device), both(&new_image(), &new_radio()));
    assert_eq!([0, 1].map(|one| device.running_of(one).version_text()), ["2.0.0", "1.1"]);
    assert_eq!(device.record().manifest_sequences, [4, 4]);
    assert_eq!((device.record().place, server.index), (Place { epoch: 0, index: 1 }, 1));
    assert_eq!(server.fork, device.record().fork);
}

#[test]
fn both_components_go_back_where_their_trial_fails() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), server(&author));
    device.offer(Duration::ZERO, &server.manifest(4)).unwrap();
    ask(&mut device, &mut server);
    let device = install(device, &mut server, &author, false);
    assert_eq!(runs(&device), both(&old_image(), &old_radio()));
    assert_eq!(server.reported.last().map(|(moment, _)| *moment), Some(Moment::Failed));
    assert_eq!((device.record().place.index, device.record().manifest_sequences), (0, [0, 0]));
}

#[test]
fn grant_that_leaves_out_a_component_is_refused_until_that_runs_its_image() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), server(&author));
    server.radio.as_mut().unwrap().is_granted = false;
    device.offer(Duration::ZERO, &server.manifest(4)).unwrap();
    assert_eq!(ask(&mut device, &mut server), Answered::Unusable(Unusable::Incomplete));
    report(&mut device, &mut server);
    assert_eq!(server.reported.last().map(|(moment, _)| *moment), Some(Moment::Failed));
    // The same one is right once the radio runs what the manifest wants.
    server.radio = Some(Radio { image: old_radio(), base: None, is_granted: false });
    device.offer(Duration::ZERO, &server.manifest(5)).unwrap();
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    let device = install(device, &mut server, &author, true);
    assert_eq!(runs(&device), both(&new_image(), &old_radio()));
    let boot = BootStore::new().load(&mut device.into_flash()).unwrap();
    assert_ne!(boot.active(0), boot.active(1), "the radio stays in its slot");
}

#[test]
fn manifest_of_one_component_counts_for_that_one_alone() {
    let author = Author::new();
    let mut device = device(&author);
    let mut server = Server::new(&author, new_radio());
    let manifest = |sequence, component: &str, image: &[u8]| {
        let mut draft = author.draft(sequence, image);
        draft.component = std::vec![component.as_bytes().to_vec()];
        draft.sign(&author.key).unwrap()
    };
    device.offer(Duration::ZERO, &manifest(5, "radio", &new_radio())).unwrap();
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    let mut device = install(device, &mut server, &author, true);
    assert_eq!(runs(&device), both(&old_image(), &new_radio()));
    assert_eq!(device.record().manifest_sequences, [0, 5]);
    let older = manifest(4, "radio", &image(13, 900));
    assert!(matches!(device.offer(UPTIME, &older).unwrap(), Offered::Refused { result: 8, .. }));
    server.radio = Some(Radio { image: image(13, 900), base: None, is_granted: true });
    assert!(matches!(device.offer(UPTIME, &server.manifest(4)).unwrap(), Offered::Refused { result: 8, .. }));
    let app = manifest(4, "app", &image(3, 900));
    assert_eq!(device.offer(UPTIME, &app).unwrap(), Offered::Stored);
}

#[test]
fn fetching_goes_on_within_the_second_resource_after_a_restart() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), server(&author));
    (server.reuses_key, server.radio.as_mut().unwrap().base) = (true, None);
    device.offer(Duration::ZERO, &server.manifest(4)).unwrap();
    ask(&mut device, &mut server);
    let first = device.frame_wanted().unwrap().root;
    while device.frame_wanted().is_some_and(|wanted| wanted.root == first || wanted.number < 2) {
        let wanted = device.frame_wanted().unwrap();
        device.frame(&server.frame(&wanted.root, wanted.number).unwrap()).unwrap();
    }
    let second = device.frame_wanted().unwrap();
    server.answer(&request(&mut device));
    let asked = server.asked.last().unwrap();
    assert_eq!((asked.resume, asked.held.len()), (Some((second.root, 2)), 2));
    let mut device = start(device.into_flash(), &author);
    let wanted = device.frame_wanted().unwrap();
    assert_eq!((wanted.root, wanted.number), (second.root, 0), "the record was written between the two");
    // Another grant for the same bytes: nothing of them is fetched again.
    device.resource_is_gone();
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    assert_eq!(device.frame_wanted().unwrap().root, second.root);
    let device = install(device, &mut server, &author, true);
    assert_eq!(runs(&device), both(&new_image(), &new_radio()));
}

#[test]
fn altered_image_of_one_component_gives_the_whole_grant_up() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), server(&author));
    server.serve = Serve::Delta(old_image());
    device.offer(Duration::ZERO, &server.manifest(4)).unwrap();
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    let mut flash = device.into_flash();
    crate::platform::Flash::write(&mut flash, crate::platform::Region::SlotB(1), 61_440, b"?").unwrap();
    let mut device = start(flash, &author);
    assert_eq!(
        (device.work(), device.install(&mut crate::testing::patcher()).unwrap()),
        (Work::Install, Installed::GivenUp)
    );
    assert_eq!(runs(&device), both(&old_image(), &old_radio()));
}

#[test]
fn flash_that_was_prepared_for_fewer_components_does_not_start() {
    let author = Author::new();
    let facts = Facts { components: WITH_RADIO, ..facts(&author) };
    let started = Updater::start(
        crate::testing::factory_flash(),
        CountingRandom(7),
        facts,
        crate::testing::memory(),
        UPTIME,
    );
    assert!(matches!(started, Err(UpdateError::Components)));
    let twice = Facts { components: &[WITH_RADIO[0], WITH_RADIO[0]], ..facts };
    let flash = factory_flash_with(&[old_image(), old_radio()]);
    assert!(matches!(
        Updater::start(flash, CountingRandom(7), twice, crate::testing::memory(), UPTIME),
        Err(UpdateError::Components)
    ));
}
