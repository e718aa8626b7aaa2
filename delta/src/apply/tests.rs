use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::image::OutsideSlice;
use crate::make::make;

type Patcher = crate::Patcher;

type Failure = ApplyError<OutsideSlice, OutsideSlice>;

/// Applies a patch piece by piece; the pieces' size is `piece_bytes`.
fn apply(patch: &[u8], base: &[u8], target_size: u32, piece_bytes: usize) -> Result<Vec<u8>, Failure> {
    let base_size = u32::try_from(base.len()).unwrap();
    let mut patcher = Patcher::new(-2, base_size, target_size, &[])?;
    let mut target = Vec::new();
    for piece in patch.chunks(piece_bytes) {
        patcher.push(piece, &mut { base }, &mut target)?;
    }
    patcher.finish(&mut { base }, &mut target)?;
    Ok(target)
}

fn made(base: &[u8], target: &[u8]) -> (Vec<u8>, u32) {
    (make(base, target).unwrap().bytes, u32::try_from(target.len()).unwrap())
}

/// Bytes like firmware's: runs, repeats, and words that count up.
fn image(seed: u32, length: usize) -> Vec<u8> {
    let words = (0_u32..).map(|at| match (at / 16 + seed) % 4 {
        0 => 0xffff_ffff,
        1 => 0x2000_0000 + at * 4,
        2 => at.wrapping_mul(0x9e37_79b1) ^ seed,
        _ => 0xf000_f800 + at % 7,
    });
    words.flat_map(u32::to_le_bytes).take(length).collect()
}

/// Edits that firmware sees between versions.
#[derive(Clone, Debug)]
enum Edit {
    Change { at: usize, byte: u8 },
    Insert { at: usize, bytes: Vec<u8> },
    Remove { at: usize, length: usize },
    Move { at: usize, length: usize },
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let at = 0..2000_usize;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Edit::Change { at, byte }),
        (at.clone(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(at, bytes)| Edit::Insert { at, bytes }),
        (at.clone(), 0..200_usize).prop_map(|(at, length)| Edit::Remove { at, length }),
        (at, 0..600_usize).prop_map(|(at, length)| Edit::Move { at, length }),
    ]
}

fn edited(mut image: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let clamp = |at: usize| at.min(image.len());
        match edit {
            Edit::Change { at, byte } => {
                if let Some(place) = image.get_mut(*at) {
                    *place = *byte;
                }
            }
            Edit::Insert { at, bytes } => {
                let at = clamp(*at);
                image.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove { at, length } => {
                image.drain(clamp(*at)..clamp(at + length));
            }
            Edit::Move { at, length } => {
                let moved: Vec<u8> = image.drain(clamp(*at)..clamp(at + length)).collect();
                image.extend(moved);
            }
        }
    }
    image
}

/// A base that counts what it is asked for beyond its end.
struct Guarded<'a>(&'a [u8]);

impl Base for Guarded<'_> {
    type Error = OutsideSlice;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        let end = offset as usize + buf.len();
        assert!(end <= self.0.len(), "read up to {end} of {} bytes", self.0.len());
        self.0.read(offset, buf)
    }
}

/// A sink that asserts that nothing comes after its limit.
struct Limited {
    limit: usize,
    taken: Vec<u8>,
}

impl Sink for Limited {
    type Error = OutsideSlice;

    fn write(&mut self, bytes: &[u8]) -> Result<(), OutsideSlice> {
        self.taken.extend_from_slice(bytes);
        assert!(self.taken.len() <= self.limit, "{} of {} bytes", self.taken.len(), self.limit);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        Guarded(&self.taken).read(offset, buf)
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Broken;

impl Sink for Broken {
    type Error = Broken;

    fn write(&mut self, _: &[u8]) -> Result<(), Broken> {
        Err(Broken)
    }

    fn read_back(&mut self, _: u32, _: &mut [u8]) -> Result<(), Broken> {
        Err(Broken)
    }
}

impl Base for Broken {
    type Error = Broken;

    fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Broken> {
        Err(Broken)
    }
}

#[test]
fn patch_split_at_every_point_gives_the_same_target() {
    let base = image(1, 700);
    let target = edited(
        base.clone(),
        &[Edit::Insert { at: 100, bytes: vec![7; 9] }, Edit::Move { at: 300, length: 90 }],
    );
    let (patch, size) = made(&base, &target);
    for at in 0..=patch.len() {
        let (head, tail) = patch.split_at(at);
        let mut patcher = Patcher::new(-2, 700, size, &[]).unwrap();
        let mut produced = Vec::new();
        patcher.push(head, &mut &base[..], &mut produced).unwrap();
        patcher.push(&[], &mut &base[..], &mut produced).unwrap();
        patcher.push(tail, &mut &base[..], &mut produced).unwrap();
        patcher.finish(&mut &base[..], &mut produced).unwrap();
        assert_eq!(produced, target, "split at {at}");
    }
}

#[test]
fn one_changed_byte_in_sixteen_kibibytes_costs_under_a_hundred_bytes() {
    let base = image(3, 16 * 1024);
    let mut target = base.clone();
    target[9000] ^= 1;
    let (patch, size) = made(&base, &target);
    assert!(patch.len() < 100, "{} bytes", patch.len());
    assert_eq!(apply(&patch, &base, size, 64), Ok(target));
}

#[test]
fn every_shortened_patch_is_refused() {
    let base = image(5, 600);
    let target = edited(base.clone(), &[Edit::Insert { at: 20, bytes: b"new function".to_vec() }]);
    let (patch, size) = made(&base, &target);
    for length in 0..patch.len() {
        let applied = apply(&patch[..length], &base, size, 16);
        assert!(matches!(applied, Err(ApplyError::Patch(_))), "{length} bytes");
    }
}

#[test]
fn patch_that_goes_on_after_the_target_is_refused() {
    let (mut patch, size) = made(b"abc", b"abcd");
    let length = patch.len();
    // The first few are taken for the stream's end, which may be written in several ways.
    for more in [8, 16, 64, 200] {
        patch.resize(length + more, 1);
        assert_eq!(apply(&patch, b"abc", size, 64), Err(PatchError::TrailingInput.into()), "{more} bytes");
    }
}

#[test]
fn four_changed_bytes_of_a_large_image_take_at_most_32_bytes() {
    let base = image(3, 100_000);
    let mut target = base.clone();
    target[60_000..60_004].copy_from_slice(&[1, 2, 3, 4]);
    let (patch, size) = made(&base, &target);
    assert!(patch.len() <= 32, "{} bytes", patch.len());
    assert_eq!(apply(&patch, &base, size, 64), Ok(target));
}

#[test]
fn more_state_makes_no_small_patch_larger() {
    let base = image(3, 6000);
    let mut target = base.clone();
    for at in (1..12).map(|at| at * 487) {
        target[at] ^= 0x25;
        let sizes = [crate::Profile::Kib4, crate::Profile::Kib8, crate::Profile::Kib16].map(|profile| {
            let options = crate::make::Options { profile, ..Default::default() };
            crate::make::make_with(&base, &target, options).unwrap().bytes.len()
        });
        assert!(sizes.is_sorted_by(|less, more| less >= more), "{sizes:?}");
    }
}

#[test]
fn full_digests_are_checked_to_their_last_byte() {
    let options = crate::make::Options { full_digests: true, ..Default::default() };
    let patch = crate::make::make_with(b"abc", b"abcd", options).unwrap().bytes;
    assert_eq!(apply(&patch, b"abc", 4, 64), Ok(b"abcd".to_vec()));
    // Header of three bytes, then the digests: the last byte of each.
    for (at, refusal) in [(3 + 31, PatchError::WrongBase), (3 + 63, PatchError::WrongTarget)] {
        let mut altered = patch.clone();
        altered[at] ^= 1;
        assert_eq!(apply(&altered, b"abc", 4, 64), Err(refusal.into()));
    }
}

#[test]
fn empty_images_come_back() {
    for (base, target) in [(&b"abc"[..], &b""[..]), (b"", b""), (b"", b"x"), (b"x", b"x")] {
        let (patch, size) = made(base, target);
        assert_eq!(apply(&patch, base, size, 1), Ok(target.to_vec()));
    }
}

#[test]
fn target_without_a_base_is_inserted_whole() {
    let target = image(2, 500);
    let (patch, size) = made(b"", &target);
    assert_eq!(apply(&patch, b"", size, 3), Ok(target));
}

#[test]
fn base_that_is_of_no_use_costs_no_more_than_its_size() {
    let words = |seed: u32| -> Vec<u8> {
        let letters = (0..9000_u32).map(|at| (at ^ seed).wrapping_mul(0x9e37_79b1) >> 16);
        letters.flat_map(|letter| [b'a' + (letter % 7) as u8, b' ']).collect()
    };
    let target = words(1);
    let (full, _) = made(b"", &target);
    for base in [words(0x5555_1234), image(7, 30_000), vec![0xff; 20_000]] {
        let (patch, size) = made(&base, &target);
        assert!(patch.len() <= full.len() + full.len() / 200 + 8, "{} and {} bytes", patch.len(), full.len());
        assert_eq!(apply(&patch, &base, size, 64), Ok(target.clone()));
    }
}

#[test]
fn same_images_give_the_same_patch() {
    let (base, target) = (image(1, 5000), image(2, 5000));
    assert_eq!(made(&base, &target), made(&base, &target));
}

#[test]
fn wrong_base_is_refused_before_anything_is_written() {
    let base = image(1, 4000);
    let target = edited(base.clone(), &[Edit::Remove { at: 9, length: 5 }]);
    let (patch, size) = made(&base, &target);
    let mut other = base.clone();
    other[3999] ^= 1;
    let mut patcher = Patcher::new(-2, 4000, size, &[]).unwrap();
    let mut sink = Vec::new();
    let pushed = patcher.push(&patch, &mut &other[..], &mut sink);
    let refused = pushed.and_then(|()| patcher.finish(&mut &other[..], &mut sink));
    assert_eq!((refused, sink.len()), (Err(PatchError::WrongBase.into()), 0));
}

#[test]
fn repeats_of_every_period_are_made_in_time() {
    for period in [1, 2, 3, 255] {
        let base: Vec<u8> = (0..40_000_usize).map(|at| (at % period) as u8).collect();
        let mut target = base.clone();
        target.splice(20_000..20_000, image(1, 100));
        let (patch, size) = made(&base, &target);
        assert!(patch.len() < 1000, "{} bytes for period {period}", patch.len());
        assert_eq!(apply(&patch, &base, size, 64), Ok(target));
    }
}

#[test]
fn altered_patch_is_refused_at_the_latest_by_the_digest() {
    let base = image(1, 3000);
    let target = edited(base.clone(), &[Edit::Insert { at: 700, bytes: vec![9; 50] }]);
    let (patch, size) = made(&base, &target);
    for at in 0..patch.len() {
        for bit in [1, 0x80] {
            let mut altered = patch.clone();
            altered[at] ^= bit;
            let applied = apply(&altered, &base, size, 64);
            assert!(applied.is_err() || applied == Ok(target.clone()), "byte {at}");
        }
    }
}

#[test]
fn unknown_algorithm_parameters_and_sizes_are_refused_at_the_start() {
    let refused = |algorithm, base, target, parameters: &[u8]| {
        Patcher::new(algorithm, base, target, parameters).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(-1, 1, 1, &[]), PatchError::UnknownAlgorithm(-1));
    assert_eq!(refused(-2, 1, 1, &[0]), PatchError::Parameters);
    let bytes = IMAGE_BYTES_MAX + 1;
    assert_eq!(refused(-2, bytes, 1, &[]), PatchError::ImageTooLarge { bytes });
    assert_eq!(refused(-2, 1, bytes, &[]), PatchError::ImageTooLarge { bytes });
}

#[test]
fn patch_for_images_of_other_sizes_is_refused() {
    let base = image(1, 400);
    let (patch, size) = made(&base, &base);
    let refused = Err(PatchError::Sizes { base: 400, target: 400 }.into());
    assert_eq!(apply(&patch, &base[..399], size, 64), refused);
    assert_eq!(apply(&patch, &base, size - 1, 64), refused);
}

#[test]
fn patch_for_more_state_than_there_is_is_refused() {
    let base = image(1, 4000);
    let options = crate::make::Options { profile: crate::Profile::Kib16, ..Default::default() };
    let patch = crate::make::make_with(&base, &base, options).unwrap().bytes;
    let words = u32::try_from(crate::Profile::Kib16.words()).unwrap();
    assert_eq!(apply(&patch, &base, 4000, 64), Err(PatchError::State { words }.into()));
}

#[test]
fn failing_flash_ends_the_patch_and_is_told_apart() {
    let base = image(1, 400);
    let (patch, size) = made(&base, &image(2, 4000));
    let mut patcher = Patcher::new(-2, 400, size, &[]).unwrap();
    let failed = patcher.push(&patch, &mut &base[..], &mut Broken);
    assert_eq!(failed, Err(ApplyError::Sink(Broken)));
    let again = patcher.push(&patch, &mut &base[..], &mut Broken);
    assert_eq!(again, Err(PatchError::GivenUp.into()));
    let ended = patcher.finish(&mut &base[..], &mut Broken);
    assert_eq!((patcher.produced(), ended), (0, Err(PatchError::GivenUp.into())));

    let mut patcher = Patcher::new(-2, 400, size, &[]).unwrap();
    let failed = patcher.push(&patch, &mut Broken, &mut Vec::new());
    assert_eq!(failed, Err(ApplyError::Base(Broken)));
}

#[test]
fn patcher_begins_anew_wherever_it_was() {
    let base = image(4, 3000);
    let (patch, size) = made(&base, &edited(base.clone(), &[Edit::Remove { at: 500, length: 77 }]));
    let expected = apply(&patch, &base, size, 64).unwrap();
    let mut patcher = Patcher::idle();
    assert_eq!(patcher.push(&patch, &mut &base[..], &mut Vec::new()), Err(PatchError::GivenUp.into()));
    for broken_off in [0, 9, patch.len() / 2, patch.len()] {
        patcher.begin(-2, 3000, size, &[]).unwrap();
        patcher.push(&patch[..broken_off], &mut &base[..], &mut Vec::new()).unwrap();
        patcher.begin(-2, 3000, size, &[]).unwrap();
        assert_eq!((patcher.produced(), patcher.is_complete()), (0, false));
        let mut produced = Vec::new();
        patcher.push(&patch, &mut &base[..], &mut produced).unwrap();
        patcher.finish(&mut &base[..], &mut produced).unwrap();
        assert_eq!(produced, expected);
    }
}

#[test]
fn clone_goes_on_from_the_same_place() {
    let base = image(4, 3000);
    let target = edited(base.clone(), &[Edit::Remove { at: 500, length: 77 }]);
    let (patch, size) = made(&base, &target);
    let (head, tail) = patch.split_at(patch.len() / 2);
    let mut patcher = Patcher::new(-2, 3000, size, &[]).unwrap();
    let mut produced = Vec::new();
    patcher.push(head, &mut &base[..], &mut produced).unwrap();
    let (mut twin, mut produced_by_twin) = (patcher.clone(), produced.clone());
    for (patcher, produced) in [(&mut patcher, &mut produced), (&mut twin, &mut produced_by_twin)] {
        patcher.push(tail, &mut &base[..], produced).unwrap();
        patcher.finish(&mut &base[..], produced).unwrap();
        assert!(patcher.is_complete());
    }
    assert_eq!((&produced, &produced_by_twin), (&target, &target));
}

#[test]
fn patcher_stays_under_the_ram_that_descriptors_announce() {
    let announced = crate::ram_bytes(-2, &[]).unwrap();
    assert!(size_of::<Patcher>() <= announced as usize);
    assert_eq!(crate::ram_bytes(7, &[]), Err(PatchError::UnknownAlgorithm(7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_edited_image_comes_back(
        seed in 0..1000_u32,
        length in 0..2500_usize,
        edits in proptest::collection::vec(any_edit(), 0..8),
        piece_bytes in 1..200_usize,
    ) {
        let base = image(seed, length);
        let target = edited(base.clone(), &edits);
        let (patch, size) = made(&base, &target);
        prop_assert_eq!(apply(&patch, &base, size, piece_bytes), Ok(target));
    }

    #[test]
    fn any_two_images_come_back(
        base in proptest::collection::vec(any::<u8>(), 0..300),
        target in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let (patch, size) = made(&base, &target);
        prop_assert_eq!(apply(&patch, &base, size, 7), Ok(target));
    }

    #[test]
    fn any_bytes_as_a_patch_stay_inside_both_images(
        patch in proptest::collection::vec(any::<u8>(), 0..400),
        base in proptest::collection::vec(any::<u8>(), 0..300),
        target_size in 0..600_u32,
    ) {
        let mut patcher = Patcher::new(-2, u32::try_from(base.len()).unwrap(), target_size, &[]).unwrap();
        let mut sink = Limited { limit: target_size as usize, taken: vec![] };
        // Whether it is taken or refused is the bytes' luck; the guards above are the test.
        let taken = patcher.push(&patch, &mut Guarded(&base), &mut sink);
        prop_assert_eq!(patcher.produced() as usize, sink.taken.len());
        prop_assert!(!patcher.is_complete() || taken.is_ok() && sink.taken.len() == sink.limit);
    }

    #[test]
    fn any_damaged_patch_stays_inside_both_images(
        seed in 0..1000_u32,
        edits in proptest::collection::vec(any_edit(), 1..6),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let base = image(seed, 1200);
        let target = edited(base.clone(), &edits);
        let (mut patch, size) = made(&base, &target);
        for (at, byte) in damages {
            if !patch.is_empty() {
                let at = at.index(patch.len());
                patch[at] = byte;
            }
        }
        let mut patcher = Patcher::new(-2, 1200, size, &[]).unwrap();
        let mut sink = Limited { limit: target.len(), taken: vec![] };
        let taken = patcher.push(&patch, &mut Guarded(&base), &mut sink);
        prop_assert!(taken.is_err() || patcher.produced() <= size);
        prop_assert_eq!(patcher.produced() as usize, sink.taken.len());
    }
}
